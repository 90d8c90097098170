"""Brings the external IPs of Kubernetes services up on bare-metal nodes."""

__version__ = "0.1.0"
