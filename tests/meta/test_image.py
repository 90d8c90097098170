"""The image and the wheel can be built, and hold what they should."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import extip
from tests.meta.manifests import CONTAINERFILE, ROOT, build_wheel

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def instructions() -> list[tuple[str, str]]:
    """Return the Containerfile's instructions, each with its arguments on one line."""
    text = re.sub(r"(?m)^#.*\n", "", CONTAINERFILE.read_text()).replace("\\\n", "")
    pairs = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(keyword, " ".join(rest.split())) for keyword, rest in pairs]


def copied_from_here() -> list[str]:
    """Return what the image takes from this repository."""
    copies = [rest.split() for keyword, rest in instructions() if keyword == "COPY"]
    return [source for words in copies if not words[0].startswith("--") for source in words[:-1]]


def test_the_image_gets_what_it_copies():
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    assert "*" in ignore
    assert let_in == set(copied_from_here())
    assert all((ROOT / source).exists() for source in let_in)


def test_the_image_runs_the_console_script_on_a_python_that_extip_supports():
    said = dict(instructions())
    assert json.loads(said["ENTRYPOINT"])[0] in PROJECT["project"]["scripts"]
    (python,) = (rest for keyword, rest in instructions() if rest.startswith("PYTHON="))
    image = python.removeprefix("PYTHON=").partition("-")[0]
    floor = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert [int(part) for part in image.split(".")] >= [int(part) for part in floor.split(".")]


def test_the_wheel_carries_the_package_and_its_types(tmp_path):
    wheel = build_wheel(tmp_path)
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.name == f"extip-{extip.__version__}-py3-none-any.whl"
    assert {"extip/py.typed", "extip/__main__.py", "extip/cli/__init__.py"} <= set(names)
    assert {
        f"extip/{path.relative_to(ROOT)}"
        for mode in ("claims", "simple")
        for path in (ROOT / "manifests" / mode).iterdir()
    } <= set(names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"extip"}


def copy_into_image(source: str, folder: Path) -> None:
    """Copy a file or folder of this repository, without what .dockerignore leaves out."""
    if (ROOT / source).is_dir():
        left_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / source, folder / source, ignore=left_out)
    else:
        shutil.copy(ROOT / source, folder / source)


def installed_by_the_lock() -> dict[str, str]:
    lock = (ROOT / "requirements.lock").read_text()
    return dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", lock))


def shell(command: str, place: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", "-ec", command], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def contents(folder: Path) -> dict[str, str]:
    """Return the digest of each file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.timeout(300)
def test_the_build_stage_installs_extip_with_the_locked_dependencies_alone(
    tmp_path: Path, pytestconfig: pytest.Config
):
    """Run what the Containerfile's first stage runs, with its folders moved to a temporary one.

    It fetches 60 MB and takes a while; so it is skipped where it has passed with the same inputs.
    """
    inputs = (CONTAINERFILE, ROOT / "requirements.lock", ROOT / "pyproject.toml")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
    key = f"extip/image-{sys.version_info[0]}.{sys.version_info[1]}"
    if pytestconfig.cache.get(key, "") == digest:
        pytest.skip("passed before with the same Containerfile, lock and pyproject.toml")

    stage = [pair for pair in instructions() if pair[0] in ("FROM", "RUN", "COPY")]
    first = stage[1 : [keyword for keyword, _ in stage].index("FROM", 1)]
    work = tmp_path / "build"
    work.mkdir()
    command = ""
    for keyword, rest in first:
        if keyword == "COPY":
            for source in rest.split()[:-1]:
                copy_into_image(source, work)
        else:
            # The image's own Python and pip are those that run this test.
            command = re.sub(r"/(wheels|opt/extip)\b", rf"{tmp_path}/\1", rest)
            command = re.sub(
                r"(^|&& )(pip|python) ", rf"\1{Path(sys.executable).parent}/\2 ", command
            )
            (tmp_path / "opt").mkdir(exist_ok=True)
            shell(command, work)

    home = tmp_path / "opt/extip"
    once = contents(home)
    shutil.rmtree(home)
    shell(command, work)
    assert contents(home) == once, "the layer differs from one build to the next"
    said = subprocess.run(
        [home / "bin/extip", "--version"], capture_output=True, text=True, check=True
    )
    assert said.stdout == f"extip, version {extip.__version__}\n"
    (packages,) = home.glob("lib/python*/site-packages")
    installed = {
        name.lower().replace("_", "-"): version
        for name, version in (path.stem.split("-") for path in packages.glob("*.dist-info"))
    }
    assert installed.pop("extip") == extip.__version__
    assert installed.items() <= installed_by_the_lock().items()
    assert {"aiohttp", "kubernetes-asyncio", "msgspec"} <= installed.keys()
    assert not {"pip", "pytest", "mypy", "hatchling"} & installed.keys()
    modules = {path.stem for path in (packages / "extip").glob("*.py")}
    compiled = {path.name.split(".")[0] for path in (packages / "extip/__pycache__").iterdir()}
    assert compiled == modules
    pytestconfig.cache.set(key, digest)
