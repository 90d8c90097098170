"""authorization.k8s.io/v1: whether an account may do something."""

from extip.api.meta_v1 import KubernetesObject, Wire


class ResourceAttributes(Wire, frozen=True):
    """A verb on a resource."""

    namespace: str = ""
    """Empty for all namespaces."""
    verb: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    """Empty for all objects."""


class AccessReviewSpec(Wire, frozen=True):
    """The question."""

    resource_attributes: ResourceAttributes = ResourceAttributes()


class AccessReviewStatus(Wire, frozen=True):
    """The answer."""

    allowed: bool = False


class SelfSubjectAccessReview(KubernetesObject, frozen=True):
    """Whether the account that asks may do something; creating it is asking."""

    spec: AccessReviewSpec = AccessReviewSpec()
    status: AccessReviewStatus = AccessReviewStatus()
