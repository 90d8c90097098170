"""How a controller leaves: what it gives up, and when others may be told."""

import asyncio
from typing import cast

import pytest

from extip.clock import LoopClock
from extip.errors import LinkError
from extip.heartbeat.publisher import Publisher
from extip.kube.client import connect
from extip.metrics import Metrics
from extip.modes import address_half
from extip.modes.address_half import AddressHalf
from extip.modes.controller import _Controller
from extip.reconcile.addresses import AddressReconciler
from extip.settings import OnApiLoss, controller_settings
from tests.unit.kube.conftest import kubeconfig


class Reconciler:
    """Removes what it has as the test says."""

    def __init__(self, outcome: bool | str) -> None:  # noqa: FBT001
        self._outcome = outcome

    async def release(self) -> bool:
        if self._outcome == "error":
            raise LinkError("no buffer space")
        if self._outcome == "hang":
            await asyncio.get_running_loop().create_future()
        return self._outcome is True


class Heartbeat:
    """Notes that the Lease was given up."""

    given_up = False

    async def release(self) -> None:
        self.given_up = True


@pytest.mark.parametrize("outcome", [True, False, "error", "hang"])
@pytest.mark.parametrize("on_api_loss", ["hold", "release"])
async def test_the_lease_of_who_releases_stays_while_addresses_may(
    tmp_path, monkeypatch, outcome, on_api_loss: OnApiLoss
):
    monkeypatch.setattr(address_half, "_RELEASE_S", 0.5)
    path = kubeconfig(tmp_path, "https://127.0.0.1:1")
    settings = controller_settings(
        iface="eth0",
        mask=32,
        mask_v6=128,
        resync=60.0,
        address_ttl=None,
        on_exit="release",
        allow_cidr=(),
        probe=0.0,
        kubeconfig=path,
        hb=2.0,
        hostname="n1",
        drain_timeout=5.0,
        on_api_loss=on_api_loss,
        namespace="kube-system",
        http=None,
    )
    metrics, heartbeat = Metrics("controller"), Heartbeat()
    async with connect(path, metrics=metrics) as client:
        controller = _Controller(settings, client, clock=LoopClock(), metrics=metrics)
        controller._publisher = cast("Publisher", heartbeat)
        half = AddressHalf(
            reconciler=cast("AddressReconciler", Reconciler(outcome)),
            components=(),
            own=frozenset,
        )
        await controller.end(half)
    assert heartbeat.given_up == (outcome is True or on_api_loss == "hold")
