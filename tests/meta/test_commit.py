"""A package tells its commit and its addresses, whatever it was built from."""

import os
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from extip import __version__
from extip.commit import described
from tests.meta.manifests import ROOT

SAID = f"extip, version {__version__} (commit "


def run(*command: str | Path, place: Path, **environment: str) -> str:
    """Run a command and return what it prints."""
    done = subprocess.run(
        [*map(str, command)],
        cwd=place,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def built(place: Path, target: str, folder: Path, **environment: str) -> Path:
    command = (
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "--target",
        target,
        "--directory",
        folder,
    )
    run(*command, place=place, **environment)
    (made,) = folder.iterdir()
    return made


def told(package: Path) -> str:
    """Return what the extip of a folder says."""
    return run(sys.executable, "-m", "extip", "--version", place=package)


def unpacked(archive: Path, folder: Path) -> Path:
    if archive.suffix == ".whl":
        shutil.unpack_archive(archive, folder, "zip")
        return folder
    shutil.unpack_archive(archive, folder, filter="data")
    (inner,) = folder.iterdir()
    return inner


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Make a repository of this tree with one commit."""
    tree = tmp_path / "clone"
    tree.mkdir()
    for name in ("extip", "manifests"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    run("git", "init", "-q", place=tree)
    run("git", "add", ".", place=tree)
    run("git", *who, "commit", "-q", "-m", "All", place=tree)
    return tree


def test_wheel_and_sdist_of_a_clone_and_the_wheel_of_the_sdist_tell_its_commit(clone, tmp_path):
    commit = run("git", "rev-parse", "--short", "HEAD", place=clone)
    wheel = built(clone, "wheel", tmp_path / "wheel")
    assert told(unpacked(wheel, tmp_path / "of-wheel")) == f"{SAID}{commit})"
    source = unpacked(built(clone, "sdist", tmp_path / "sdist"), tmp_path / "of-sdist")
    assert told(source) == f"{SAID}{commit})"
    again = built(source, "wheel", tmp_path / "again")
    assert told(unpacked(again, tmp_path / "of-again")) == f"{SAID}{commit})"
    assert run("git", "status", "--porcelain", place=clone) == ""
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    assert names.count("extip/commit.py") == 1
    assert "extip/.gitattributes" not in names


def test_a_clone_with_changes_says_so(clone, tmp_path):
    (clone / "README.md").write_text("changed")
    wheel = built(clone, "wheel", tmp_path / "wheel")
    assert told(unpacked(wheel, tmp_path / "unpacked")).endswith("-dirty)")


def test_an_archive_of_git_tells_it(clone, tmp_path):
    run("git", "archive", "--prefix=extip/", "-o", tmp_path / "a.tar", "HEAD", place=clone)
    commit = run("git", "rev-parse", "--short", "HEAD", place=clone)
    assert told(unpacked(tmp_path / "a.tar", tmp_path / "unpacked")) == f"{SAID}{commit})"


def test_a_build_without_git_is_told_the_commit(clone, tmp_path):
    shutil.rmtree(clone / ".git")
    for number, (environment, said) in enumerate(
        (({"SOURCE_COMMIT": "abc1234"}, f"{SAID}abc1234)"), ({}, SAID.removesuffix(" (commit ")))
    ):
        wheel = built(clone, "wheel", tmp_path / f"wheel{number}", **environment)
        assert told(unpacked(wheel, tmp_path / f"unpacked{number}")) == said


def test_a_clone_tells_the_version_alone():
    assert described("1.2.3", "$Format:%h$") == "1.2.3"


def addresses(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (one for one in opened.namelist() if one.endswith("/METADATA"))
        urls = message_from_bytes(opened.read(name)).get_all("Project-URL", [])
    return dict(url.split(", ") for url in urls)


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("https://git.example.com/ops/extip.git", "https://git.example.com/ops/extip"),
        ("https://me:secret@git.example.com/extip/", "https://git.example.com/extip"),
        ("git@git.example.com:ops/extip.git", "https://git.example.com/ops/extip"),
        ("ssh://git@git.example.com:2222/ops/extip", "https://git.example.com/ops/extip"),
        ("https://git.example.com:8443/ops/extip.git", "https://git.example.com:8443/ops/extip"),
        ("git@git.example.com:/ops/extip.git", "https://git.example.com/ops/extip"),
        ("https://git.example.com/ops/extip.git?token=secret", ""),
        ("https://me:sec/ret@git.example.com/ops/extip.git", ""),
        ("/srv/git/extip.git", ""),
        ("", ""),
    ],
)
def test_a_package_names_the_remote_repository_of_its_clone(clone, tmp_path, remote, page):
    if remote:
        run("git", "remote", "add", "origin", remote, place=clone)
    expected = {
        name: f"{page}{end}"
        for name, end in (("Source", ""), ("Documentation", "#readme"), ("Issues", "/issues"))
        if page
    }
    sdist = built(clone, "sdist", tmp_path / "sdist", SOURCE_URL="")
    source = unpacked(sdist, tmp_path / "of-sdist")
    assert addresses(built(source, "wheel", tmp_path / "wheel", SOURCE_URL="")) == expected


def test_a_build_without_git_is_told_its_addresses(clone, tmp_path):
    shutil.rmtree(clone / ".git")
    told = {"SOURCE_URL": "https://git.example.com/ops/extip"}
    wheel = built(clone, "wheel", tmp_path / "wheel", **told)
    assert addresses(wheel)["Source"] == told["SOURCE_URL"]
