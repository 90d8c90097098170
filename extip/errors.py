"""The whole exception tree, split by what the caller does about it.

::

    ExtipError
    ├── FatalError                the process cannot go on: one line for a person, exit code 1
    │   ├── ConfigurationError    a flag, file or environment is wrong: exit code 2
    │   ├── AlreadyRunningError   another controller has this node: exit code 3
    │   ├── PermissionDeniedError the kernel refuses (a capability is missing): exit code 4
    │   ├── UnansweredError       a command that asks the cluster got no answer: exit code 5
    │   ├── OutputError           a command could not write its answer: exit code 6
    │   ├── InterruptedByUserError Ctrl-C in a command that a person runs: exit code 130
    │   └── StoppedError          told to stop before anything was up: exit code 0
    ├── ApiError                  the API server, or the way to it; of a command: exit code 5
    │   ├── ApiUnavailableError   retry with backoff: network, time-out, 429, 5xx
    │   │   └── NotServedError    404 that is not about the object: nothing is known of it
    │   ├── ApiAccessError        401 or 403: a person must mend it; retried slowly
    │   ├── NotFoundError         404
    │   ├── ConflictError         409: read again, then decide again
    │   ├── ExpiredError          410, or a resourceVersion from the future: list again
    │   └── InvalidRequestError   400, 405, 415, 422 and the rest: our request is wrong
    └── LinkError                 the kernel's view of the node
        ├── LinkNotFoundError     no interface of that name (now): wait for it
        └── NetlinkError          any other errno, which it carries

Errors of libraries are translated in the adapter that calls them (`extip.kube`, `extip.net`) and
chained, so that nothing above imports a library to catch its errors.
"""

import errno as errno_names
import os


class ExtipError(Exception):
    """Base of everything that extip raises on purpose."""

    exit_code = 1
    """Exit code of a process that this error ends."""


class FatalError(ExtipError):
    """The process cannot go on; its text is one line that tells a person what to do."""


class ConfigurationError(FatalError):
    """A flag, a file or the environment is wrong."""

    exit_code = 2


class AlreadyRunningError(FatalError):
    """Another controller owns this network namespace."""

    exit_code = 3


class PermissionDeniedError(FatalError):
    """The kernel refuses what a controller lives from: a capability is missing."""

    exit_code = 4


class UnansweredError(FatalError):
    """A command that asks the cluster got no answer that it could use."""

    exit_code = 5


class OutputError(FatalError):
    """A command could not write its answer to standard output."""

    exit_code = 6


class InterruptedByUserError(FatalError):
    """Ctrl-C ended a command that a person runs; its text says what was left half-done."""

    exit_code = 130  # as a shell shows for SIGINT: 128 + 2


class StoppedError(FatalError):
    """A signal said to stop while the process was still starting."""

    exit_code = 0


class ApiError(ExtipError):
    """A request to the API server failed; `request` says which (`list services`)."""

    exit_code = 5

    def __init__(self, message: str, *, request: str = "", status: int = 0) -> None:
        super().__init__(f"{request}: {message}" if request else message)
        self.request = request
        self.status = status
        """HTTP status code; 0 when there was no answer."""


class ApiUnavailableError(ApiError):
    """No answer, or one that asks to come back later (429, 5xx)."""

    def __init__(
        self,
        message: str,
        *,
        request: str = "",
        status: int = 0,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, request=request, status=status)
        self.retry_after_s = retry_after_s
        """Seconds from the `Retry-After` header; None when there was none."""


class NotServedError(ApiUnavailableError):
    """404 that names no object, to a request about one.

    A server that is starting may not serve a kind yet, and something in between may answer in its
    place. The object may well be there.
    """


class ApiAccessError(ApiError):
    """401 or 403; the text names the verb and resource that are missing."""


class NotFoundError(ApiError):
    """404: there is no such object; of a list, no such kind."""


class ConflictError(ApiError):
    """409: the object exists already, or changed since it was read."""


class ExpiredError(ApiError):
    """410: the resourceVersion is too old (or unknown to this server); list again."""


class InvalidRequestError(ApiError):
    """The server understood the request and rejects it: repeating it cannot help."""


class LinkError(ExtipError):
    """The kernel refused something about an interface or an address."""


class LinkNotFoundError(LinkError):
    """There is no interface of that name in this network namespace."""


class NetlinkError(LinkError):
    """A netlink request failed with an errno, for instance ``EEXIST``."""

    def __init__(self, errno: int, request: str) -> None:
        name = errno_names.errorcode.get(errno, str(errno))
        super().__init__(f"{request}: {name} ({os.strerror(errno)})")
        self.errno = errno
