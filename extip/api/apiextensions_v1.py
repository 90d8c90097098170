"""apiextensions.k8s.io/v1: as much of a CustomResourceDefinition as is needed to manage our own.

The spec is kept as the JSON it is: `extip.definitions.documents` writes it, and only the API server
reads it.
"""

from msgspec import Raw

from extip.api.meta_v1 import Condition, FullObject, Wire


class CustomResourceDefinitionStatus(Wire, frozen=True):
    """How far the API server has got with it."""

    conditions: tuple[Condition, ...] | None = None
    """``Established`` is True once objects of the kind can be written."""


class CustomResourceDefinition(FullObject, frozen=True):
    """An apiextensions.k8s.io/v1 CustomResourceDefinition."""

    spec: Raw = Raw(b"{}")
    status: CustomResourceDefinitionStatus = CustomResourceDefinitionStatus()

    @property
    def established(self) -> bool:
        """Whether objects of the kind can be read and written."""
        return any(
            condition.type == "Established" and condition.status == "True"
            for condition in self.status.conditions or ()
        )
