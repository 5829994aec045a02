"""`wrap`: a client of the `openai` package whose calls are part of an experiment."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, overload

from equipoise.errors import UsageError
from equipoise.sdk.assignment import Assignment
from equipoise.sdk.router import Router
from equipoise.sdk.serving import NAMED, Call, Named, Served, Serving, Wire, unservable

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

__all__ = ["WrappedAsyncClient", "WrappedClient", "wrap"]


@overload
def wrap(client: OpenAI, router: Router) -> WrappedClient: ...
@overload
def wrap(client: AsyncOpenAI, router: Router) -> WrappedAsyncClient: ...
def wrap(client: Any, router: Router) -> WrappedClient | WrappedAsyncClient:
    """The client, with its completions and responses served by the router's experiment.

    `chat.completions.create`, `.parse` and `.stream`, and the same of `responses`, take the unit from where the
    definition says (`from: header:…` among `extra_headers`, `from: body:…` among the arguments), or from
    `with wrapped.unit("conversation-1"):` around them. What the unit's variant sets of model, system prompt and
    parameters is written into the call. The first exposure of a unit is durable before the answer is returned,
    and every call leaves one turn: latency, time to first token, tokens, cost, tool calls, how it ended. A call
    without a unit is served the default, unenrolled (`no_unit`); one whose exposure cannot be kept is too
    (`unrecorded`), if need be by asking a second time. No trouble with the record is raised into the caller.

    Everything else is the client's own: other attributes, the types of results, its retries and time-outs.
    `with_raw_response` and `with_streaming_response` pass through unassigned, and nothing of them is recorded.

    Raises UsageError for another kind of client, for one that is wrapped already, for a router without a log,
    and where a variant has an endpoint of its own.

    >>> from openai import OpenAI
    >>> from equipoise.events.log import MemoryLog
    >>> from equipoise.experiment.reading import read_canonical
    >>> demo = read_canonical({
    ...     "name": "demo", "hypothesis": "A newer model resolves more.", "unit": "conversation",
    ...     "changes": ["model"], "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
    ...     "metrics": {"resolution_rate": {"priority": "primary"}},
    ... })
    >>> with Router(demo, log=MemoryLog()) as router:
    ...     client = wrap(OpenAI(api_key="a key"), router)
    ...     with client.unit("conversation-1") as assigned:
    ...         assigned.variant, isinstance(client, OpenAI), client.max_retries
    ('control', True, 2)
    """
    if isinstance(client, _Behind):
        raise UsageError(
            "this client is wrapped already; several experiments on one request are served by the gateway, "
            "with model='experiment/ONE+OTHER'"
        )
    wrapped: type[WrappedClient | WrappedAsyncClient] | None = None
    with suppress(ModuleNotFoundError):
        from openai import AsyncOpenAI, OpenAI

        if isinstance(client, OpenAI):
            wrapped = WrappedClient
        elif isinstance(client, AsyncOpenAI):
            wrapped = WrappedAsyncClient
    if wrapped is None:
        raise UsageError(
            f"wrap takes a client of the openai package, OpenAI or AsyncOpenAI, and this is a {type(client).__name__}; "
            "for another client call router.assign, and expose where you serve"
        )
    if router._record is None:  # noqa: SLF001 - a wrapped client is a part of its router
        raise UsageError(
            "a wrapped client records what it serves, and this router has no log; "
            "make it with Router(experiment, log=open_log('equipoise.db'))"
        )
    if (why := unservable(router.experiment)) is not None:
        raise UsageError(why)
    return wrapped(client, Serving(router))


class _Behind:
    """Stands before something and passes on what it does not do itself."""

    def __init__(self, behind: Any, serving: Serving) -> None:
        self.__dict__.update(_behind=behind, _serving=serving)

    _behind: Any
    _serving: Serving

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._behind, name)

    def __dir__(self) -> list[str]:
        return sorted({*dir(type(self)), *dir(self._behind)})

    # Whoever asks whether it is such a client is told yes: it can be used as one.
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._behind)


class _Client(_Behind):
    """What both kinds of wrapped clients have."""

    def __setattr__(self, name: str, value: Any) -> None:
        # A key that is changed, or a time-out, is the client's.
        setattr(self._behind, name, value)

    @contextmanager
    def unit(self, name: str, /, *, token: str | None = None, **attributes: Any) -> Iterator[Assignment]:
        """Calls inside are this unit's: `with client.unit("conversation-1", tier="pro") as assigned:`.

        Gives the unit's assignment as it is on entering, to `track` outcomes and to carry its `token` on. A
        call that names its unit itself, in the declared place, stands before it. It holds in this thread or
        task and the tasks started from it, not in threads started inside. UsageError for what cannot name one.
        """
        router = self._serving.router
        assignment = router.assign(name, attributes, token=token)
        around = NAMED.get()
        kept = NAMED.set(MappingProxyType({**around, router: Named(name, attributes, token)}))
        try:
            yield assignment
        finally:
            # A framework may leave in another thread or task than it entered in, where nothing was set.
            with suppress(ValueError):
                NAMED.reset(kept)

    def with_options(self, **options: Any) -> Self:
        """As the client's own; the copy is wrapped like this one."""
        return type(self)(self._behind.with_options(**options), self._serving)

    def copy(self, **options: Any) -> Self:
        """As the client's own; the copy is wrapped like this one."""
        return type(self)(self._behind.copy(**options), self._serving)


class WrappedClient(_Client):
    """An `OpenAI` client in an experiment; see `wrap`."""

    @cached_property
    def chat(self) -> Any:
        return _Chat(self._behind.chat, self._serving)

    @cached_property
    def responses(self) -> Any:
        return _Calls(self._behind.responses, self._serving, "responses")

    def __enter__(self) -> Self:
        self._behind.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._behind.__exit__(*raised)


class WrappedAsyncClient(_Client):
    """An `AsyncOpenAI` client in an experiment; see `wrap`."""

    @cached_property
    def chat(self) -> Any:
        return _AsyncChat(self._behind.chat, self._serving)

    @cached_property
    def responses(self) -> Any:
        return _AsyncCalls(self._behind.responses, self._serving, "responses")

    async def __aenter__(self) -> Self:
        await self._behind.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._behind.__aexit__(*raised)


class _Chat(_Behind):
    @cached_property
    def completions(self) -> Any:
        return _Calls(self._behind.completions, self._serving, "chat")


class _AsyncChat(_Behind):
    @cached_property
    def completions(self) -> Any:
        return _AsyncCalls(self._behind.completions, self._serving, "chat")


class _Resource(_Behind):
    """Completions or responses: the methods that ask a model, and the client's own beside them."""

    def __init__(self, behind: Any, serving: Serving, api: Wire) -> None:
        super().__init__(behind, serving)
        self._api = api

    def stream(self, *arguments: Any, **named: Any) -> Any:
        """As the client's own, which calls `create`: it is given ours."""
        return type(self._behind).stream(self, *arguments, **named)


class _Calls(_Resource):
    def create(self, *arguments: Any, **named: Any) -> Any:
        return self._ask(self._behind.create, arguments, named)

    def parse(self, *arguments: Any, **named: Any) -> Any:
        return self._ask(self._behind.parse, arguments, named)

    def _ask(self, method: Callable[..., Any], arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        given = _given(named)
        served = None if arguments else self._serving.begin(given, self._api)
        if served is None:
            return method(*arguments, **named)
        if not self._serving.tell(served):
            served = self._serving.unrecorded(served, self._api)
        while True:
            call = Call(self._serving, served, self._api)
            try:
                answer = method(**_arguments(method, served))
                if not self._serving.durable(served):
                    # Nothing of the variant was shown, and nothing of it will be.
                    _let_go(answer)
                    served = self._serving.unrecorded(served, self._api)
                    continue
            except BaseException as error:
                call.failed(error)
                raise
            return _listened(answer, call)


class _AsyncCalls(_Resource):
    async def create(self, *arguments: Any, **named: Any) -> Any:
        return await self._ask(self._behind.create, arguments, named)

    async def parse(self, *arguments: Any, **named: Any) -> Any:
        return await self._ask(self._behind.parse, arguments, named)

    async def _ask(
        self, method: Callable[..., Any], arguments: tuple[Any, ...], named: Mapping[str, Any]
    ) -> Any:
        given = _given(named)
        serving = self._serving
        if arguments:
            served = None
        elif serving.waits:
            # A store of pins answers when it does.
            import asyncio

            served = await asyncio.to_thread(serving.begin, given, self._api)
        else:
            served = serving.begin(given, self._api)
        if served is None:
            return await method(*arguments, **named)
        if not serving.tell(served):
            served = serving.unrecorded(served, self._api)
        while True:
            call = Call(serving, served, self._api)
            try:
                answer = await method(**_arguments(method, served))
                if not await serving.durable_async(served):
                    await _let_go_async(answer)
                    served = serving.unrecorded(served, self._api)
                    continue
            except BaseException as error:
                call.failed(error)
                raise
            return _listened(answer, call)


def _given(named: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that say something: the client has values of its own for "not given"."""
    from openai import NotGiven, Omit

    return {name: value for name, value in named.items() if not isinstance(value, NotGiven | Omit)}


def _arguments(method: Callable[..., Any], served: Served) -> dict[str, Any]:
    known = _parameters(getattr(method, "__func__", method))
    return served.asked.arguments(served.body, served.body.keys() if known is None else known)


@lru_cache(maxsize=64)
def _parameters(function: Callable[..., Any]) -> frozenset[str] | None:
    """What a method takes by name; None for one that takes anything. Looking is slow, and each call asks."""
    parameters = inspect.signature(function).parameters
    anything = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    return None if anything else frozenset(parameters)


def _listened(answer: Any, call: Call) -> Any:
    from openai import AsyncStream, Stream

    from equipoise.sdk.streams import ListenedAsyncStream, ListenedStream

    if isinstance(answer, Stream):
        return ListenedStream(answer, call)
    if isinstance(answer, AsyncStream):
        return ListenedAsyncStream(answer, call)
    call.whole(answer)
    return answer


def _let_go(answer: Any) -> None:
    from openai import Stream

    if isinstance(answer, Stream):
        answer.close()


async def _let_go_async(answer: Any) -> None:
    from openai import AsyncStream

    if isinstance(answer, AsyncStream):
        await answer.close()
