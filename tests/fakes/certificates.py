"""Certificates that openssl makes, each its own authority."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

NAME = "extip-metrics"


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key."""

    certificate: Path
    key: Path

    def put_in_place_of(self, other: "Pair") -> None:
        """Rename the files to those of the other pair, the certificate first."""
        self.certificate.replace(other.certificate)
        self.key.replace(other.key)

    def client(self) -> ssl.SSLContext:
        """Return what a client needs that trusts this certificate alone."""
        return ssl.create_default_context(cafile=self.certificate)


def make(folder: Path, name: str, *options: str) -> Pair:
    """Make a certificate for `NAME`; without options the key has no passphrase."""
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command = ["openssl", "req", "-x509", *curve, "-days", "2", "-subj", f"/CN={name}"]
    names = ["-addext", f"subjectAltName=DNS:{NAME}"]
    files = ["-keyout", str(pair.key), "-out", str(pair.certificate)]
    done = subprocess.run(
        [*command, *names, *(options or ("-nodes",)), *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return pair
