"""Fetches a Debian source package without root and without a trace on the machine.

Most machines have no `deb-src` entries, and only root may add some. So apt is run here with a
configuration of its own: sources copied from the machine's and turned into `deb-src`, lists and
cache in a folder that the caller throws away. Mirrors, keys and proxies stay the machine's, and so
does apt's verification of what it fetches. Nothing in /etc or /var is touched.
"""

import contextlib
import os
import re
import subprocess
from pathlib import Path

from tests.lab.progress import Progress, StepError, run_step

ETC = Path("/etc/apt")


class SourceError(Exception):
    """The mirrors do not have the package, or cannot be reached."""


def fetch_source(
    package: str, version: str, folder: Path, *, log: Path, progress: Progress
) -> Path:
    """Fetch and unpack a source package of an upstream version; return the unpacked tree's path.

    `folder` takes apt's files, the sources and the tree. Raises `SourceError` when no mirror has
    it, `StepError` when fetching or unpacking fails.
    """
    progress.step("read the package lists of Debian's sources")
    settings = str(_settings(folder / "apt"))
    environment = dict(os.environ) | {"LC_ALL": "C.UTF-8"}
    # Where one of several mirrors fails, the package may well be on another.
    with contextlib.suppress(StepError):
        update = ("apt-get", "-q", "-c", settings, "update")
        run_step(update, folder, environment, log=log, tick=progress.tick)
    show = ("apt-cache", "-c", settings, "showsrc", "--only-source", package)
    shown = subprocess.run(show, capture_output=True, text=True, env=environment, check=False)
    revision = debian_version(shown.stdout, version)
    if revision is None:
        raise SourceError(
            f"this machine's Debian mirrors have no source package {package} {version}, which is "
            "in Debian 12, or cannot be reached"
        )
    progress.step(f"fetch and unpack the source package {package} {revision}")
    source = ("apt-get", "-q", "-c", settings, "source", f"{package}={revision}")
    run_step(source, folder, environment, log=log, tick=progress.tick)
    (tree,) = (path for path in folder.glob(f"{package}-*") if path.is_dir())
    return tree


def debian_version(records: str, upstream: str) -> str | None:
    """Return the Debian version, of those in apt's source records, that packages `upstream`.

    A Debian version may hide the upstream one: `1.20.5+really1.20.2-1` packages 1.20.2.
    """
    wanted = rf"^Version: ((?:\S*[^\d.\s])?{re.escape(upstream)}-\S+)$"
    versions = re.findall(wanted, records, re.MULTILINE)
    return versions[-1] if versions else None


def _settings(folder: Path) -> Path:
    """Write apt's configuration and sources; return the configuration's path."""
    sources = folder / "sources"
    for path in (sources, folder / "state/lists/partial", folder / "cache/archives/partial"):
        path.mkdir(parents=True)
    for path in (ETC / "sources.list", *sorted((ETC / "sources.list.d").glob("*"))):
        if path.suffix in {".list", ".sources"} and os.access(path, os.R_OK):
            entries = source_entries(path.read_text(), deb822=path.suffix == ".sources")
            (sources / path.name).write_text(entries)
    settings = folder / "apt.conf"
    settings.write_text(
        f'Dir::State "{folder}/state";\n'
        f'Dir::Cache "{folder}/cache";\n'
        f'Dir::Etc::sourcelist "{folder}/none";\n'
        f'Dir::Etc::sourceparts "{sources}";\n'
        # The user _apt, whom apt would become, cannot enter a private cache folder.
        'APT::Sandbox::User "root";\n'
        'Acquire::Retries "2";\n'
        # Hooks are for the machine's own lists.
        "#clear APT::Update::Pre-Invoke;\n"
        "#clear APT::Update::Post-Invoke;\n"
        "#clear APT::Update::Post-Invoke-Success;\n"
    )
    return settings


def source_entries(text: str, *, deb822: bool) -> str:
    """Turn the entries of an apt sources file (sources.list(5)) with `main` into `deb-src`.

    Options such as keys stay. Other entries are left out: Debian's own archive always has `main`,
    most other archives have no sources.
    """
    if deb822:
        text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
        stanzas = [stanza.strip() for stanza in re.split(r"\n\s*\n", text)]
        stanzas = [
            re.sub(r"^Types:.*$", "Types: deb-src", stanza, flags=re.MULTILINE | re.IGNORECASE)
            for stanza in stanzas
            if re.search(r"^Components:.*\bmain\b", stanza, re.MULTILINE | re.IGNORECASE)
        ]
        return "".join(f"{stanza}\n\n" for stanza in dict.fromkeys(stanzas))
    lines = [line.partition("#")[0].split() for line in text.splitlines()]
    entries = [
        " ".join(["deb-src", *words[1:]])
        for words in lines
        if words and words[0] in {"deb", "deb-src"} and "main" in words
    ]
    return "".join(f"{entry}\n" for entry in dict.fromkeys(entries))
