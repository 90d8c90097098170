"""Documents of manifests and lists → structs; what cannot be read is a remark. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import msgspec

from extip.api.core_v1 import DetailedServiceSpec, ServiceStatus
from extip.api.meta_v1 import FullObjectMeta, Wire
from extip.migrate.policy.result import Result
from extip.services.policy.requests import cut

T = TypeVar("T", bound="Foreign")

Document = Mapping[str, object]


class Foreign(Wire, frozen=True):
    """An object as its manifest has it; base of the kinds of other programs."""

    api_version: str = ""
    kind: str = ""
    metadata: FullObjectMeta = FullObjectMeta()

    @property
    def where(self) -> str:
        """The object as remarks name it."""
        return f"{self.kind} {self.metadata.key}"

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return self.metadata.labels or {}

    @property
    def annotations(self) -> dict[str, str]:
        """Its annotations."""
        return self.metadata.annotations or {}


class ServiceDocument(Foreign, frozen=True):
    """A core/v1 Service with all of its annotations."""

    spec: DetailedServiceSpec = DetailedServiceSpec()
    status: ServiceStatus = ServiceStatus()


@dataclass(frozen=True, slots=True)
class Documents:
    """All documents of the input."""

    found: tuple[Document, ...]

    def read(
        self,
        kind: str,
        type_: type[T],
        result: Result,
        *,
        group: str = "",
        spec: type[Wire] | None = None,
    ) -> list[T]:
        """Return the objects of a kind, in order; each one that cannot be read is a remark.

        With the type of its `spec`, so is each field of it that has no meaning here.
        """
        objects: list[T] = []
        for document in self.found:
            if kind_of(document) != kind or group_of(document) != group:
                continue
            try:
                objects.append(msgspec.convert(document, type_))
            except msgspec.ValidationError as error:
                where = f"{kind} {_name(document)}"
                result.lose(where, f"it cannot be read: {error}", "correct it, and run this again")
                continue
            if spec is not None:
                known = spec.__struct_encode_fields__
                _tell_unknown(document, known, objects[-1].where, result)
        return objects

    def services(self, result: Result) -> list[ServiceDocument]:
        """Return the services."""
        return self.read("Service", ServiceDocument, result)

    def others(self, known: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
        """Yield group, kind and name of each document of no known group and kind."""
        kinds = {("", "Service"), *known}
        for document in self.found:
            group, kind = group_of(document), kind_of(document)
            if (group, kind) not in kinds:
                yield group, kind, _name(document)


def flatten(documents: Sequence[object], result: Result, source: str) -> list[Document]:
    """Return the objects in some documents: those of a List one by one."""
    found: list[Document] = []
    for number, document in enumerate(documents, 1):
        if document is None:
            continue
        if not isinstance(document, dict):
            what = f"{source}, document {number}"
            result.lose(what, "it is no Kubernetes object", "leave it out, or correct it")
            continue
        whole = cast("Document", document)
        items = whole.get("items")
        if kind_of(whole).endswith("List") and isinstance(items, list):
            kind = kind_of(whole).removesuffix("List")
            head = {"apiVersion": whole.get("apiVersion", "")}
            # The items of a typed list do not say their kind.
            inherited = {**head, "kind": kind} if kind else {}
            found += (
                {**inherited, **child}
                for child in flatten(cast("list[object]", items), result, source)
            )
        else:
            found.append(whole)
    return found


def kind_of(document: Document) -> str:
    """Return the kind of a document; empty where it says none."""
    kind = document.get("kind")
    return kind if isinstance(kind, str) else ""


def group_of(document: Document) -> str:
    """Return the API group of a document; empty for the core group."""
    version = document.get("apiVersion")
    return version.rpartition("/")[0] if isinstance(version, str) else ""


def _name(document: Document) -> str:
    """Return namespace and name as far as they can be read."""
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        return "without a name"
    fields = cast("Document", metadata)
    parts = (fields.get("namespace"), fields.get("name"))
    return cut("/".join(str(part) for part in parts if part)) or "without a name"


def _tell_unknown(document: Document, known: Collection[str], where: str, result: Result) -> None:
    """Remark on fields of the spec that nothing here reads."""
    spec = document.get("spec")
    if not isinstance(spec, dict):
        return
    for name in sorted(str(key) for key in cast("Document", spec) if key not in known):
        result.lose(
            f"{where}, spec.{cut(name)}",
            "this field is not known to extip migrate",
            "look up its meaning, and set it by hand where extip has it",
        )
