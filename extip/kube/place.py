"""Where a person says that the cluster is."""

from typing import NamedTuple


class Place(NamedTuple):
    """A context of kubeconfig files."""

    kubeconfig: str = ""
    """A path, or several as in ``$KUBECONFIG``; empty for the service account of this pod."""
    context: str = ""
    """Empty for the current one."""
