"""meta/v1: what every Kubernetes object carries, as far as extip reads or writes it.

Wire types hold strings, ignore fields that they do not name, and have a default for every field,
because a watch bookmark carries nothing but a resourceVersion. They are outside the garbage
collector (``gc=False``): a cache of 10,000 objects then costs its passes nothing, and frozen
trees of strings cannot form a cycle.

JSON ``null`` is legal wherever Go has a nil slice or map, so those fields are ``| None``.
"""

from msgspec import Struct, field


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

    @property
    def key(self) -> str:
        """``namespace/name``, or ``name`` for a cluster-scoped object, as client-go keys caches."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class KubernetesObject(Wire, frozen=True):
    """Anything with metadata; base of the kinds."""

    metadata: ObjectMeta = ObjectMeta()


class ListMeta(Wire, frozen=True):
    """The head of a list."""

    resource_version: str = ""
    continue_token: str = field(default="", name="continue")
    """Not empty when the list was cut at `limit`."""


class Status(Wire, frozen=True):
    """How the API server says no."""

    message: str = ""
    reason: str = ""
    code: int = 0
