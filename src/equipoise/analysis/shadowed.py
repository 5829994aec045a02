"""What pairs of served and shadowed turns show: differences within pairs, robust to likeness within conversations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from equipoise.analysis.findings import Held, describe
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.measurement.pairs import Pair, pair_number
from equipoise.stats.cases.case_means import mean_over_cases, share_over_cases
from equipoise.stats.comparison.clusters import clustered_difference
from equipoise.stats.comparison.paired import paired_difference_of_proportions
from equipoise.stats.comparison.quantiles import (
    difference_of_quantiles,
    quantile_interval,
    quantile_of,
)
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["QUANTITIES", "PairedEffect", "guard_in_shadow", "guards", "paired_effect"]

QUANTITIES = ("latency_s", "error", "cost_usd", "output_tokens")
"""What is compared whatever the definition declares: seconds, share of turns, US dollars and tokens of an answer."""

_WHOLE = ("sum", "max", "min", "first", "last")
_STOPPED = ("safe", "error")
"""What is known of an answer that a check stopped on its way: how long or dear it would have been is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedEffect:
    """One quantity or metric in pairs: what both arms had, by turn, and treatment minus control with its interval.

    `held` and `because` are a guardrail's answer against `margin` and `limit` (in the metric's own unit). Against the
    margin: `breached` where a change for the worse by less is excluded at the interval's level, `held` where one by more
    is; against the limit: where the interval of the treatment's own value (`own`, None without a limit) is beyond it, or
    within. Of two answers the worse one is told.
    """

    name: str
    variant: str
    pairs: int
    control: float | None
    treatment: float | None
    estimate: Estimate | NotEstimable
    margin: float | None = None
    held: Held | None = None
    because: str | None = None
    limit: float | None = None
    own: Estimate | NotEstimable | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        told = {
            "name": self.name,
            "variant": self.variant,
            "pairs": self.pairs,
            "control": self.control,
            "treatment": self.treatment,
            "difference": describe(self.estimate),
        }
        if self.held is not None:
            told |= {"margin": self.margin, "held": self.held, "because": self.because}
        return told if self.own is None else told | {"limit": self.limit, "own": describe(self.own)}


@dataclass(frozen=True, slots=True)
class _Row:
    """A pair in numbers: the values of both arms, and what they are divided by."""

    conversation: str
    control: tuple[float, float]
    treatment: tuple[float, float]


def paired_effect(name: str, variant: str, pairs: Sequence[Pair], *, level: float = 0.95) -> PairedEffect:
    """The mean difference of a quantity of turns, over the pairs in which both sides have it.

    Scale: the quantity's own, by turn; an error is a share. Conversations are independent, turns of one need not be
    (`clustered_difference`). Not estimable with fewer than two conversations, or where nothing varies.
    """
    rows = _rows(pairs, name, None)
    return _effect(name, variant, rows, _difference(rows, proportion=name == "error", level=level))


def guard_in_shadow(
    metric: Metric, variant: str, pairs: Sequence[Pair], *, level: float = 0.95
) -> PairedEffect:
    """A guardrail in pairs, by turn: whether they show it to be worse than its margin, or beyond its limit.

    A relative margin is taken of control's value in the pairs. The two sides of a quantile are taken as independent, which
    claims less than pairs could. What needs users (outcomes, scores, time) or a whole conversation (a sum over a unit's
    turns) is not estimable here.
    """
    of_turns = metric.of.stream == "turn" and (metric.per is None or metric.per.stream == "turn")
    if not of_turns:
        return _unknown(metric, variant, "it needs what users do, and in shadow nobody sees the answer")
    if metric.kind in ("count", "time_to_event") or (metric.kind == "mean" and metric.per_unit in _WHOLE):
        return _unknown(metric, variant, "it is of a whole conversation, and shadow answers single turns")
    rows = _rows(pairs, metric.of.name, None if metric.per is None else metric.per.name)
    if metric.kind == "quantile":
        effect = _of_quantile(metric, variant, rows, level)
    else:
        estimate = _difference(rows, proportion=metric.kind == "proportion", level=level)
        effect = _effect(metric.name, variant, rows, estimate)
    if metric.limit is not None:
        effect = replace(effect, limit=metric.limit, own=_own(metric, rows, level))
    return _held(metric, effect)


def _of_quantile(metric: Metric, variant: str, rows: Sequence[_Row], level: float) -> PairedEffect:
    q, units = _q(metric), _numbered(rows)
    control = quantile_of([row.control[0] for row in rows], units, q=q, level=level)
    treatment = quantile_of([row.treatment[0] for row in rows], units, q=q, level=level)
    estimate = (
        control
        if isinstance(control, NotEstimable)
        else treatment
        if isinstance(treatment, NotEstimable)
        else difference_of_quantiles(control, treatment, level=level)
    )
    return PairedEffect(
        name=metric.name,
        variant=variant,
        pairs=len(rows),
        control=None if isinstance(control, NotEstimable) else control.value,
        treatment=None if isinstance(treatment, NotEstimable) else treatment.value,
        estimate=estimate,
    )


def _q(metric: Metric) -> float:
    return 0.5 if metric.q is None else metric.q


def _own(metric: Metric, rows: Sequence[_Row], level: float) -> Estimate | NotEstimable:
    """The treatment's own value, with an interval that knows which turns belong together."""
    if metric.kind == "quantile":
        return quantile_interval(
            [row.treatment[0] for row in rows], _numbered(rows), q=_q(metric), level=level
        )
    kept = [row for row in rows if row.treatment != (0.0, 0.0)]
    if any(by == 0.0 for _, by in (row.treatment for row in kept)):
        return NotEstimable("a turn has nothing that its value could be divided by")
    if not kept:
        return NotEstimable("there are no pairs")
    values = [of / by for of, by in (row.treatment for row in kept)]
    weights = None if metric.per is None else [row.treatment[1] for row in kept]
    conversations = [row.conversation for row in kept]
    if metric.kind == "proportion":
        return share_over_cases(values, conversations, weights=weights, level=level)
    return mean_over_cases(values, conversations, weights=weights, level=level)


def _held(metric: Metric, effect: PairedEffect) -> PairedEffect:
    """The worse of two answers: breached before not shown, and not shown before held."""
    effect, held, because = _within_margin(metric, effect)
    answers = [] if metric.margin is None and metric.limit is not None else [(held, because)]
    if effect.limit is not None and effect.own is not None:
        answers.append(_within_limit(metric, effect, effect.limit, effect.own))
    worst = min((held for held, _ in answers), key=_WORST_FIRST.index)
    says = "; ".join(because for held, because in answers if held == worst)
    return replace(effect, held=worst, because=says)


_WORST_FIRST: tuple[Held, ...] = ("breached", "not shown", "held")


def _within_margin(metric: Metric, effect: PairedEffect) -> tuple[PairedEffect, Held, str]:
    found, estimate = metric.margin, effect.estimate
    if isinstance(estimate, NotEstimable):
        return effect, "not shown", estimate.reason
    if found is None:
        return effect, "not shown", "no margin is declared for it"
    margin = found.value if found.scale == "absolute" else found.of(effect.control or 0.0)
    # By how much it is worse, whichever direction is better.
    worse = sorted((-metric.sign * estimate.low, -metric.sign * estimate.high))
    held: Held = "breached" if worse[0] > margin else "held" if worse[1] < margin else "not shown"
    says = {
        "breached": f"is worse by more than its margin of {margin:.4g}",
        "held": f"is worse by no more than its margin of {margin:.4g}",
        "not shown": f"is neither shown to keep within its margin of {margin:.4g} nor to be beyond it",
    }[held]
    told = f"{says} ({effect.treatment:.4g} against {effect.control:.4g}, in {effect.pairs:,} pairs)"
    return replace(effect, margin=margin), held, told


def _within_limit(
    metric: Metric, effect: PairedEffect, limit: float, own: Estimate | NotEstimable
) -> tuple[Held, str]:
    if isinstance(own, NotEstimable):
        return "not shown", f"nothing shows whether it keeps within its limit of {limit:g}: {own.reason}"
    # By how much it is within, whichever direction is better.
    within = sorted((metric.sign * (own.low - limit), metric.sign * (own.high - limit)))
    held: Held = "breached" if within[1] < 0.0 else "held" if within[0] >= 0.0 else "not shown"
    says = {
        "breached": f"is beyond its limit of {limit:g}",
        "held": f"is within its limit of {limit:g}",
        "not shown": f"is neither shown to be within its limit of {limit:g} nor to be beyond it",
    }[held]
    return held, f"{says} ({own.value:.4g}, from {own.low:.4g} to {own.high:.4g}, in {effect.pairs:,} pairs)"


def _unknown(metric: Metric, variant: str, reason: str) -> PairedEffect:
    return PairedEffect(
        name=metric.name, variant=variant, pairs=0, control=None, treatment=None,
        estimate=NotEstimable(reason), held="not shown", because=reason,
    )  # fmt: skip


def _rows(pairs: Sequence[Pair], of: str, per: str | None) -> list[_Row]:
    number = pair_number(of)
    divisor = None if per is None else pair_number(per)
    rows = []
    for pair in pairs:
        if pair.control.blocked and of not in _STOPPED:
            continue
        found = number(pair.control), number(pair.treatment)
        by = (1.0, 1.0) if divisor is None else (divisor(pair.control), divisor(pair.treatment))
        if None in found or None in by:
            continue
        rows.append(
            _Row(
                pair.conversation,
                (float(found[0] or 0.0), float(by[0] or 0.0)),
                (float(found[1] or 0.0), float(by[1] or 0.0)),
            )
        )
    return rows


def _numbered(rows: Sequence[_Row]) -> list[int]:
    numbers: dict[str, int] = {}
    return [numbers.setdefault(row.conversation, len(numbers)) for row in rows]


def _effect(name: str, variant: str, rows: Sequence[_Row], estimate: Estimate | NotEstimable) -> PairedEffect:
    return PairedEffect(
        name=name,
        variant=variant,
        pairs=len(rows),
        control=_value([row.control for row in rows]),
        treatment=_value([row.treatment for row in rows]),
        estimate=estimate,
    )


def _value(sides: Sequence[tuple[float, float]]) -> float | None:
    size = sum(by for _, by in sides)
    return sum(of for of, _ in sides) / size if size else None


def _difference(rows: Sequence[_Row], *, proportion: bool, level: float) -> Estimate | NotEstimable:
    if not rows:
        return NotEstimable("there are no pairs")
    by_conversation: dict[str, list[_Row]] = {}
    for row in rows:
        by_conversation.setdefault(row.conversation, []).append(row)
    together = list(by_conversation.values())
    # With sizes that are 0 a conversation has nothing to divide by.
    sums_c, sizes_c = _totals([[row.control for row in group] for group in together])
    sums_t, sizes_t = _totals([[row.treatment for row in group] for group in together])
    if any(size == 0.0 and of for of, size in zip(sums_c + sums_t, sizes_c + sizes_t, strict=True)):
        return NotEstimable("a conversation has nothing that its total could be divided by")
    found = clustered_difference(sums_c, sizes_c, sums_t, sizes_t, level=level)
    if not (proportion and isinstance(found, NotEstimable)):
        return found
    # Where an arm always or never has it there is no spread; one pair of each conversation still says how far it may go.
    counts = {(yes, no): 0 for yes in (True, False) for no in (True, False)}
    for group in together:
        counts[group[0].control[0] > 0.0, group[0].treatment[0] > 0.0] += 1
    both, only_c, only_t = counts[True, True], counts[True, False], counts[False, True]
    # Against 0 there is no test without a pair that differs, and the interval is the same against anything else.
    null = 0.0 if only_c or only_t else 0.5
    return paired_difference_of_proportions(
        both, only_c, only_t, counts[False, False], level=level, null=null
    )


def _totals(groups: Sequence[Sequence[tuple[float, float]]]) -> tuple[list[float], list[float]]:
    return [sum(of for of, _ in group) for group in groups], [sum(by for _, by in group) for group in groups]


def guards(experiment: Experiment, pairs: Mapping[str, Sequence[Pair]]) -> tuple[PairedEffect, ...]:
    """Every guardrail of a definition, treatment by treatment."""
    return tuple(
        guard_in_shadow(metric, arm, those)
        for arm, those in pairs.items()
        for metric in experiment.guardrails
    )
