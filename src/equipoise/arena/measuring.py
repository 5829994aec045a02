"""What each evaluator measured over the cases: counts, means, and differences on the same cases."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from equipoise.arena.result import CaseResult, Measured
from equipoise.scoring.evaluating import Score
from equipoise.stats.cases.case_means import mean_over_cases
from equipoise.stats.cases.pass_rates import difference_of_pass_rates, pass_rate_over_cases
from equipoise.stats.cases.worst_cases import difference_of_worst, mean_of_worst
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["EVERY_CHECK", "MeasureInfo", "Values", "measure", "values_of", "worst_of"]

EVERY_CHECK = "pass_rate"
"""The share of samples on which every check holds; measured wherever anything can pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureInfo:
    """What is known of a measure beforehand: what it does, the top of its scale, whether it has a bar."""

    does: str
    top: float | None = None
    bar: bool = False
    must_pass: bool = False

    @property
    def scale(self) -> tuple[float, float] | None:
        """The least and greatest value there can be; None where that is not known.

        >>> MeasureInfo(does="rubric", top=5).scale, MeasureInfo(does="plugin").scale
        ((1.0, 5), None)
        """
        if self.top is not None:
            return (1.0 if self.does == "rubric" else 0.0), self.top
        return (0.0, 1.0) if self.does in ("rule", "similarity") else None


@dataclass(frozen=True, slots=True)
class Values:
    """One measure of control and a treatment on the cases that both were scored on.

    `clusters` and `weights` are None where every case is its own and all count alike.
    """

    control: tuple[float, ...]
    treatment: tuple[float, ...]
    clusters: tuple[tuple[str, str], ...] | None
    weights: tuple[float, ...] | None


def values_of(cases: Sequence[CaseResult], measure: str, control: str, treatment: str) -> Values:
    """The values of `measure` case by case, of the cases that have one in both arms.

    >>> case = CaseResult(id="1", asked="?", scores={"a": ({"ok": Score(value=1.0)},), "b": ({},)})
    >>> values_of([case], "ok", "a", "b").control
    ()
    """
    found = [
        (case, ours, theirs)
        for case in cases
        if (theirs := _value(case, control, measure)) is not None
        and (ours := _value(case, treatment, measure)) is not None
    ]
    scored = [case for case, _, _ in found]
    return Values(
        control=tuple(theirs for _, _, theirs in found),
        treatment=tuple(ours for _, ours, _ in found),
        clusters=_clusters(scored),
        weights=_weights(scored),
    )


def worst_of(
    values: Values, share: float, *, scale: tuple[float, float] | None = None, level: float
) -> tuple[Estimate | NotEstimable, Estimate | NotEstimable, Estimate | NotEstimable]:
    """The mean of the worst `share` of the cases: the difference, the treatment's own, and control's.

    `scale` is the least and greatest value there can be, if that is known. Errors and source:
    `stats.cases.worst_cases`.

    >>> worst_of(Values((1.0, 2.0), (1.0, 2.0), None, None), 0.05, level=0.95)[0].reason
    'the worst 5% of 2 cases are 1, and their mean needs at least 5'
    """
    control, treatment, clusters, weights = values.control, values.treatment, values.clusters, values.weights
    within = scale if scale and _within([*control, *treatment], scale) else None
    return (
        difference_of_worst(control, treatment, share, clusters, weights=weights, scale=within, level=level),
        mean_of_worst(treatment, share, clusters, weights=weights, scale=within, level=level),
        mean_of_worst(control, share, clusters, weights=weights, scale=within, level=level),
    )


def measure(
    cases: Sequence[CaseResult],
    *,
    variants: Sequence[str],
    names: Mapping[str, MeasureInfo],
    level: float,
) -> dict[str, dict[str, Measured]]:
    """Every measure of every variant, control first in `variants`; `names` says which there are.

    Values are those of the cases: means over samples. A measure whose every value is 0 or 1 is a rate, with
    the intervals of `stats.cases.pass_rates`; any other is a mean, with those of `mean_over_cases`. Where a
    mean shows no spread, but the scale is known, it is read as a share of the scale, so that arms equal on
    every case are still told apart from arms of which nothing is known. `pass_rate` is added wherever
    anything can pass; an answer that is missing did not pass.

    Degenerate cases: what has no estimate says why. Source: those functions.

    >>> scores = {"a": ({"ok": Score(value=1.0, passed=True)},), "b": ({"ok": Score(value=0.0, passed=False)},)}
    >>> cases = [CaseResult(id=str(number), asked="?", scores=scores) for number in range(20)]
    >>> found = measure(cases, variants=["a", "b"], names={"ok": MeasureInfo(does="rule", bar=True)}, level=0.95)
    >>> found["b"]["pass_rate"].failed, found["b"]["ok"].difference.value
    (20, -1.0)
    """
    infos = dict(names)
    if _anything_passes(cases):
        infos[EVERY_CHECK] = MeasureInfo(does="every check", top=1.0, bar=True)
    control = variants[0]
    return {
        variant: {
            name: _measured(cases, name, info, control=control, variant=variant, level=level)
            for name, info in infos.items()
        }
        for variant in variants
    }


def _measured(
    cases: Sequence[CaseResult], name: str, info: MeasureInfo, *, control: str, variant: str, level: float
) -> Measured:
    rate = _is_rate(cases, name, info)
    scored = [case for case in cases if _value(case, variant, name) is not None]
    values = [value for case in scored if (value := _value(case, variant, name)) is not None]
    mean = _mean(values, scored, info, rate=rate, level=level)
    counted = _pass_outcomes(cases, variant) if name == EVERY_CHECK else _outcomes(cases, variant, name)
    plain = Measured(
        name=name,
        does=info.does,
        top=info.top,
        bar=info.bar,
        must_pass=info.must_pass,
        scored=sum(score.value is not None for score in chain.from_iterable(counted)),
        unscored=sum(score.value is None and not score.errored for score in chain.from_iterable(counted)),
        errored=sum(score.errored for score in chain.from_iterable(counted)),
        passed=sum(score.passed is True for score in chain.from_iterable(counted)),
        failed=sum(score.passed is False for score in chain.from_iterable(counted)),
        mean=mean,
        noise=_noise(counted),
    )
    if variant == control:
        return plain

    def difference(among: Sequence[CaseResult]) -> Estimate | NotEstimable:
        return _difference(values_of(among, name, control, variant), info, rate=rate, level=level)

    tags = dict.fromkeys(chain.from_iterable(case.tags for case in cases))
    by_tag = {tag: [case for case in cases if tag in case.tags] for tag in sorted(tags)}
    return dataclasses.replace(
        plain,
        difference=difference(cases),
        by_tag={tag: difference(among) for tag, among in by_tag.items() if len(among) > 1},
    )


def _value(case: CaseResult, variant: str, name: str) -> float | None:
    return case.passed(variant) if name == EVERY_CHECK else case.value(variant, name)


def _mean(
    values: Sequence[float], cases: Sequence[CaseResult], info: MeasureInfo, *, rate: bool, level: float
) -> Estimate | NotEstimable:
    clusters, weights = _clusters(cases), _weights(cases)
    if rate:
        return pass_rate_over_cases(values, clusters, weights=weights, level=level)
    found = mean_over_cases(values, clusters, weights=weights, level=level)
    if isinstance(found, Estimate) or len(values) < 2 or not _within(values, info.scale):
        return found
    low, high = info.scale or (0.0, 1.0)
    shares = [(value - low) / (high - low) for value in values]
    return _on_scale(pass_rate_over_cases(shares, clusters, weights=weights, level=level), low, high, "mean")


def _difference(values: Values, info: MeasureInfo, *, rate: bool, level: float) -> Estimate | NotEstimable:
    control, treatment = values.control, values.treatment
    if not control:
        return NotEstimable("no case is scored in both arms")
    if rate:
        return difference_of_pass_rates(
            control, treatment, values.clusters, weights=values.weights, level=level
        )
    differences = [after - before for before, after in zip(control, treatment, strict=True)]
    found = mean_over_cases(differences, values.clusters, weights=values.weights, level=level)
    if isinstance(found, Estimate) or len(control) < 2:
        return found
    if not _within([*control, *treatment], info.scale):
        return found
    low, high = info.scale or (0.0, 1.0)
    theirs, ours = ([(value - low) / (high - low) for value in arm] for arm in (control, treatment))
    as_rates = difference_of_pass_rates(theirs, ours, values.clusters, weights=values.weights, level=level)
    return _on_scale(as_rates, 0.0, high - low, "mean of paired differences")


def _on_scale(share: Estimate | NotEstimable, low: float, high: float, what: str) -> Estimate | NotEstimable:
    """A share of a scale as a value on it."""
    if isinstance(share, NotEstimable):
        return share
    width = high - low
    return dataclasses.replace(
        share,
        value=low + share.value * width,
        standard_error=share.standard_error * width,
        low=low + share.low * width,
        high=low + share.high * width,
        method=f"{what} without spread, as a share of the scale: {share.method}",
    )


def _within(values: Sequence[float], scale: tuple[float, float] | None) -> bool:
    return (
        bool(values)
        and scale is not None
        and scale[0] < scale[1]
        and scale[0] <= min(values) <= max(values) <= scale[1]
    )


def _is_rate(cases: Sequence[CaseResult], name: str, info: MeasureInfo) -> bool:
    """Whether every value is 0 or 1: a yes-or-no measure, whatever computes it."""
    if name == EVERY_CHECK:
        return True
    if info.top not in (None, 1):
        return False
    return all(
        score.value in (0.0, 1.0)
        for case in cases
        for samples in case.scores.values()
        for scores in samples
        if (score := scores.get(name)) is not None and score.value is not None
    )


def _anything_passes(cases: Sequence[CaseResult]) -> bool:
    return any(
        score.passed is not None
        for case in cases
        for samples in case.scores.values()
        for scores in samples
        for score in scores.values()
    )


_MISSING = Score(why_not="there is no answer")


def _outcomes(cases: Sequence[CaseResult], variant: str, name: str) -> list[list[Score]]:
    """The scores of each case the measure is about; an answer that is missing is unscored.

    What a case brings with it is measured on that case alone: a measure is about a case on which any arm has
    it, and about one that nobody answered if it is about all others.
    """
    seen = [any(name in scores for scores in chain.from_iterable(case.scores.values())) for case in cases]
    silent = [not any(chain.from_iterable(case.scores.values())) for case in cases]
    everywhere = all(is_seen or is_silent for is_seen, is_silent in zip(seen, silent, strict=True))
    return [
        [scores.get(name, _MISSING) for scores in case.scores.get(variant, ())]
        for case, is_seen in zip(cases, seen, strict=True)
        if is_seen or everywhere
    ]


def _pass_outcomes(cases: Sequence[CaseResult], variant: str) -> list[list[Score]]:
    """Each sample as one score: whether every check held on it, and if not known, why."""
    found = []
    for case in cases:
        answers, samples = case.answers.get(variant, ()), case.scores.get(variant, ())
        outcomes = []
        for index in range(max(len(answers), len(samples))):
            scores = samples[index : index + 1]
            alone = dataclasses.replace(
                case, answers={variant: answers[index : index + 1]}, scores={variant: scores}
            )
            value = alone.passed(variant)
            barred = [score for each in scores for score in each.values() if score.value is None]
            if value is not None:
                outcomes.append(Score(value=value, passed=value == 1.0))
            elif barred:
                outcomes.append(barred[0])
        found.append(outcomes)
    return found


def _noise(outcomes: Sequence[Sequence[Score]]) -> float | None:
    """The standard deviation between samples of one case, pooled over cases; None without a second sample."""
    squares, freedom = 0.0, 0
    for scores in outcomes:
        values = [score.value for score in scores if score.value is not None]
        if len(values) > 1:
            mean = math.fsum(values) / len(values)
            squares += math.fsum((value - mean) ** 2 for value in values)
            freedom += len(values) - 1
    return math.sqrt(squares / freedom) if freedom else None


def _clusters(cases: Sequence[CaseResult]) -> tuple[tuple[str, str], ...] | None:
    """Which cases belong together; a case without a cluster is one of its own. None where none do."""
    named = [("case", case.id) if case.cluster is None else ("cluster", case.cluster) for case in cases]
    return tuple(named) if len(set(named)) < len(named) else None


def _weights(cases: Sequence[CaseResult]) -> tuple[float, ...] | None:
    weights = tuple(case.weight for case in cases)
    return weights if len(set(weights)) > 1 else None
