"""Keys and tokens of a lab's API server, made anew for each lab."""

import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.lab.errors import LabError


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Paths are valid inside and outside of the lab."""

    certificate: Path
    """Serving certificate, its own authority."""
    key: Path
    service_account_key: Path
    service_account_public_key: Path
    tokens: Path
    admin_token: str


def make_credentials(directory: Path, server_ip: str) -> Credentials:
    """Make a serving certificate for the address (and loopback), a signing key, an admin token."""
    directory.mkdir()
    credentials = Credentials(
        certificate=directory / "server.crt",
        key=directory / "server.key",
        service_account_key=directory / "service-account.key",
        service_account_public_key=directory / "service-account.pub",
        tokens=directory / "tokens.csv",
        admin_token=secrets.token_hex(16),
    )
    names = f"subjectAltName=IP:{server_ip},IP:127.0.0.1,DNS:localhost"
    curve = ["-pkeyopt", "ec_paramgen_curve:prime256v1"]
    _openssl(
        *("req", "-x509", "-newkey", "ec", *curve, "-nodes", "-days", "2"),
        *("-subj", "/CN=extip lab", "-addext", names),
        *("-keyout", str(credentials.key), "-out", str(credentials.certificate)),
    )
    key, public = str(credentials.service_account_key), str(credentials.service_account_public_key)
    _openssl("genpkey", "-algorithm", "EC", *curve, "-out", key)
    _openssl("pkey", "-in", key, "-pubout", "-out", public)
    credentials.tokens.write_text(f"{credentials.admin_token},admin,admin,system:masters\n")
    return credentials


def _openssl(*args: str) -> None:
    result = subprocess.run(["openssl", *args], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise LabError(f"openssl {args[0]}: {result.stderr.strip()}")
