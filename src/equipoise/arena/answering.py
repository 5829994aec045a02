"""One answer: what is asked of a variant for a case, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from equipoise.arena.case import Case
from equipoise.arena.result import Answered
from equipoise.arena.templates import render
from equipoise.errors import UpstreamError
from equipoise.experiment.variant import Variant, thaw
from equipoise.providers.messages import Provider, Reply, Request
from equipoise.providers.recorded import RecordedAnswers

__all__ = ["AnswerSource", "answer_request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSource:
    """Where answers come from: a recording, an endpoint for each variant, or nowhere (none are needed).

    `application` says that the endpoints are a user's function, which is told of every setting of a variant.
    """

    recorded: RecordedAnswers | None = None
    live: Mapping[str, Provider] = field(default_factory=dict)
    application: str | None = None
    seed: int = 0

    @property
    def gives(self) -> bool:
        """Whether there are answers at all."""
        return self.recorded is not None or bool(self.live)

    @property
    def origin(self) -> str:
        """In words, for the report."""
        if self.recorded is not None:
            return f"recorded in {self.recorded.origin} (sha256 {self.recorded.digest[:12]})"
        if self.application is not None:
            return f"given by {self.application}"
        return "asked live" if self.live else "none: only what was judged earlier is read"

    async def answer(self, case: Case, variant: Variant, sample: int) -> Answered:
        """One answer, or why there is none; what ends a run is raised."""
        if self.recorded is not None:
            text = self.recorded.find(case.id, variant.name)
            why = None if text is not None else f"{self.recorded.origin} has no answer"
            return Answered(text=text, why_not=why)
        request = (
            _application_request(case, variant, sample, self.application)
            if self.application
            else answer_request(case, variant, sample, seed=self.seed)
        )
        try:
            reply = await self.live[variant.name].complete(request)
        except UpstreamError as error:
            return Answered(text=None, why_not=str(error))
        return _answered(reply)


def answer_request(case: Case, variant: Variant, sample: int = 0, *, seed: int = 0) -> Request:
    """What is sent: the variant's prompt and parameters, the case's messages.

    A variant's template makes the user's message; its system prompt is filled in where the case has values. A
    seed of its own for every sample is wished for where the parameters name none.
    """
    values = {"input": case.text, **case.values}
    messages: list[Mapping[str, Any]] = []
    if variant.system is not None:
        text = render(variant.system.text, values) if case.values else variant.system.text
        messages.append({"role": "system", "content": text})
    if variant.template is not None:
        messages.append({"role": "user", "content": render(variant.template.text, values)})
    else:
        messages.extend(case.messages)
    return Request(
        model=variant.model or "",
        messages=tuple(messages),
        params=variant.params,
        wishes={} if "seed" in variant.params else {"seed": seed + sample},
        draw=_draw(case, variant, sample),
        about={"case": case.id, "variant": variant.name, "sample": str(sample), "ask": "answer"},
    )


def _draw(case: Case, variant: Variant, sample: int) -> str:
    """Every case, variant and sample has an answer of its own, even where the same is asked."""
    return f"{case.id}:{variant.name}#{sample}"


def _application_request(case: Case, variant: Variant, sample: int, application: str) -> Request:
    return Request(
        model=variant.model or application,
        messages=case.messages,
        params={
            "case": {
                "id": case.id,
                "input": thaw(case.input) if isinstance(case.input, str) else [*map(dict, case.input)],
                "messages": [*map(dict, case.messages)],
                "values": thaw(case.values),
            },
            "variant": {"name": variant.name, **variant.settings},
            "sample": sample,
        },
        draw=_draw(case, variant, sample),
        about={"case": case.id, "variant": variant.name, "sample": str(sample), "ask": "answer"},
    )


def _answered(reply: Reply) -> Answered:
    return Answered(
        # Half a surrogate pair, as an application may return, can be written nowhere.
        text=reply.text.encode("utf-8", "replace").decode(),
        context=reply.context,
        latency_s=reply.latency_s,
        cost_usd=reply.cost_usd,
        usage=reply.usage,
        finish_reason=reply.finish_reason,
        model=reply.model,
        fingerprint=reply.fingerprint,
        granted=reply.granted,
    )
