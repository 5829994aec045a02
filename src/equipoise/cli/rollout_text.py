"""How a rollout is told: where an experiment stands, what shadow showed, what a verb did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from equipoise.cli.output import moment, rows
from equipoise.figures.lettering import clean
from equipoise.rollout.weights import shares_said
from equipoise.stats.estimate import NotEstimable

if TYPE_CHECKING:
    from equipoise.analysis.shadowed import PairedEffect
    from equipoise.conduct.looking.progress import NextLook
    from equipoise.conduct.shadow import Shadowing
    from equipoise.conduct.shadow_judging import Asked
    from equipoise.conduct.status import Status, WatchLine, Weights
    from equipoise.conduct.weigh import Weighed
    from equipoise.stats.estimate import Estimate

__all__ = ["did", "judged_lines", "look_words", "shadow_lines", "status_lines", "weighed_lines"]

_EPOCHS = 12
"""So many epochs are told, the last ones: a bandit has one every hour."""


def did(evidence: Mapping[str, Any]) -> Iterator[str]:
    """What a verb went past, and what it did to those who were exposed, a line each."""
    for each in evidence.get("overridden", ()):
        yield f"with a reason, although {each}"
    for key, fate in (("redirected", "are served control from now on"), ("exposed", "keep what they have")):
        if key in evidence:
            found = evidence[key]
            units, busy = sum(found["units"].values()), sum(found["in_progress"].values())
            arms = ", ".join(f"{arm} {count:,}" for arm, count in found["units"].items())
            yield f"{units:,} exposed units ({arms}) {fate}, and stay in their arm"
            yield f"{busy:,} of them had a turn in the last {found['minutes']:g} minutes and are in the middle of something"


def status_lines(found: Status) -> Iterator[str]:
    """Where an experiment stands, what is watched, and what comes next."""
    yield f"{found.experiment}  (stage {found.stage}, service {found.service})"
    if found.shipped is not None:
        yield clean(f"shipped: {found.shipped}")
    yield f"exposed: {_by_arm(found.counted)}{_of_plan(found)}"
    if found.counted != found.exposed:
        aside = {arm: units - found.counted[arm] for arm, units in found.exposed.items()}
        yield f"in the canary, and no part of the estimate: {_by_arm(aside)}"
    if found.redirects:
        turns = ", ".join(f"{arm} {count:,}" for arm, count in found.redirects.items())
        yield f"turns served control in place of their arm: {turns}"
    if found.verdict is not None:
        yield clean(f"verdict: {found.verdict}")
    if found.next_look is not None:
        yield f"next look: {look_words(found.next_look)}"
    yield ""
    yield rows(
        ["epoch", "starts", "coverage", "shares", "exposed"],
        [
            [
                str(each.epoch),
                f"{moment(each.starts)} UTC",
                f"{float(Fraction(each.coverage)):.2%}",
                shares_said(each.shares),
                f"{sum(each.exposed.values()):,}",
            ]
            for each in found.epochs[-_EPOCHS:]
        ],
    )
    if len(found.epochs) > _EPOCHS:
        yield f"and {len(found.epochs) - _EPOCHS:,} epochs before; --json has them all"
    if found.weights is not None:
        yield ""
        yield from _weights_lines(found.weights, found.epochs[-1].shares if found.epochs else {})
    if found.health:
        yield ""
        yield from (f"{each.status:<7}  {each.name}: {each.says}" for each in found.health)
    if found.warmth:
        yield ""
        yield from _warmth(found)
    if found.shadow is not None:
        yield ""
        yield from shadow_lines(found.shadow)
    if found.watches:
        yield ""
        yield rows(["watch", "arm", "streak", "last window", "then"], map(_watch, found.watches))
    if found.alerts:
        yield ""
        for each in found.alerts:
            sustained = f", {each.streak} windows in a row" if each.sustained else ""
            limit = f"{each.value:.4g} against {each.limit:.4g}"
            said = clean(f"{each.action}: {each.metric} of {each.variant} ({limit}{sustained})")
            yield f"{moment(each.happened)} UTC  {said}"
    yield ""
    yield from _ahead(found)


def _by_arm(units: Mapping[str, int]) -> str:
    return ", ".join(f"{arm} {count:,}" for arm, count in units.items())


def _weights_lines(weights: Weights, shares: Mapping[str, str]) -> Iterator[str]:
    if weights.evidence is not None:
        yield _believed(weights.evidence, shares)
    if weights.next is None:
        yield clean(f"shares change no more: {weights.because}")
    else:
        yield f"shares change next at {moment(weights.next)} UTC, where `equipoise monitor` runs"


def _believed(evidence: Mapping[str, Any], shares: Mapping[str, str]) -> str:
    """What a bandit knows of each arm, and the share that it has for it."""
    return rows(
        [evidence["reward"], "rewards", "pending", "missing", "mean", "best with", "share"],
        [
            [
                arm,
                f"{each['matured']:,}",
                f"{each['pending']:,}",
                f"{each['missing']:,}",
                "" if each["mean"] is None else f"{each['mean']:.4g}",
                f"{each['best']:.2%}",
                f"{float(Fraction(shares[arm])):.2%}" if arm in shares else "removed",
            ]
            for arm, each in evidence["arms"].items()
        ],
    )


def _of_plan(found: Status) -> str:
    if not found.planned:
        return ""
    total = sum(found.counted.values())
    pace = "" if found.units_per_day is None else f", {found.units_per_day:,.0f} a day"
    return f" ({total / found.planned:.0%} of the {found.planned:,} planned{pace})"


def look_words(look: NextLook | None, *, long: bool = True) -> str:
    """The look that comes next, in a line, without its reasons where it is to be short; that there is none."""
    if look is None:
        return "none" if long else "–"
    if not long:
        at = f"at {look.fraction:.0%}"
        return at if look.expected is None else f"{at}, {moment(look.expected)[:10]}"
    at = f"{look.number} of {look.of}, at {look.fraction:.0%} of the planned information"
    if look.units is not None:
        at += f", about {look.units:,} {look.noun}"
    if look.because is not None:
        return f"{at}; {look.because}"
    return at if look.expected is None else f"{at}; expected {moment(look.expected)} UTC at this pace"


def _warmth(found: Status) -> Iterator[str]:
    yield rows(
        ["turns", "warm", "median", "cold", "median"],
        [
            [arm, f"{each.warm:,}", _s(each.warm_median_s), f"{each.cold:,}", _s(each.cold_median_s)]
            for arm, each in found.warmth.items()
        ],
    )
    cold = [arm for arm, each in found.warmth.items() if each.too_cold]
    if cold:
        yield (
            f"too little traffic to stay warm: {', '.join(cold)}. Latency is that of a cold model; "
            f"raise the coverage: equipoise rollout {found.experiment.partition('@')[0]} ramp SHARE"
        )


def _s(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.3g} s"


def _watch(line: WatchLine) -> list[str]:
    if line.ends is None or line.verdict is None:
        last = "none yet"
    elif line.value is None or line.limit is None:
        last = f"{moment(line.ends)} UTC: {line.because or line.verdict}"
    else:
        last = f"{moment(line.ends)} UTC: {line.verdict}, {line.value:.4g} against {line.limit:.4g}"
    return [
        f"{line.metric} {line.bound}",
        line.arm,
        f"{line.breached} breached, {line.needed} act",
        last,
        line.action,
    ]


def _ahead(found: Status) -> Iterator[str]:
    ahead = found.ahead
    if ahead.stage is None:
        yield f"it is {found.stage}: nothing comes after"
        return
    if found.service == "paused":
        yield "paused: nobody new enters until `resume`"
    if not ahead.blocks:
        yield f"{ahead.stage} may follow:"
        yield from _unsettled(found)
    for block in ahead.blocks:
        yield f"before {ahead.stage}: {block.because}" + (
            "" if block.reason_suffices or "`resume`" in block.because else "; no reason goes past that"
        )
    if ahead.command is not None:
        yield f"  {ahead.command}"


def _unsettled(found: Status) -> Iterator[str]:
    """What bars nothing, and whoever goes on should have seen: a canary without anybody in it, a row that has begun."""
    if found.stage == "canary" and not any(found.epochs[-1].exposed.values()):
        yield "  though nobody came in since its epoch was announced, so it says nothing yet"
    for each in found.watches:
        if each.verdict == "breached" and each.breached < each.needed:
            yield (
                f"  though {each.metric} of {each.arm} was beyond its limit in its last window "
                f"({each.breached} of {each.needed} in a row)"
            )


def shadow_lines(found: Shadowing) -> Iterator[str]:
    """What shadow showed: pairs, differences with their intervals, guardrails, likeness of the texts."""
    for arm, turns in found.turns.items():
        yield f"shadow: {turns:,} turns of {arm} beside control's, in {found.conversations[arm]:,} conversations"
    told = [each for each in found.effects if each.pairs]
    if told:
        yield rows(["by turn", "arm", "control", "arm's", "difference"], map(_effect, told))
    for guard in found.guardrails:
        yield f"{guard.held}: {guard.name} of {guard.variant}: {guard.because}"
    for arm, likeness in found.likeness.items():
        if isinstance(likeness.estimate, NotEstimable):
            yield f"texts of {arm}: {likeness.estimate.reason}"
        else:
            yield f"texts of {arm} beside control's: cosine {_interval(likeness.estimate)} in {likeness.pairs:,} pairs"
    if found.aside:
        yield f"in no pair: {', '.join(f'{reason} {count:,}' for reason, count in sorted(found.aside.items()))}"
    yield found.says


def _effect(effect: PairedEffect) -> list[str]:
    estimate = effect.estimate
    said = estimate.reason if isinstance(estimate, NotEstimable) else _interval(estimate)
    return [effect.name, effect.variant, f"{effect.control:.4g}", f"{effect.treatment:.4g}", said]


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.4g} [{estimate.low:.4g}, {estimate.high:.4g}]"


def weighed_lines(done: Weighed) -> Iterator[str]:
    """What a bandit's rewards were, and what became of its shares."""
    if done.evidence:
        yield _believed(done.evidence, done.shares)
    if done.epoch is not None and done.starts is not None:
        yield f"epoch {done.epoch} of {done.experiment} starts at {moment(done.starts)} UTC"
    else:
        yield f"no epoch of {done.experiment} was opened: {done.because}"


def judged_lines(asked: Asked) -> Iterator[str]:
    """What the judge said of pairs."""
    for arm, each in asked.by_arm.items():
        rate = each.win_rate
        said = rate.reason if isinstance(rate, NotEstimable) else f"win rate {_interval(rate)}"
        yield (
            f"{each.judge} on {arm}: {each.wins} won, {each.ties} tied ({each.disagreed} where the orders disagreed), "
            f"{each.losses} lost, {each.unscored} without a verdict; {said}"
        )
    cost = "nobody knows what it cost" if asked.cost_usd is None else f"it cost ${asked.cost_usd:.4f}"
    yield cost if asked.stopped is None else f"{cost}; stopped early: {asked.stopped}"
