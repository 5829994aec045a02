"""The monitor's judge as a process: it judges what was drawn, one at a time, and stops when it is told to."""

from __future__ import annotations

import json
import signal
import sys
import time
from contextlib import contextmanager

import forked
from judged import grades, judged, served
from processes import QUIET

from equipoise.conduct.register import register
from equipoise.events.opening import open_log, open_texts
from equipoise.providers.simulated import SimulatedAnswer, SimulatedEndpoint

MONITOR = (sys.executable, "-c", "from equipoise.cli.main import run; run()", "monitor", "--only", "judge")


def written(place: str, url: str, count: int, **more):
    """A log with a registered experiment and so many turns that were drawn."""
    experiment = judged(url, **more)
    log, texts = open_log(place), open_texts(place)
    register(log, experiment, by="test", reason="a test")
    served(log, texts, experiment, count, happened=time.time())
    texts.close()
    return experiment, log


def scores(log) -> list[str]:
    return [record.fact.event_id for record in log.read_since(0, kinds=("score",))]


@contextmanager
def running(place: str):
    with forked.Process((*MONITOR, "--log", place, "--json"), env=QUIET) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def until(holds, *processes) -> None:
    while not holds():
        assert all(each.poll() is None for each in processes), [each.stderr.read() for each in processes]
        time.sleep(0.02)


def test_what_was_drawn_is_judged_once_and_told(place):
    """By one run of the program; a second finds nothing to do."""
    with SimulatedEndpoint(grades, models=("judge",)) as url:
        experiment, log = written(place, url, 20)
        runs = []
        for _ in range(2):
            done = forked.run((*MONITOR, "--once", "--log", place, "--json"), env=QUIET)
            assert (done.returncode, done.stderr) == (0, "")
            runs.append(json.loads(done.stdout))
    first, second = runs
    assert [(each["chore"], each["experiment"], each["says"]) for each in first["news"]] == [
        ("judge", experiment.identity, "20 turns judged")
    ]
    stands = first["chores"]["judge"]["experiments"][experiment.identity]
    assert (stands["scored"], stands["waiting"], stands["unscored"], stands["trouble"]) == (20, 0, {}, None)
    assert second["news"] == []
    assert second["chores"]["judge"]["experiments"][experiment.identity]["scored"] == 0
    assert len(scores(log)) == len(set(scores(log))) == 60
    log.close()


def test_of_two_one_judges_and_the_other_takes_its_place(place):
    """When the first is told to stop, it lets go at once; no turn is judged twice."""
    with SimulatedEndpoint(grades, models=("judge",)) as url:
        experiment, log = written(place, url, 10)
        texts = open_texts(place)
        with running(place) as one:
            until(lambda: len(scores(log)) == 30, one)
            with running(place) as other:
                served(log, texts, experiment, 5, happened=time.time(), start=50)
                until(lambda: len(scores(log)) == 45, one, other)
                one.send_signal(signal.SIGTERM)
                one.wait()
                served(log, texts, experiment, 5, happened=time.time(), start=100)
                until(lambda: len(scores(log)) == 60, other)
                other.send_signal(signal.SIGTERM)
                assert (one.returncode, other.wait()) == (0, 0)
        texts.close()
    assert len(set(scores(log))) == 60
    assert not list(log.read_since(0, kinds=("conflict",)))
    log.close()


def test_a_judge_that_does_not_answer_keeps_nobody_from_stopping(tmp_path):
    """What is under way is let go, and the next process asks for it; what was said meanwhile is kept."""
    slow = True

    def answer(body):
        return SimulatedAnswer(text=grades(body).text, latency_s=600.0 if slow else 0.0)

    place = str(tmp_path / "log.db")
    endpoint = SimulatedEndpoint(answer, models=("judge",))
    with endpoint as url:
        _, log = written(place, url, 3)
        with running(place) as process:
            until(lambda: endpoint.served >= 3, process)
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 0
        assert {record.fact.name for record in log.read_since(0, kinds=("score",))} <= {"max_words"}
        slow = False
        done = forked.run((*MONITOR, "--once", "--log", place), env=QUIET)
        assert done.returncode == 0, done.stderr
    assert len(scores(log)) == 9
    log.close()


def test_a_judge_that_is_away_ends_one_run_with_the_code_that_says_so(tmp_path):
    """Nothing was scored and the turns wait, which is told; once it is back they are judged, and the run ends well."""
    place = str(tmp_path / "log.db")
    away = True

    def answer(body):
        return SimulatedAnswer(status=503, text="away") if away else grades(body)

    once = (*MONITOR, "--once", "--log", place, "--json")
    with SimulatedEndpoint(answer, models=("judge",)) as url:
        experiment, log = written(place, url, 3)
        done = forked.run(once, env=QUIET)
        assert done.returncode == 6, done.stderr
        stands = json.loads(done.stdout)["chores"]["judge"]["experiments"][experiment.identity]
        assert (stands["scored"], stands["waiting"], stands["exit_code"]) == (0, 3, 6)
        assert stands["trouble"]
        away = False
        done = forked.run(once, env=QUIET)
        assert done.returncode == 0, done.stderr
    assert len(scores(log)) == 9
    log.close()


def test_a_judge_without_its_key_is_told_of_and_holds_up_nothing(tmp_path):
    """The message names the variable; the program goes on, and with --once its code says that something is to be set."""
    place = str(tmp_path / "log.db")
    experiment, log = written(place, "https://api.openai.com/v1", 2)
    log.close()
    done = forked.run((*MONITOR, "--once", "--log", place, "--json"), env=QUIET)  # fmt: skip
    assert done.returncode == 2, done.stderr
    (news,) = json.loads(done.stdout)["news"]
    assert (news["experiment"], news["trouble"]) == (experiment.identity, True)
    assert news["says"] == (
        "the environment variable NO_KEY is not set, and https://api.openai.com/v1 wants a key. Set it (export NO_KEY=…), name "
        "another variable with `key_env:`, or use another endpoint with EQUIPOISE_BASE_URL"
    )


def test_a_chore_that_is_none_is_refused():
    """With those that there are."""
    done = forked.run((*MONITOR[:-1], "bandit"), env=QUIET)
    assert (done.returncode, done.stderr) == (
        2, "error: the monitor has no chore 'bandit'; accepted: watches, judge, weights, alerts\n",
    )  # fmt: skip
