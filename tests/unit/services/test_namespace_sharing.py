"""An IP is of one namespace: of who has it, else of who was first."""

from ipaddress import ip_interface

from hypothesis import given
from hypothesis import strategies as st

from extip.services.policy.namespace_sharing import namespaces_of, resolve_sharing
from extip.services.policy.refusal import Reason
from extip.services.policy.requests import Owner, Requests

IP = ip_interface("10.0.0.1/32")
OTHER = ip_interface("10.0.0.2/32")


def owner(namespace, name, created="2026-01-01T00:00:00Z", uid=""):
    return Owner(kind="Service", namespace=namespace, name=name, uid=uid or name, created=created)


def nobody(_ip):
    return ()


def settled(*owners, having=nobody):
    requests = Requests(wanted={IP: tuple(sorted(owners))})
    return resolve_sharing(requests, having)


def test_services_of_one_namespace_share():
    requests = Requests(wanted={IP: (owner("a", "x"), owner("a", "y")), OTHER: (owner("b", "z"),)})
    assert resolve_sharing(requests, nobody) is requests


def test_the_first_has_it_and_the_others_are_told_who():
    first, second = owner("b", "first"), owner("a", "second", "2026-01-01T00:00:01Z")
    found = settled(first, second)
    assert found.wanted == {IP: (first,)}
    (denied,) = found.denied
    assert (denied.text, denied.owner) == ("10.0.0.1", second)
    assert denied.refusal.reason is Reason.OTHER_NAMESPACE
    assert "namespace b," in denied.refusal.message


def test_namespaces_that_share_by_permission_keep_it_together():
    one, two = owner("a", "x"), owner("b", "y")
    third = owner("c", "z", "2020-01-01T00:00:00Z")
    permitted = Requests(wanted={IP: (one, two)})
    assert resolve_sharing(permitted, nobody, lambda _: {"a", "b"}) is permitted
    found = resolve_sharing(
        Requests(wanted={IP: (one, two, third), OTHER: (one, third)}),
        nobody,
        lambda ip: {"a", "b"} if ip == IP.ip else (),
    )
    assert found.wanted == {IP: (one, two), OTHER: (third,)}
    assert [(denied.text, denied.owner) for denied in found.denied] == [
        ("10.0.0.1", third),
        ("10.0.0.2", one),
    ]
    assert "namespace a, b," in found.denied[0].refusal.message


def test_what_the_others_are_told_stays_whichever_services_of_the_namespace_there_are():
    """A text that changes is told anew, with another Event."""
    loser = owner("a", "loser", "2026-01-01T00:00:01Z")
    one, two = owner("b", "one", uid="1"), owner("b", "two", uid="2")
    assert (
        settled(one, loser).denied == settled(two, loser).denied == settled(one, two, loser).denied
    )


def test_in_the_same_second_the_uid_decides():
    one, two = owner("a", "x", uid="2"), owner("b", "y", uid="1")
    assert settled(one, two).wanted == {IP: (two,)}


def test_who_has_it_keeps_it_however_old_the_others_are():
    old, new = owner("a", "old", "2020-01-01T00:00:00Z"), owner("b", "new")
    assert settled(old, new, having=lambda _: {"b"}).wanted == {IP: (new,)}
    assert settled(old, new, having=lambda _: {"c"}).wanted == {IP: (old,)}


def test_the_namespace_of_the_first_has_it_whole():
    first, third = owner("a", "x", "2020"), owner("a", "y", "2022")
    assert settled(first, owner("b", "z", "2021"), third).wanted == {IP: (first, third)}


owners = st.builds(
    owner,
    st.sampled_from("abc"),
    st.sampled_from("xyz"),
    st.sampled_from(["", "2020", "2021"]),
    st.sampled_from("123"),
)
asked = st.dictionaries(st.sampled_from([IP, OTHER]), st.sets(owners, min_size=1))


@given(asked, asked, st.randoms())
def test_nothing_is_stolen_lost_or_left_to_chance(before, after, rng):
    def shuffled(wanted):
        mixed = {}
        for interface in rng.sample(list(wanted), len(wanted)):
            mixed[interface] = tuple(rng.sample(sorted(wanted[interface]), len(wanted[interface])))
        return Requests(wanted=mixed)

    had = namespaces_of(resolve_sharing(shuffled(before), nobody).wanted)
    found = resolve_sharing(shuffled(after), lambda ip: had.get(ip, ()))
    again = resolve_sharing(shuffled(after), lambda ip: had.get(ip, ()))
    assert {i: set(o) for i, o in found.wanted.items()} == {
        i: set(o) for i, o in again.wanted.items()
    }
    assert found.wanted.keys() == after.keys()
    for interface, holders in found.wanted.items():
        (namespace,) = {holder.namespace for holder in holders}
        denied = {d.owner for d in found.denied if d.text == str(interface.ip)}
        assert set(holders) | denied == after[interface]
        assert not set(holders) & denied
        keeps = had.get(interface.ip, frozenset()) & {o.namespace for o in after[interface]}
        assert not keeps or namespace in keeps
