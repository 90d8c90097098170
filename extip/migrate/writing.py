"""Does the steps of `extip migrate services`, for many services side by side.

It keeps nothing in mind but when it began with a service: each look decides anew from what the
service shows. The first service goes alone, so that a fault of the cluster meets one of them only.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from extip.api.names import service_label
from extip.api.resources import EVENTS, IP_CLAIMS, WHOLE_SERVICES
from extip.api.whole_service import WholeService
from extip.clock import Clock
from extip.errors import (
    ApiAccessError,
    ApiError,
    ApiUnavailableError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
)
from extip.kube.client import ApiClient, Scope
from extip.migrate.policy.plan import ServicePlan, Wish
from extip.migrate.policy.report import Row, ended, row_of
from extip.migrate.policy.steps import (
    Step,
    begin_patch,
    external_ips,
    finish_patch,
    next_step,
    note_of,
    shown_ips,
    undo_patch,
)
from extip.services.policy.refusal import NOT_ALLOCATED
from extip.supervisor import for_each

_AT_ONCE = 20
"""Services on their way at a time."""
_POLL_S = 0.2
_TRIALS = 8
"""Trials of writes at a time."""
_BOTH = "it has its IPs in both ways now, and keeps them; `--undo` takes it back"


async def with_refusals(
    client: ApiClient, plans: Sequence[ServicePlan], wish: Wish
) -> list[ServicePlan]:
    """Return the plans, with what the API server says to their first writes.

    Admission, quotas and permissions say so in a dry run of the server. Raises ApiError when it
    does not answer.
    """
    refused: dict[str, str] = {}
    failures: list[ApiError] = []

    async def tried(plan: ServicePlan) -> None:
        patch = first_patch(plan, wish)
        if patch is None or plan.obstacles or failures:
            return
        try:
            await _patch(client, plan.service, patch, trial=True)
        except (ApiAccessError, InvalidRequestError) as error:
            refused[plan.name] = str(error)
        except (ConflictError, NotFoundError):
            return  # it has just changed
        except ApiError as error:
            failures.append(error)

    await for_each(plans, tried, limit=_TRIALS)
    if failures:
        raise failures[0]
    return [
        replace(plan, obstacles=(refused[plan.name],)) if plan.name in refused else plan
        for plan in plans
    ]


def first_patch(plan: ServicePlan, wish: Wish) -> object | None:
    """Return the first write of a plan; None without one."""
    if wish.undo:
        note = note_of(plan.service)
        return None if note is None else undo_patch(plan.service, note)
    if plan.step is Step.BEGIN:
        return begin_patch(plan.service, wish.lb_class)
    return finish_patch(plan.service) if plan.step is Step.FINISH else None


class Migration:
    """Brings services to their ends."""

    def __init__(
        self,
        client: ApiClient,
        wish: Wish,
        *,
        wait_s: float,
        clock: Clock,
        on_end: Callable[[Row], None],
    ) -> None:
        """Compose; `on_end` gets the row of each service when nothing more is done for it."""
        self._client = client
        self._wish = wish
        self._wait_s = wait_s
        self._clock = clock
        self._on_end = on_end
        self._going: dict[str, tuple[ServicePlan, float, bool]] = {}
        """Services on their way: plan, the time until which is waited, whether it was begun."""
        self._through = 0
        self._stopped = ""
        """The first service that stopped."""
        self.ended: dict[str, Row] = {}

    async def run(self, plans: Sequence[ServicePlan]) -> None:
        """Bring those to their ends that nothing stands in the way of."""
        waiting = []
        for plan in plans:
            if plan.obstacles or plan.step in (Step.NOTHING, Step.DONE):
                self._end(row_of(plan, undo=self._wish.undo))
            else:
                waiting.append(plan)
        waiting.reverse()
        while waiting or self._going:
            while waiting and len(self._going) < (_AT_ONCE if self._through else 1):
                plan = waiting.pop()
                self._going[plan.name] = plan, self._clock.monotonic() + self._wait_s, False
            written: list[bool] = []

            async def look(name: str, written: list[bool] = written) -> None:
                written.append(await self._look(name))

            await for_each(list(self._going), look, limit=_AT_ONCE)
            if self._stopped and not self._through:
                self._leave_out(waiting)
                waiting = []
            if not any(written):
                await self._clock.sleep(_POLL_S)

    def _leave_out(self, plans: Sequence[ServicePlan]) -> None:
        """End the others after a first one that stopped: all of them may stop so."""
        for plan in plans:
            why = f"not begun, since {self._stopped} stopped"
            self._end(ended(plan, "left out", why=why))

    async def _look(self, name: str) -> bool:
        """Do the next step of a service; return whether there was something to do."""
        plan, until_s, _ = self._going[name]
        meta = plan.service.metadata
        try:
            service = await self._client.get(
                WHOLE_SERVICES, name=meta.name, namespace=meta.namespace
            )
            if service.metadata.uid != meta.uid:
                raise NotFoundError(f"service {name} is another one by now")
            return await self._step(plan, service)
        except ConflictError:
            return True  # it has just changed: look again
        except ApiUnavailableError as error:
            if self._clock.monotonic() >= until_s:
                self._stop(plan, str(error))
            return False
        except ApiError as error:
            self._stop(plan, str(error))
            return True

    def _stop(self, plan: ServicePlan, why: str, service: WholeService | None = None) -> None:
        self._stopped = self._stopped or plan.name
        self._end(ended(plan, "stopped", why=why, service=service))

    async def _step(self, plan: ServicePlan, service: WholeService) -> bool:
        if self._wish.undo:
            note = note_of(service)
            if note is not None:
                await _patch(self._client, service, undo_patch(service, note))
            self._through += 1
            self._end(ended(plan, "taken back", service=service))
            return True
        _, until_s, begun = self._going[plan.name]
        step = next_step(service, self._wish.lb_class)
        if step is Step.BEGIN:
            if begun and not {*external_ips(service)} - {*plan.ips}:
                self._stop(plan, "another program changes it back", service)
                return True
            await _patch(self._client, service, begin_patch(service, self._wish.lb_class))
            self._going[plan.name] = plan, until_s, True
        elif step is Step.FINISH:
            await _patch(self._client, service, finish_patch(service))
        elif step is Step.WAIT:
            if self._clock.monotonic() < until_s:
                return False
            self._stop(plan, await self._lacking(service), service)
        else:
            nodes = await self._nodes(service) if plan.nodes else ()
            self._through += 1
            self._end(ended(plan, "migrated", service=service, nodes=nodes))
        return True

    async def _lacking(self, service: WholeService) -> str:
        """Return why a service does not show its IPs in its status."""
        missing = sorted({*map(str, external_ips(service))} - {*map(str, shown_ips(service))})
        text = f"after {self._wait_s:g} s its status does not have {', '.join(missing)}"
        meta = service.metadata
        scope = Scope(
            namespace=meta.namespace,
            field_selector=f"involvedObject.name={meta.name},reason={NOT_ALLOCATED}",
        )
        try:
            events = (await self._client.list(EVENTS, scope)).items
        except ApiError:
            events = ()
        last = max(events, key=lambda one: one.last_timestamp or "", default=None)
        told = f": {last.message}" if last is not None else ": does extip serve this class?"
        return f"{text}{told}; {_BOTH}"

    async def _nodes(self, service: WholeService) -> tuple[str, ...]:
        """Return the nodes that have its IPs up now; none where the server does not tell."""
        meta = service.metadata
        scope = Scope(label_selector=service_label(meta.namespace, meta.name))
        try:
            claims = (await self._client.list(IP_CLAIMS, scope)).items
        except ApiError:
            return ()
        holders = (claim.status.holder for claim in claims)
        return tuple(dict.fromkeys((holder for holder in holders if holder), 0))

    def _end(self, row: Row) -> None:
        self._going.pop(row.service, None)
        self.ended[row.service] = row
        self._on_end(row)


async def _patch(
    client: ApiClient, service: WholeService, patch: object, *, trial: bool = False
) -> WholeService:
    meta = service.metadata
    return await client.patch(
        WHOLE_SERVICES, patch, name=meta.name, namespace=meta.namespace, trial=trial
    )
