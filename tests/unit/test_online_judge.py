"""The online judge: what it scores, what it sets aside, what it may cost, and what it says when nothing goes on."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections import Counter

import pytest
from judged import connect, grades, judged, served, text, turn

from equipoise.clock import ManualClock
from equipoise.conduct.judge import Judged, OnlineJudge, reader_of
from equipoise.conduct.judging.metering import DayPurse, Metered
from equipoise.conduct.judging.sampled import drawn
from equipoise.errors import UsageError
from equipoise.events.cold.purging import purge
from equipoise.events.cursors import StrayCursorError
from equipoise.events.facts import Outcome, Score
from equipoise.events.log import MemoryLog
from equipoise.events.opening import open_cursors, open_texts
from equipoise.events.sqlite import SQLiteLog
from equipoise.experiment.prices import Price
from equipoise.providers.messages import Reply, Request
from equipoise.providers.simulated import SimulatedAnswer, SimulatedEndpoint
from equipoise.scoring.capturing import capturing

NOW = 1_000_000.0


class Bench:
    """A log, its texts and cursors, a clock, and a judge at a real server."""

    def __init__(self, answer=grades, **more) -> None:
        self.clock = ManualClock(NOW)
        self.log, self.texts = MemoryLog(self.clock), open_texts("memory:")
        self.cursors = open_cursors("memory:")
        self.asked: list[dict] = []
        self.answer = answer
        self.endpoint = SimulatedEndpoint(self._answer, models=("judge",))
        self.more = more

    def _answer(self, body):
        self.asked.append(body)
        return self.answer(body)

    def __enter__(self):
        self.experiment = judged(self.endpoint.__enter__(), **self.more)
        self.judge = self.another()
        return self

    def __exit__(self, *error):
        self.judge.close()
        self.endpoint.__exit__(*error)

    def another(self, **more) -> OnlineJudge:
        return OnlineJudge(
            self.experiment, self.log, self.texts, self.cursors, connect=connect, clock=self.clock, **more
        )

    def served(self, count: int, **more) -> None:
        served(self.log, self.texts, self.experiment, count, happened=self.clock.now(), **more)

    @property
    def scores(self) -> list[Score]:
        return [record.fact for record in self.log.read_since(0, kinds=("score",))]

    @property
    def cursor(self):
        return next(each for each in self.cursors.all() if each.collector == reader_of(self.experiment))


def test_a_turn_is_scored_by_all_that_scores_golden_cases_and_needs_no_reference():
    """Each score has its turn, its probability, the whole configuration, the reason and the cost."""
    with Bench() as bench:
        bench.served(1)
        assert bench.judge.advance() == Judged(scored=1, waiting=0, spent_usd=pytest.approx(2e-4, abs=2e-4))
        found = {each.name: each for each in bench.scores}
        assert {name: each.value for name, each in found.items()} == {
            "max_words": 1.0,
            "policy": 2.0,
            "tone": 2.0,
        }
        policy = found["policy"]
        assert (policy.unit, policy.trace, policy.probability) == ("u0", f"{0:032x}", 1.0)
        assert (policy.because, policy.happened, policy.source) == ("policy is 2", NOW, None)
        assert policy.cost_usd is not None
        assert 2 * policy.cost_usd == pytest.approx(bench.judge.advance().spent_usd)
        assert found["max_words"].cost_usd == 0.0
        said = dict(policy.configuration)
        assert policy.evaluator == f"rubric@{said['digest'][:12]}"
        assert said["axes"] == {"policy": "It keeps to the policy.", "tone": "It is kind."}
        assert [said[key] for key in ("name", "kind", "revision", "top", "samples")] == [
            "rubric",
            "judge",
            1,
            5,
            1,
        ]
        assert said["judges"] == [{"model": "judge", "params": {}}]
        assert said["prompt"].startswith("You grade one answer to a request")
        assert said["replied"] == [{"model": "judge", "fingerprint": "simulated"}]
        assert bench.judge.left_out == {"rouge": "it compares with a reference, and a live turn has none"}


def test_the_judge_is_given_what_was_kept_and_not_which_variant_it_reads():
    """Request, context, tool calls and answer; the variant's own instruction is left out, as golden cases have none."""
    with Bench() as bench:
        bench.served(1)
        bench.judge.advance()
        shown = json.loads(bench.asked[0]["messages"][1]["content"])
        assert {key: shown[key] for key in ("request", "context", "tool_calls", "answer")} == {
            "request": "May I?",
            "context": ["The policy says no."],
            "tool_calls": [{"name": "look_up", "arguments": '{"what": "policy"}'}],
            "answer": "No.",
        }
        assert "treatment" not in json.dumps(bench.asked)


def test_nothing_is_scored_twice_whoever_asks_and_how_often():
    """A judge that begins anew finds what was done; the cursor stands behind it."""
    with Bench() as bench:
        bench.served(40)
        assert [bench.judge.advance(32).scored, bench.judge.advance(32).scored] == [32, 8]
        assert (bench.cursor.delivered, bench.judge.advance()) == (
            40,
            Judged(spent_usd=pytest.approx(0.01, abs=0.02)),
        )
        bench.judge.close()
        again = bench.another()
        assert again.advance().scored == 0
        again.close()
        assert len(bench.asked) == 40
        assert len({each.event_id for each in bench.scores}) == len(bench.scores) == 120


def test_one_judges_at_a_time_and_another_takes_over():
    """Whoever does not hold the cursor says who does, and asks nobody."""
    with Bench() as bench:
        bench.served(10)
        bench.judge.advance(4)
        other = bench.another()
        assert other.advance() == Judged(elsewhere=f"process {os.getpid()} on {socket.gethostname()}")
        bench.judge.close()
        assert other.advance().scored == 6
        other.close()
        assert Counter(each.name for each in bench.scores) == {"max_words": 10, "policy": 10, "tone": 10}
        bench.judge = bench.another()


def test_what_happened_elsewhere_is_not_judged():
    """Turns that were not drawn, of another revision, of nobody, of no arm, and shadows."""
    with Bench() as bench:
        facts = [
            turn(1, bench.experiment, happened=NOW, sampled=None),
            turn(2, bench.experiment, happened=NOW, digest="0" * 64),
            turn(3, bench.experiment, happened=NOW, unit=None),
            turn(4, bench.experiment, happened=NOW, variant=None),
        ]
        bench.log.append(facts)
        assert bench.judge.advance() == Judged()
        assert (bench.cursor.position, bench.cursor.delivered) == (4, 0)


def test_the_draw_among_kept_texts_is_as_often_as_declared_and_the_same_for_all():
    """Where all texts are kept and a tenth is judged: 1,000 of 10,000, within five standard errors (1 in 1.7 million)."""
    experiment = judged(online_judge={"sample": 0.1}, capture={"text": "all"})
    found = [drawn(turn(each, experiment, happened=1.0), experiment) for each in range(10_000)]
    assert set(found) == {None, 0.1}
    assert abs(found.count(0.1) - 1_000) < 5 * 30
    assert found == [drawn(turn(each, experiment, happened=2.0), experiment) for each in range(10_000)]
    kept = judged(online_judge={"sample": 0.1}, capture={"text": "sampled", "share": 0.2})
    half = [drawn(turn(each, kept, happened=1.0, sampled=0.2), kept) for each in range(10_000)]
    assert set(half) == {None, 0.1}
    assert abs(half.count(0.1) - 5_000) < 5 * 50


def test_a_stratum_is_drawn_as_often_as_it_asks_for_and_every_draw_is_judged():
    """A fifth of the mobile ones and a fiftieth of the others, within five standard errors (1 in 1.7 million each)."""
    experiment = judged(
        attributes={"device": {"type": "text", "from": "header:x-device"}},
        online_judge={"sample": 0.02, "by": "device", "shares": {"mobile": 0.2}},
    )
    capture = capturing(experiment)
    for device, share in (("mobile", 0.2), ("desktop", 0.02), (None, 0.02)):
        said = {} if device is None else {"device": device}
        found = [capture.draw(said) for _ in range(10_000)]
        assert set(found) == {None, share}
        assert abs(found.count(share) - 10_000 * share) < 5 * (10_000 * share * (1 - share)) ** 0.5
        assert drawn(turn(1, experiment, happened=1.0, sampled=share), experiment) == share


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"error": True}, "the turn ended in an error, or its client went away"),
        ({"cancelled": True}, "the turn ended in an error, or its client went away"),
        ({"happened": NOW - 3601.0}, "it waited for more than 3600 seconds"),
    ],
)
def test_what_cannot_be_judged_is_counted_with_its_reason(more, why):
    """It is a score without a value, under the id that the score would have had, and the cursor goes past it."""
    with Bench(online_judge={"within": "1h"}) as bench:
        bench.log.append([turn(1, bench.experiment, **({"happened": NOW} | more))])
        assert bench.judge.advance() == Judged(unscored={why: 1})
        assert [(each.value, each.why_not, each.configuration) for each in bench.scores] == [
            (None, why, None)
        ] * 3
        assert (bench.asked, bench.cursor.delivered) == ([], 1)


def test_a_text_may_be_a_minute_late_and_is_then_missed():
    """Turn and text are written apart; what comes later is not waited for, and others are not held up."""
    with Bench() as bench:
        late = turn(1, bench.experiment, happened=NOW)
        bench.log.append([late, turn(2, bench.experiment, happened=NOW)])
        bench.served(1, start=3)
        assert bench.judge.advance() == Judged(scored=1, waiting=2, spent_usd=pytest.approx(0.0, abs=1e-3))
        assert bench.cursor.position == 0
        bench.texts.keep([text(late, bench.experiment)])
        bench.clock.advance(61.0)
        told = bench.judge.advance()
        assert (told.scored, told.waiting) == (1, 0)
        assert told.unscored == {"its text is not there: lost on its way, purged, or expired": 1}
        assert bench.cursor.delivered == 3


def test_of_too_many_that_wait_the_oldest_fall_out():
    """The backlog is bounded, and what leaves it is counted."""
    with Bench(online_judge={"backlog": 10}) as bench:
        bench.served(25)
        told = bench.judge.advance(4)
        assert (told.scored, told.waiting, dict(told.unscored)) == (4, 6, {"more than 10 turns waited": 15})
        assert [each.unit for each in bench.scores if each.name == "tone" and each.value is None] == [f"u{each}" for each in range(15)]  # fmt: skip


def test_no_more_turns_a_minute_are_judged_than_declared():
    """The rate holds over calls, and over a judge that begins anew."""
    with Bench(online_judge={"turns_per_minute": 6}) as bench:
        bench.served(30)
        assert [bench.judge.advance().scored for _ in range(3)] == [6, 0, 0]
        bench.clock.advance(20.0)
        assert [bench.judge.advance().scored for _ in range(2)] == [2, 0]
        bench.judge.close()
        bench.judge = bench.another()
        assert bench.judge.advance().scored == 0
        bench.clock.advance(30.0)
        assert bench.judge.advance().scored == 3


def test_no_more_is_spent_a_day_than_the_budget_and_a_new_start_does_not_forget_it():
    """What is left waits for the next day; the day's spending is read from the log."""
    with Bench(online_judge={"budget_usd_per_day": 0.01}) as bench:
        bench.served(60)
        told = bench.judge.advance(60)
        assert 0.005 < told.spent_usd <= 0.01
        assert 0 < told.scored < 60
        assert (told.waiting, told.resumes) == (60 - told.scored, 12 * 86_400.0)
        assert told.trouble.startswith("the online judge may spend $0.01 a day and has spent $0.00")
        assert told.trouble.endswith(" of it; it goes on at midnight UTC")
        assert bench.cursor.trouble == told.trouble
        paid = [each.cost_usd for each in bench.scores]
        bench.judge.close()
        bench.judge = bench.another()
        again = bench.judge.advance(60)
        assert (again.scored, again.spent_usd) == (0, pytest.approx(sum(paid)))
        bench.clock.advance(12 * 86_400.0 - bench.clock.now())
        assert bench.judge.advance(5).scored == 5
        assert bench.cursor.trouble is None


def test_a_clock_that_is_put_back_does_not_make_a_wait_of_seconds_one_of_an_hour():
    """The judge was away when the clock was an hour ahead; it is asked again at once."""
    away = True
    with Bench(lambda body: SimulatedAnswer(status=401) if away else grades(body)) as bench:
        bench.served(3)
        assert bench.judge.advance().scored == 0
        away = False
        bench.clock._now -= 3_600.0
        assert bench.judge.advance().scored == 3


def test_a_judge_that_cannot_be_reached_is_waited_for():
    """What needs no judge is recorded, the reason is told, the next try is later each time; then all is made up for."""
    with Bench(lambda body: SimulatedAnswer(status=401)) as bench:
        bench.served(20)
        waits = []
        for _ in range(3):
            told = bench.judge.advance()
            assert (told.scored, told.waiting, dict(told.unscored)) == (0, 20, {})
            assert told.trouble.startswith("the judge did not answer: ")
            waits.append(told.resumes - bench.clock.now())
            before = len(bench.asked)
            assert bench.judge.advance().trouble == told.trouble
            assert len(bench.asked) == before
            bench.clock.advance(waits[-1])
        assert [low <= wait <= 2 * low for low, wait in zip((1, 2, 4), waits, strict=True)] == [True] * 3
        assert ({each.name for each in bench.scores}, bench.cursor.retries) == ({"max_words"}, 3)
        bench.answer = grades
        assert bench.judge.advance() == Judged(scored=20, spent_usd=pytest.approx(0.0, abs=0.1))


def test_a_turn_about_which_the_judge_cannot_be_asked_does_not_hold_up_the_others():
    """Tried thrice while others can be judged, it is recorded as what it is."""

    def answer(body):
        shown = json.loads(body["messages"][1]["content"])
        return SimulatedAnswer(status=400) if shown["answer"] == "No." else grades(body)

    with Bench(answer) as bench:
        bench.served(1)
        bench.served(2, start=101)
        results = []
        for at in range(3):
            bench.served(3, start=10 + 10 * at)
            results.append(bench.judge.advance())
        assert [each.waiting for each in results][:2] == [3, 4]
        assert sum(each.scored for each in results) == 7
        lost = [each for each in bench.scores if each.unit == "u0"]
        assert [(each.name, each.value is None) for each in lost] == [("max_words", False), ("policy", True), ("tone", True)]  # fmt: skip
        assert lost[1].why_not.startswith("the judge did not answer: ")


def test_many_turns_that_cannot_be_judged_hold_up_nobody():
    """Twenty of them are in front; the others are judged, and then they are recorded as what they are."""

    def answer(body):
        shown = json.loads(body["messages"][1]["content"])
        return SimulatedAnswer(status=400) if shown["answer"] == "No." else grades(body)

    with Bench(answer) as bench:
        for number in range(20):
            bench.served(1, start=number)
        scored, unscored = 0, Counter()
        for start in (101, 201, 301, 401, 501, 601, 701, 801):
            served(
                bench.log,
                bench.texts,
                bench.experiment,
                5,
                happened=NOW,
                start=start,
                answers="By policy, no.",
            )
            for _ in range(4):
                told = bench.judge.advance(8)
                scored += told.scored
                unscored.update(told.unscored)
                bench.clock.advance(10.0)
        assert (scored, sum(unscored.values()), told.waiting) == (40, 20, 0)


def test_what_one_evaluator_said_is_kept_while_another_cannot_be_asked():
    """The rubric is asked and paid for once, however often the other one fails."""

    def answer(body):
        return SimulatedAnswer(status=401) if "criterion" in body["messages"][1]["content"] else grades(body)

    with Bench(answer, offline={"evaluators": [{"g_eval": "It is right."}]}) as bench:
        bench.served(4)
        for _ in range(3):
            told = bench.judge.advance()
            assert (told.scored, told.waiting) == (0, 4)
            bench.clock.advance(10.0)
        rubrics = [each for each in bench.asked if "axes" in each["messages"][1]["content"]]
        assert len(rubrics) == 4
        assert Counter(each.name for each in bench.scores) == {"policy": 4, "tone": 4}
        bench.clock.advance(86_400.0)
        assert bench.judge.advance().unscored == {"it waited for more than 86400 seconds": 4}
        assert Counter(each.name for each in bench.scores) == {"policy": 4, "tone": 4, "g_eval": 4}


def test_of_a_unit_that_was_purged_nothing_is_written(tmp_path):
    """Neither a score nor that there is none: the unit stands in the log no more."""
    clock = ManualClock(NOW)
    log, texts = SQLiteLog(tmp_path / "l.db", clock=clock), open_texts(tmp_path / "l.db")
    cursors = open_cursors(tmp_path / "l.db")
    experiment = judged(online_judge={"within": "1h"})
    judge = OnlineJudge(experiment, log, texts, cursors, connect=connect, clock=clock)
    log.append([turn(number, experiment, happened=NOW) for number in range(3)])
    assert judge.advance().waiting == 3
    assert purge(tmp_path / "l.db", "u1", by="test").facts == 1
    clock.advance(3_601.0)
    told = judge.advance()
    assert (told.waiting, told.unscored) == (0, {"it waited for more than 3600 seconds": 2})
    assert {record.fact.unit for record in log.read_since(0, kinds=("score",))} == {"u0", "u2"}
    for each in (judge, texts, cursors, log):
        each.close()


def test_an_endpoint_that_counts_no_tokens_costs_all_the_same():
    """They are taken from the length of what was said, so that a budget holds."""
    purse = DayPurse({"judge": Price(4.0, 8.0)}, limit_usd=1.0)

    class Uncounted:
        async def complete(self, request):
            return Reply(text="x" * 80, model="judge")

        async def aclose(self):
            """Nothing is open."""

    request = Request(model="judge", messages=({"role": "user", "content": "y" * 400},))
    reply = asyncio.run(Metered(Uncounted(), purse, ManualClock(NOW)).complete(request))
    assert reply.cost_usd == pytest.approx((4.0 * 100 + 8.0 * 20) / 1e6)
    assert purse.spent(NOW) == reply.cost_usd


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"capture": {"text": "none"}},
            "the online judge of bot has nothing to read: the definition keeps no texts; add `capture: {text: sampled}` to it",
        ),
        (
            {"online_judge": {"budget_usd_per_day": 1}, "prices": {}},
            (
                "`online_judge.budget_usd_per_day` needs the price of every model asked, and none is known for judge; add to the "
                "definition `prices: {judge: {input: …, output: …}}`, in US dollars per million tokens"
            ),
        ),
        (
            {"offline": {"rubric": None, "evaluators": [{"rouge": "rougeL"}]}},
            (
                "nothing under `offline:` of bot can judge a live turn (rouge: it compares with a reference, and a live turn has "
                "none). Add a rubric and the judge's model, or an evaluator that needs no reference"
            ),
        ),
    ],
)
def test_what_cannot_be_carried_out_is_refused_at_the_start(more, message):
    """With what is missing, and where."""
    experiment = judged(**more)
    with pytest.raises(UsageError) as error:
        OnlineJudge(experiment, MemoryLog(), open_texts("memory:"), open_cursors("memory:"), connect=connect)
    assert str(error.value) == message


def test_a_cursor_of_another_log_is_refused():
    """Nothing is judged that somebody else was in the middle of."""
    with Bench() as bench:
        bench.served(2)
        bench.judge.advance()
        bench.judge.close()
        bench.log = MemoryLog(bench.clock)
        bench.log.append([Outcome(experiment="bot", happened=1.0, unit="u", name="n", value=1.0)] * 2)
        bench.judge = bench.another()
        with pytest.raises(StrayCursorError) as error:
            bench.judge.advance()
        assert str(error.value) == (
            f"the judge of {bench.experiment.identity} stands at position 2 of another log than this one, which ends at 1. "
            "Judge the log it belongs to, or take away the cursors beside this one (the file ….outbox, or the table "
            "equipoise_cursors) to judge this one from its beginning"
        )
