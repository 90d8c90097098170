"""The lab's binaries: where they are looked for, and that the cache only ever holds good ones."""

import fcntl
import threading
from pathlib import Path

import pytest

from tests.lab import binaries, kubernetes_build
from tests.lab.binaries import BinariesError, find_binaries
from tests.lab.kubernetes_build import PROGRAMS
from tests.lab.progress import Progress


def fake(path: Path, *, says: str = "", code: int = 0) -> Path:
    """Write an executable that prints a line and exits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    path.chmod(0o755)
    return path


def fake_server(folder: Path, version: str = "v1.20.2", programs=PROGRAMS) -> Path:
    for program in programs:
        fake(folder / program, says=f"Kubernetes {version}")
    return folder


@pytest.fixture(autouse=True)
def tools(tmp_path, monkeypatch):
    """Make a machine with etcd and kubectl on the PATH, an empty cache and nothing given."""
    for variable in binaries.VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "bin"
    fake(folder / "etcd")
    fake(folder / "kubectl")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


@pytest.fixture
def build_tools(tools, tmp_path, monkeypatch):
    """Put stand-ins for apt, Go and make there; `make` builds what the returned folder holds."""
    reflect2 = tmp_path / "reflect2"
    reflect2.mkdir()
    (reflect2 / "fixed.go").write_text("package reflect2\n")
    monkeypatch.setattr(kubernetes_build, "GO", fake(tools / "go"))
    monkeypatch.setattr(kubernetes_build, "REFLECT2", reflect2)
    monkeypatch.setattr(kubernetes_build, "NEEDS", {str(tools / "go"): "golang", "make": "make"})
    fake(tools / "apt-cache", says="Version: 1.20.5+really1.20.2-1.1")
    (tools / "apt-get").write_text(
        "#!/bin/sh\n"
        'case "$*" in *source*)\n'
        "  mkdir -p kubernetes-1.20.2/vendor/github.com/modern-go/reflect2 kubernetes-1.20.2/cmd\n"
        "  echo old > kubernetes-1.20.2/vendor/github.com/modern-go/reflect2/old.go;;\n"
        "esac\n"
    )
    (tools / "apt-get").chmod(0o755)
    outcome = tmp_path / "outcome"
    (tools / "make").write_text(
        f"#!/bin/sh\nls vendor/github.com/modern-go/reflect2 > {tmp_path}/reflect2.ls\n"
        f"mkdir -p _output && cp -r {outcome} _output/bin\n"
    )
    (tools / "make").chmod(0o755)
    return outcome


def test_given_folders_come_first_and_in_order(tmp_path, monkeypatch):
    fake_server(kubernetes_build.built_folder())
    assert find_binaries(build=False).version == "v1.20.2"
    assets = fake_server(tmp_path / "assets", "v1.31.0")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    assert find_binaries().version == "v1.31.0"
    own = fake_server(tmp_path / "own", "v1.29.3-rc.1+k3s")
    monkeypatch.setenv("EXTIP_KUBE_BIN", str(own))
    found = find_binaries()
    assert found.version == "v1.29.3-rc.1+k3s"
    assert found.kube_proxy == own / "kube-proxy"
    assert found.source == f"EXTIP_KUBE_BIN={own}"


def test_what_kubebuilder_assets_lack_comes_from_the_cache_if_it_is_there(tmp_path, monkeypatch):
    assets = fake_server(tmp_path / "assets", "v1.31.0", programs=["kube-apiserver"])
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    found = find_binaries()
    assert found.kube_proxy is None
    assert found.kube_controller_manager is None
    cached = fake_server(kubernetes_build.built_folder())
    found = find_binaries()
    assert found.kube_apiserver == assets / "kube-apiserver"
    assert found.kube_proxy == cached / "kube-proxy"
    assert found.kube_controller_manager == cached / "kube-controller-manager"


def test_etcd_and_kubectl_of_a_given_folder_win_over_the_path(tools, tmp_path, monkeypatch):
    own = fake_server(tmp_path / "own")
    monkeypatch.setenv("EXTIP_KUBE_BIN", str(own))
    assert find_binaries().etcd == tools / "etcd"
    fake(own / "etcd")
    fake(own / "kubectl")
    found = find_binaries()
    assert (found.etcd, found.kubectl) == (own / "etcd", own / "kubectl")


@pytest.mark.parametrize("broken", [None, "Segmentation fault", "etcd Version: 3.4.23"])
def test_a_given_folder_that_is_wrong_is_an_error_not_a_reason_to_look_on(
    broken, tmp_path, monkeypatch
):
    fake_server(kubernetes_build.built_folder())
    own = tmp_path / "own"
    own.mkdir()
    if broken:
        fake(own / "kube-apiserver", says=broken)
    monkeypatch.setenv("EXTIP_KUBE_BIN", str(own))
    with pytest.raises(BinariesError, match=str(own)):
        find_binaries()


def test_missing_etcd_is_named_with_its_package(tools, monkeypatch):
    fake_server(kubernetes_build.built_folder())
    (tools / "etcd").unlink()
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(BinariesError, match="etcd-server"):
        find_binaries()


def test_main_says_in_one_line_how_to_supply_the_binaries(monkeypatch, capsys):
    monkeypatch.setattr(kubernetes_build, "NEEDS", {"/nowhere/go": "golang-1.19-go"})
    assert binaries.needs_build()
    assert binaries.main() == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    for word in ("EXTIP_KUBE_BIN", "KUBEBUILDER_ASSETS", "golang-1.19-go", "tests.lab.packages"):
        assert word in err


def test_a_build_ends_with_a_complete_and_verified_folder(build_tools, tmp_path, capsys):
    fake_server(build_tools)
    found = find_binaries()
    assert found.version == "v1.20.2"
    assert found.kube_proxy == kubernetes_build.built_folder() / "kube-proxy"
    assert (tmp_path / "reflect2.ls").read_text() == "fixed.go\n"
    assert not binaries.needs_build()
    assert {path.name for path in kubernetes_build.cache_folder().iterdir()} == {
        "kubernetes-1.20.2",
        "kubernetes.lock",
    }
    assert "compile" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("says", "code"),
    [("Kubernetes v1.20.3", 0), ("Kubernetes v1.20.2", 1), ("", 0)],
    ids=["another version", "fails", "silent"],
)
def test_a_build_with_a_bad_program_never_reaches_the_cache(build_tools, says, code):
    fake_server(build_tools)
    fake(build_tools / "kube-proxy", says=says, code=code)
    with pytest.raises(BinariesError, match="kube-proxy"):
        find_binaries()
    assert not kubernetes_build.built_folder().exists()
    assert not list(kubernetes_build.cache_folder().glob(".building-*"))
    assert (kubernetes_build.cache_folder() / "kubernetes-build.log").exists()


def test_a_truncated_program_in_the_cache_is_built_anew(build_tools):
    fake_server(build_tools)
    fake_server(kubernetes_build.built_folder())
    (kubernetes_build.built_folder() / "kube-apiserver").write_bytes(b"\x7fELF")
    with pytest.raises(BinariesError):
        find_binaries(build=False)
    assert find_binaries().version == "v1.20.2"


def test_a_build_removes_what_a_killed_one_left(build_tools):
    fake_server(build_tools)
    leftover = kubernetes_build.cache_folder() / ".building-old"
    leftover.mkdir(parents=True)
    (leftover / "gigabytes").touch()
    find_binaries()
    assert not leftover.exists()


def test_the_second_builder_waits_and_takes_the_result_of_the_first(capsys):
    """Without a single build tool: had it built itself, it would have failed."""
    cache = kubernetes_build.cache_folder()
    cache.mkdir(parents=True)
    results: list[Path] = []
    said = threading.Event()

    class Heard(Progress):
        def say(self, text: str) -> None:
            super().say(text)
            said.set()

    second = threading.Thread(target=lambda: results.append(kubernetes_build.build(Heard())))
    with (cache / "kubernetes.lock").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        second.start()
        assert said.wait(10)
        assert second.is_alive()
        fake_server(kubernetes_build.built_folder())
    second.join(10)
    assert results == [kubernetes_build.built_folder()]
    assert "waiting" in capsys.readouterr().err


def test_a_build_checks_first_for_space(build_tools, monkeypatch):
    monkeypatch.setattr(kubernetes_build, "FREE_BYTES", 10**18)
    with pytest.raises(BinariesError, match="GB free"):
        find_binaries()


def test_a_cache_path_that_make_cannot_take_is_refused(build_tools, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "my cache"))
    with pytest.raises(BinariesError, match="blank"):
        find_binaries()


def test_an_unwritable_cache_is_an_error_for_a_person(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BinariesError, match="cannot make the cache folder"):
        find_binaries()


def test_a_relative_cache_home_is_ignored(monkeypatch):
    """The XDG base directory specification says so."""
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert kubernetes_build.cache_folder() == Path.home() / ".cache" / "extip"
