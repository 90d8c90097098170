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


class NonResourceAttributes(Wire, frozen=True):
    """A verb on a path of HTTP."""

    path: str = ""
    verb: str = ""


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


class SubjectAccessReviewSpec(Wire, frozen=True):
    """The question about another account, with all that is known of it."""

    user: str = ""
    uid: str = ""
    groups: list[str] | None = None
    extra: dict[str, list[str]] | None = None
    non_resource_attributes: NonResourceAttributes = NonResourceAttributes()


class SubjectAccessReview(KubernetesObject, frozen=True):
    """Whether another account may do something; creating it is asking."""

    spec: SubjectAccessReviewSpec = SubjectAccessReviewSpec()
    status: AccessReviewStatus = AccessReviewStatus()
