"""Writes the commit into wheel and sdist: `SOURCE_COMMIT`, else that of the clone."""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILE = "extip/commit.py"
UNKNOWN = "$Format:%h$"


class CommitHook(BuildHookInterface[Any]):
    """Replaces the file in what is built, and leaves the tree as it is."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the file; an editable install, an sdist and an archive keep theirs."""
        source = Path(self.root, FILE).read_text(encoding="utf-8")
        commit = os.environ.get("SOURCE_COMMIT") or self._of_clone()
        if version == "editable" or UNKNOWN not in source or not commit:
            return
        self._folder = tempfile.TemporaryDirectory()
        made = Path(self._folder.name, "commit.py")
        made.write_text(source.replace(UNKNOWN, commit), encoding="utf-8")
        build_data["force_include"][str(made)] = FILE

    def _of_clone(self) -> str:
        """Return the commit of the clone; empty where there is none, or no git."""
        if not Path(self.root, ".git").exists():  # another repository around it is not meant
            return ""
        asked = ["git", "-C", self.root, "describe", "--always", "--dirty", "--exclude=*"]
        try:
            done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
        except OSError:
            return ""
        return done.stdout.strip()
