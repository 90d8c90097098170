"""Property tests over whatever an API server, or something in between, may deliver."""
