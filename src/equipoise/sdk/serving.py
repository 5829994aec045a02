"""Serving one call by an experiment: who asks, what they get, that it is on record, and what the call was like."""

from __future__ import annotations

# ruff: noqa: SLF001 - a wrapped client is a part of its router.
import logging
import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from equipoise.assignment.applying import apply, count_usage
from equipoise.assignment.assigning import Draw
from equipoise.assignment.switchback import slot_now
from equipoise.errors import RecordError, UsageError
from equipoise.events.ids import new_id
from equipoise.experiment.prices import LIST_PRICES, cost_of
from equipoise.providers.hearing import Heard
from equipoise.providers.structured import json_valid
from equipoise.providers.timing import Timing
from equipoise.sdk.asking import Asked, Sent, asked, attributes_in, unit_in
from equipoise.sdk.assignment import Assignment
from equipoise.sdk.router import Router

if TYPE_CHECKING:
    from equipoise.events.facts import Turn
    from equipoise.experiment.definition import Experiment
    from equipoise.scoring.capturing import Answered, Capturing
    from equipoise.scoring.capturing import Asked as TextAsked

__all__ = ["NAMED", "Call", "Named", "Served", "Serving", "unservable"]

Wire = Literal["chat", "responses"]
_PREFIX = "experiment/"
_PATIENCE = 2.0
"""A record that has not kept an exposure so many seconds after the answer came is as good as down."""
_BEHIND = 5_000
"""As is one that has so many facts still to write, that stands still for as long, or whose last write failed."""
_logger = logging.getLogger("equipoise.sdk")


class Named(NamedTuple):
    """The unit that stands around a call, with what is known of it."""

    unit: str
    attributes: Mapping[str, Any]
    token: str | None


NAMED: ContextVar[Mapping[Router, Named]] = ContextVar("equipoise_unit", default=MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Served:
    """What a call gets: a draw, for a unit or for nobody, and the call as its variant makes it."""

    draw: Draw
    unit: str | None
    attributes: Mapping[str, Any]
    assignment: Assignment | None
    asked: Asked
    body: Mapping[str, Any]
    sent_digest: str
    hides_usage: bool


def unservable(experiment: Experiment) -> str | None:
    """Why a wrapped client cannot serve an experiment, in a sentence; None where it can."""
    placed = [variant.name for variant in experiment.variants if variant.endpoint.get("base_url")]
    if placed:
        return (
            f"{', '.join(placed)} of {experiment.identity} has an endpoint of its own, and a wrapped client "
            "asks its own: serve the experiment with the gateway, or call router.assign and choose the client"
        )
    return None


class Serving:
    """What all calls of one wrapped client share."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self._record = router._recording()
        self.source = self._record.source
        self._captures: tuple[str, Capturing | None] = ("", None)

    @property
    def waits(self) -> bool:
        """Whether `begin` asks a store, which takes as long as it takes."""
        return self.router._pins is not None

    def begin(self, arguments: Mapping[str, Any], api: Wire) -> Served | None:
        """What a call gets; None where its traffic is no part of the experiment, and it goes out as it is.

        Raises UsageError where neither the call nor a variant names a model, or where the call names another
        experiment.
        """
        call = asked(arguments)
        experiment = self.router.experiment
        model = call.body.get("model")
        named = isinstance(model, str) and model.startswith(_PREFIX)
        if named and model != _PREFIX + experiment.name:
            raise UsageError(
                f"this client serves {_PREFIX}{experiment.name}, and the call names '{model}'; "
                "wrap another client with that experiment's router"
            )
        around = NAMED.get().get(self.router)
        # What a call says of itself stands before what stands around it.
        attributes = {**(around.attributes if around else {}), **attributes_in(call, experiment)}
        if not named and not all(each.holds({**attributes, "model": model}) for each in experiment.traffic):
            return None
        unit = unit_in(call, experiment)
        token = around.token if around is not None and unit in (None, around.unit) else None
        if unit is None and around is not None:
            unit = around.unit
        elif unit is None and experiment.unit.type == "request":
            unit = new_id()
        elif unit is None and experiment.unit.type == "slot":
            unit = slot_now(experiment, attributes, self.router._clock.now())
        return self._made(call, api, attributes, self._assigned(unit, attributes, token), unit)

    def _assigned(
        self, unit: str | None, attributes: Mapping[str, Any], token: str | None
    ) -> Assignment | Draw:
        if unit is None:
            return self.router._current().outside("no_unit")
        try:
            assignment = self.router.assign(unit, attributes, token=token)
        except UsageError:
            # What a call says cannot name a unit: it says none.
            return self.router._current().outside("no_unit")
        if unservable(assignment._draw.experiment) is not None:
            # A later revision; at the first it was refused.
            return self.router._current().outside("not_live")
        return assignment

    def _made(
        self,
        call: Asked,
        api: Wire,
        attributes: Mapping[str, Any],
        found: Assignment | Draw,
        unit: str | None,
    ) -> Served:
        draw = found._draw if isinstance(found, Assignment) else found
        applied = apply((draw,), call.body, api, attributes)
        body, hides = applied.body, False
        if api == "chat" and body.get("stream") is True:
            hides = count_usage(body)
        assignment = found if isinstance(found, Assignment) else None
        return Served(draw, unit, attributes, assignment, call, body, applied.sent_digest, hides)

    # The record.

    def tell(self, served: Served) -> bool:
        """Hand the exposure over, if it is a first one; False where the record cannot take it in."""
        draw, unit, assignment = served.draw, served.unit, served.assignment
        if assignment is None or unit is None or not draw.counts or self._record.exposed.knows(draw, unit):
            return True
        writer = self._record.writer
        if writer.waiting >= _BEHIND or writer.stuck_s > _PATIENCE or writer.trouble:
            # Asking as its variant would be asking twice. The turn of this call tries the record again.
            return self._is_in(served)
        try:
            assignment.expose()
        except Exception:  # noqa: BLE001 - whatever is the matter with the record, the caller is served
            return self._is_in(served)
        return True

    def _is_in(self, served: Served) -> bool:
        """Whether the unit was exposed before, as far as anybody remembers: then it keeps what it has."""
        unit = served.unit
        return unit is not None and self.router._enrolled.holds(served.draw.experiment.name, unit)

    def _telling(self, served: Served) -> Future[None] | None:
        """What to wait for until the exposure is durable; None where it is, or where there is none."""
        draw, unit = served.draw, served.unit
        if unit is None or not draw.counts:
            return None
        first, told = self._record.exposed.begin(draw, unit)
        if first and told is not None:
            # It was told and failed in the meantime: nobody else may wait for this one.
            self._record.exposed.settle(draw, unit, RecordError("the exposure could not be written"))
        return told

    def durable(self, served: Served) -> bool:
        """Wait until the exposure is durable; False where it could not be kept."""
        try:
            if (told := self._telling(served)) is not None:
                told.result(_PATIENCE)
        except Exception:  # noqa: BLE001 - as above
            return self._is_in(served)
        return True

    async def durable_async(self, served: Served) -> bool:
        """As `durable`, without standing still."""
        import asyncio

        try:
            if (told := self._telling(served)) is not None:
                await asyncio.wait_for(asyncio.wrap_future(told), _PATIENCE)
        except Exception:  # noqa: BLE001 - as above
            return self._is_in(served)
        return True

    def unrecorded(self, served: Served, api: Wire) -> Served:
        """The same call as the default, unenrolled: the exposure of the unit cannot be kept."""
        outside = self.router._current().outside("unrecorded")
        return self._made(served.asked, api, served.attributes, outside, served.unit)

    def drawn(self, served: Served) -> tuple[Capturing, float] | None:
        """How to keep the text of a call that was drawn to be kept, and how likely that was; None for any other."""
        if self._record.texts is None:
            return None
        experiment = served.draw.experiment
        digest, capture = self._captures
        if digest != experiment.digest:
            from equipoise.scoring.capturing import capturing

            capture = capturing(experiment)
            self._captures = (experiment.digest, capture)
        probability = None if capture is None else capture.draw(served.attributes)
        return None if capture is None or probability is None else (capture, probability)

    def keep_text(self, capture: Capturing, asked: TextAsked, answered: Answered, size: int) -> None:
        """Hand a text over. Nobody waits for it, and nobody's call fails for it."""
        if (texts := self._record.texts) is not None:
            capture.offer(texts, asked, answered, size)

    def keep(self, turn: Turn) -> None:
        """Put a turn on record. Nobody waits for it, and nobody's call fails for it."""
        try:
            self._record.writer.offer(turn)
        except Exception:
            _logger.warning("a turn of %s could not be recorded", turn.experiment, exc_info=True)


class Call:
    """One call under way: listens to its answer, and leaves one turn when it is over."""

    __slots__ = ("_api", "_heard", "_kept", "_over", "_served", "_serving", "_start", "_timing")

    def __init__(self, serving: Serving, served: Served, api: Wire) -> None:
        self._serving, self._served, self._api = serving, served, api
        self._kept: tuple[Capturing, float, Sent] | None = None
        with _in_any_case():
            if (drawn := serving.drawn(served)) is not None:
                # Taken now: by the end of a stream the caller may have written the answer into the same list.
                self._kept = (*drawn, Sent.of(served.body))
        self._start = monotonic()
        self._heard, self._timing = Heard(api), Timing(self._start)
        self._over = False

    def whole(self, reply: Any) -> None:
        """The answer came in one piece, and the call is over."""
        with _in_any_case():
            self._heard.whole(_plain(reply))
        self.over()

    def piece(self, piece: Any) -> bool:
        """A piece of the answer came; False for one that the caller did not ask for."""
        event = _plain(piece)
        with _in_any_case():
            if self._heard.piece(event):
                self._timing.content(monotonic())
        return not (self._served.hides_usage and event.get("usage") is not None and not event.get("choices"))

    def left(self) -> None:
        """Nobody listens any more: before the end, the call was cancelled."""
        self.over(cancelled=self._heard.finish_reason is None)

    def failed(self, error: BaseException) -> None:
        """The call ended in an error; one that is no `Exception` is somebody who gave up waiting."""
        with _in_any_case():
            # An answer that broke off, where a whole one was to be read as a structure.
            self._heard.whole(_plain(getattr(error, "completion", None)))
        if isinstance(error, Exception):
            self.over(error=error)
        else:
            self.over(cancelled=True)

    def over(self, *, error: Exception | None = None, cancelled: bool = False) -> None:
        """The call is over: its turn, once."""
        if self._over:
            return
        # Loaded with the record already; importing `wrap` need not wait for it.
        from equipoise.events.facts import Turn

        self._over = True
        now = monotonic()
        served, heard, timing = self._served, self._heard, self._timing
        draw = served.draw
        failed = error is not None or heard.errored
        gaps = timing.gaps() or (None, None, None)
        status = getattr(error, "status_code", None)
        answered = not failed and not cancelled
        kept = self._kept
        turn = Turn(
            experiment=draw.experiment.name,
            happened=self._serving.router._clock.now(),
            unit=served.unit,
            digest=draw.experiment.digest,
            variant=draw.variant,
            epoch=draw.epoch if draw.variant is not None else None,
            reason=draw.reason,
            redirected=draw.reason in ("redirected", "removed") or None,
            latency_s=now - self._start,
            ttft_s=timing.ttft,
            tpot_s=timing.per_token(heard.output_tokens),
            itl_s=timing.mean_gap(),
            itl_p50_s=gaps[0],
            itl_p95_s=gaps[1],
            itl_max_s=gaps[2],
            input_tokens=heard.input_tokens,
            output_tokens=heard.output_tokens,
            cached_tokens=heard.cached_tokens,
            cost_usd=self._cost(),
            error=None if cancelled else failed,
            empty=(not heard.text and not heard.tool_calls) if answered else None,
            json_valid=self._valid() if answered else None,
            cancelled=cancelled or None,
            stream=served.body.get("stream") is True or None,
            status=status if isinstance(status, int) else None,
            finish_reason=heard.finish_reason,
            tool_calls=heard.tool_calls or None,
            model=heard.model,
            fingerprint=heard.fingerprint,
            sent_digest=served.sent_digest,
            source=self._serving.source,
            trace=None if kept is None else secrets.token_hex(16),
            sampled=None if kept is None else kept[1],
            member=draw.experiment.member_of(served.attributes),
        )
        self._serving.keep(turn)
        if kept is not None:
            with _in_any_case():
                self._keep_text(*kept, turn, whole=answered)

    def _keep_text(
        self, capture: Capturing, probability: float, sent: Sent, turn: Turn, *, whole: bool
    ) -> None:
        from equipoise.scoring.capturing import Answered
        from equipoise.scoring.capturing import Asked as TextAsked

        asked = TextAsked(
            event_id=turn.event_id,
            kind=turn.kind,
            variant=turn.variant,
            trace=turn.trace or "",
            unit=turn.unit,
            happened=turn.happened,
            api=self._api,
            body=sent.body,
            probability=probability,
        )
        heard = self._heard
        answered = Answered.of(heard, heard.text, whole=whole, blocked=False)
        self._serving.keep_text(capture, asked, answered, sent.size)

    def _valid(self) -> bool | None:
        body = self._served.body
        if any(isinstance(body.get(name), type) for name in ("response_format", "text_format")):
            # What `.parse` reads an answer as, which the client asks for as a schema.
            body = {"response_format": {"type": "json_schema"}}
        return json_valid(body, self._heard.text)

    def _cost(self) -> float | None:
        heard, served = self._heard, self._served
        prices = {**LIST_PRICES, **served.draw.experiment.prices}
        tokens = (heard.input_tokens, heard.output_tokens, heard.cached_tokens)
        return cost_of((heard.model, served.body.get("model")), prices, *tokens)


@contextmanager
def _in_any_case() -> Iterator[None]:
    """What was sent may be of any shape: listening to it must not take the answer from the caller."""
    try:
        yield
    except Exception:
        _logger.warning("an answer could not be read for the record", exc_info=True)


def _plain(value: Any) -> dict[str, Any]:
    """What the client made of a reply, as the JSON it came from; {} for what cannot be read as such."""
    try:
        said = value.to_dict(warnings=False)
    except Exception:  # noqa: BLE001 - what a model sent need not fit what the client expects of it
        return {}
    return said if isinstance(said, dict) else {}
