"""The wall clock of one program, set forward and back without touching the machine's."""

import secrets
from pathlib import Path

from tests.lab.anchor import INSIDE


class WallClock:
    """Start a Python program with `env`, and `shift` its clock while it runs."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / f"clock-{secrets.token_hex(4)}"
        self.shift(0.0)

    @property
    def env(self) -> dict[str, str]:
        return {"PYTHONPATH": str(INSIDE / "wall_clock"), "EXTIP_LAB_CLOCK": str(self._file)}

    def shift(self, ahead_s: float) -> None:
        """Set it so many seconds ahead of the real one; negative: behind."""
        draft = self._file.with_suffix(".new")
        draft.write_text(str(ahead_s))
        draft.replace(self._file)
