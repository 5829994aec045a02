"""The plan of a switchback: sizes in slots that are compared within blocks, days of whole blocks, and the schedule."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from switched import BASE, MONDAY, served, switchback
from typer.testing import CliRunner

from equipoise.assignment.switchback import schedule_of
from equipoise.cli.main import app
from equipoise.clock import ManualClock
from equipoise.conduct.past.slots import past_slots
from equipoise.conduct.register import register
from equipoise.design.plan import plan
from equipoise.errors import UsageError
from equipoise.events.log import MemoryLog
from equipoise.events.opening import open_log
from equipoise.experiment.reading import read_canonical
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.sizes.power import size_two_means
from equipoise.stats.sizes.power_slots import correlation_apart, paired_spread


def test_what_slots_of_a_block_have_in_common_costs_no_slots() -> None:
    """The size is that of means with the spread that is left; the days are whole blocks of two weeks, and of cycles."""
    alone = plan(switchback(switchback={}))
    paired = plan(switchback(switchback={"expected_correlation": 0.75, "wash_out": "1h"}))
    assert alone.total == size_two_means(0.1, 0.05).total
    assert paired.total == size_two_means(0.05, 0.05).total
    assert (alone.units_per_day, alone.days) == (4.0, 42.0)
    assert (paired.units_per_day, paired.days) == (4.0, 14.0)
    assert plan(switchback(switchback={"balance": ["hour"]}, plan={"cycle": "1d"})).days == 32.0
    assert plan(switchback(switchback={"balance": []}, plan={"cycle": "0s"})).days == alone.total / 4.0  # type: ignore[operator]
    assert paired.notes == (
        ("a unit is a slot of 360 minutes, and `spread` is the standard deviation between slots, of which 50% is what slots of a "
        "block have in common"),
        "the wash-out leaves 83% of the traffic to count",
        ("these are fewer than 30 blocks: the read-out pays for it with Student's t, and a few odd days weigh much. Shorter slots, "
        "or slots `by:` something, give more"),
        ("a switchback fits where units of one arm feel the other's treatment (a cache, a queue, an index, a budget that all "
        "share) and where an arm's effect comes and goes within a slot. Where it lasts longer, or a conversation must keep its "
        "arm, randomise conversations, users or clusters instead"),
    )  # fmt: skip


def test_how_many_switch_by_themselves_nobody_can_guess() -> None:
    """With `by:` the slots a day are to be given, and the note says how they are counted."""
    regions = switchback(switchback={"by": "region"}, attributes={"region": {"from": "header:x-region"}})
    drawn = plan(regions)
    assert isinstance(drawn.days, NotEstimable)
    assert "--units-per-day is slots a day times the number of values of region" in drawn.notes
    assert plan(regions, units_per_day=40.0).days == 14.0


def written(folder: Path, **more: object) -> str:
    path = folder / "e.yaml"
    path.write_text(yaml.safe_dump(BASE | more), "utf-8")
    return str(path)


def test_the_schedule_is_printed_from_the_next_whole_blocks_on(tmp_path: Path) -> None:
    """A letter for each slot, a line for each day; as JSON every slot by name; and what to do to begin another day."""
    experiment = switchback(switchback={})
    schedule = schedule_of(experiment)
    done = CliRunner().invoke(app, ["plan", written(tmp_path, switchback={}), "--starts", "2026-12-22"])
    assert done.exit_code == 0, done.output
    told = done.output.splitlines()
    head = told.index("Which arm runs when, from 2027-01-04 00:00 UTC on (· is control, T is treatment)")
    letters = {"control": "·", "treatment": "T"}
    start = MONDAY + 7 * 86_400
    for n in range(14):
        day = "".join(
            letters[schedule.arm(f"{start + n * 86_400 + at:.0f}") or ""] for at in range(0, 86_400, 21_600)
        )
        assert told[head + 1 + n].endswith(f"  {day}")
    assert told[head + 1].startswith("  Mon 2027-01-04  ")
    assert told[head + 15] == (
        "  Whole blocks begin then. To begin on another day, declare it: `switchback: {begins: 2026-12-22}`."
    )
    other = CliRunner().invoke(app, ["plan", written(tmp_path), "--starts", "2026-12-30"]).output
    assert (
        "  Whole blocks begin then. To begin on another day, declare that in place of 2026-12-28: "
        "`switchback: {begins: 2026-12-30}`.\n"
    ) in other
    done = CliRunner().invoke(app, ["plan", written(tmp_path), "--starts", "2026-12-28", "--json"])
    listed = json.loads(done.stdout)["schedule"]
    assert len(listed) == 56
    assert listed[1] == {
        "slot": "1798437600", "starts": "2026-12-28 06:00", "variant": schedule_of(switchback()).arm("1798437600"),
    }  # fmt: skip


def test_a_schedule_by_region_is_that_of_one_of_them(tmp_path: Path) -> None:
    """Without a name there is none to print, with one it is that one's; a day that is none is refused."""
    file = written(tmp_path, switchback={"by": "region"}, attributes={"region": {"from": "header:x-region"}})
    assert "Which arm runs when" not in CliRunner().invoke(app, ["plan", file]).output
    done = CliRunner().invoke(app, ["plan", file, "--by", "eu", "--starts", "2027-01-04"])
    assert (
        "Which arm runs when, from 2027-01-04 00:00 UTC on, in eu (· is control, T is treatment)"
        in done.output
    )
    refused = CliRunner().invoke(app, ["plan", file, "--starts", "soon"])
    assert isinstance(refused.exception, UsageError)
    assert str(refused.exception) == "--starts is a day such as 2026-11-30, and this is 'soon'"
    minutes = written(tmp_path, unit={"type": "slot", "every": "5m"}, switchback={"begins": "2026-12-28"})
    assert (
        "Which arm runs when, from 2026-12-28 00:00 UTC on: a slot every 300 s is too many for a picture; --json has them all."
        in CliRunner().invoke(app, ["plan", minutes, "--starts", "2026-12-28"]).output
    )


def test_past_slots_say_what_to_plan_with(tmp_path: Path) -> None:
    """A month of an A/B test on the same traffic gives the spread between slots, and how alike the same hours are."""
    before = read_canonical(BASE | {"name": "before", "method": "ab", "switchback": None, "unit": "user"})
    place = tmp_path / "e.db"
    noise, log = random.Random(3), open_log(place)
    register(log, before, by="ann", reason="a test", clock=ManualClock(MONDAY))
    # The same ups and downs every day, and a tenth of them as noise.
    drawn = switchback(switchback={})
    shift = {n: noise.gauss(0.0, 0.05) for n in range(112)}
    facts = served(
        drawn,
        lambda at, arm, _: 1.0 + 0.2 * (at // 21_600 % 4) + shift[int((at - MONDAY) // 21_600)],
        weeks=4,
        turns=6,
    )

    log.append(
        [
            # Two years ago: what is ahead of its receipt does not count.
            replace(
                fact,
                experiment="before",
                digest=before.digest,
                variant="control",
                happened=fact.happened - 104 * 604_800,
            )  # type: ignore[call-arg]
            for fact in facts
        ]
    )
    found = past_slots(log, "before", drawn)
    # The first slot and the last are not whole: nothing was heard in all of their minutes.
    assert (found.slots, found.turns) == (110, pytest.approx(6.0, abs=0.2))
    assert found.mean == pytest.approx(1.3, abs=0.03)
    assert found.spread == pytest.approx((0.05 + 0.0025) ** 0.5, abs=0.02)
    assert found.in_block == pytest.approx(0.05 / 0.0525, abs=0.06)
    assert not isinstance(found.in_block, NotEstimable)
    assert not isinstance(found.spread, NotEstimable)
    log.close()
    done = CliRunner().invoke(
        app, ["plan", written(tmp_path, switchback={}), "--like", "before", "--log", str(place)]
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.rstrip().splitlines()[-1] == (
        f"To plan by it: metrics: {{cost: {{spread: {found.spread:.4g}}}}}, switchback: {{expected_correlation: {found.in_block:.2f}}}."
    )
    with pytest.raises(UsageError) as refused:
        past_slots(MemoryLog(), "before", before)
    assert str(refused.value) == (
        f"{before.identity} randomises no slots and no clusters, and those are what --like learns of the past. Other units "
        "are sized by the `baseline` and `spread` of their metrics, and `equipoise simulate --past log --like NAME` draws "
        "past ones"
    )


def test_spread_and_likeness_outside_their_domain_are_refused() -> None:
    """A correlation of one leaves nothing to compare; a slot is not its own neighbour; too few pairs tell nothing."""
    with pytest.raises(UsageError, match="correlation must be at least 0 and less than 1, not 1"):
        paired_spread(1.0, 1.0)
    with pytest.raises(UsageError, match="slots are at least one apart, not 0"):
        correlation_apart([1.0], 0)
    with pytest.raises(UsageError, match="the values of slots must be finite numbers"):
        correlation_apart([1.0, float("nan")] * 9, 1)
    assert correlation_apart([1.0, 2.0, None] * 3, 1) == NotEstimable(
        "3 pairs of slots are so far apart, and 8 are needed to tell how alike they are"
    )
    assert correlation_apart([1.0] * 20, 1) == NotEstimable("all slots have the same value")
    assert correlation_apart([1.0, 2.0, 4.0] * 6, 3) == pytest.approx(1.0)
