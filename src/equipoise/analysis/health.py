"""Health first: what would make every number below worthless, and what is merely worth knowing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from equipoise.analysis.bandit_health import check_shares
from equipoise.analysis.clocks import check_clocks, of_sources
from equipoise.analysis.declared import span
from equipoise.analysis.fairness import ALARM, judged
from equipoise.analysis.few_clusters import few_clusters
from equipoise.analysis.findings import Check
from equipoise.analysis.interleaved import check_lists
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.measurement.tally import Measurement, Tally
from equipoise.measurement.warmth import ArmWarmth
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.health.sample_ratio import anytime_sample_ratio, sample_ratio

__all__ = ["check_health"]

_CROSSED = 0.01
_MIXED = 0.05
"""More members than this in several arms are said to blur the effect."""


def check_health(experiment: Experiment, measured: Measurement, *, repeated: bool) -> tuple[Check, ...]:
    """Every check, in the order of a reader's questions.

    `repeated` says that the data are looked at as they come in: the sample ratio is then judged by a test
    that may be looked at after every unit.
    """
    checks = [
        *([_arms(measured)] if measured.lists is None else ()),
        *_enrolment(experiment, measured),
        *_assigned(experiment, measured, repeated=repeated),
        *_missing(experiment, measured),
        *(_maturing(experiment, measured) if measured.lists is None else ()),
        *_winsorised(measured),
    ]
    if measured.rows_without_unit:
        checks.append(
            Check(
                "rows without a unit",
                "note",
                f"{measured.rows_without_unit} of {measured.rows} rows name no unit and are left out",
            )
        )
    if measured.aside.orphans:
        checks.append(
            Check(
                "orphans",
                "note",
                f"{measured.aside.orphans} outcomes or turns belong to units that were never exposed",
            )
        )
    if measured.aside.early:
        checks.append(
            Check(
                "early values",
                "note",
                (
                    "1 outcome or turn was"
                    if measured.aside.early == 1
                    else f"{measured.aside.early:,} outcomes or turns were"
                )
                + " told before the first exposure of their unit and left out; "
                "a source whose clock is behind loses outcomes this way"
                + (f". By source: {of_sources(measured.aside.early_by)}" if measured.aside.early_by else ""),
            )
        )
    checks += check_clocks(measured)
    checks += _served_otherwise(measured)
    checks += few_clusters(experiment, measured)
    checks += _members(experiment, measured)
    return tuple(checks)


def _assigned(experiment: Experiment, measured: Measurement, *, repeated: bool) -> list[Check]:
    """Whether chance was fair to the arms, or to the rankers of a list."""
    if measured.lists is not None:
        return check_lists(experiment, measured.lists, repeated=repeated)
    if experiment.method == "bandit":
        return [check_shares(measured), _crossed(measured)]
    return [_sample_ratio(experiment, measured, repeated=repeated), _crossed(measured)]


def _served_otherwise(measured: Measurement) -> list[Check]:
    """What the gateway says of turns that do not count, that were lost, or that count with a mark."""
    aside = measured.aside
    found = []
    if aside.lost:
        said = _listed(aside.lost)
        found.append(
            Check(
                "recording loss",
                "note",
                f"the record was away for a while: {said} could not be kept. Lost exposures are units that were "
                "served unenrolled; they are missing from both arms alike unless an arm slowed the record down",
            )
        )
    if aside.canary:
        found.append(
            Check(
                "canary",
                "ok",
                f"{aside.canary:,} {'unit' if aside.canary == 1 else 'units'} came in during the canary and are no part of "
                "the estimate",
            )
        )
    if aside.conflicts:
        one = aside.conflicts == 1
        found.append(
            Check(
                "conflicting events",
                "note",
                f"{'1 event' if one else f'{aside.conflicts:,} events'} came under the id of another one and "
                f"{'does' if one else 'do'} not count, the first does: a source makes ids that are not its own",
            )
        )
    if aside.unenrolled:
        found.append(Check("unenrolled", "ok", f"turns outside the experiment: {_listed(aside.unenrolled)}"))
    if aside.marked:
        found.append(
            Check(
                "marked turns",
                "note",
                f"{_listed(aside.marked)}; they count in the arm of their unit (intention to treat), cancelled "
                "ones without their latency",
            )
        )
    cold = [
        f"{arm} {each.cold:,} of {each.warm + each.cold:,}" + _apart(each)
        for arm, each in aside.warmth.items()
        if each.too_cold
    ]
    if cold:
        found.append(
            Check(
                "cold model",
                "note",
                f"too little traffic to stay warm; turns that found their model unused for a minute: "
                f"{'; '.join(cold)}. Latency is that of a cold model: raise the coverage before judging it",
            )
        )
    return found


def _apart(arm: ArmWarmth) -> str:
    if arm.warm_median_s is None or arm.cold_median_s is None:
        return ""
    return f" (median {arm.cold_median_s:.3g} s cold, {arm.warm_median_s:.3g} s warm)"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in sorted(counts.items()))


def _arms(measured: Measurement) -> Check:
    empty = [name for name, units in measured.units.items() if units == 0]
    if empty:
        waiting = measured.enrolment.burn_in + measured.enrolment.unfinished
        if waiting and len(empty) == len(measured.units):
            return Check(
                "arms",
                "note",
                f"no unit counts yet; {waiting:,} are in the burn-in or in a cycle that is not over",
            )
        return Check(
            "arms", "invalid", f"no unit was seen in {', '.join(empty)}: there is nothing to compare"
        )
    counted = ", ".join(f"{name} {units:,}" for name, units in measured.units.items())
    return Check("arms", "ok", f"units: {counted}")


def _enrolment(experiment: Experiment, measured: Measurement) -> list[Check]:
    """What the burn-in and unfinished cycles keep out, as declared before launch."""
    plan, cut = experiment.plan, measured.enrolment
    if not (plan.burn_in or plan.whole_cycles):
        return []
    if measured.first is None:
        return [
            Check(
                "enrolment",
                "note",
                "without a time column neither burn-in nor cycles can be cut; every unit counts",
            )
        ]
    said = []
    if plan.burn_in:
        said.append(
            f"{_units(cut.burn_in)} first exposed in the burn-in of {span(plan.burn_in)} "
            f"{'does' if cut.burn_in == 1 else 'do'} not count"
        )
    if cut.whole_cycles is not None:
        over = f"{cut.whole_cycles} cycle{'' if cut.whole_cycles == 1 else 's'} of {span(plan.cycle)}"
        said.append(
            f"{over} {'is' if cut.whole_cycles == 1 else 'are'} over, and {_units(cut.unfinished)} of the "
            f"unfinished one {'waits' if cut.unfinished == 1 else 'wait'}"
        )
    return [Check("enrolment", "ok", "; ".join(said))]


def _maturing(experiment: Experiment, measured: Measurement) -> list[Check]:
    checks = []
    for metric in experiment.metrics:
        if metric.window is None:
            continue
        tallies = measured.tallies[metric.name]
        if metric.kind == "time_to_event":
            checks.append(_censored(metric, tallies.values()))
            continue
        ripe = sum(tally.units + tally.missing for tally in tallies.values())
        waiting = sum(tally.immature for tally in tallies.values())
        checks.append(
            Check(
                f"window of {metric.name}",
                "ok",
                f"{_units(ripe)} had the whole window of {span(metric.window)}; "
                f"{_units(waiting)} not yet, which {'does' if waiting == 1 else 'do'} not count for it",
            )
        )
    return checks


def _censored(metric: Metric, tallies: Iterable[Tally]) -> Check:
    units, cut = 0, 0
    for tally in tallies:
        units, cut = units + tally.units, cut + tally.censored
    window = span(metric.window or 0.0)
    return Check(
        f"window of {metric.name}",
        "ok",
        f"{_units(units - cut)} {'was' if units - cut == 1 else 'were'} seen until {metric.of} or for the whole window "
        f"of {window}; {_units(cut)} not yet, which {'counts' if cut == 1 else 'count'} for as long as "
        f"{'it was' if cut == 1 else 'they were'} seen",
    )


def _winsorised(measured: Measurement) -> list[Check]:
    return [
        Check(
            f"winsorised {name}",
            "ok",
            f"as declared, values above {cap.value:,.4g} (the {cap.q:.4g} quantile of all arms together) count as "
            f"that: {_units(cap.units)}",
        )
        for name, cap in measured.caps.items()
    ]


def _units(count: int) -> str:
    return f"{count:,} unit{'' if count == 1 else 's'}"


def _sample_ratio(experiment: Experiment, measured: Measurement, *, repeated: bool) -> Check:
    test = anytime_sample_ratio if repeated else sample_ratio
    return judged(
        "sample ratio",
        test(measured.units, experiment.allocation),
        fair="the units follow the declared allocation",
        unfair="the units do not follow the declared allocation",
        cause="units were lost or gained in one arm",
    )


def _crossed(measured: Measurement) -> Check:
    total = sum(measured.units.values()) + (0 if measured.kept else measured.crossed)
    name = "units in two variants"
    if not measured.crossed:
        return Check(name, "ok", "no unit was seen in more than one variant")
    handled = (
        "they count for the variant seen first"
        if measured.kept
        else "as declared, they are left out"
        if measured.first is not None
        else "without a time nobody knows which came first, so they are left out"
    )
    share = measured.crossed / max(total, 1)
    says = f"{measured.crossed} of {total} units ({share:.2%}) were seen in more than one variant; {handled}"
    if share > _CROSSED:
        return Check(
            name, "invalid", f"{says}. More than {_CROSSED:.0%}: the assignment is not to be trusted"
        )
    return Check(name, "note", says)


def _missing(experiment: Experiment, measured: Measurement) -> list[Check]:
    checks = []
    for metric in experiment.metrics:
        tallies = measured.tallies[metric.name]
        missing = {name: tally.missing for name, tally in tallies.items()}
        if not any(missing.values()):
            continue
        # Of those who had the time: a unit whose window is open lacks nothing yet.
        ripe = {name: tally.units + tally.missing for name, tally in tallies.items()}
        shares = ", ".join(
            f"{name} {count:,} ({count / max(ripe[name], 1):.2%})" for name, count in missing.items()
        )
        result = sample_ratio(
            missing, {name: units / max(sum(ripe.values()), 1) for name, units in ripe.items()}
        )
        uneven = not isinstance(result, NotEstimable) and result.p_value < ALARM
        checks.append(
            Check(
                f"missing {metric.name}",
                "note",
                f"units without {metric.of}: {shares}; they are not counted as zeros"
                + (
                    ". The arms differ: absence may itself be an effect, and the estimate leaves it out"
                    if uneven
                    else ""
                ),
                None if isinstance(result, NotEstimable) else result.p_value,
            )
        )
    return checks


def _members(experiment: Experiment, measured: Measurement) -> list[Check]:
    """Whether those who belong to a cluster stayed in it: whoever is in two arms dilutes what they differ by."""
    found, name = measured.members, "members of several clusters"
    if found is None:
        return []
    who = experiment.unit.members
    if not found.members:
        return [Check(name, "note", f"no turn says its {who}, so nobody knows who was in several clusters")]
    several, crossed = found.in_several / found.members, found.in_several_arms / found.members
    if not found.in_several:
        return [Check(name, "ok", f"each of {found.members:,} was seen in one cluster alone")]
    says = (
        f"{found.in_several:,} of {found.members:,} ({several:.2%}) were seen in several clusters, and "
        f"{found.in_several_arms:,} ({crossed:.2%}) of them in several arms; what they did counts where they did it"
    )
    if crossed > _MIXED:
        says += (
            ". So many know both arms that what clusters differ by is likely to be less than what worlds would: "
            "randomise what holds them together instead"
        )
    return [Check(name, "note" if crossed > _CROSSED else "ok", says)]
