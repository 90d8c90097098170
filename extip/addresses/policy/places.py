"""Admitted IPs x selected interfaces → the interface of each IP. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from extip.guard.policy.admission import Admission
from extip.net.interfaces import IPAddress, IPInterface
from extip.net.link_selection import Fitting, LinkSelection, choose_link
from extip.services.policy.refusal import Reason, Refusal
from extip.services.policy.requests import Rejection, Requests


def placed(
    admission: Admission, requests: Requests, among: Sequence[Fitting], selection: LinkSelection
) -> Admission:
    """Return the admission with the interface of each wanted IP.

    An IP that belongs on no interface of this node is rejected.
    """
    links: dict[IPInterface, str] = {}
    rejected: set[Rejection] = set()
    for interface in admission.wanted:
        wish = requests.links.get(interface.ip, "")
        name = choose_link(interface.ip, wish, among)
        if name:
            links[interface] = name
            continue
        refusal = _refusal(interface.ip, wish, selection)
        owners = requests.wanted[interface]
        rejected.update(Rejection(str(interface.ip), owner, refusal) for owner in owners)
    return replace(
        admission,
        wanted=frozenset(links),
        links=links,
        rejected=admission.rejected | rejected,
        doubtful=frozenset(
            d for d in admission.doubtful if not any(d.text == r.text for r in rejected)
        ),
    )


def split(admission: Admission, names: Iterable[str]) -> dict[str, Admission]:
    """Return the admission of each interface: the same, with the IPs that belong there."""
    wanted: dict[str, set[IPInterface]] = {name: set() for name in names}
    for interface in admission.wanted:
        wanted[admission.links[interface]].add(interface)
    return {name: replace(admission, wanted=frozenset(here)) for name, here in wanted.items()}


def _refusal(ip: IPAddress, wish: str, selection: LinkSelection) -> Refusal:
    if wish:
        why = f"{ip} is to be on interface {wish}, which this node does not have among --iface"
    else:
        why = f"no interface of this node has a subnet that contains {ip}, as --iface"
    return Refusal(Reason.NO_LINK, f"{why} {selection} needs")
