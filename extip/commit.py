"""The commit that this extip was made from, for `extip --version`.

`git archive` writes it here (export-subst), and so does a build of the wheel or sdist from a clone
(`manifests/hatch_build.py`). A clone itself has none.
"""

COMMIT = "$Format:%h$"


def described(version: str, commit: str = COMMIT) -> str:
    """Return the version, with the commit where one is known."""
    return version if commit.startswith("$") else f"{version} (commit {commit})"
