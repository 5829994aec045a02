"""The audit set of a week: who is in it, in which order it is shown, and what is said of it."""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter

import pytest
from labelling import experiment, live

from equipoise.clock import ManualClock
from equipoise.conduct.labelling import turns
from equipoise.conduct.labelling.audit_set import (
    Audited,
    AuditSet,
    left_after,
    part_of_day,
    week_name,
    week_of,
)
from equipoise.conduct.labelling.task import Settings
from equipoise.conduct.labelling.turns import Disagreement, live_turns
from equipoise.conduct.labels import Labelling
from equipoise.events.facts import Label, Outcome, Score, Turn
from equipoise.events.log import MemoryLog
from equipoise.events.opening import open_texts
from equipoise.events.texts import Said, Text, unit_digest

DAY = 86_400.0
MONDAY = 2969 * 7 * DAY - 3 * DAY
"""The first second of 2026-W48, of which Saturday is the 28th of November."""


def rationed(ration: int = 50, **more):
    return experiment(
        capture={"text": "sampled"},
        online_judge={"sample": 0.4, "audit": {"labels_per_week": ration}},
        **more,
    )


def turn(of, n: int, **more) -> Turn:
    told = {"variant": ("control", "brief")[n % 2], "sampled": 0.4} | more
    return Turn(
        experiment=of.name,
        digest=of.digest,
        event_id=f"turn-{n}",
        happened=0.0,
        unit=f"unit-{n}",
        trace=f"{n:032x}",
        reason="split",
        **told,
    )


def drawn(of, heard: list[tuple[Turn, float]], now: float, ration: int = 50) -> list[Audited]:
    found = AuditSet(of, ration)
    for each, received in heard:
        found.hear(each, received)
    return list(found.close(now))


def traffic(of, days: int, each: int) -> list[tuple[Turn, float]]:
    """So many turns on each day from a Monday on."""
    return [
        (turn(of, day * each + n), MONDAY + day * DAY + n * DAY / each)
        for day in range(days)
        for n in range(each)
    ]


def test_weeks_are_those_of_the_calendar():
    """From Monday to Sunday, UTC, named as ISO 8601 does, over the turn of a year."""
    assert (week_of(MONDAY - 1), week_of(MONDAY), week_of(MONDAY + 7 * DAY - 1)) == (2968, 2969, 2969)
    assert [week_name(week) for week in (2968, 2969, 2973, 2974, 2975)] == [
        "2026-W47", "2026-W48", "2026-W52", "2026-W53", "2027-W01"
    ]  # fmt: skip


def test_each_week_has_its_ration_a_part_each_day():
    """Two weeks of a hundred turns a day: fifty each, seven or eight a day, no turn twice, each with its probability."""
    of = rationed()
    heard = traffic(of, 14, 100)
    found = drawn(of, heard, MONDAY + 14 * DAY + 300)
    assert Counter(each.week for each in found) == {2969: 50, 2970: 50}
    assert len({each.turn.event_id for each in found}) == 100
    when = {each.event_id: received for each, received in heard}
    by_day = Counter((when[each.turn.event_id] - MONDAY) // DAY for each in found)
    assert set(by_day) == set(range(14))
    assert set(by_day.values()) <= {7, 8}
    assert all(0.4 * 0.07 <= each.probability <= 0.4 * 0.08 + 1e-12 for each in found)


def test_anybody_draws_the_same_from_the_log():
    """In whatever order a day's turns came, whenever one looks, and in however many goes; another definition draws others."""
    of = rationed()
    heard = traffic(of, 9, 60)
    at_once = [each.turn.event_id for each in drawn(of, heard, MONDAY + 30 * DAY)]
    mixed = heard[:]
    random.Random(1).shuffle(mixed)
    assert {each.turn.event_id for each in drawn(of, mixed, MONDAY + 30 * DAY)} == set(at_once)
    daily, bit = AuditSet(of, 50), []
    for each, received in heard:
        bit += [one.turn.event_id for one in daily.close(received)]
        daily.hear(each, received)
    bit += [one.turn.event_id for one in daily.close(MONDAY + 9 * DAY + 300)]
    assert bit == at_once
    other = rationed(hypothesis="People like the short answer less.")
    assert {one.turn.event_id for one in drawn(other, traffic(other, 9, 60), MONDAY + 30 * DAY)} != set(
        at_once
    )


def test_a_day_is_drawn_when_it_is_over_and_has_settled():
    """Not a second before five minutes after midnight; until then nobody knows how many turns it has."""
    of = rationed(7)
    found = AuditSet(of, 7)
    for each, received in traffic(of, 2, 50):
        found.hear(each, received)
    assert not list(found.close(MONDAY + DAY + 299))
    assert len(list(found.close(MONDAY + DAY + 300))) == 1
    assert not list(found.close(MONDAY + 2 * DAY + 299))
    assert found.is_drawn(MONDAY + 1)
    assert not found.is_drawn(MONDAY + DAY)
    # What would come to a day that was drawn comes too late to be in its set.
    assert not found.hear(turn(of, 1_000), MONDAY + 5.0)


def test_a_quiet_day_gives_all_it_has_and_leaves_the_rest():
    """Three turns on each of six days and a hundred on Sunday: all of the three, and what is left of fifty."""
    of = rationed()
    heard = [
        (turn(of, day * 200 + n), MONDAY + day * DAY + n)
        for day in range(7)
        for n in range(100 if day == 6 else 3)
    ]
    found = drawn(of, heard, MONDAY + 30 * DAY)
    assert len(found) == 50
    assert Counter(each.probability for each in found) == {0.4: 18, 0.4 * 0.32: 32}


def test_of_a_small_ration_every_day_has_its_chance():
    """Three a week, over a thousand weeks: three each, and each day is drawn from about as often as the others."""
    of = rationed(3)
    heard = [(turn(of, day * 4 + n), MONDAY + day * DAY + n) for day in range(7_000) for n in range(4)]
    found = drawn(of, heard, MONDAY + 8_000 * DAY, 3)
    assert set(Counter(each.week for each in found).values()) == {3}
    days = Counter(int(each.turn.event_id[5:]) // 4 % 7 for each in found)
    # 3,000 turns over 7 days: 429 each; a count of 1,000 draws of 3/7 lies within 353 and 505 but once in a million.
    assert all(353 <= days[day] <= 505 for day in range(7)), days


@pytest.mark.parametrize("ration", [1, 3, 9])
def test_the_probability_is_that_of_the_draw(ration):
    """One over it, of all that is drawn of a weekday, is on the whole the number of its turns: also late in a week of few.

    2,000 weeks with a quiet and an empty day; of each weekday's mean |z| = 6, a false alarm in a million and less.
    """
    of = rationed(ration)
    turns = (2, 5, 0, 1, 5, 3, 4)
    heard = [
        (turn(of, day * 5 + n), MONDAY + day * DAY + n)
        for day in range(14_000)
        for n in range(turns[day % 7])
    ]
    stand_for = [Counter[int]() for _ in turns]
    for each in drawn(of, heard, MONDAY + 15_000 * DAY, ration):
        day = int(each.turn.event_id[5:]) // 5
        stand_for[day % 7][day // 7] += 0.4 / each.probability
    for number, found in zip(turns, stand_for, strict=True):
        values = [found[week] for week in range(2_000)]
        error = statistics.stdev(values) / math.sqrt(2_000)
        assert statistics.fmean(values) == pytest.approx(number, rel=1e-9, abs=6 * error)


@pytest.mark.parametrize(("left", "days_left", "turns"), [(50, 7, 100), (3, 7, 2), (9, 2, 4), (1, 1, 5), (0, 3, 5), (20, 6, 3)])  # fmt: skip
def test_a_part_is_what_is_left_over_the_days_that_are_left(left, days_left, turns):
    """Over all chances; and what is said beforehand of what it leaves is what it leaves."""
    found = Counter(part_of_day(left, days_left, turns, (n + 0.5) / 10_000) for n in range(10_000))
    assert sum(part * times for part, times in found.items()) / 10_000 == pytest.approx(
        min(turns, left / days_left), abs=1e-3
    )
    some, leaves = left_after({left: 1.0}, days_left, turns)
    assert some == pytest.approx(1.0 - found[0] / 10_000, abs=1e-3)
    assert leaves == pytest.approx({left - part: times / 10_000 for part, times in found.items()}, abs=1e-3)


def test_only_what_a_judge_was_to_read_is_drawn():
    """No turn that failed, was left, was not sampled, has no unit or trace, is another revision's or of an arm that is gone."""
    of = rationed()
    found = AuditSet(of, 50)
    for more in (
        {"error": True}, {"cancelled": True}, {"sampled": None}, {"unit": None}, {"trace": None}, {"digest": "other"},
        {"variant": None}, {"variant": "gone"},
    ):  # fmt: skip
        told = {"digest": of.digest, "unit": "u", "trace": "t", "variant": "control", "sampled": 0.4} | more
        assert not found.hear(Turn(experiment=of.name, happened=0.0, reason="split", **told), MONDAY), more
    assert found.hear(turn(of, 1), MONDAY)


class Service:
    """Turns that are served, with their texts, into a log that knows when it received them."""

    def __init__(self, ration: int = 7) -> None:
        self.of = rationed(ration)
        self.clock = ManualClock(MONDAY)
        self.log, self.texts = MemoryLog(self.clock), open_texts("memory:")
        self.served = 0

    def serve(self, number: int, **more) -> list[Turn]:
        facts = []
        for _ in range(number):
            fact = turn(self.of, self.served, **more)
            self.served += 1
            self.log.append([fact])
            facts.append(fact)
            self.texts.keep(
                [
                    Text(
                        event_id=fact.event_id,
                        kind="turn",
                        experiment=self.of.name,
                        digest=self.of.digest,
                        variant=fact.variant,
                        trace=fact.trace or "",
                        unit=unit_digest(fact.unit or ""),
                        happened=self.clock.now(),
                        expires=self.clock.now() + 30 * DAY,
                        probability=0.4,
                        request=(Said("user", "Where is my parcel?"),),
                        answer="Here.",
                    )
                ]
            )
        return facts

    def until(self, day: float) -> None:
        self.clock.advance(MONDAY + day * DAY - self.clock.now())

    def task(self, **more) -> Labelling:
        source = live_turns(self.log, self.texts, self.of, "thumbs", salt="s", clock=self.clock, **more)
        return Labelling(self.log, self.of, source, Settings(ask="thumbs"), clock=self.clock)

    def labels(self) -> list[Label]:
        return [record.fact for record in self.log.read_since(0, kinds=("label",))]


def answer(task: Labelling, rater: str = "jo") -> str:
    key = task.next(rater)
    assert key is not None
    task.answer(rater, key, {"thumbs": 1}, seen=task.show(rater, key).seen)
    return key


def test_raters_see_this_weeks_set_first_and_are_told_what_is_left_of_the_last():
    """The task runs on over two weeks: a part joins each day; what is left of the first week comes after the second's."""
    service = Service()
    task = service.task()
    assert task.next("jo") is None
    assert task.progress("jo").week.says == "0 of 7 this week, 0 drawn so far"
    for day in range(1, 8):
        service.serve(20)
        service.until(day + 0.01)
    assert task.progress("jo").left == 7
    first = [answer(task) for _ in range(3)]
    week = task.progress("jo").week
    assert (week.week, week.says) == ("2026-W49", "0 of 7 this week, 0 drawn so far; 4 left of earlier weeks")
    service.serve(20)
    service.until(8.01)
    key = answer(task)
    assert key not in first
    assert task.progress("jo").week.says == "1 of 7 this week, 1 drawn so far; 4 left of earlier weeks"
    assert {task._items[each].week for each in first} == {2969}
    assert task._items[key].week == 2970
    while task.next("jo") is not None:
        answer(task)
    labels = service.labels()
    assert [label.probability for label in labels] == pytest.approx([0.4 / 20] * 8)
    assert {label.draw for label in labels} == {"audit"}
    # Whoever begins anew, or elsewhere, has the same set, and what was said of it.
    assert {each.key for each in service.task()._source.items} == set(task._items)
    assert service.task().progress("jo").answered == 8


def test_turns_where_judge_and_outcome_disagree_are_apart_of_each_week():
    """Of days that are over, none that is in the audit set, so many a week, marked, and never counted in the week."""
    service = Service()
    wanted = Disagreement(most=4, score="policy", bar=0.5, outcome="resolved")
    task = service.task(disagreement=wanted)
    for day in range(1, 10):
        turns = service.serve(20)
        common = {"experiment": service.of.name, "happened": service.clock.now()}
        service.log.append(
            [
                *(Score(**common, unit=each.unit, trace=each.trace, name="policy", value=1.0, evaluator="j") for each in turns),
                *(Outcome(**common, unit=each.unit, name="resolved", value=False) for each in turns),
            ]
        )  # fmt: skip
        task.progress("jo")
        service.until(day + 0.01)
    task.progress("jo")
    items = task._source.items
    audit = {each.item for each in items if each.draw == "audit"}
    disputed = [each for each in items if each.draw == "disagreement"]
    assert Counter(each.week for each in disputed) == {2969: 4, 2970: 4}
    assert not audit & {each.item for each in disputed}
    assert {each.probability for each in disputed} == {0.4}
    while task.next("jo") is not None:
        answer(task)
    week = task.progress("jo").week
    assert (week.labelled, week.drawn, week.earlier) == (2, 2, 0)
    assert Counter(label.draw for label in service.labels()) == {"audit": 9, "disagreement": 8}


def test_a_day_is_drawn_once_all_of_it_was_heard_of(monkeypatch):
    """A task that lags behind draws nothing too early: the same set as one that has read all."""
    service = Service()
    task = service.task()
    monkeypatch.setattr(turns, "_READ", 16)
    service.serve(100)
    service.until(1.01)
    assert [task.progress("jo").left for _ in range(8)] == [0] * 6 + [1] * 2
    (item,) = task._source.items
    assert item.probability == pytest.approx(0.4 / 100)
    assert [each.key for each in service.task()._source.items] == [item.key]


def test_turns_that_come_later_join_a_task_that_runs():
    """Without a ration: as they come, each drawn by its own hash; what was shown and answered stays as it was."""
    log, texts = MemoryLog(ManualClock(1_000.0)), open_texts("memory:")
    found = live(log, texts, 30)
    clock = ManualClock(2_000.0)
    source = live_turns(log, texts, found, "thumbs", share=0.5, salt="s", clock=clock)
    task = Labelling(log, found, source, Settings(ask="thumbs", overlap=0.5), clock=clock)
    before = dict(task._items)
    first = answer(task)
    orders = {rater: [key for *_, key in task._turns[rater]] for rater in task._turns}
    shown = task.next("jo")
    more = MemoryLog(ManualClock(1_000.0))
    live(more, texts, 60)
    log.append([record.fact for record in more.read_since(0, kinds=("turn",))])
    assert task.show("jo", shown) is not None
    assert task.show("jo", first).given == {"thumbs": 1}
    joined = set(task._items) - set(before)
    assert 5 <= len(joined) <= 55
    assert {item.probability for item in task._items.values()} == {0.25}
    for rater, order in orders.items():
        now = [key for *_, key in task._turns[rater]]
        assert [key for key in now if key in before] == order
        # They are anywhere among the others, and not at the end.
        assert set(now[-len(joined) :]) != joined
    again = live_turns(log, texts, found, "thumbs", share=0.5, salt="s", clock=clock)
    assert {item.key for item in again.items} == set(task._items)


def test_a_text_that_comes_after_its_turn_is_waited_for_a_minute():
    """Turn and text are written apart: the turn joins with its text, and is let go where none comes."""
    service = Service()
    of = experiment()
    source = live_turns(service.log, service.texts, of, "thumbs", clock=service.clock)
    facts = [turn(of, n) for n in range(2)]
    service.log.append(facts)
    assert source.fresh() == []

    def keep(fact):
        service.texts.keep(
            [
                Text(
                    event_id=fact.event_id, kind="turn", experiment=of.name, digest=of.digest, variant=fact.variant,
                    trace=fact.trace, unit=None, happened=MONDAY, expires=MONDAY + DAY, probability=0.4, answer="Here.",
                )
            ]
        )  # fmt: skip

    keep(facts[0])
    assert [item.item for item in source.fresh()] == [facts[0].trace]
    service.clock.advance(61.0)
    assert source.fresh() == []
    keep(facts[1])
    assert source.fresh() == []


def test_a_label_of_an_item_that_is_not_here_yet_waits_for_it():
    """Two pages on one log: what was said at one of a turn that the other has not read yet counts there, too."""
    log, texts = MemoryLog(ManualClock(1_000.0)), open_texts("memory:")
    found = live(log, texts, 6)
    clock = ManualClock(2_000.0)

    def task() -> Labelling:
        return Labelling(
            log,
            found,
            live_turns(log, texts, found, "thumbs", clock=clock),
            Settings(ask="thumbs"),
            clock=clock,
        )

    ahead = task()
    label_of_later = None
    behind = task()
    for key in list(behind._items)[3:]:
        item = behind._items.pop(key)
        behind._keys.pop((item.item, item.variant))
        label_of_later = label_of_later or item
    ahead.answer("jo", label_of_later.key, {"thumbs": 1})
    assert behind.progress("jo").answered == 0
    behind._join(label_of_later)
    assert behind.progress("jo").answered == 1
    assert behind.show("jo", label_of_later.key).given == {"thumbs": 1}
