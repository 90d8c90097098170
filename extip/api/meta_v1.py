"""meta/v1: the metadata of every Kubernetes object, as far as extip reads or writes them.

Wire types hold strings and ignore fields that they do not name. Every field has a default, since a
watch bookmark carries only a resourceVersion. Wire types are outside the garbage collector
(``gc=False``): frozen trees of strings cannot form a cycle, and a cache of 10,000 objects then
costs a collection nothing.

JSON ``null`` is legal wherever Go has a nil slice or map, so those fields are ``| None``.
"""

from typing import Annotated

from msgspec import Raw, Struct, field

from extip.api.schema import ATOMIC, INT64, TIME, says

_MAX_VERSION = 20
"""Digits of the largest 64-bit number."""


class Wire(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """Base of the wire types; fields that have their default are left out when encoding.

    The settings are inherited; subclasses repeat ``frozen`` for the type checker alone.
    """


class ObjectMeta(Wire, frozen=True):
    """Identity and version; labels and annotations stay out of memory until something reads them.

    Label selectors are evaluated by the API server.
    """

    name: str = ""
    namespace: str = ""
    """Empty for cluster-scoped objects."""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    """RFC 3339 in UTC, to the second; ``null`` in bookmarks."""

    @property
    def key(self) -> str:
        """``namespace/name``, or ``name`` for a cluster-scoped object, as client-go keys caches."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def created(self) -> str:
        """The time of creation as text that sorts; empty when it is not said."""
        return self.creation_timestamp or ""


def parse_version(text: str) -> int:
    """Return a resourceVersion as the number that it is, which grows with each change (KEP-5504).

    0 for anything else.
    """
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MAX_VERSION else 0


class KubernetesObject(Wire, frozen=True):
    """Anything with metadata; base of the kinds."""

    metadata: ObjectMeta = ObjectMeta()


class OwnerReference(Wire, frozen=True):
    """An owner: its deletion deletes this object. A cluster-scoped object has such owners only."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""


class FieldOwnership(Wire, frozen=True):
    """An entry of ``managedFields``, where it matters who owns which field."""

    manager: str = ""
    """For a client that does not apply, the first word of its user agent."""
    operation: str = ""
    """``Apply`` (server-side apply), or ``Update``."""
    time: str | None = None
    """RFC 3339 in UTC: when it last changed one of its fields."""
    fields_v1: Raw = Raw(b"{}")
    """JSON, with an ``f:`` before each field's name."""


class OwnedMeta(ObjectMeta, frozen=True):
    """Metadata of an object that somebody else writes to."""

    managed_fields: tuple[FieldOwnership, ...] | None = None


class FieldOwner(Wire, frozen=True):
    """An entry of ``managedFields``; only its presence matters."""


NO_FIELD_OWNERS = (FieldOwner(),)
"""One empty entry, which clears ``managedFields`` when it is written (Kubernetes documentation,
Server-Side Apply, "Clearing managedFields"). The server then records no field owners until the next
apply. Field owners are half of the work of each write, and more than half of an object."""


class FullObjectMeta(ObjectMeta, frozen=True):
    """All metadata that a writer must give back in a PUT, for kinds of which there are few.

    What a PUT leaves out is gone afterwards, but for what the server itself sets.
    """

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    finalizers: tuple[str, ...] | None = None
    owner_references: tuple[OwnerReference, ...] | None = None
    generation: int = 0
    """Counts changes of the spec."""
    deletion_timestamp: str | None = None
    """Set once the object is being deleted and finalizers keep it."""
    managed_fields: tuple[FieldOwner, ...] | None = None


class FullObject(KubernetesObject, frozen=True):
    """Anything with all its metadata; base of the kinds that extip writes."""

    metadata: FullObjectMeta = FullObjectMeta()


class Condition(Wire, frozen=True):
    """One observation.

    A meta/v1 Condition.
    """

    type: Annotated[str, says("What was observed.", required=True, maxLength=316)] = ""
    status: Annotated[
        str, says("Whether it is so.", required=True, enum=["True", "False", "Unknown"])
    ] = ""
    reason: Annotated[str, says("Why, in one CamelCase word.", required=True, maxLength=1024)] = ""
    """Never empty."""
    message: Annotated[str, says("Why, for a person.", maxLength=32768)] = ""
    last_transition_time: Annotated[
        str, says("When the status last changed.", required=True, **TIME)
    ] = ""
    observed_generation: Annotated[
        int, says("Generation of the object that was looked at.", **INT64, minimum=0)
    ] = 0
    """0 when not known."""


_MOST_EXPRESSIONS = 64
"""Expressions in a selector, and values in one of them."""


class LabelSelectorRequirement(Wire, frozen=True):
    """One expression over a label."""

    key: Annotated[str, says("The label.", required=True)] = ""
    operator: Annotated[
        str,
        says("How it is compared.", required=True, enum=["In", "NotIn", "Exists", "DoesNotExist"]),
    ] = ""
    values: Annotated[
        tuple[str, ...] | None,
        says("Values for In and NotIn.", maxItems=_MOST_EXPRESSIONS, **ATOMIC),
    ] = None


class LabelSelector(Wire, frozen=True):
    """Labels that must match, all of them; an empty selector matches everything."""

    match_labels: Annotated[dict[str, str] | None, says("Labels that must have these values.")] = (
        None
    )
    match_expressions: Annotated[
        tuple[LabelSelectorRequirement, ...] | None,
        says("Expressions that must all hold.", maxItems=_MOST_EXPRESSIONS, **ATOMIC),
    ] = None


class ListMeta(Wire, frozen=True):
    """The head of a list."""

    resource_version: str = ""
    continue_token: str = field(default="", name="continue")
    """Not empty when the list was cut at `limit`."""


class StatusDetails(Wire, frozen=True):
    """The object or resource of a Status."""

    name: str = ""
    """The uid of the object; empty without an object."""


class Status(Wire, frozen=True):
    """How the API server says no."""

    message: str = ""
    reason: str = ""
    code: int = 0
    details: StatusDetails | None = None
