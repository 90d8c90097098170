"""A whole Kubernetes cluster in private namespaces on one machine."""
