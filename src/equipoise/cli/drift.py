"""`equipoise drift NAME`: whether what comes in, what answers and what judges is still what it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from equipoise.cli.output import AsJson, LogPlace, emit, moment, rows, working

if TYPE_CHECKING:
    from equipoise.analysis.drift import Drift, Gap, Mix, Series
    from equipoise.stats.estimate import Estimate, NotEstimable
    from equipoise.stats.health.drift import Stability

__all__ = ["drift"]


def drift(
    name: Annotated[str, typer.Argument(help="The experiment's name.")],
    every: Annotated[str, typer.Option(help="The length of a period, such as 1h or 1d.")] = "1d",
    log: LogPlace = None,
    as_json: AsJson = False,
) -> None:
    """Show scores over time, the mix of what comes in, the models that answer, and golden cases beside live turns."""
    from equipoise import settings
    from equipoise.conduct.drift import drift as look
    from equipoise.errors import UsageError
    from equipoise.events.opening import open_log
    from equipoise.experiment.amount import parse_duration

    try:
        seconds = parse_duration(every)
    except ValueError:
        raise UsageError(f"--every is {every!r}; accepted: a duration such as 1h or 1d") from None
    record = open_log(log or settings.default_log(), create=False)
    try:
        with working("reading"):
            found = look(record, name, every=seconds)
    finally:
        record.close()
    if as_json:
        emit(found.to_dict())
    else:
        print("\n".join(_lines(found)))


def _lines(found: Drift) -> Iterator[str]:
    yield f"{found.experiment}: information, no verdict; intervals of 95 %, each by itself"
    yield f"scores of {', '.join(found.arms)}" + (
        "" if len(found.arms) > 1 else " alone: two arms side by side would be a look at the effect"
    )
    if not found.series:
        yield "  nothing was judged yet"
    for each in found.series:
        yield from _series(each)
    if found.gaps:
        yield ""
        yield "golden cases beside live turns"
        for gap in found.gaps:
            yield _gap(gap)
    for mix in found.mix:
        yield ""
        yield from _mix(mix)
    if found.models:
        yield ""
        yield rows(
            ["by", "model", "fingerprint", "first", "last", "times"],
            (
                [
                    each.by,
                    each.model or "not said",
                    each.fingerprint or "none",
                    moment(each.first),
                    moment(each.last),
                    f"{each.times:,}",
                ]
                for each in found.models
            ),
        )


def _series(each: Series) -> Iterator[str]:
    yield ""
    yield f"{each.name} by {each.evaluator}, {each.variant}"
    if each.periods:
        yield rows(
            ["from", "turns", "mean", "values"],
            (
                [moment(period.starts), f"{period.turns:,}", _estimate(period.mean), _shares(period.shares)]
                for period in each.periods
            ),
        )
    for why, count in each.unscored.items():
        yield f"  not scored: {count:,} ({why})"
    yield f"  the last period less those before: {_estimate(each.change)}; {_stability(each.stability)}"


def _gap(gap: Gap) -> str:
    return (
        f"  {gap.name} by {gap.evaluator}, {gap.variant}: golden {_estimate(gap.golden)} on {gap.cases:,} cases, live "
        f"{_estimate(gap.live)} on {gap.turns:,} turns; live less golden {_estimate(gap.difference)}"
    )


def _mix(mix: Mix) -> Iterator[str]:
    yield f"{mix.name}, {mix.of}"
    yield rows(
        ["from", "counted", "shares"],
        ([moment(starts), f"{sum(shares.values()):,}", _shares(shares)] for starts, shares in mix.periods),
    )
    yield f"  {_stability(mix.stability)}"


def _estimate(found: Estimate | NotEstimable) -> str:
    from equipoise.stats.estimate import NotEstimable

    if isinstance(found, NotEstimable):
        return f"not estimable ({found.reason})"
    return f"{found.value:.4g} ({found.low:.4g} to {found.high:.4g})"


def _stability(found: Stability | NotEstimable) -> str:
    from equipoise.stats.estimate import NotEstimable

    if isinstance(found, NotEstimable):
        return f"stability: not estimable ({found.reason})"
    says = "as chance would have it" if found.stable else "more than chance explains"
    return f"stability index {found.index:.3f}, {says} (up to {found.chance:.3f})"


def _shares(shares: Mapping[str, int]) -> str:
    whole = sum(shares.values())
    return ", ".join(f"{value}: {count / whole:.0%}" for value, count in sorted(shares.items(), key=_rank))


def _rank(share: tuple[str, int]) -> tuple[float, str]:
    """Numbers and ranges by their beginning, then words."""
    try:
        return float(share[0].split()[0]), share[0]
    except ValueError:
        return float("inf"), share[0]
