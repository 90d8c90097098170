"""A client's way to the API server in memory: what `extip.kube.transport` is over the network."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import floor

import msgspec

from extip.errors import ApiError, ApiUnavailableError
from extip.kube.codec import error_of_body
from extip.kube.transport import CONNECT_TIMEOUT_S, Request
from tests.fakes.api_faults import Call, Delay, Effect, Hang, Hold, LoseAnswer, Overtake, Refuse
from tests.fakes.cluster_api import ClusterApi
from tests.fakes.cluster_objects import RefusedError, Target
from tests.fakes.cluster_watch import LOST_S, Watch
from tests.fakes.virtual_time import EPOCH
from tests.fakes.world import later, now_s

RESENT_S = 0.2
"""TCP sends again what was not acknowledged; for simplicity at this pace."""

Answer = bytes | Watch


class Way:
    """The network between one process and the API server."""

    def __init__(self) -> None:
        self.cut = False
        """Nothing gets through any more, and whoever tries is told so at once."""
        self.silent = False
        """Nothing gets through, and nobody is told."""


class ClusterTransport:
    """Implements `extip.kube.client.Transport`."""

    def __init__(self, api: ClusterApi, who: str) -> None:
        self.api = api
        self.who = who
        self.way = Way()

    @property
    def server(self) -> str:
        return self.api.server

    @property
    def server_time_s(self) -> float:
        """The server's time now: whoever asks has just got an answer."""
        return floor(EPOCH.timestamp() + now_s())

    def cut(self) -> None:
        """End all connections, and let no new one begin."""
        self.way.cut = True
        self.api.forget_client(self.who)

    async def addresses(self) -> tuple[str, ...]:
        return ("192.0.2.250",)

    async def read(self, request: Request) -> bytes:
        """Answer in one piece."""
        answer = await self._ask(request, request.timeout.total)
        assert isinstance(answer, bytes)
        return answer

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
        """Answer a watch."""
        watch = await self._ask(request, request.open_timeout_s)
        assert isinstance(watch, Watch)
        try:
            yield watch.readline
        finally:
            self.api.close_watch(watch)

    async def _ask(self, request: Request, within_s: float | None) -> Answer:
        if self.way.cut or (self.api.faults.refusing and not self.way.silent):
            raise ApiUnavailableError(f"cannot connect to {self.server}", request=str(request))
        self.api.requests.append((now_s(), self.who, str(request)))
        exchange = _Exchange(self, request)
        later(self.api.latency_s, exchange.arrive)
        try:
            async with asyncio.timeout(within_s or CONNECT_TIMEOUT_S):
                return await exchange.answer
        except TimeoutError:
            text = f"no answer from {self.server} in time"
            raise ApiUnavailableError(text, request=str(request)) from None
        finally:
            exchange.abandon()


class _Exchange:
    """A request that is under way, and its answer."""

    def __init__(self, transport: ClusterTransport, request: Request) -> None:
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._api, self._way, self._who = transport.api, transport.way, transport.who
        self._request = request
        self._target = Target.of(request.path)
        self._sent_s = now_s()
        self._opened: Watch | None = None

    def abandon(self) -> None:
        """Take it that the client does not wait any more."""
        if not self.answer.done():
            self.answer.cancel()
        if self._opened is not None and self.answer.cancelled():
            self._api.close_watch(self._opened)

    def arrive(self) -> None:
        """Be at the server, unless the way there is blocked."""
        if self._is_held_up(self.arrive):
            return
        if self._api.faults.standing_still:
            later(RESENT_S, self.arrive)
            return
        if self.answer.done() and self._api.faults.rng.random() < 0.5:
            return  # the server saw that the client had gone
        target, verb = self._target, self._request.verb
        sent = self._request.body or b""
        call = Call(self._who, verb, target.plural, target.namespace, target.name, sent)
        effect = self._api.faults.on(call)
        if effect is None:
            self._serve()
        else:
            self._suffer(effect)

    def _suffer(self, effect: Effect) -> None:
        match effect:
            case Refuse():
                error = RefusedError(effect.status, effect.reason, effect.message)
                self._fail(self._translated(error, effect.retry_after_s))
            case Hang():
                pass
            case LoseAnswer():
                self._carry_out()
                if not effect.silently:
                    self._fail(self._broken())
            case Delay():
                later(effect.seconds, self._serve)
            case Hold():
                effect.held.append(self._serve)
            case Overtake():
                self._api.touch(self._target)
                self._serve()

    def _serve(self) -> None:
        answer = self._carry_out()
        if isinstance(answer, Exception):
            self._fail(answer)
        elif isinstance(answer, Watch):
            self._opened = answer
            answer.way = self._way
            later(self._api.latency_s, self._deliver, answer)
        else:
            later(self._api.latency_s, self._deliver, answer)

    def _carry_out(self) -> Answer | ApiError:
        query = dict(self._request.query)
        try:
            if self._request.verb == "list":
                return msgspec.json.encode(self._api.page(self._target, query))
            if self._request.verb == "watch":
                return self._api.open_watch(self._target, query, who=self._who)
            sent = msgspec.json.decode(self._request.body) if self._request.body else {}
            answer = self._api.carry_out(self._request.method, self._target, sent)
            return msgspec.json.encode(answer)
        except RefusedError as error:
            return self._translated(error, None)

    def _fail(self, error: ApiError) -> None:
        later(self._api.latency_s, self._deliver, error)

    def _deliver(self, answer: Answer | ApiError) -> None:
        if self._is_held_up(self._deliver, answer):
            return
        if self.answer.done():
            if isinstance(answer, Watch):
                self._api.close_watch(answer)
        elif isinstance(answer, Exception):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)

    def _is_held_up(self, again: Callable[..., None], *args: Answer | ApiError) -> bool:
        """Whether it cannot get through now; then it is tried again, until TCP gives up."""
        if self._way.cut or self._api.faults.refusing:
            if not self.answer.done():
                self.answer.set_exception(self._broken())
            return True
        if not self._way.silent:
            return False
        if self.answer.done():
            return True
        if now_s() - self._sent_s >= LOST_S:
            self.answer.set_exception(self._broken())
            return True
        later(RESENT_S, again, *args)
        return True

    def _broken(self) -> ApiUnavailableError:
        text = f"{self._api.server} closed the connection"
        return ApiUnavailableError(text, request=str(self._request))

    def _translated(self, error: RefusedError, retry_after_s: float | None) -> ApiError:
        return error_of_body(
            error.status,
            error.body,
            request=str(self._request),
            retry_after_s=retry_after_s,
            about_one=self._request.about_one,
        )
