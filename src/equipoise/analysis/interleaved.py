"""Health and read-out of lists that rankers share: was chance fair, what counts for nobody, who won how often."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from equipoise.analysis.declared import span
from equipoise.analysis.fairness import judged
from equipoise.analysis.findings import Check
from equipoise.experiment.definition import Experiment
from equipoise.measurement.tally import Lists, Measurement
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.health.sample_ratio import anytime_sample_ratio, sample_ratio
from equipoise.stats.preference.paired_signs import sign_test

__all__ = ["check_lists", "wins_and_losses"]


def check_lists(experiment: Experiment, lists: Lists, *, repeated: bool) -> list[Check]:
    """What may be wrong with lists and clicks, in the order of a reader's questions.

    `repeated` says that they are looked at as they come in: the coin is then judged by a test that may be looked at after
    every list.
    """
    checks = [
        Check(
            "lists",
            "ok",
            f"{_count(lists.shown, 'list')} of {', '.join(lists.first)} shown to {_count(lists.units, 'unit')}; "
            "every unit sees every ranker",
        ),
        _first_places(lists, repeated=repeated),
    ]
    checks += [
        Check(
            f"window of {name}",
            "ok",
            f"{_count(unripe, 'list')} {'is' if unripe == 1 else 'are'} younger than the window of "
            f"{span(experiment.metric(name).window or 0.0)}, and {'does' if unripe == 1 else 'do'} not count for it",
        )
        for name, unripe in lists.unripe.items()
    ]
    if any(lists.short.values()):
        checks.append(
            Check(
                "short rankings",
                "note",
                f"a ranker had nothing left to give, in so many lists: {_listed(lists.short)}. From there on a list "
                "counts for nobody, and has fewer places to prefer anybody by",
            )
        )
    for name, count, says in (
        (
            "lists shown again",
            lists.again,
            "shown under the name of an earlier one of the unit; the first counts",
        ),
        (
            "strange clicks",
            lists.strange,
            "of items that are not in the list they name, and counted for nobody",
        ),
        ("outcomes of no item", lists.whole, "of no item of a list, and counted for nobody"),
    ):
        if count:
            what = "list" if name.startswith("lists") else "outcome"
            checks.append(
                Check(name, "note", f"{_count(count, what)} {'was' if count == 1 else 'were'} {says}")
            )
    return checks


def _first_places(lists: Lists, *, repeated: bool) -> Check:
    """Whether each ranker gave as many first items as its chance lets expect."""
    test = anytime_sample_ratio if repeated else sample_ratio
    return judged(
        "first places",
        test(lists.first, dict.fromkeys(lists.first, Fraction(1, len(lists.first)))),
        fair="the rankers had the same chance of the first place",
        unfair="the rankers did not have the same chance of the first place",
        seen=_listed(lists.first),
        cause="lists were lost, or drawn otherwise than declared",
    )


def wins_and_losses(experiment: Experiment, measured: Measurement) -> list[Check]:
    """The primary's queries that each treatment won, lost and tied, and the exact sign test over units."""
    lists = measured.lists
    if lists is None:
        return []
    counted = lists.counted(experiment.primary.name)
    checks = []
    for treatment, won in lists.won.items():
        ties = counted - won.wins - won.losses
        says = (
            f"{experiment.primary.of} per query: {treatment} won {won.wins:,.0f}, lost {won.losses:,.0f} and tied "
            f"{ties:,.0f} of {_count(counted, 'query', 'queries')}"
        )
        if counted:
            says += f", a lean of {(won.wins - won.losses) / counted / 2.0:+.4f}"
        signs = sign_test(won.units_for, won.units_against, lists.units - won.units_for - won.units_against)
        if isinstance(signs, NotEstimable):
            says += "; no unit leans to either"
        else:
            says += (
                f"; of the units that lean, {won.units_for:,} lean to it and {won.units_against:,} to control "
                f"(exact sign test, p = {signs.p_value:.2g})"
            )
        checks.append(Check(f"preference for {treatment}", "ok", says))
    return checks


def _count(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
