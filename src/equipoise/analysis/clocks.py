"""What the two clocks of every event say: whose clock is ahead, and what was dated by the record's instead."""

from __future__ import annotations

from collections.abc import Mapping

from equipoise.analysis.declared import span
from equipoise.analysis.findings import Check
from equipoise.measurement.tally import Measurement, SourceClock

__all__ = ["CLOCKS", "check_clocks", "of_sources"]

CLOCKS = "clocks"
"""The name of the check."""

_AHEAD = 5.0
"""Seconds: clocks that are set by the network are closer together."""
_SHOWN = 6


def check_clocks(measured: Measurement) -> list[Check]:
    """One check, of the sources that have a name and of every clock that is amiss; none where there is neither."""
    aside = measured.aside
    ahead = [each for each in aside.clocks if each.least_s < -_AHEAD]
    named = [each for each in aside.clocks if each.source is not None and each not in ahead]
    said = [
        f"{_told(each)} {each.ahead:,} of {each.events:,} happened up to {span(-each.least_s, digits=3)} after they "
        "were received: that clock is ahead"
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
            f"{'it was' if one else 'they were'} received that {'it counts' if one else 'they count'} from then, and "
            f"{'does' if one else 'do'} not say when the data end"
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
    middle = (
        f"{span(abs(clock.median_s), digits=3)} {'before' if clock.median_s < 0 else 'after'} they happened"
    )
    most = f"{span(abs(clock.most_s), digits=3)}{' before' if clock.most_s < 0 else ''} at most"
    return f"{_told(clock)} {clock.events:,}, received {middle} (median; {most}{late})"
