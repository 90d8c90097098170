"""Bytes to structs and back, and the API server's refusals to errors. Pure.

The fast path decodes a whole list, or a whole watch line, in one go. Where that fails, the
objects are taken one by one. So an object that does not fit its struct never hides the others.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Generic, TypeVar

import msgspec
from msgspec.json import Decoder

from extip.api.meta_v1 import KubernetesObject, ListMeta, Status, Wire
from extip.api.resources import Resource
from extip.cache.listwatch import EventType, Page, Unreadable, WatchEvent
from extip.errors import (
    ApiAccessError,
    ApiError,
    ApiUnavailableError,
    ConflictError,
    ExpiredError,
    InvalidRequestError,
    NotFoundError,
    NotServedError,
)

T = TypeVar("T", bound=KubernetesObject)
I = TypeVar("I")  # noqa: E741 (an item of a list)

_DAMAGED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Errors of decoding: a wrong type, a string that is no UTF-8, and nesting that is too deep, also
in an ignored field."""

_NAMELESS = "an object without a name"

MAX_MESSAGE = 400
"""Characters of a server's message that go into an error."""


class _List(Wire, Generic[I], frozen=True):
    kind: str = "List"
    metadata: ListMeta = ListMeta()
    items: tuple[I, ...] | None = None


class _RawEvent(Wire, frozen=True):
    type: str = ""
    object: msgspec.Raw = msgspec.Raw(b"{}")


class _Version(Wire, frozen=True):
    major: str = ""
    minor: str = ""


class ResourceCodec(Generic[T]):
    """Decoders of one resource, built once: building one costs more than using it."""

    def __init__(self, resource: Resource[T]) -> None:
        self._resource = resource
        self._object: Decoder[T] = Decoder(resource.type)
        # The struct is known at run time only, which the type system cannot follow.
        self._list: Decoder[_List[T]] = Decoder(_List[resource.type])  # type: ignore[name-defined]
        self._event: Decoder[WatchEvent[T]] = Decoder(
            WatchEvent[resource.type]  # type: ignore[name-defined]
        )
        self._raw_list: Decoder[_List[msgspec.Raw]] = Decoder(_List[msgspec.Raw])
        self._raw_event = Decoder(_RawEvent)
        self._identity = Decoder(KubernetesObject)
        self._status = Decoder(Status)

    def encode(self, body: T) -> bytes:
        """Encode an object with its kind, which structs do not carry."""
        head = {"apiVersion": self._resource.api_version, "kind": self._resource.kind}
        fields = msgspec.json.encode(body)[1:]
        separator = b"" if fields == b"}" else b","
        return msgspec.json.encode(head)[:-1] + separator + fields

    def decode_object(self, body: bytes | bytearray) -> T:
        """Decode one object. Raises `InvalidRequestError` when it is none."""
        try:
            return self._object.decode(body)
        except _DAMAGED as error:
            raise InvalidRequestError(f"unreadable {self._resource.kind}: {error}") from error

    def decode_list(self, body: bytes | bytearray, *, request: str = "") -> Page[T]:
        """Decode a list. Raises `ApiUnavailableError` when the body is not a list at all.

        Something in between may answer 200 with JSON of its own. As a list without objects, that
        would take every address away; but any list of an API server has a version.
        """
        try:
            page = self._list.decode(body)
        except _DAMAGED:
            return self._decode_each(body, request)
        _require_list(page, request)
        if not all(item.metadata.name for item in page.items or ()):
            return self._decode_each(body, request)
        return Page(
            items=page.items or (),
            resource_version=page.metadata.resource_version,
            continue_token=page.metadata.continue_token,
        )

    def decode_event(self, line: bytes, *, request: str = "") -> WatchEvent[T] | Unreadable:
        """Decode one line of a watch stream.

        Raises what an ``ERROR`` event stands for, and `ApiUnavailableError` for garbage: a stream
        that is damaged once cannot be trusted further. Of a deleted object the identity is enough:
        where the rest does not decode, it has its defaults.
        """
        try:
            decoded = self._event.decode(line)
        except _DAMAGED as error:
            reason = str(error)
        else:
            if decoded.object.metadata.name or decoded.type is EventType.BOOKMARK:
                return decoded
            reason = _NAMELESS
        return self._decode_odd(line, reason, request)

    def _decode_odd(self, line: bytes, reason: str, request: str) -> WatchEvent[T] | Unreadable:
        """Make what can be made of an event that is no ordinary one, for the given reason."""
        try:
            event = self._raw_event.decode(line)
            if event.type == "ERROR":
                status = self._status.decode(event.object)
                raise error_of(status.code, status.message, reason=status.reason, request=request)
            if event.type not in EventType.__members__:
                text = f"unknown watch event {one_line(event.type)!r}"
                raise ApiUnavailableError(text, request=request)
        except _DAMAGED as error:
            raise ApiUnavailableError(
                f"unreadable watch event: {error}", request=request
            ) from error
        if event.type == EventType.BOOKMARK:  # nothing is lost by what is wrong with it
            return WatchEvent(EventType.BOOKMARK, self._version_only(event.object))
        if event.type == EventType.DELETED and (gone := self._bare(event.object)) is not None:
            return WatchEvent(EventType.DELETED, gone)
        return self._unreadable(event.object, reason)

    def _decode_each(self, body: bytes | bytearray, request: str) -> Page[T]:
        try:
            page = self._raw_list.decode(body)
        except _DAMAGED as error:
            raise ApiUnavailableError(f"unreadable list: {error}", request=request) from error
        _require_list(page, request)
        items: list[T] = []
        unreadable: list[Unreadable] = []
        for raw in page.items or ():
            try:
                item = self._object.decode(raw)
            except _DAMAGED as error:
                unreadable.append(self._unreadable(raw, str(error)))
            else:
                if item.metadata.name:
                    items.append(item)
                else:
                    unreadable.append(self._unreadable(raw, _NAMELESS))
        return Page(
            items=tuple(items),
            resource_version=page.metadata.resource_version,
            unreadable=tuple(unreadable),
            continue_token=page.metadata.continue_token,
        )

    def _bare(self, raw: msgspec.Raw) -> T | None:
        """Return the object with nothing but its identity; None when that is not readable."""
        try:
            identity = self._identity.decode(raw)
        except _DAMAGED:
            return None
        if not identity.metadata.name or not identity.metadata.resource_version:
            return None
        return self._object.decode(msgspec.json.encode(identity))

    def _version_only(self, raw: msgspec.Raw) -> T:
        """Return an object with nothing but the version, or not even that."""
        try:
            version = self._identity.decode(raw).metadata.resource_version
        except _DAMAGED:
            version = ""
        return self._object.decode(msgspec.json.encode({"metadata": {"resourceVersion": version}}))

    def _unreadable(self, raw: msgspec.Raw, reason: str) -> Unreadable:
        try:
            metadata = self._identity.decode(raw).metadata
        except _DAMAGED:
            return Unreadable(key="", resource_version="", reason=reason)
        return Unreadable(
            key=metadata.key if metadata.name else "",
            resource_version=metadata.resource_version,
            reason=reason,
        )


def _require_list(page: _List[I], request: str) -> None:
    if not page.metadata.resource_version or not page.kind.endswith("List"):
        raise ApiUnavailableError("the answer is not a list", request=request)


def version_of(body: bytes | bytearray, *, request: str) -> tuple[int, int]:
    """Return the major and minor version of Kubernetes; zeros for what is no number.

    Raises `ApiUnavailableError` when the body is something else: it is not the server's answer.
    """
    try:
        told = msgspec.json.decode(body, type=_Version)
    except _DAMAGED as error:
        raise ApiUnavailableError(f"the answer is no version: {error}", request=request) from error
    # Some vendors write "20+".
    major, minor = (text.rstrip("+") for text in (told.major, told.minor))
    return int(major) if major.isdecimal() else 0, int(minor) if minor.isdecimal() else 0


def error_of_body(
    status: int,
    body: bytes,
    *,
    request: str,
    retry_after_s: float | None = None,
    about_one: bool = False,
) -> ApiError:
    """Translate an HTTP status and its body: a Status object, or text from something in between.

    `about_one`: the request was about one object, so a 404 that names none is no word on it.
    """
    try:
        answer = msgspec.json.decode(body, type=Status)
    except _DAMAGED:
        answer = Status(message=body.decode(errors="replace"))
    if (
        status == HTTPStatus.NOT_FOUND
        and about_one
        and not (answer.details and answer.details.name)
    ):
        text = one_line(answer.message) or "no reason given"
        return NotServedError(
            f"{text} ({status})", request=request, status=status, retry_after_s=retry_after_s
        )
    return error_of(
        status, answer.message, reason=answer.reason, request=request, retry_after_s=retry_after_s
    )


def error_of(
    code: int,
    message: str,
    *,
    reason: str = "",
    request: str = "",
    retry_after_s: float | None = None,
) -> ApiError:
    """Return the error whose class tells the caller what to do about that answer."""
    text = one_line(message) or reason or "no reason given"
    if code == HTTPStatus.GONE or "too large resource version" in message.lower():
        return ExpiredError(f"{text} ({code})", request=request, status=code)
    if code in _TRANSIENT or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ApiUnavailableError(
            f"{text} ({code})", request=request, status=code, retry_after_s=retry_after_s
        )
    advice = _ADVICE.get(code, "")
    return _BY_STATUS.get(code, InvalidRequestError)(
        f"{advice}{text} ({code})", request=request, status=code
    )


_TRANSIENT = {0, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}

_BY_STATUS: Mapping[int, type[ApiError]] = {
    HTTPStatus.UNAUTHORIZED: ApiAccessError,
    HTTPStatus.FORBIDDEN: ApiAccessError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
}

_ADVICE: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "the API server does not accept the credentials: ",
    HTTPStatus.FORBIDDEN: "RBAC does not allow it: ",
}


def one_line(text: str) -> str:
    """Return the text on one line, cut where it is no longer a message but a page."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_MESSAGE else line[: MAX_MESSAGE - 1] + "…"
