"""A sample size with everything it was computed from: what `equipoise size` prints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from equipoise.design.conditions import PLAIN, Conditions
from equipoise.design.outcomes import (
    JudgedProportion,
    Outcome,
    Proportion,
)
from equipoise.errors import UsageError
from equipoise.stats.domain import counted, inside, positive, sided
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.sizes.power_clusters import (
    design_effect,
    detectable_clusters,
    power_clusters,
    size_clusters,
)
from equipoise.stats.sizes.power_curves import PowerPoint, power_curve
from equipoise.stats.sizes.power_judged import judge_correlation, labels_needed
from equipoise.stats.sizes.power_margins import Better

__all__ = [
    "Size",
    "curve",
    "detectable",
    "labels_for",
    "size",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Units per arm, and the inputs they follow from; inputs that a kind does not use are None.

    `baseline` and, for proportions, `mde` and `margin` are rates; for means `spread`, `mde` and `margin`
    are in the outcome's unit. `alpha` belongs to the whole test: two-sided for an effect, one-sided for
    non-inferiority. `treatment` counts the units of *each* treatment. `solved` says what was asked for:
    the units, or the effect that given units find.
    """

    kind: str
    control: int
    treatment: int
    alpha: float
    power: float
    ratio: float
    sides: int
    baseline: float | None = None
    spread: float | None = None
    mde: float | None = None
    margin: float | None = None
    better: Better | None = None
    solved: Literal["units", "effect"] = "units"
    conditions: Conditions = PLAIN
    alpha_each: float | None = None
    inflation: float | None = None
    clusters: Mapping[str, int] | None = None
    described: Mapping[str, float] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Units of all arms together."""
        return self.control + self.conditions.treatments * self.treatment

    @property
    def per_variant(self) -> int | None:
        """Units of each arm where all need the same number, otherwise None."""
        return self.control if self.control == self.treatment else None

    @property
    def by_variant(self) -> dict[str, int]:
        """Units by arm."""
        return {name: self.treatment if i else self.control for i, name in enumerate(self.conditions.names)}

    def to_dict(self) -> dict[str, Any]:
        """The JSON shape; inputs that the kind does not use are absent.

        >>> size(Proportion(0.6), 0.05).to_dict()["by_variant"]
        {'control': 1471, 'treatment': 1471}
        """
        shape: dict[str, Any] = {
            "kind": self.kind,
            "per_variant": self.per_variant,
            "by_variant": self.by_variant,
            "total": self.total,
            "alpha": self.alpha,
            "power": self.power,
            "ratio": self.ratio,
            "sides": self.sides,
        }
        for name in ("baseline", "spread", "mde", "margin", "better"):
            value = getattr(self, name)
            if value is not None:
                shape[name] = value
        shape |= dict(self.described) | self.conditions.to_dict()
        if self.conditions.icc is not None and self.conditions.cluster_size is not None:
            shape["design_effect"] = design_effect(
                self.conditions.icc, self.conditions.cluster_size, self.conditions.cluster_cv
            )
        for name, value in (
            ("alpha_each", self.alpha_each),
            ("inflation", self.inflation),
            ("clusters_by_variant", self.clusters),
        ):
            if value is not None:
                shape[name] = value
        if self.solved == "effect":
            shape["solved"] = "effect"
        return shape


def size(
    outcome: Outcome,
    effect: float,
    alpha: float = 0.05,
    power: float = 0.8,
    ratio: float = 1.0,
    *,
    sides: int = 2,
    conditions: Conditions = PLAIN,
) -> Size:
    """The units with which an effect is found (or a margin excluded) under the given conditions.

    With several treatments each comparison with control has the power, at its share of `alpha`; `ratio` is
    units of each treatment per unit of control (1/√k is the sharpest for k treatments). With clusters
    their number is found by a t test over clusters, and units are what those hold on average. Looks
    multiply by their inflation last. Errors: UsageError of the formulas in `stats`.

    >>> size(Proportion(0.6), 0.05, conditions=Conditions(arms=4, looks=4)).total
    7724
    """
    each = conditions.alpha_each(inside("alpha", alpha), positive("ratio", ratio), sided(sides))
    factor = conditions.inflation(each, power, sides)
    clusters = None
    if conditions.icc is not None and conditions.cluster_size is not None:
        found = size_clusters(
            outcome.spread_at(effect, ratio),
            effect,
            conditions.icc,
            conditions.cluster_size,
            conditions.cluster_cv,
            alpha=each,
            power=power,
            ratio=ratio,
            sides=sides,
        )
        k_c, k_t = _up(found.clusters.control * factor), _up(found.clusters.treatment * factor)
        clusters = {name: k_t if i else k_c for i, name in enumerate(conditions.names)}
        n_c, n_t = _up(k_c * conditions.cluster_size), _up(k_t * conditions.cluster_size)
    else:
        plain = outcome.need(effect, each, power, ratio, sides)
        n_c, n_t = _up(plain.control * factor), _up(plain.treatment * factor)
    return _sized(
        outcome, effect, (n_c, n_t), clusters, (alpha, each, factor, power, ratio), sides, conditions, "units"
    )


def detectable(
    outcome: Outcome,
    units: int,
    alpha: float = 0.05,
    power: float = 0.8,
    ratio: float = 1.0,
    *,
    sides: int = 2,
    conditions: Conditions = PLAIN,
) -> Size | NotEstimable:
    """The reverse question: the smallest effect (or margin) that `units` of all arms together find.

    The same shape as `size`, with `mde` or `margin` as the answer. Units are shared out by `ratio` and
    rounded down. Degenerate cases: not estimable where they cannot find even the largest effect there
    can be, or are too few for each arm to have two units, or two clusters. Errors: as in `size`.

    >>> found = detectable(Proportion(0.6), 2942)
    >>> found.by_variant, round(found.mde, 4)
    ({'control': 1471, 'treatment': 1471}, 0.05)
    """
    each = conditions.alpha_each(inside("alpha", alpha), positive("ratio", ratio), sided(sides))
    factor = conditions.inflation(each, power, sides)
    share = counted("units", units, at_least=1) / (1.0 + ratio * conditions.treatments)
    whole = conditions.cluster_size or 1.0
    k_c, k_t = math.floor(share / whole + 1e-9), math.floor(share * ratio / whole + 1e-9)
    use_c, use_t = math.floor(k_c / factor + 1e-9), math.floor(k_t / factor + 1e-9)
    if min(use_c, use_t) < 2:
        fewest, what = min(use_c, use_t), "cluster" if conditions.clustered else "unit"
        return NotEstimable(
            f"{units} units leave an arm with {fewest} {what}{'' if fewest == 1 else 's'}, "
            "and each needs at least two"
        )
    clusters = None
    effect: float | NotEstimable
    if conditions.icc is not None and conditions.cluster_size is not None:
        clusters = {name: k_t if i else k_c for i, name in enumerate(conditions.names)}
        effect = _detectable_clustered(outcome, (use_c, use_t), each, power, ratio, sides, conditions)
    else:
        effect = outcome.detect(use_c, use_t, each, power, sides)
    if isinstance(effect, NotEstimable):
        return effect
    arms = math.floor(k_c * whole + 1e-9), math.floor(k_t * whole + 1e-9)
    return _sized(
        outcome, effect, arms, clusters, (alpha, each, factor, power, ratio), sides, conditions, "effect"
    )


def curve(outcome: Outcome, sized: Size, points: int = 40) -> tuple[PowerPoint, ...]:
    """Power of each comparison against the true effect, up to twice the one sized for.

    For looks it is that of one look at the information that their inflation leaves: exact at the effect sized
    for, elsewhere off by at most 0.3 points (O'Brien–Fleming, up to ten looks) or 2.4 (Pocock).
    Errors: none for a `sized` of this `outcome`.

    >>> points = curve(Proportion(0.6), size(Proportion(0.6), 0.05), points=2)
    >>> [(p.effect, round(p.power, 3)) for p in points]
    [(0.05, 0.8), (0.1, 1.0)]
    """
    how = sized.conditions
    each, factor = sized.alpha_each or sized.alpha, sized.inflation or 1.0
    effect = sized.mde if sized.mde is not None else sized.margin
    if effect is None:
        raise UsageError("a curve needs a size that has an effect or a margin")

    def power_at(at: float) -> float:
        if how.icc is not None and how.cluster_size is not None and sized.clusters is not None:
            k_c, k_t = (max(2, round(sized.clusters[name] / factor)) for name in (how.names[0], how.names[1]))
            return power_clusters(
                k_c,
                k_t,
                outcome.spread_at(at, sized.ratio),
                at,
                how.icc,
                how.cluster_size,
                how.cluster_cv,
                alpha=each,
                sides=sized.sides,
            )
        n_c, n_t = max(2, round(sized.control / factor)), max(2, round(sized.treatment / factor))
        return outcome.power(n_c, n_t, at, each, sized.sides)

    return power_curve(power_at, 2.0 * effect, points)


def labels_for(outcome: JudgedProportion, sized: Size) -> int | NotEstimable:
    """Human labels per arm with which the corrected rates, judged at this size, find the effect too.

    Formula and degenerate cases: `stats.power_judged.labels_needed`; and not estimable for arms of
    different sizes, which that formula does not know.

    >>> judged = JudgedProportion(0.6, 0.9, 0.8)
    >>> labels_for(judged, size(judged, 0.05))
    977
    """
    if sized.per_variant is None or sized.conditions != PLAIN or sized.mde is None:
        return NotEstimable("labels are only planned for two plain arms of equal size")
    return labels_needed(
        Proportion(outcome.baseline).spread_at(sized.mde, 1.0),
        sized.mde,
        sized.per_variant,
        judge_correlation(outcome.baseline, outcome.sensitivity, outcome.specificity),
        alpha=sized.alpha,
        power=sized.power,
        sides=sized.sides,
    )


def _sized(
    outcome: Outcome,
    effect: float,
    arms: tuple[int, int],
    clusters: Mapping[str, int] | None,
    numbers: tuple[float, float, float, float, float],
    sides: int,
    conditions: Conditions,
    solved: Literal["units", "effect"],
) -> Size:
    alpha, each, factor, power, ratio = numbers
    inputs = outcome.inputs
    known = {name: inputs.pop(name) for name in ("baseline", "spread", "better") if name in inputs}
    return Size(
        kind=outcome.kind,
        control=arms[0],
        treatment=arms[1],
        alpha=alpha,
        power=power,
        ratio=ratio,
        sides=sides,
        mde=effect if outcome.answer == "mde" else None,
        margin=effect if outcome.answer == "margin" else None,
        solved=solved,
        conditions=conditions,
        alpha_each=each if conditions.treatments > 1 else None,
        inflation=factor if conditions.looks > 1 else None,
        clusters=clusters,
        described=inputs,
        **known,
    )


def _detectable_clustered(
    outcome: Outcome,
    clusters: tuple[int, int],
    alpha: float,
    power: float,
    ratio: float,
    sides: int,
    conditions: Conditions,
) -> float | NotEstimable:
    """The effect and the spread that it has (a rate's spread moves with it), by repeated substitution."""
    if conditions.icc is None or conditions.cluster_size is None:
        raise UsageError("icc and cluster_size belong together: give both, or neither")
    sign = -1.0 if getattr(outcome, "direction", "rise") == "fall" else 1.0
    effect = 0.0
    for _ in range(60):
        try:
            spread = outcome.spread_at(effect, ratio)
        except UsageError:
            return NotEstimable("even the largest possible effect would be found with less power than that")
        before, effect = (
            effect,
            sign
            * detectable_clusters(
                *clusters,
                spread,
                conditions.icc,
                conditions.cluster_size,
                conditions.cluster_cv,
                alpha=alpha,
                power=power,
                sides=sides,
            ),
        )
        if abs(effect - before) <= 1e-9 * abs(effect):
            break
    return effect


def _up(units: float) -> int:
    """Rounded up, forgiving what multiplication may have added in the last places."""
    return math.ceil(units * (1.0 - 1e-12))
