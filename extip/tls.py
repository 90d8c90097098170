"""The certificate of a server, read anew when its files change.

TLS itself is `ssl` of the standard library: OpenSSL, as the operating system's makers keep it.
"""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from extip import log
from extip.errors import ConfigurationError
from extip.log import Logger

_Version = tuple[tuple[int, int, int], ...]
"""Tells one content of the files from another, without reading them."""


@dataclass(slots=True)
class Certificate:
    """A certificate with its chain, and its private key: two PEM files.

    Whoever renews them needs to tell nobody: the files are looked at for each new connection. A
    link that leads to another file counts, too: so a kubelet changes what is mounted.
    """

    certificate: Path
    key: Path
    flag: str
    """The flag that names the certificate, for the text of an error."""
    logger: Logger = field(default_factory=lambda: log.get_logger("tls"))
    _context: ssl.SSLContext = field(init=False)
    _tried: _Version | None = None
    """The version that was read last, successfully or not."""

    def load(self) -> None:
        """Read the files. Raises ConfigurationError when they are of no use."""
        self._tried = self._version()
        try:
            self._context = self._read()
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{self.flag}: {self._explain(error)}") from error

    def context(self) -> ssl.SSLContext:
        """Return what a new connection needs, from the files as they are now; `load` comes before.

        While they are of no use the former content counts. A file may be half written, or a
        certificate may not have its new key yet.
        """
        version = self._version()
        if version != self._tried:
            self._tried = version
            try:
                self._context = self._read()
            except (OSError, ValueError) as error:
                self.logger.warning("certificate_not_renewed", reason=self._explain(error))
            else:
                self.logger.info("certificate_renewed", file=str(self.certificate))
        return self._context

    def _version(self) -> _Version:
        return tuple(_version_of(path) for path in (self.certificate, self.key))

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION  # much work for little of the client's
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self.certificate, self.key, _no_password)
        return context

    def _explain(self, error: OSError | ValueError) -> str:
        """Say in one line what is wrong; nothing of the files' content is in it."""
        pair = f"{self.certificate} and {self.key}"
        match error:
            case ssl.SSLError(reason="KEY_VALUES_MISMATCH"):
                return f"{pair} do not belong together: the key is another certificate's"
            case ssl.SSLError(reason=None):
                return f"{pair} are not a certificate and its key in PEM"
            case ssl.SSLError():
                return f"{pair} are refused by OpenSSL: {error.reason}"
            case OSError():
                unreadable = [path for path in (self.certificate, self.key) if not _readable(path)]
                names = " and ".join(map(str, unreadable)) or pair
                return f"{names} cannot be read: {error.strerror}"
            case _:
                return f"{pair}: {error}"


def _version_of(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return found.st_ino, found.st_ctime_ns, found.st_size  # ctime: of rights, too


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def _no_password() -> str:
    """Refuse a key that needs one; without this, OpenSSL asks at the terminal."""
    raise ValueError("the key has a passphrase; write it without one")
