"""Where experiments stand, as the pages say it: words and tables, and no effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from urllib.parse import quote

from markupsafe import Markup, escape

from equipoise.conduct.looking.progress import NextLook
from equipoise.conduct.status import Status, WatchLine
from equipoise.conduct.survey import Overview, Unread
from equipoise.experiment.definition import Experiment
from equipoise.figures.blocks import MARKS, banner, table
from equipoise.figures.lettering import clean
from equipoise.rollout.stages import State
from equipoise.rollout.weights import shares_said

__all__ = ["listed", "moment", "told"]

# As in a report: the mark stays beside its word, and says it without its colour.
_HEALTH = {"ok": "✔\u00a0well", "note": "·\u00a0note", "invalid": "✖\u00a0invalid"}
_HELD = {"held": "✔\u00a0held", "breached": "✖\u00a0breached"}


def moment(seconds: float) -> str:
    """A time (seconds since 1970 UTC) as people read it, to the minute; the bare number where no calendar has it.

    >>> moment(1_700_000_000.7), moment(1e18)
    ('2023-11-14 22:13', '1e+18 s')
    """
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g} s"


def listed(found: Sequence[Overview | Unread]) -> dict[str, object]:
    """What the page of all experiments shows."""
    return {
        "unread": [
            f"{each.name} cannot be read by this version of the program: {clean(each.because)}."
            for each in found
            if isinstance(each, Unread)
        ],
        "experiments": [
            {
                "name": each.name,
                "place": quote(each.name, safe=""),
                "stage": _stage(each.stage, each.service),
                "exposed": f"{each.exposed:,}",
                "looks": f"{each.looks} of {each.planned_looks}",
                "next": _look(each.next_look),
                "verdict": each.verdict,
                "mark": _mark(each.verdict),
            }
            for each in found
            if isinstance(each, Overview)
        ],
    }


def told(experiment: Experiment, state: State, found: Status) -> dict[str, object]:
    """What the page of one experiment shows."""
    decision = state.decision
    known = decision is not None and decision.verdict in MARKS
    last = state.looks[-1] if state.looks else None
    watched = list(found.watches)
    return {
        "name": experiment.name,
        "place": quote(experiment.name, safe=""),
        "identity": found.experiment,
        "hypothesis": clean(experiment.hypothesis),
        "banner": banner(decision.verdict, _sentence(clean(decision.because)), kind="verdict")
        if decision is not None and known
        else "",
        "last": None
        if last is None
        else f"Look {last.number} of {len(experiment.plan.looks)}, taken {moment(last.happened)} UTC",
        "stage": _stage(found.stage, found.service),
        "shipped": found.shipped,
        "exposed": ", ".join(f"{arm} {units:,}" for arm, units in found.exposed.items()) or "nobody yet",
        "of_plan": _of_plan(found),
        "redirects": ", ".join(f"{arm} {turns:,}" for arm, turns in found.redirects.items()),
        "next": _look(found.next_look),
        "ahead": found.ahead,
        # Two guardrails may be beyond theirs, and without their values that is one sentence.
        "blocks": [
            _with_code(clean(each))
            for each in dict.fromkeys(block.unmeasured or block.because for block in found.ahead.blocks)
        ],
        "health": table(
            ["check", "state", "what was seen"],
            [[each.name, _HEALTH[each.status], each.says] for each in found.health],
        )
        if found.health
        else "",
        "warmth": [
            f"{arm}: {each.warm:,} turns met a warm model, {each.cold:,} a cold one"
            for arm, each in found.warmth.items()
        ],
        "shadow": None if found.shadow is None else list(_shadow(found)),
        "watches": table(
            ["watch", "arm", "in a row", "last window", "then"],
            [_watch(each, experiment) for each in watched],
        )
        if watched
        else "",
        "alerts": [
            f"{moment(each.happened)} UTC: {clean(each.action)}, {clean(each.metric)} of {clean(each.variant)}"
            + (f", {each.streak} windows in a row" if each.sustained else "")
            for each in found.alerts
        ],
        "epochs": table(
            ["epoch", "starts (UTC)", "coverage", "shares", "exposed"],
            [
                [
                    f"epoch {each.epoch}",
                    moment(each.starts),
                    f"{float(Fraction(each.coverage)):.2%}",
                    shares_said(each.shares),
                    f"{sum(each.exposed.values()):,}",
                ]
                for each in found.epochs
            ],
        ),
    }


def _stage(stage: str, service: str) -> str:
    return stage if service == "open" else f"{stage}, {service}"


def _mark(verdict: str | None) -> Markup:
    if verdict is None or verdict not in MARKS:
        return Markup("")
    return Markup(
        '<svg class="mark" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d="{}"/></svg>'
    ).format(MARKS[verdict])


def _sentence(text: str) -> str:
    # A name at the beginning keeps its spelling.
    first = text.split(" ", 1)[0]
    return (text if "_" in first else text[:1].upper() + text[1:]) + ("" if text.endswith(".") else ".")


def _with_code(text: str) -> Markup:
    """Text with what stands between backticks set as code; every part of it escaped."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if n % 2 else escape(part) for n, part in enumerate(parts)
    )


def _look(look: NextLook | None) -> Markup:
    if look is None:
        return Markup("none")
    at = f"{look.number} of {look.of}, at {look.fraction:.0%} of the information"
    if look.expected is not None and look.because is None:
        return escape(f"{at}, expected {moment(look.expected)} UTC")
    return escape(at) if look.because is None else _with_code(f"{at}; {look.because}")


def _of_plan(found: Status) -> str | None:
    if not found.planned:
        return None
    counted = sum(found.counted.values())
    aside = sum(found.exposed.values()) - counted
    # Where no look is to come nobody is waited for.
    paced = found.units_per_day is not None and found.next_look is not None
    pace = f", {found.units_per_day:,.0f} a day" if paced else ""
    canary = f"; {aside:,} came in during the canary and are no part of the estimate" if aside else ""
    return f"{counted / found.planned:.0%} of the {found.planned:,} planned{pace}{canary}"


def _watch(line: WatchLine, experiment: Experiment) -> list[str]:
    if line.ends is None or line.verdict is None:
        last = "none yet"
    elif line.value is None or line.limit is None:
        last = f"{moment(line.ends)}: {line.because or line.verdict}"
    elif experiment.metric(line.metric).priority != "guardrail":
        # What is to be shown at a look, arm by arm and window by window, would be looks that nobody registered.
        last = f"{moment(line.ends)}: {line.verdict}"
    else:
        last = f"{moment(line.ends)}: {line.verdict}, {line.value:.4g} against {line.limit:.4g}"
    return [
        f"{line.metric} {line.bound}",
        line.arm,
        f"{line.breached} of {line.needed}",
        last,
        line.action,
    ]


def _shadow(found: Status) -> Iterator[str]:
    """How much was shadowed, and whether a guardrail is beyond its margin; the differences are none of a look."""
    assert found.shadow is not None
    for arm, turns in found.shadow.turns.items():
        yield f"{turns:,} turns of {arm} beside control's, in {found.shadow.conversations[arm]:,} conversations"
    for each in found.shadow.guardrails:
        held = _HELD.get(each.held or "", f"·\u00a0{each.held}")
        yield f"guardrail {each.name} of {each.variant}: {held}"
