"""authentication.k8s.io/v1: which account a token is of."""

from extip.api.meta_v1 import KubernetesObject, Wire


class TokenReviewSpec(Wire, frozen=True):
    """The question."""

    token: str = ""


class UserInfo(Wire, frozen=True):
    """An account, as authorization knows it."""

    username: str = ""
    uid: str = ""
    groups: list[str] | None = None
    extra: dict[str, list[str]] | None = None


class TokenReviewStatus(Wire, frozen=True):
    """The answer."""

    authenticated: bool = False
    user: UserInfo = UserInfo()


class TokenReview(KubernetesObject, frozen=True):
    """The account of a token; creating it is asking."""

    spec: TokenReviewSpec = TokenReviewSpec()
    status: TokenReviewStatus = TokenReviewStatus()
