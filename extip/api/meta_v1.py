"""meta/v1: what every Kubernetes object carries, as far as extip reads or writes it.

Wire types hold strings, ignore fields that they do not name, and have a default for every field,
because a watch bookmark carries nothing but a resourceVersion. They are outside the garbage
collector (``gc=False``): a cache of 10,000 objects then costs its passes nothing, and frozen
trees of strings cannot form a cycle.

JSON ``null`` is legal wherever Go has a nil slice or map, so those fields are ``| None``.
"""

from msgspec import Raw, Struct, field

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
    """Whose deletion deletes this object; cluster-scoped ones have cluster-scoped owners only."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""


class FieldOwnership(Wire, frozen=True):
    """An entry of ``managedFields``, where it matters who owns which field."""

    manager: str = ""
    """Of a client that does not apply: the first word of its user agent."""
    time: str | None = None
    """RFC 3339 in UTC: when it last changed one of its fields."""
    fields_v1: Raw = Raw(b"{}")
    """JSON, with an ``f:`` before each field's name."""


class OwnedMeta(ObjectMeta, frozen=True):
    """Metadata of an object that somebody else writes to."""

    managed_fields: tuple[FieldOwnership, ...] | None = None


class FieldOwner(Wire, frozen=True):
    """An entry of ``managedFields``; all that matters is that there is one."""


NO_FIELD_OWNERS = (FieldOwner(),)
"""What clears ``managedFields`` when it is written: one empty entry (Kubernetes documentation,
Server-Side Apply, "Clearing managedFields"). The server then stops to book who owns which field
until somebody applies, which is half the work of each write and more than half of an object."""


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
    """One observation about an object (meta/v1 Condition)."""

    type: str = ""
    status: str = ""
    """``True``, ``False`` or ``Unknown``."""
    reason: str = ""
    """CamelCase, for machines; never empty."""
    message: str = ""
    """For a person; may be empty."""
    last_transition_time: str = ""
    """RFC 3339 in UTC: when `status` last changed."""
    observed_generation: int = 0
    """Generation of the object that this was observed for; 0 when not known."""


class LabelSelectorRequirement(Wire, frozen=True):
    """One expression over a label."""

    key: str = ""
    operator: str = ""
    """``In``, ``NotIn``, ``Exists`` or ``DoesNotExist``."""
    values: tuple[str, ...] | None = None


class LabelSelector(Wire, frozen=True):
    """Labels that must match, all of them; an empty selector matches everything."""

    match_labels: dict[str, str] | None = None
    match_expressions: tuple[LabelSelectorRequirement, ...] | None = None


class ListMeta(Wire, frozen=True):
    """The head of a list."""

    resource_version: str = ""
    continue_token: str = field(default="", name="continue")
    """Not empty when the list was cut at `limit`."""


class StatusDetails(Wire, frozen=True):
    """What a Status is about."""

    name: str = ""
    """Of the object; empty when it is about none."""


class Status(Wire, frozen=True):
    """How the API server says no."""

    message: str = ""
    reason: str = ""
    code: int = 0
    details: StatusDetails | None = None
