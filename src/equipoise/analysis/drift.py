"""Drift: scores over time, what comes in, which models answer, and golden cases beside live turns. Information, no verdict.

Scores are told of control alone while the experiment goes on: scores of two arms side by side would be a look at the effect.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any

from equipoise.arena.exporting import estimate_json
from equipoise.events.facts import Exposure, Gate, Score, Turn
from equipoise.experiment.definition import Experiment
from equipoise.stats.cases.case_means import mean_over_cases
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.health.drift import Stability, difference_of_estimates, population_stability

__all__ = ["Drift", "Drifting", "Gap", "Mix", "Period", "Said", "Series"]

_MOST_VALUES = 12
OTHERS = "others"
"""What stands for the values of a segment beyond its twelve most frequent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """The scores given in one period, from `starts` (seconds since 1970 UTC): of how many turns, and of whom.

    `mean` is that of all turns: each weighs by the inverse of the probability with which it was drawn, and turns of a unit
    belong together. `shares` says how many turns got which value (by tenths of their range where there are many).
    """

    starts: float
    turns: int
    units: int
    mean: Estimate | NotEstimable
    shares: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What one instrument said of one arm, period by period; another configuration is another series.

    `unscored` counts turns without a value, by reason. `change` is the last period's mean less that of all before,
    `stability` compares what values there were.
    """

    name: str
    evaluator: str
    variant: str
    periods: tuple[Period, ...]
    unscored: Mapping[str, int]
    change: Estimate | NotEstimable
    stability: Stability | NotEstimable


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What came in, period by period: of whom or of how many turns (`counts`), by class. The last against all before."""

    name: str
    of: str
    periods: tuple[tuple[float, Mapping[str, int]], ...]
    stability: Stability | NotEstimable


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a model called itself, and its fingerprint: who heard it, how often, and from when to when.

    `by` is the variant that was answered for, or the instrument that judged.
    """

    by: str
    model: str | None
    fingerprint: str | None
    first: float
    last: float
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """One instrument on golden cases and on live turns, side by side; `difference` is live less golden."""

    name: str
    evaluator: str
    variant: str
    golden: Estimate | NotEstimable
    cases: int
    live: Estimate | NotEstimable
    turns: int
    difference: Estimate | NotEstimable


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Everything that is told of drift: `every` is a period's length in seconds, `arms` are those whose scores are told."""

    experiment: str
    every: float
    arms: tuple[str, ...]
    series: tuple[Series, ...]
    mix: tuple[Mix, ...]
    models: tuple[Said, ...]
    gaps: tuple[Gap, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; what cannot be estimated says why."""
        said: dict[str, Any] = _plain(self)
        return said


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate | NotEstimable):
        return estimate_json(value)
    if isinstance(value, Stability):
        return asdict(value) | {"stable": value.stable}
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True)
class _Reading:
    """One score of a turn."""

    period: int
    unit: str
    value: float
    weight: float


@dataclass(slots=True)
class _Sightings:
    first: float
    last: float
    times: int = 1


@dataclass
class Drifting:
    """Facts as they come, in the order of the log, and what they add up to (`found`).

    `withheld` says of a score and its instrument why its numbers are not told: people disagree with it too often. Of
    turns that were not drawn only counts are kept, so that a long log needs little room.
    """

    experiment: Experiment
    every: float = 86_400.0
    arms: tuple[str, ...] = ()
    withheld: Mapping[tuple[str, str], str] = field(default_factory=dict)
    _arm_of: dict[str, str] = field(default_factory=dict)
    _readings: dict[tuple[str, str, str], list[_Reading]] = field(default_factory=lambda: defaultdict(list))
    _unscored: dict[tuple[str, str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _counts: dict[tuple[str, str], dict[int, Counter[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Counter))
    )
    _models: dict[tuple[str, str | None, str | None], _Sightings] = field(default_factory=dict)
    _gate: Gate | None = None

    def take(self, fact: object) -> None:
        """Count a fact of the experiment; those of other revisions count for nothing."""
        if isinstance(fact, Score):
            self._score(fact)
        elif isinstance(fact, Turn | Exposure | Gate) and fact.digest == self.experiment.digest:
            if isinstance(fact, Gate):
                self._gate = fact
            elif isinstance(fact, Exposure):
                self._exposure(fact)
            elif fact.kind == "turn":
                self._turn(fact)

    def _period(self, happened: float) -> int:
        return math.floor(happened / self.every)

    def _exposure(self, fact: Exposure) -> None:
        for segment in self.experiment.segments:
            value = fact.attributes.get(segment)
            self._counts[f"segment {segment}", "units"][self._period(fact.happened)][
                "not known" if value is None else str(value)
            ] += 1

    def _turn(self, fact: Turn) -> None:
        if fact.sampled is not None and fact.trace is not None and fact.variant is not None:
            self._arm_of[fact.trace] = fact.variant
        if fact.variant == self.experiment.control.name and fact.input_tokens is not None:
            self._counts["input_tokens", "turns of control"][self._period(fact.happened)][
                _length(fact.input_tokens)
            ] += 1
        if fact.model is not None:
            self._heard(fact.variant or "no variant", fact.model, fact.fingerprint, fact.happened)

    def _heard(self, by: str, model: str | None, fingerprint: str | None, at: float) -> None:
        known = self._models.get((by, model, fingerprint))
        if known is None:
            self._models[by, model, fingerprint] = _Sightings(at, at)
        else:
            known.first, known.last, known.times = (
                min(known.first, at),
                max(known.last, at),
                known.times + 1,
            )

    def _score(self, fact: Score) -> None:
        arm = self._arm_of.get(fact.trace or "")
        if arm is None:
            return
        for each in (fact.configuration or {}).get("replied", ()):
            self._heard(fact.evaluator, each.get("model"), each.get("fingerprint"), fact.happened)
        if arm not in self.arms:
            return
        key = (fact.name, fact.evaluator, arm)
        if fact.value is None:
            self._unscored[key][fact.why_not or "no reason was given"] += 1
        else:
            weight = 1.0 / fact.probability if fact.probability > 0.0 else 1.0
            self._readings[key].append(
                _Reading(self._period(fact.happened), fact.unit, float(fact.value), weight)
            )

    def found(self) -> Drift:
        """What the facts so far say."""
        series = tuple(
            self._series(key, self._readings.get(key, []))
            for key in sorted({*self._readings, *self._unscored})
        )
        return Drift(
            experiment=self.experiment.identity,
            every=self.every,
            arms=self.arms,
            series=series,
            mix=tuple(self._mix(name, of) for name, of in sorted(self._counts)),
            models=tuple(
                Said(by=by, model=model, fingerprint=mark, first=seen.first, last=seen.last, times=seen.times)
                for (by, model, mark), seen in sorted(
                    self._models.items(), key=lambda each: (each[0][0], each[1].first)
                )
            ),
            gaps=tuple(self._gaps()),
        )

    def _series(self, key: tuple[str, str, str], readings: Sequence[_Reading]) -> Series:
        label = _labels(readings)
        name, evaluator, variant = key
        if (why := self.withheld.get((name, evaluator))) is not None:
            nothing = NotEstimable(why)
            return Series(
                name=name,
                evaluator=evaluator,
                variant=variant,
                periods=(),
                unscored=dict(self._unscored.get(key, {})),
                change=nothing,
                stability=nothing,
            )
        periods = []
        for number in sorted({each.period for each in readings}):
            here = [each for each in readings if each.period == number]
            periods.append(
                Period(
                    starts=number * self.every,
                    turns=len(here),
                    units=len({each.unit for each in here}),
                    mean=_mean(here),
                    shares=Counter(label(each.value) for each in here),
                )
            )
        last = periods[-1].starts if periods else 0.0
        before = [each for each in readings if each.period * self.every < last]
        none = NotEstimable("there is one period, and nothing before it")
        return Series(
            name=name,
            evaluator=evaluator,
            variant=variant,
            periods=tuple(periods),
            unscored=dict(self._unscored.get(key, {})),
            change=difference_of_estimates(periods[-1].mean, _mean(before)) if before else none,
            stability=population_stability(_sum(period.shares for period in periods[:-1]), periods[-1].shares)
            if before
            else none,
        )

    def _mix(self, name: str, of: str) -> Mix:
        counts = self._counts[name, of]
        whole = _sum(counts.values())
        kept = {value for value, _ in whole.most_common(_MOST_VALUES)}
        periods = tuple(
            (
                number * self.every,
                _sum({value if value in kept else OTHERS: n} for value, n in sorted(counts[number].items())),
            )
            for number in sorted(counts)
        )
        stability: Stability | NotEstimable = NotEstimable("there is one period, and nothing before it")
        if len(periods) > 1:
            stability = population_stability(_sum(shares for _, shares in periods[:-1]), periods[-1][1])
        return Mix(name=name, of=of, periods=periods, stability=stability)

    def _gaps(self) -> Iterable[Gap]:
        measured: Mapping[str, Any] = {} if self._gate is None else self._gate.evidence.get("measures", {})
        for variant in self.arms:
            for name, said in measured.get(variant, {}).items():
                key = (name, said.get("instrument", ""), variant)
                readings = self._readings.get(key)
                if not readings:
                    continue
                why = self.withheld.get((name, key[1]))
                golden = _read(said.get("mean") or {})
                live = _mean(readings) if why is None else NotEstimable(why)
                yield Gap(
                    name=name,
                    evaluator=key[1],
                    variant=variant,
                    golden=golden,
                    cases=said.get("cases", 0),
                    live=live,
                    turns=len(readings),
                    difference=difference_of_estimates(live, golden),
                )


def _mean(readings: Sequence[_Reading]) -> Estimate | NotEstimable:
    return mean_over_cases(
        [each.value for each in readings],
        [each.unit for each in readings],
        weights=[each.weight for each in readings],
    )


def _sum(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    whole: Counter[str] = Counter()
    for each in counts:
        whole.update(each)
    return whole


def _labels(readings: Sequence[_Reading]) -> Callable[[float], str]:
    """What a value is called among the shares: itself where there are few, else the tenth of the range in which it lies."""
    values = {each.value for each in readings}
    if len(values) <= _MOST_VALUES:
        return lambda value: f"{value:g}"
    low, high = min(values), max(values)
    step = (high - low) / 10.0

    def tenth(value: float) -> str:
        at = min(9, int((value - low) / step))
        return f"{low + at * step:.3g} to {low + (at + 1) * step:.3g}"

    return tenth


def _length(tokens: int) -> str:
    """A class of lengths that doubles from one to the next.

    >>> _length(0), _length(1), _length(100), _length(128)
    ('0', '1 to 1', '64 to 127', '128 to 255')
    """
    if tokens < 1:
        return "0"
    low = 1 << (tokens.bit_length() - 1)
    return f"{low} to {2 * low - 1}"


def _read(said: Mapping[str, Any]) -> Estimate | NotEstimable:
    """A mean as a gate keeps it; of one whose interval is open at an end nothing is said."""
    if not all(said.get(each) is not None for each in ("value", "standard_error", "low", "high")):
        return NotEstimable(said.get("not_estimable", "the gate keeps no interval of it"))
    if not said["standard_error"] > 0.0:
        return NotEstimable("it has no spread on the golden cases")
    names = Estimate.__dataclass_fields__
    return Estimate(**{name: value for name, value in said.items() if name in names})
