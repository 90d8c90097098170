"""`make demo`: a real cluster in namespaces, and extip at work on it."""
