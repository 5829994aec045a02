"""Names of spans, log records and attributes, in one place: those of OpenTelemetry for generative AI still move.

A span holds measurements and where a request belongs; never a prompt, an answer, a key or the name of a unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["INSTRUMENTATION", "of_call", "of_experiments", "of_fact", "of_turn"]

INSTRUMENTATION = "equipoise"
_OPERATIONS = MappingProxyType({"chat": "chat", "responses": "chat", "embeddings": "embeddings"})
_GEN_AI: Mapping[str, str] = MappingProxyType(
    {
        "model": "gen_ai.response.model",
        "input_tokens": "gen_ai.usage.input_tokens",
        "output_tokens": "gen_ai.usage.output_tokens",
        "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
        "status": "http.response.status_code",
    }
)
_OURS = (
    "ttft_s",
    "tpot_s",
    "itl_p50_s",
    "itl_p95_s",
    "itl_max_s",
    "overhead_s",
    "cost_usd",
    "stream",
    "retries",
    "fallback",
    "warm",
    "blocked",
    "safe",
    "empty",
    "cancelled",
    "tool_calls",
    "fingerprint",
    "sent_digest",
    "retrieved_documents",
    "retrieved_tokens",
)
_BELONGS = ("variant", "epoch", "reason")
_CALLS = ("turn", "shadow")


def of_experiments(draws: Iterable[tuple[str, str | None, int, str]]) -> dict[str, Any]:
    """Where a request belongs: identity (`name@digest`), variant, epoch and reason of each of its experiments.

    Of several, each attribute lists all, in the same order. Who is not enrolled has no variant and no epoch.

    >>> of_experiments([("demo@1a2b", "treatment", 2, "split")])["equipoise.variant"]
    'treatment'
    >>> of_experiments([("demo@1a2b", None, 0, "not_covered"), ("other@3c4d", "b", 1, "split")])
    {'equipoise.experiment': 'demo@1a2b, other@3c4d', 'equipoise.reason': 'not_covered, split', \
'equipoise.variant': 'none, b', 'equipoise.epoch': 'none, 1'}
    """
    found = tuple(draws)
    if not found:
        return {}
    said: dict[str, Any] = {
        "equipoise.experiment": ", ".join(identity for identity, _, _, _ in found),
        "equipoise.reason": ", ".join(reason for _, _, _, reason in found),
    }
    if any(variant is not None for _, variant, _, _ in found):
        said["equipoise.variant"] = ", ".join(variant or "none" for _, variant, _, _ in found)
        said["equipoise.epoch"] = ", ".join(
            "none" if variant is None else str(epoch) for _, variant, epoch, _ in found
        )
    return said


def of_call(api: str, model: object, host: str, port: int) -> dict[str, Any]:
    """A call of a model, as it goes out.

    >>> of_call("chat", "small", "models.internal", 8000)["gen_ai.request.model"]
    'small'
    """
    said: dict[str, Any] = {
        "gen_ai.operation.name": _OPERATIONS[api],
        # The protocol that is spoken; who answers it is the server's address.
        "gen_ai.provider.name": "openai",
        "server.address": host,
        "server.port": port,
    }
    if isinstance(model, str):
        said["gen_ai.request.model"] = model
    return said


def of_turn(measured: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured of a turn, by the names of its fact; what is unknown is left out.

    >>> of_turn({"input_tokens": 7, "ttft_s": 0.2, "cost_usd": None, "finish_reason": "stop"})
    {'gen_ai.usage.input_tokens': 7, 'equipoise.ttft_s': 0.2, 'gen_ai.response.finish_reasons': ('stop',)}
    """
    said = {told: measured[name] for name, told in _GEN_AI.items() if measured.get(name) is not None}
    said |= {f"equipoise.{name}": measured[name] for name in _OURS if measured.get(name) is not None}
    if (finish := measured.get("finish_reason")) is not None:
        said["gen_ai.response.finish_reasons"] = (finish,)
    return said


def of_fact(kind: str, event_id: str, experiment: str, fact: Mapping[str, Any]) -> dict[str, Any]:
    """A fact of the log: its id and kind, where it belongs, and of a turn what was measured.

    >>> of_fact("exposure", "1", "demo", {"digest": "1a2b", "variant": "b", "epoch": 2, "reason": "split", "unit": "u"})
    {'equipoise.event_id': '1', 'equipoise.kind': 'exposure', 'equipoise.experiment': 'demo@1a2b', \
'equipoise.variant': 'b', 'equipoise.epoch': 2, 'equipoise.reason': 'split'}
    """
    digest = fact.get("digest")
    said: dict[str, Any] = {
        "equipoise.event_id": event_id,
        "equipoise.kind": kind,
        # As an experiment's identity is written.
        "equipoise.experiment": f"{experiment}@{digest[:12]}" if isinstance(digest, str) else experiment,
    }
    said |= {f"equipoise.{name}": fact[name] for name in _BELONGS if fact.get(name) is not None}
    return said | of_turn(fact) if kind in _CALLS else said
