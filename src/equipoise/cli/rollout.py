"""`equipoise rollout NAME VERB`: how a registered experiment is served, and the verbs that change it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equipoise.cli.output import AsJson, LogPlace, emit, moment, rows
from equipoise.errors import UsageError, nearest

if TYPE_CHECKING:
    from equipoise.conduct.move import Moved
    from equipoise.conduct.standing import Standing
    from equipoise.events.log import EventLog

__all__ = ["rollout"]

_TAKES = {
    "status": None,
    "enter": "STAGE",
    "ramp": "COVERAGE",
    "reweight": "NAME=SHARE …",
    "remove": "VARIANT",
    "pause": None,
    "resume": None,
    "kill": None,
    "roll-back": None,
    "ship": "VARIANT",
}
"""The verbs, and what each is given."""


def rollout(
    name: Annotated[str, typer.Argument(help="The experiment's name.")],
    verb: Annotated[
        str,
        typer.Argument(
            help="status, enter STAGE, ramp COVERAGE, reweight NAME=SHARE …, remove VARIANT, pause, resume, kill, "
            "roll-back or ship VARIANT."
        ),
    ] = "status",
    given: Annotated[
        list[str] | None, typer.Argument(help="The stage, coverage, shares or variant of the verb.")
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option(
            help="Why; recorded. Needed to roll back, to remove a variant, to skip a stage, and to ship without a verdict."
        ),
    ] = None,
    new_conversations: Annotated[
        bool,
        typer.Option(
            "--new-conversations", help="Roll back for new units only; those exposed keep their variant."
        ),
    ] = False,
    by: Annotated[
        str | None,
        typer.Option(help="Who is acting (default: $EQUIPOISE_USER, or the login name).", show_default=False),
    ] = None,
    log: LogPlace = None,
    as_json: AsJson = False,
) -> None:
    """Show how an experiment is served, or change it: enter, ramp, pause, kill, roll back, ship."""
    from equipoise import settings
    from equipoise.conduct.standing import standing
    from equipoise.events.opening import open_log

    words = _checked(verb, given or [], new_conversations)
    record = open_log(log or settings.default_log(), create=False)
    try:
        if verb == "status":
            found = standing(record, name)
            emit(found.to_dict()) if as_json else _tell(found)
            return
        done = _carry_out(
            record, name, verb, words, by or settings.user(), reason, new_conversations=new_conversations
        )
    finally:
        record.close()
    if as_json:
        emit(asdict(done))
        return
    print(f"{done.experiment} is in the stage {done.stage}, service {done.service}")
    for line in _did(done.evidence):
        print(f"  {line}")
    if done.epoch is not None and done.starts is not None:
        print(f"  epoch {done.epoch} starts at {moment(done.starts)} UTC")


def _checked(verb: str, given: Sequence[str], new_conversations: bool) -> Sequence[str]:
    """What a verb was given; UsageError where it is not what the verb takes."""
    if verb not in _TAKES:
        offer = nearest(verb, list(_TAKES))
        raise UsageError(
            f"'{verb}' is nothing that can be done; accepted: {', '.join(_TAKES)}"
            + (f"; {offer}" if offer else "")
        )
    takes = _TAKES[verb]
    if takes is None and given:
        raise UsageError(f"{verb} takes nothing more, and this was given: {' '.join(given)}")
    if takes is not None and (not given or (len(given) > 1 and verb != "reweight")):
        raise UsageError(f"say it as: equipoise rollout NAME {verb} {takes}")
    if new_conversations and verb != "roll-back":
        raise UsageError(f"--new-conversations belongs to roll-back, and this is {verb}")
    return given


def _carry_out(
    log: EventLog,
    name: str,
    verb: str,
    given: Sequence[str],
    by: str,
    reason: str | None,
    *,
    new_conversations: bool,
) -> Moved:
    from equipoise.conduct import move

    match verb:
        case "enter":
            from equipoise.conduct.enter import enter

            return enter(log, name, given[0], by=by, reason=reason)
        case "remove":
            return move.remove(log, name, given[0], by=by, reason=reason)
        case "ramp":
            return move.ramp(log, name, _share(given[0]), by=by, reason=reason)
        case "reweight":
            return move.reweight(log, name, _shares(given), by=by, reason=reason)
        case "pause":
            return move.pause(log, name, by=by, reason=reason)
        case "resume":
            return move.resume(log, name, by=by, reason=reason)
        case "kill":
            return move.kill(log, name, by=by, reason=reason)
        case "ship":
            return move.ship(log, name, given[0], by=by, reason=reason)
        case _:
            return move.roll_back(
                log, name, by=by, reason=reason, scope="new_conversations" if new_conversations else "now"
            )


def _did(evidence: Mapping[str, Any]) -> Iterator[str]:
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


def _share(text: str) -> Fraction:
    from equipoise.experiment.amount import parse_share

    try:
        return parse_share(text)
    except ValueError:
        raise UsageError(
            f"'{text}' is no share; accepted: a fraction, a number or a percentage, such as 1/4, 0.25 or 25%"
        ) from None


def _shares(given: Sequence[str]) -> dict[str, Fraction]:
    shares: dict[str, Fraction] = {}
    for word in given:
        name, equals, share = word.partition("=")
        if not equals or not name:
            raise UsageError(
                f"'{word}' is no share of a variant; write it as NAME=SHARE, such as control=1/2"
            )
        if name in shares:
            raise UsageError(f"{name} is given two shares; give it one")
        shares[name] = _share(share)
    return shares


def _tell(found: Standing) -> None:
    print(f"{found.experiment}  (stage {found.stage}, service {found.service})")
    if found.shipped is not None:
        print(f"shipped: {found.shipped}")
    print(f"exposed: {', '.join(f'{arm} {count:,}' for arm, count in found.exposed.items())}")
    print()
    print(
        rows(
            ["epoch", "starts", "coverage", "shares", "exposed"],
            [
                [
                    str(each.epoch),
                    f"{moment(each.starts)} UTC",
                    f"{float(Fraction(each.coverage)):.2%}",
                    ", ".join(f"{arm} {share}" for arm, share in each.shares.items()),
                    f"{sum(each.exposed.values()):,}",
                ]
                for each in found.epochs
            ],
        )
    )
    if found.warmth:
        print()
        print(
            rows(
                ["turns", "warm", "median", "cold", "median"],
                [
                    [arm, f"{each.warm:,}", _s(each.warm_median_s), f"{each.cold:,}", _s(each.cold_median_s)]
                    for arm, each in found.warmth.items()
                ],
            )
        )
        cold = [arm for arm, each in found.warmth.items() if each.too_cold]
        if cold:
            print(
                f"too little traffic to stay warm: {', '.join(cold)}. Latency is that of a cold model; "
                f"raise the coverage: equipoise rollout {found.experiment.partition('@')[0]} ramp SHARE"
            )


def _s(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.3g} s"
