"""Every claim on a node that may hold it: filter, score, assign (as kube-scheduler does)."""
