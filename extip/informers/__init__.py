"""The inputs of each mode from the API server, kept up to date by watches."""
