"""What people's labels show: who is preferred, how good answers are, how far raters agree, what their order did."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median, quantiles
from typing import Literal

from equipoise.analysis.label_findings import (
    Agreement,
    Done,
    Found,
    Graded,
    LabelReadout,
    Preferred,
    RaterAt,
    Strength,
)
from equipoise.events.facts import Label
from equipoise.events.labels import standing
from equipoise.stats.cases.case_means import mean_over_cases, share_over_cases
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.judges.agreement import cohens_kappa, krippendorffs_alpha
from equipoise.stats.judges.judge_lean import position_lean_one_order
from equipoise.stats.preference.bradley_terry import bradley_terry
from equipoise.stats.preference.elo import on_elo_scale
from equipoise.stats.student import t_estimate

__all__ = ["label_readout"]

_PREFERENCE, _THUMBS = "preference", "thumbs"
_MOST_RATERS = 8
"""Of so many raters every two are compared; alpha is of all."""


def label_readout(
    experiment: str,
    labels: Iterable[Label],
    *,
    control: str,
    clusters: Mapping[str, str] | None = None,
    tops: Mapping[str, int] | None = None,
    drawn: Mapping[str, int] | None = None,
    level: float = 0.95,
) -> LabelReadout:
    """What the labels of an experiment show; those that were replaced or taken back do not count.

    `clusters` names what an item belongs to, where items are not independent (those of one unit never are); `tops` the
    best grade of each axis; `drawn` how many items there are of a question. Rates and means are over items drawn at
    random, each the mean of its raters, weighted by one over the probability with which it was drawn:
    `share_over_cases` and `mean_over_cases`. The difference of two variants is that of the same cases where cases are
    labelled; of turns, which are another's in each variant, that of two independent means. The lean takes each item
    once, as its first rater saw it. Bradley and Terry weigh every label alike.

    Degenerate cases: without labels nothing is estimable, and there are no rows. Errors: UsageError for a level
    outside (0, 1). Source: those of the functions named.

    >>> said = [Label(experiment="e", happened=float(n), name="preference", rater="jo", item=f"case {n}", variant="b",
    ...               first="b" if n % 2 else "control", value=[1.0, 1.0, 0.0, 0.5][n % 4]) for n in range(40)]
    >>> found = label_readout("e", said, control="control")
    >>> row = found.preferences[0]
    >>> row.wins, row.ties, row.losses, row.win_rate.value
    (20, 10, 10, 0.625)
    """
    stands = standing(labels)
    audit = [label for label in stands if label.draw == "audit"]
    groups = _Groups(audit, clusters or {}, level)
    names = list(dict.fromkeys(label.name for label in audit))
    compared = [label for label in audit if label.name == _PREFERENCE and label.value is not None]
    times = _times(stands)
    seconds = [each for each in times.values() if each is not None]
    return LabelReadout(
        experiment=experiment,
        items=len({(label.item, label.variant) for label in audit if label.value is not None}),
        disputed=len({label.item for label in stands if label.draw != "audit" and label.value is not None}),
        overlapping=_overlapping(stands),
        done=tuple(
            Done(
                name=name,
                items=len(
                    {
                        (each.item, each.variant)
                        for each in audit
                        if each.name == name and each.value is not None
                    }
                ),
                of=(drawn or {}).get(name),
            )
            for name in names
        ),
        preferences=tuple(
            _preferred(variant, groups.of(_PREFERENCE, variant), groups)
            for variant in sorted(groups.variants(_PREFERENCE))
        ),
        lean=_lean(compared, level) if compared else None,
        strengths=_strengths(compared, control, groups, level) if compared else None,
        grades=tuple(
            _graded(name, variant, groups, control)
            for name in names
            if name != _PREFERENCE
            for variant in sorted(groups.variants(name), key=lambda each: (each != control, each))
        ),
        agreement=tuple(
            _agreement(
                name, [label for label in stands if label.name == name], groups, (tops or {}).get(name)
            )
            for name in dict.fromkeys(label.name for label in stands)
        ),
        raters=tuple(_rater(rater, stands, times) for rater in sorted({label.rater for label in stands})),
        quartiles_s=_quartiles(seconds),
    )


class _Groups:
    """The labels by question and variant, each item's raters taken together."""

    def __init__(self, labels: Sequence[Label], clusters: Mapping[str, str], level: float) -> None:
        self.level = level
        self._clusters = clusters
        self._labels: dict[tuple[str, str], list[Label]] = {}
        for label in labels:
            self._labels.setdefault((label.name, label.variant or ""), []).append(label)

    def variants(self, name: str) -> list[str]:
        return [variant for each, variant in self._labels if each == name]

    def of(self, name: str, variant: str) -> list[Label]:
        return self._labels.get((name, variant), [])

    def cluster(self, label: Label) -> str:
        return self._clusters.get(label.item) or label.unit or label.item

    def means(self, labels: Sequence[Label]) -> dict[str, tuple[float, float, str]]:
        """For each item the mean of its raters, its weight, and its cluster."""
        values: dict[str, list[float]] = {}
        about: dict[str, tuple[float, str]] = {}
        for label in labels:
            if label.value is not None:
                values.setdefault(label.item, []).append(label.value)
                about[label.item] = (1.0 / label.probability, self.cluster(label))
        return {item: (sum(said) / len(said), *about[item]) for item, said in values.items()}

    def mean(self, found: Iterable[tuple[float, float, str]], *, share: bool) -> Found:
        rows = list(found)
        if not rows:
            return NotEstimable("nobody has labelled an item of it")
        values, weights, clusters = (list(column) for column in zip(*rows, strict=True))
        together = _together(clusters)
        apart = weights if len(set(weights)) > 1 else None
        if share:
            return share_over_cases(values, together, weights=apart, level=self.level, null=0.5)
        return mean_over_cases(values, together, weights=apart, level=self.level)


def _preferred(variant: str, labels: Sequence[Label], groups: _Groups) -> Preferred:
    values = [label.value for label in labels if label.value is not None]
    items = groups.means(labels)
    return Preferred(
        variant=variant,
        items=len(items),
        labels=len(values),
        passed=len(labels) - len(values),
        wins=sum(value > 0.5 for value in values),
        ties=sum(value == 0.5 for value in values),
        losses=sum(value < 0.5 for value in values),
        win_rate=groups.mean(items.values(), share=True),
    )


def _lean(compared: Sequence[Label], level: float) -> Found:
    once = {(label.item, label.variant): label for label in reversed(compared) if label.first is not None}
    scores = [label.value for label in once.values() if label.value is not None]
    return position_lean_one_order(
        scores, [label.first == label.variant for label in once.values()], level=level
    )


def _strengths(
    compared: Sequence[Label], control: str, groups: _Groups, level: float
) -> tuple[Strength, ...] | NotEstimable:
    fit = bradley_terry(
        [label.variant or "" for label in compared],
        [control] * len(compared),
        [label.value for label in compared if label.value is not None],
        clusters=[groups.cluster(label) for label in compared],
        level=level,
    )
    if isinstance(fit, NotEstimable):
        return fit
    found = [
        Strength(variant=player, log_odds=strength, rating=on_elo_scale(strength))
        for player, strength in zip(fit.players, fit.strengths, strict=True)
    ]
    return tuple(sorted(found, key=lambda each: -each.log_odds.value))


def _graded(name: str, variant: str, groups: _Groups, control: str) -> Graded:
    labels = groups.of(name, variant)
    items = groups.means(labels)
    return Graded(
        name=name,
        variant=variant,
        items=len(items),
        labels=sum(label.value is not None for label in labels),
        passed=sum(label.value is None for label in labels),
        mean=groups.mean(items.values(), share=name == _THUMBS),
        difference=None if variant == control else _difference(name, variant, groups, control),
    )


def _difference(name: str, variant: str, groups: _Groups, control: str) -> Found:
    ours, theirs = (groups.means(groups.of(name, each)) for each in (variant, control))
    both = [item for item in ours if item in theirs]
    if both:
        return groups.mean(
            [(ours[item][0] - theirs[item][0], ours[item][1], ours[item][2]) for item in both], share=False
        )
    one, other = groups.mean(ours.values(), share=False), groups.mean(theirs.values(), share=False)
    for found in (one, other):
        if isinstance(found, NotEstimable):
            return found
    assert isinstance(one, Estimate)
    assert isinstance(other, Estimate)
    a, b = one.standard_error**2, other.standard_error**2
    # Welch and Satterthwaite, with the degrees of freedom that each mean has.
    degrees = (a + b) ** 2 / (
        a**2 / (one.degrees_of_freedom or 1.0) + b**2 / (other.degrees_of_freedom or 1.0)
    )
    return t_estimate(
        one.value - other.value,
        math.sqrt(a + b),
        degrees,
        level=groups.level,
        null=0.0,
        method="difference of two means over items",
    )


@dataclass(frozen=True, slots=True)
class _Shared:
    """An item that several raters answered: what each said, and what the item belongs to."""

    given: Mapping[str, float]
    cluster: str


def _agreement(name: str, labels: Sequence[Label], groups: _Groups, top: int | None) -> Agreement:
    said: dict[tuple[str, str | None], dict[str, float]] = {}
    clusters: dict[tuple[str, str | None], str] = {}
    for label in labels:
        if label.value is not None:
            said.setdefault((label.item, label.variant), {})[label.rater] = label.value
            clusters[label.item, label.variant] = groups.cluster(label)
    shared = [_Shared(given, clusters[about]) for about, given in said.items() if len(given) > 1]
    raters = sorted({rater for given in said.values() for rater in given})
    kappa: dict[tuple[str, str], Found] = {}
    if len(raters) <= _MOST_RATERS:
        for one, other in combinations(raters, 2):
            both = [each for each in shared if one in each.given and other in each.given]
            if both:
                kappa[one, other] = _kappa(name, one, other, both, top, groups.level)
    return Agreement(
        name=name,
        raters=len(raters),
        items=len(shared),
        alpha=_alpha(name, shared, raters, groups.level),
        kappa=kappa,
    )


def _kappa(
    name: str, one: str, other: str, shared: Sequence[_Shared], top: int | None, level: float
) -> Found:
    first, second = [each.given[one] for each in shared], [each.given[other] for each in shared]
    clusters = _together([each.cluster for each in shared])
    if name in (_PREFERENCE, _THUMBS):
        return cohens_kappa(first, second, clusters=clusters, level=level)
    best = top or int(max(*first, *second))
    return cohens_kappa(
        first,
        second,
        weights="quadratic",
        categories=[float(grade) for grade in range(1, best + 1)],
        clusters=clusters,
        level=level,
    )


def _alpha(name: str, shared: Sequence[_Shared], raters: Sequence[str], level: float) -> Found:
    if len(raters) < 2 or not shared:
        return NotEstimable("no item was labelled by two raters; let some overlap with --overlap")
    rows = [[each.given.get(rater) for each in shared] for rater in raters]
    clusters = _together([each.cluster for each in shared])
    if name == _PREFERENCE:
        return krippendorffs_alpha(
            rows, scale="ordinal", categories=[0.0, 0.5, 1.0], clusters=clusters, level=level
        )
    scale: Literal["nominal", "interval"] = "nominal" if name == _THUMBS else "interval"
    return krippendorffs_alpha(rows, scale=scale, clusters=clusters, level=level)


def _together(clusters: list[str]) -> list[str] | None:
    """The clusters, where any has two items; None where all stand alone."""
    return clusters if len(set(clusters)) < len(clusters) else None


Answered = tuple[str, str, str | None]
"""A rater, an item, a variant: what was on the page."""


def _times(labels: Iterable[Label]) -> dict[Answered, float | None]:
    """The seconds of each page: the axes of one page share them."""
    return {(label.rater, label.item, label.variant): label.seconds for label in labels}


def _overlapping(labels: Iterable[Label]) -> int:
    raters: dict[tuple[str, str | None], set[str]] = {}
    for label in labels:
        if label.value is not None:
            raters.setdefault((label.item, label.variant), set()).add(label.rater)
    return sum(len(each) > 1 for each in raters.values())


def _rater(rater: str, labels: Sequence[Label], times: Mapping[Answered, float | None]) -> RaterAt:
    said: dict[tuple[str, str | None], bool] = {}
    for label in labels:
        if label.rater == rater:
            about = (label.item, label.variant)
            said[about] = said.get(about, False) or label.value is not None
    seconds = [time for (each, _, _), time in times.items() if each == rater and time is not None]
    return RaterAt(
        rater=rater,
        answered=sum(said.values()),
        passed=len(said) - sum(said.values()),
        median_s=median(seconds) if seconds else None,
        total_s=math.fsum(seconds) if seconds else None,
    )


def _quartiles(seconds: Sequence[float]) -> tuple[float, float, float] | None:
    if len(seconds) < 2:
        return None
    low, middle, high = quantiles(seconds, n=4, method="inclusive")
    return low, middle, high
