"""Writes the commit and the project's addresses into wheel and sdist.

The commit is `SOURCE_COMMIT`, else that of the clone. The addresses are derived from `SOURCE_URL`,
else from the remote repository that the clone calls `origin`: a fork names itself. A build without
either has none.
"""

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

FILE = "extip/commit.py"
UNKNOWN = "$Format:%h$"

_REMOTE = re.compile(
    r"(?:https?://(?:[^@/]*@)?(?P<host>[^@/]+)/"  # with its port
    r"|(?:ssh|git)://(?:[^@/]*@)?(?P<ssh>[^:/@]+)(?::\d+)?/"
    r"|[^@/:]+@(?P<scp>[^:/@]+):/*)"
    r"(?P<path>[^?#@]+?)(?:\.git)?/*"
)
"""An address that git takes: a URL, or one of ssh (`git@host:path`)."""


class CommitHook(BuildHookInterface[Any]):
    """Replaces the file in what is built, and leaves the tree as it is."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the file; an editable install, an sdist and an archive keep theirs."""
        source = Path(self.root, FILE).read_text(encoding="utf-8")
        asked = ("describe", "--always", "--dirty", "--exclude=*")
        commit = os.environ.get("SOURCE_COMMIT") or _of_clone(self.root, *asked)
        if version == "editable" or UNKNOWN not in source or not commit:
            return
        self._folder = tempfile.TemporaryDirectory()
        made = Path(self._folder.name, "commit.py")
        made.write_text(source.replace(UNKNOWN, commit), encoding="utf-8")
        build_data["force_include"][str(made)] = FILE


class AddressesHook(MetadataHookInterface):
    """Sets the project's addresses: its sources, its documentation, and a place for reports."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add them; a wheel that is built from an sdist has those of the sdist."""
        remote = os.environ.get("SOURCE_URL") or _of_clone(self.root, "remote", "get-url", "origin")
        if source := _page(remote):
            metadata["urls"] = {
                "Source": source,
                "Documentation": f"{source}#readme",
                "Issues": f"{source}/issues",
            }


def _page(remote: str) -> str:
    """Return the page of a remote repository, without a user or a password; empty for a path."""
    found = _REMOTE.fullmatch(remote)
    if found is None:
        return ""
    return f"https://{found['host'] or found['ssh'] or found['scp']}/{found['path']}"


def _of_clone(root: str, *asked: str) -> str:
    """Return what git says of the clone; empty where there is none, or no git."""
    if not Path(root, ".git").exists():  # another repository around it is not meant
        return ""
    command = ["git", "-C", root, *asked]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
