"""The external IPs that services write are those of a look at all services, after any history."""

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from extip.net.interfaces import IPAddress
from extip.net.networks import Networks
from extip.services.explicit_ips import ExplicitIPs
from extip.services.policy.permissions import Permissions
from extip.services.policy.refusal import Reason, Refusal
from extip.services.policy.requests import Masks, Owner, Request
from extip.services.policy.written_ips import WrittenIPs, collect_written

MASKS = Masks()
PERMISSIONS = Permissions(
    everyone=Networks(frozenset({ip_network("10.0.0.0/24")})),
    by_namespace={"a": Networks(frozenset({ip_network("10.0.1.0/24")}))},
)
TEXTS = ("10.0.0.1", "10.0.0.2", "fd00::1", "fd00:0::1", "10.0.1.1", "nonsense", "10.0.0.1/24")
KEYS = ("a/web", "a/mail", "b/web")
HEADLESS = Refusal(Reason.NOT_PROXIED, "it is headless")


def service(key, uid, texts, refusal=None):
    namespace, _, name = key.partition("/")
    owner = Owner(kind="Service", namespace=namespace, name=name, uid=uid)
    return WrittenIPs(owner, tuple(texts), refusal)


SERVICE = st.tuples(
    st.sampled_from(KEYS),
    st.sampled_from("12"),
    st.lists(st.sampled_from(TEXTS), max_size=3, unique=True),
    st.sampled_from([None, None, None, HEADLESS]),
)


class Follower:
    """Services as they come and go, and a reader of what has changed."""

    def __init__(self):
        self.services: dict[str, WrittenIPs] = {}
        self.news: set[IPAddress] = set()
        self.calls = 0
        self.follower: ExplicitIPs[WrittenIPs] = ExplicitIPs(
            get=self.services.get,
            extract=lambda one: one if one.texts else None,
            parse=MASKS.parse,
            permit=PERMISSIONS.refuse,
            on_change=self._tell,
        )
        self.read: dict[IPAddress, Request] = {}

    def _tell(self, ips):
        self.calls += 1
        self.news |= {*ips}

    def put(self, key, uid, texts, refusal=None):
        self.services[key] = service(key, uid, texts, refusal)
        self.follower.update(key)

    def delete(self, key):
        self.services.pop(key, None)
        self.follower.update(key)

    def read_on(self, most):
        while True:
            changes = self.follower.changes(most)
            assert len(changes) <= most
            for ip, request in changes.items():
                self.read.pop(ip, None)
                if request is not None:
                    self.read[ip] = request
            if not self.follower.pending:
                return

    def expected(self):
        written = (one for one in self.services.values() if one.texts)
        return collect_written(written, MASKS.parse, PERMISSIONS.refuse)


@given(st.lists(st.one_of(SERVICE, st.sampled_from(KEYS)), max_size=12), st.integers(1, 3))
def test_they_are_those_of_a_look_at_everything(steps, most):
    world = Follower()
    for step in steps:
        before = {**world.follower.by_ip}
        world.news.clear()
        if isinstance(step, str):
            world.delete(step)
        else:
            world.put(*step)
        expected = world.expected()
        now = {one.ip: (one, owners) for one, owners in expected.wanted.items()}
        assert world.follower.by_ip == now
        assert world.news == {i for i in {*before, *now} if before.get(i) != now.get(i)}
        rejected = world.follower.rejected()
        assert rejected.malformed == expected.malformed
        assert {*rejected.denied} == {*expected.denied}
        assert not rejected.wanted
        assert world.follower.rejected() is rejected
        world.read_on(most)
        assert world.read == now


def test_a_denied_request_is_news_and_one_that_is_as_before_is_not():
    world = Follower()
    world.put("b/web", "1", ["10.0.1.1"])
    assert (world.calls, world.news) == (1, set())
    world.put("b/web", "1", ["10.0.1.1"])
    assert world.calls == 1
    rejected = world.follower.rejected()
    world.put("b/mail", "1", ["10.0.0.1"])
    assert world.follower.rejected() is rejected, "another service makes no difference"


def test_the_next_reader_gets_all():
    world = Follower()
    for key in KEYS:
        world.put(key, "1", ["10.0.0.1", "10.0.0.2"])
    assert len(world.follower.changes()) == 2
    assert world.follower.changes() == {}
    world.follower.forget()
    assert world.follower.pending
    assert len(world.follower.changes(1)) == 1
    assert len(world.follower.changes(1)) == 1
    assert not world.follower.pending
