"""The built-in metrics: each name fixes what is counted, how, and which direction is good.

A definition that uses one of these names gets these meanings, and may not bend them: two teams
that say `error_rate` mean the same thing. A metric of one's own takes a name of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from equipoise.experiment.metric import Better, Kind, PerUnit, Quantity, Tier

__all__ = ["CATALOGUE", "BuiltIn"]


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """The part of a metric that its name fixes."""

    kind: Kind
    of: Quantity
    better: Better
    tier: Tier
    per_unit: PerUnit
    says: str
    per: Quantity | None = None
    q: float | None = None


def _built_in(
    kind: Kind,
    of: str,
    better: Better,
    tier: Tier,
    per_unit: PerUnit,
    says: str,
    per: str | None = None,
    q: float | None = None,
) -> BuiltIn:
    return BuiltIn(
        kind, Quantity.parse(of), better, tier, per_unit, says, Quantity.parse(per) if per else None, q
    )


_m = _built_in
CATALOGUE: Mapping[str, BuiltIn] = MappingProxyType(
    {
        # What people got out of it.
        "resolution_rate": _m(
            "proportion",
            "outcome.resolved",
            "higher",
            "human",
            "last",
            "share of units whose request was resolved",
        ),
        "handoff_rate": _m(
            "proportion", "outcome.handed_off", "lower", "human", "any", "share of units handed to a person"
        ),
        "retention_rate": _m(
            "proportion", "outcome.retained", "higher", "human", "any", "share of units that came back"
        ),
        "csat_score": _m(
            "mean", "outcome.csat", "higher", "human", "last", "satisfaction grade given by the user"
        ),
        "thumbs": _m(
            "proportion",
            "outcome.thumbs_up",
            "higher",
            "human",
            "last",
            "share of rated units with a thumb up",
        ),
        "copy_rate": _m(
            "proportion",
            "outcome.copied",
            "higher",
            "human",
            "any",
            "share of units where an answer was copied",
        ),
        "regeneration_rate": _m(
            "proportion",
            "outcome.regenerated",
            "lower",
            "human",
            "any",
            "share of units that asked for another answer",
        ),
        # What a judge says.
        "policy_compliance": _m(
            "mean", "score.policy_compliance", "higher", "judge", "mean", "grade of keeping to the policy"
        ),
        "hallucination_rate": _m(
            "proportion",
            "score.hallucinated",
            "lower",
            "judge",
            "any",
            "share of units with a claim the context does not support",
        ),
        # What code can tell.
        "safety_rate": _m(
            "proportion",
            "turn.safe",
            "higher",
            "code",
            "all",
            "share of units all of whose answers passed every safety check",
        ),
        "pii_rate": _m(
            "proportion",
            "turn.pii",
            "lower",
            "code",
            "any",
            "share of units with an answer in which the inline check found personal data",
        ),
        "error_rate": _m(
            "proportion", "turn.error", "lower", "code", "any", "share of units with an errored turn"
        ),
        "empty_rate": _m(
            "proportion", "turn.empty", "lower", "code", "any", "share of units with an empty answer"
        ),
        "json_valid": _m(
            "proportion",
            "turn.json_valid",
            "higher",
            "code",
            "all",
            "share of units all of whose answers are valid JSON",
        ),
        "latency_p50": _m(
            "quantile",
            "turn.latency_s",
            "lower",
            "code",
            "mean",
            "median seconds to the whole answer",
            q=0.50,
        ),
        "latency_p95": _m(
            "quantile",
            "turn.latency_s",
            "lower",
            "code",
            "mean",
            "95th percentile of seconds to the whole answer",
            q=0.95,
        ),
        "latency_p99": _m(
            "quantile",
            "turn.latency_s",
            "lower",
            "code",
            "mean",
            "99th percentile of seconds to the whole answer",
            q=0.99,
        ),
        "ttft": _m("mean", "turn.ttft_s", "lower", "code", "mean", "seconds to the first content token"),
        "tpot": _m(
            "mean", "turn.tpot_s", "lower", "code", "mean", "seconds per output token after the first"
        ),
        "itl": _m("mean", "turn.itl_s", "lower", "code", "mean", "mean seconds between tokens"),
        "tokens": _m("mean", "turn.tokens", "lower", "code", "sum", "tokens in and out per unit"),
        "tool_calls": _m("mean", "turn.tool_calls", "lower", "code", "sum", "tool calls per unit"),
        "retrieved_tokens": _m(
            "mean", "turn.retrieved_tokens", "lower", "code", "sum", "retrieved tokens per unit"
        ),
        # What it costs.
        "cost_per_response": _m(
            "ratio", "turn.cost_usd", "lower", "code", "sum", "dollars per answer", per="turn.answered"
        ),
        "cost_per_1k_tokens": _m(
            "ratio",
            "turn.cost_usd",
            "lower",
            "code",
            "sum",
            "dollars per 1,000 tokens",
            per="turn.kilotokens",
        ),
        "cost_per_success": _m(
            "ratio",
            "turn.cost_usd",
            "lower",
            "code",
            "sum",
            "dollars per resolved unit",
            per="outcome.resolved",
        ),
    }
)
