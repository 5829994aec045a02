"""What pairs of served and shadowed turns show: differences within pairs, robust to likeness within conversations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from equipoise.analysis.findings import Held, describe
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.measurement.pairs import Pair, pair_number
from equipoise.stats.comparison.clusters import clustered_difference
from equipoise.stats.comparison.paired import paired_difference_of_proportions
from equipoise.stats.comparison.quantiles import difference_of_quantiles, quantile_of
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

    `held` and `because` are a guardrail's answer against `margin` (both in the metric's own unit): `breached` where a change
    for the worse by less than the margin is excluded at the interval's level, `held` where one by more is.
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

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "name": self.name,
            "variant": self.variant,
            "pairs": self.pairs,
            "control": self.control,
            "treatment": self.treatment,
            "difference": describe(self.estimate),
        } | ({} if self.held is None else {"margin": self.margin, "held": self.held, "because": self.because})


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
    """A guardrail in pairs, by turn: whether they show it to be worse than its margin.

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
        q = 0.5 if metric.q is None else metric.q
        control = quantile_of([row.control[0] for row in rows], _numbered(rows), q=q, level=level)
        treatment = quantile_of([row.treatment[0] for row in rows], _numbered(rows), q=q, level=level)
        if isinstance(control, NotEstimable):
            return _unknown(metric, variant, control.reason, len(rows))
        if isinstance(treatment, NotEstimable):
            return _unknown(metric, variant, treatment.reason, len(rows))
        estimate: Estimate | NotEstimable = difference_of_quantiles(control, treatment, level=level)
        effect = PairedEffect(
            name=metric.name, variant=variant, pairs=len(rows), control=control.value, treatment=treatment.value,
            estimate=estimate,
        )  # fmt: skip
    else:
        estimate = _difference(rows, proportion=metric.kind == "proportion", level=level)
        effect = _effect(metric.name, variant, rows, estimate)
    return _held(metric, effect)


def _held(metric: Metric, effect: PairedEffect) -> PairedEffect:
    found, estimate = metric.margin, effect.estimate
    if isinstance(estimate, NotEstimable):
        return _unknown(metric, effect.variant, estimate.reason, effect.pairs, effect)
    if found is None:
        return _unknown(metric, effect.variant, "no margin is declared for it", effect.pairs, effect)
    margin = found.value if found.scale == "absolute" else found.of(effect.control or 0.0)
    # By how much it is worse, whichever direction is better.
    worse = sorted((-metric.sign * estimate.low, -metric.sign * estimate.high))
    held: Held = "breached" if worse[0] > margin else "held" if worse[1] < margin else "not shown"
    says = {
        "breached": f"is worse by more than its margin of {margin:.4g}",
        "held": f"is worse by no more than its margin of {margin:.4g}",
        "not shown": f"is neither shown to keep within its margin of {margin:.4g} nor to be beyond it",
    }[held]
    return PairedEffect(
        name=effect.name, variant=effect.variant, pairs=effect.pairs, control=effect.control,
        treatment=effect.treatment, estimate=estimate, margin=margin, held=held,
        because=f"{says} ({effect.treatment:.4g} against {effect.control:.4g}, in {effect.pairs:,} pairs)",
    )  # fmt: skip


def _unknown(
    metric: Metric, variant: str, reason: str, pairs: int = 0, effect: PairedEffect | None = None
) -> PairedEffect:
    return PairedEffect(
        name=metric.name, variant=variant, pairs=pairs, control=None if effect is None else effect.control,
        treatment=None if effect is None else effect.treatment,
        estimate=NotEstimable(reason) if effect is None else effect.estimate, held="not shown",
        because=reason,
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
