"""What the two clocks of every event say: whose clock is ahead, and what was dated by the record's instead."""

from __future__ import annotations

from collections.abc import Mapping

from equipoise.analysis.findings import Check
from equipoise.measurement.tally import Measurement, SourceClock

__all__ = ["CLOCKS", "check_clocks", "of_sources"]

CLOCKS = "clocks"
"""The name of the check."""

_AHEAD = 5.0
"""Seconds: clocks that are set by the network are closer together."""
_SHOWN = 6
_SPANS = ((86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute"))


def check_clocks(measured: Measurement) -> list[Check]:
    """One check, of the sources that have a name and of every clock that is amiss; none where there is neither."""
    aside = measured.aside
    ahead = [each for each in aside.clocks if each.least_s < -_AHEAD]
    named = [each for each in aside.clocks if each.source is not None and each not in ahead]
    said = [
        f"{_told(each)} {each.ahead:,} of {each.events:,} happened up to {_span(-each.least_s)} after they were received: "
        "that clock is ahead"
        for each in ahead[:_SHOWN]
    ]
    if aside.redated:
        one = aside.redated == 1
        said.append(
            f"{'1 exposure is' if one else f'{aside.redated:,} exposures are'} dated so far from when "
            f"{'it was' if one else 'they were'} received that {'it counts' if one else 'they count'} from then"
        )
    if aside.ahead:
        one = aside.ahead == 1
        said.append(
            f"{'1 event is' if one else f'{aside.ahead:,} events are'} dated so long after "
            f"{'it was' if one else 'they were'} received that {'it does' if one else 'they do'} not say when the data end"
        )
    amiss = bool(said)
    said += [_delay(each) for each in named[:_SHOWN]]
    hidden = max(0, len(ahead) - _SHOWN) + max(0, len(named) - _SHOWN)
    if hidden:
        said.append(f"{hidden} more")
    return [Check(CLOCKS, "note" if amiss else "ok", "; ".join(said))] if said else []


def of_sources(counts: Mapping[str, int]) -> str:
    """How many of which source, the most first.

    >>> of_sources({"shop": 1, "till": 1200})
    'till 1,200, shop 1'
    """
    ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    more = [f"{len(ranked) - _SHOWN} more sources"] if len(ranked) > _SHOWN else []
    return ", ".join([f"{source} {count:,}" for source, count in ranked[:_SHOWN]] + more)


def _told(clock: SourceClock) -> str:
    return (
        f"{clock.kind}s of {clock.source}:"
        if clock.source is not None
        else f"{clock.kind}s without a source:"
    )


def _delay(clock: SourceClock) -> str:
    late = f", {clock.late:,} after more than a day" if clock.late else ""
    middle = f"{_span(abs(clock.median_s))} {'before' if clock.median_s < 0 else 'after'} they happened"
    most = f"{_span(abs(clock.most_s))}{' before' if clock.most_s < 0 else ''} at most"
    return f"{_told(clock)} {clock.events:,}, received {middle} (median; {most}{late})"


def _span(seconds: float) -> str:
    """A length of time in the largest unit that it fills.

    >>> _span(0.25), _span(90.0), _span(86_400.0 * 27_000)
    ('0.25 seconds', '1.5 minutes', '27,000 days')
    """
    for length, unit in _SPANS:
        if seconds >= length:
            number = f"{seconds / length:,.3g}" if seconds < 1000 * length else f"{seconds / length:,.0f}"
            return f"{number} {unit}{'' if number == '1' else 's'}"
    return f"{seconds:.3g} second{'' if seconds == 1 else 's'}"
