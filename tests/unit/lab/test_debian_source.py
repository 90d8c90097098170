"""Source packages are fetched from the machine's own mirrors, whatever way it lists them."""

from tests.lab.debian_source import debian_version, source_entries


def test_deb822_stanzas_keep_their_options_and_become_sources():
    text = """\
# the archive
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
# non-free is not wanted
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb deb-src
URIs: http://other.example/apt
Suites: stable
Components: tools mainly
"""
    assert source_entries(text, deb822=True) == (
        "Types: deb-src\n"
        "URIs: http://mirror.example/debian\n"
        "Suites: bookworm bookworm-updates\n"
        "Components: main contrib\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
    )


def test_one_line_entries_become_sources_once():
    text = """\
# deb http://commented.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main # comment
deb http://mirror.example/security bookworm-security main
deb-src http://mirror.example/security bookworm-security main

deb http://other.example/apt stable tools
"""
    assert source_entries(text, deb822=False) == (
        "deb-src [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main\n"
        "deb-src http://mirror.example/security bookworm-security main\n"
    )


def test_the_debian_version_that_hides_the_upstream_one_is_found():
    records = "Package: kubernetes\nVersion: 1.20.5+really1.20.2-1.1+deb12u1\nFormat: 3.0\n"
    assert debian_version(records, "1.20.2") == "1.20.5+really1.20.2-1.1+deb12u1"
    assert debian_version("Version: 1.20.2-1\n", "1.20.2") == "1.20.2-1"


def test_other_versions_are_not_mistaken():
    for version in ("1.20.5-1", "11.20.2-1", "1.20.20-1", "4.1.20.2-1", "1.32.3+ds-2"):
        assert debian_version(f"Version: {version}\n", "1.20.2") is None
    assert debian_version("", "1.20.2") is None
