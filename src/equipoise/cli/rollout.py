"""`equipoise rollout NAME VERB`: how a registered experiment is served, and the verbs that change it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated

import typer

from equipoise.cli.output import AsJson, LogPlace, emit, moment, working
from equipoise.errors import UsageError, nearest

if TYPE_CHECKING:
    from equipoise.conduct.move import Moved
    from equipoise.events.log import EventLog

__all__ = ["rollout"]

_TAKES = {
    "status": None,
    "shadow": None,
    "enter": "STAGE",
    "ramp": "COVERAGE",
    "reweight": "NAME=SHARE …",
    "weigh": None,
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
            help="status, shadow, enter STAGE, ramp COVERAGE, reweight NAME=SHARE …, weigh, remove VARIANT, pause, "
            "resume, kill, roll-back or ship VARIANT."
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
    judge: Annotated[
        int,
        typer.Option(
            help="With shadow: ask the judge of the offline gate about so many pairs of each treatment.",
            show_default=False,
        ),
    ] = 0,
    max_cost: Annotated[
        float, typer.Option("--max-cost", help="With --judge: stop before it has cost so many US dollars.")
    ] = 1.0,
    if_due: Annotated[bool, typer.Option("--if-due", hidden=True)] = False,
    log: LogPlace = None,
    as_json: AsJson = False,
) -> None:
    """Show how an experiment is served, or change it: enter, ramp, pause, kill, roll back, ship."""
    from equipoise import settings
    from equipoise.events.opening import open_log

    words = _checked(verb, given or [], new_conversations)
    if judge and verb != "shadow":
        raise UsageError(f"--judge belongs to shadow, and this is {verb}")
    place = log or settings.default_log()
    record = open_log(place, create=False)
    try:
        if verb == "status":
            _status(record, place, name, as_json=as_json)
            return
        if verb == "shadow":
            _shadow(record, place, name, judge, max_cost, as_json=as_json)
            return
        if verb == "weigh":
            _weigh(record, name, by or settings.user(), if_due=if_due, as_json=as_json)
            return
        done = _carry_out(
            record, name, verb, words, by or settings.user(), reason, new_conversations=new_conversations
        )
    finally:
        record.close()
    if as_json:
        emit(asdict(done))
        return
    from equipoise.cli.rollout_text import did

    print(f"{done.experiment} is in the stage {done.stage}, service {done.service}")
    for line in did(done.evidence):
        print(f"  {line}")
    if done.epoch is not None and done.starts is not None:
        print(f"  epoch {done.epoch} starts at {moment(done.starts)} UTC")


def _status(record: EventLog, place: str, name: str, *, as_json: bool) -> None:
    from equipoise.cli.rollout_text import status_lines
    from equipoise.conduct.status import status
    from equipoise.events.opening import open_windows

    windows = open_windows(place, create=False)
    try:
        found = status(record, name, windows=windows)
    finally:
        windows.close()
    if as_json:
        emit(found.to_dict())
    else:
        print("\n".join(status_lines(found)))


def _weigh(record: EventLog, name: str, by: str, *, if_due: bool, as_json: bool) -> None:
    """The shares that a bandit's rewards say, from a new epoch on."""
    from equipoise.cli.rollout_text import weighed_lines
    from equipoise.conduct.weigh import weigh

    with working("counting rewards"):
        done = weigh(record, name, by=by, if_due=if_due)
    if as_json:
        emit(asdict(done))
    else:
        print("\n".join(weighed_lines(done)))


def _shadow(record: EventLog, place: str, name: str, judge: int, max_cost: float, *, as_json: bool) -> None:
    """The read-out of shadow, with the texts that were kept."""
    from equipoise import settings
    from equipoise.cli.rollout_text import judged_lines, shadow_lines
    from equipoise.conduct.ledger import registered
    from equipoise.conduct.shadow import shadow
    from equipoise.events.opening import open_texts
    from equipoise.events.texts import NoTextsError

    experiment, _, _ = registered(record, name)
    asked = None
    try:
        texts = open_texts(place, create=False)
    except NoTextsError:
        texts = None
    try:
        with working("pairing turns with their shadows"):
            found = shadow(record, experiment, texts=texts)
        if judge:
            from equipoise.conduct.shadow_judging import judge_shadow

            if texts is None:
                raise UsageError(
                    "the judge reads answers, and no text was kept beside this log; `capture: {text: sampled}` keeps some"
                )
            with working("asking the judge"):
                asked = judge_shadow(
                    record, experiment, texts, connect=settings.connect, most=judge, max_cost_usd=max_cost
                )
    finally:
        if texts is not None:
            texts.close()
    if as_json:
        emit(found.to_dict() | {"judged": None if asked is None else asked.to_dict()})
        return
    print("\n".join(shadow_lines(found)))
    if asked is not None:
        print("\n".join(["", *judged_lines(asked)]))


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
