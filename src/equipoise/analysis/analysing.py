"""From a measurement to findings: health, the look, the effects that may be shown at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from equipoise.analysis.absence import absences
from equipoise.analysis.bandit import analyse_bandit
from equipoise.analysis.by_turn import by_turn
from equipoise.analysis.calibration import Calibration
from equipoise.analysis.declared import declared
from equipoise.analysis.effects import effect_of, value_of
from equipoise.analysis.findings import Effect, Findings
from equipoise.analysis.health import check_health
from equipoise.analysis.information import information_now
from equipoise.analysis.interference import beside_control, interference
from equipoise.analysis.interleaved import wins_and_losses
from equipoise.analysis.judged import judges, opinions, trend_withheld, unlabelled
from equipoise.analysis.looks import LookState, PastLook, look_now, planned_looks
from equipoise.analysis.novelty import novelty
from equipoise.analysis.segments import directions, mixes, segment_effects
from equipoise.analysis.so_far import effect_so_far
from equipoise.analysis.stopping import stopping_rules
from equipoise.analysis.switchback import carry_overs, carry_overs_said, check_slots
from equipoise.experiment.amount import Amount
from equipoise.experiment.definition import Experiment
from equipoise.experiment.verdict_rule import asks
from equipoise.measurement.tally import Measurement
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.families.multiplicity import Family

__all__ = ["analyse"]

_CANARY = "its units are those of the canary, which are no part of the A/B estimate"


def analyse(
    experiment: Experiment,
    measured: Measurement,
    *,
    maximum: float | NotEstimable,
    units: float | None = None,
    past: Sequence[PastLook] = (),
    closing: bool = False,
    repeated: bool = False,
    calibrations: Sequence[Calibration] = (),
) -> Findings:
    """What a measurement shows at this look.

    `maximum` is the registered maximum information (of a bandit the number of units), `units` how many units (slots,
    queries) the plan takes for it, `past` the looks taken before, `closing` that no more data will come, `repeated` that
    data are looked at while they come in, `calibrations` how good the judges are.
    """
    if experiment.method == "bandit":
        return analyse_bandit(experiment, measured, planned=maximum, past=past, closing=closing)
    health = (
        *check_health(experiment, measured, repeated=repeated),
        *check_slots(experiment, measured),
        *(mixes(measured) if measured.lists is None else ()),
        *judges(experiment, measured, calibrations),
    )
    look = look_now(
        experiment,
        information=NotEstimable(_CANARY)
        if measured.aside.in_canary
        else information_now(experiment, measured, maximum=maximum, units=units),
        maximum=maximum,
        past=past,
        closing=closing and not measured.aside.in_canary and not unlabelled(experiment, measured),
    )
    healthy = all(check.status != "invalid" for check in health)
    effects = _effects(experiment, measured, look) if healthy else ()
    shown = healthy and look.due
    course = shown and not trend_withheld(experiment, measured, calibrations)
    segments = segment_effects(experiment, measured) if shown else ()
    carried = carry_overs(experiment, measured) if shown else ()
    effects, segments, family = _adjusted(effects, segments)
    findings = Findings(
        experiment=experiment.identity,
        hypothesis=experiment.hypothesis,
        measurement=measured,
        health=health,
        look=look,
        effects=effects,
        treatments=tuple(variant.name for variant in experiment.treatments),
        family=family,
        past=tuple(past),
        planned=planned_looks(experiment),
        segments=segments,
        otherwise=_otherwise(experiment, measured, look) if shown else (),
        cautions=(
            *absences(experiment, measured),
            *(directions(experiment, measured, segments) if measured.lists is None else ()),
            *wins_and_losses(experiment, measured),
            *(novelty(experiment, measured) if course else ()),
            *carry_overs_said(experiment, carried),
            *(interference(experiment, measured) if course else ()),
            *(beside_control(experiment, measured) if course else ()),
            *opinions(experiment, measured),
        )
        if shown
        else (),
        so_far=effect_so_far(experiment, measured, level=look.level) if course else (),
        declared=declared(experiment),
        by_turn=by_turn(experiment, measured, effects),
        carry_over=carried,
        immature=sum(tally.immature for tally in measured.tallies[experiment.primary.name].values()),
        rule=experiment.verdict,
    )
    if not shown:
        return findings
    return replace(findings, stopping=stopping_rules(experiment, look, past, findings.primary))


def _effects(experiment: Experiment, measured: Measurement, look: LookState) -> tuple[Effect, ...]:
    effects = []
    for metric in experiment.metrics:
        guard = metric.priority == "guardrail"
        if not (guard or look.due):
            continue
        tallies = measured.tallies[metric.name]
        primary = metric.priority == "primary"
        by_margin = primary and asks(experiment.verdict, "non_inferior")
        by_mde = primary and asks(experiment.verdict, "futile")
        effects += [
            effect_of(
                metric,
                treatment.name,
                tallies,
                level=look.guard_level if guard else look.level if primary else 0.95,
                guard=guard,
                margin=_margin(metric.margin, value_of(tallies["control"])) if guard or by_margin else None,
                mde=_margin(metric.mde, value_of(tallies["control"])) if by_mde else None,
                limit=metric.limit,
            )
            for treatment in experiment.treatments
        ]
    for segment, tallies in zip(experiment.critical_segments, measured.critical_segments, strict=True):
        metric = experiment.metric(segment.metric)
        where = f"{segment.attribute}={segment.value}"
        for treatment in experiment.treatments:
            effects.append(
                effect_of(
                    metric,
                    treatment.name,
                    tallies,
                    level=look.guard_level,
                    guard=True,
                    margin=_margin(segment.margin, value_of(tallies["control"])),
                    segment=where,
                )
            )
    return tuple(effects)


def _otherwise(experiment: Experiment, measured: Measurement, look: LookState) -> tuple[Effect, ...]:
    """The primary had units that were seen in two variants been handled the other way: it does not decide."""
    if not measured.otherwise:
        return ()
    return tuple(
        effect_of(experiment.primary, treatment.name, measured.otherwise, level=look.level)
        for treatment in experiment.treatments
    )


def _margin(margin: Amount | None, control: float | None) -> float | None:
    if margin is None or margin.scale == "absolute":
        return None if margin is None else margin.value
    return None if control is None else margin.of(control)


def _adjusted(
    effects: tuple[Effect, ...], segments: tuple[Effect, ...]
) -> tuple[tuple[Effect, ...], tuple[Effect, ...], str | None]:
    """What informs and does not decide, adjusted together as one family.

    A test that has no answer still counts as one: were it dropped, a broken metric would make the others look
    better.
    """
    together = (*effects, *segments)
    p_values = {
        str(index): _p_value(effect)
        for index, effect in enumerate(together)
        if index >= len(effects) or (effect.priority in ("secondary", "exploratory") and not effect.segment)
    }
    if all(isinstance(p, NotEstimable) for p in p_values.values()):
        return effects, segments, None
    adjusted = Family(tuple(p_values), "holm").adjust(p_values)
    found = tuple(
        replace(effect, adjusted_p=p)
        if isinstance(p := adjusted.get(str(index), NotEstimable("not in the family")), float)
        else effect
        for index, effect in enumerate(together)
    )
    metrics = "secondary and exploratory metrics" if len(p_values) > len(segments) else ""
    parts = "the primary within segments" if segments else ""
    name = (
        f"{' and '.join(each for each in (metrics, parts) if each)} "
        f"({len(p_values)} test{'s' if len(p_values) > 1 else ''}, Holm)"
    )
    return found[: len(effects)], found[len(effects) :], name


def _p_value(effect: Effect) -> float | NotEstimable:
    if isinstance(effect.estimate, NotEstimable):
        return effect.estimate
    return NotEstimable("there is no test") if effect.estimate.p_value is None else effect.estimate.p_value
