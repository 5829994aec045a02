"""What people said, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from equipoise.analysis.label_findings import LabelReadout
from equipoise.cli.output import rows
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["results_text"]


def results_text(found: LabelReadout) -> str:
    """The read-out as tables, a reason where there is no number."""
    return "\n".join(_lines(found))


def _lines(found: LabelReadout) -> Iterator[str]:
    disputed = f", {found.disputed} more where judge and outcome disagree" * bool(found.disputed)
    items = f"{found.items} {'item' if found.items == 1 else 'items'}"
    yield f"{found.experiment}: {items} labelled, {found.overlapping} of them by several{disputed}"
    for done in found.done:
        if done.of is not None:
            yield f"  {done.name}: {done.items} of {done.of}"
    if not found.raters:
        yield "nobody has labelled anything of it yet"
        return
    if found.preferences:
        yield ""
        yield rows(
            ["against control", "items", "wins", "ties", "losses", "passed", "win rate", "interval"],
            [
                [
                    each.variant, str(each.items), str(each.wins), str(each.ties), str(each.losses), str(each.passed),
                    *_share(each.win_rate),
                ]
                for each in found.preferences
            ],
        )  # fmt: skip
        yield from _reasons((each.variant, each.win_rate) for each in found.preferences)
    if isinstance(found.strengths, tuple):
        yield ""
        yield rows(
            ["Bradley–Terry", "log-odds", "interval", "Elo", "interval"],
            [
                [each.variant, *_number(each.log_odds, 2), *_number(each.rating, 0)]
                for each in found.strengths
            ],
        )
    elif found.strengths is not None:
        yield f"no strengths: {found.strengths.reason}"
    if found.grades:
        yield ""
        yield rows(
            ["question", "variant", "items", "passed", "mean", "interval", "less control's", "interval"],
            [
                [
                    each.name, each.variant, str(each.items), str(each.passed), *_number(each.mean, 2),
                    *(("", "") if each.difference is None else _number(each.difference, 2)),
                ]
                for each in found.grades
            ],
        )  # fmt: skip
        yield from _reasons((f"{each.name} of {each.variant}", each.mean) for each in found.grades)
    if found.lean is not None:
        yield ""
        yield _lean(found.lean)
    for each in found.agreement:
        if isinstance(each.alpha, NotEstimable):
            yield f"agreement on {each.name}: not known, {each.alpha.reason}"
        else:
            value, interval = _number(each.alpha, 2)
            yield f"agreement on {each.name}: Krippendorff's alpha {value} {interval} over {each.items} items"
        for (one, other), kappa in each.kappa.items():
            if isinstance(kappa, Estimate):
                value, interval = _number(kappa, 2)
                yield f"  {one} and {other}: kappa {value} {interval}"
            else:
                yield f"  {one} and {other}: no kappa, {kappa.reason}"
    yield ""
    yield rows(
        ["rater", "answered", "passed", "seconds each", "minutes in all"],
        [
            [
                each.rater,
                str(each.answered),
                str(each.passed),
                "" if each.median_s is None else f"{each.median_s:.1f}",
                "" if each.total_s is None else f"{each.total_s / 60:.1f}",
            ]
            for each in found.raters
        ],
    )
    if found.quartiles_s is not None:
        low, middle, high = found.quartiles_s
        yield f"an item takes {middle:.1f} s; half of them between {low:.1f} and {high:.1f} s"


def _lean(lean: Estimate | NotEstimable) -> str:
    if isinstance(lean, NotEstimable):
        return f"lean to what is shown first: not known, {lean.reason}"
    return (
        f"lean to what is shown first: {100 * lean.value:+.1f} pp "
        f"[{100 * lean.low:+.1f}, {100 * lean.high:+.1f}]"
    )


def _share(found: Estimate | NotEstimable) -> tuple[str, str]:
    if isinstance(found, NotEstimable):
        return "", ""
    return f"{found.value:.1%}", f"[{found.low:.1%}, {found.high:.1%}]"


def _number(found: Estimate | NotEstimable, digits: int) -> tuple[str, str]:
    if isinstance(found, NotEstimable):
        return "", ""
    return f"{found.value:.{digits}f}", f"[{found.low:.{digits}f}, {found.high:.{digits}f}]"


def _reasons(found: Iterator[tuple[str, Estimate | NotEstimable]]) -> Iterator[str]:
    for what, each in found:
        if isinstance(each, NotEstimable):
            yield f"  {what}: not estimable, {each.reason}"
