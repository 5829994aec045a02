"""The online judge is killed at any of its steps, again and again: no score is doubled, none is missing."""

from __future__ import annotations

import random
import signal
import sys
from collections import Counter

import forked
import pytest
from dying import FINDS_THIS
from judged import grades, judged, served
from processes import QUIET

from equipoise.conduct.judge import reader_of
from equipoise.events.opening import open_cursors, open_log, open_texts
from equipoise.providers.simulated import SimulatedEndpoint

NOW = 4_000_000_000.0
JUDGE = (
    FINDS_THIS
    + """
import time
place, url, fatal = sys.argv[1], sys.argv[2], int(sys.argv[3])
from dying import Deaths
from judged import connect, judged
from equipoise.clock import ManualClock
from equipoise.conduct.judge import OnlineJudge
from equipoise.conduct.judging.metering import Metered
from equipoise.events.opening import open_cursors, open_log, open_texts

log, texts, cursors, deaths = open_log(place), open_texts(place), open_cursors(place), Deaths(fatal)
complete = Metered.complete

async def asking(self, request):
    deaths.point()
    reply = await complete(self, request)
    deaths.point()
    return reply

cursors._database.carry_out, Metered.complete = deaths.between(cursors._database.carry_out), asking
log.append, texts.named = deaths.around(log.append), deaths.around(texts.named)
judge = OnlineJudge(judged(url), log, texts, cursors, connect=connect, clock=ManualClock(4e9 + 30), at_once=3, turn_s=0.3)
while True:
    told = judge.advance(5)
    if told.trouble is not None or told.elsewhere is not None:
        time.sleep(0.02)
    elif not told.waiting:
        break
judge.close()
"""
)


@pytest.mark.parametrize("seed", range(2))
def test_whatever_kills_it_each_turn_is_scored_once(place, seed):
    """Some turns have no answer; a process dies after one to forty steps, and the next goes on, until one ends."""
    rng = random.Random(seed)
    with SimulatedEndpoint(grades, models=("judge",)) as url:
        experiment = judged(url)
        log, texts, cursors = open_log(place), open_texts(place), open_cursors(place)
        served(log, texts, experiment, 20, happened=NOW)
        served(log, texts, experiment, 3, happened=NOW, start=100, error=True)
        killed = 0
        while True:
            fatal = rng.randrange(1, 40)
            process = forked.run([sys.executable, "-c", JUDGE, place, url, str(fatal)], env=QUIET)  # fmt: skip
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, process.stderr
            killed += 1
        scores = [record.fact for record in log.read_since(0, kinds=("score",))]
        (cursor,) = [each for each in cursors.all() if each.collector == reader_of(experiment)]
        conflicts = list(log.read_since(0, kinds=("conflict",)))
        for each in (log, texts, cursors):
            each.close()
    assert killed >= 2
    assert not conflicts
    assert Counter((each.unit, each.name) for each in scores) == {
        (f"u{number}", name): 1
        for number in (*range(20), 100, 101, 102)
        for name in ("max_words", "policy", "tone")
    }
    assert sum(each.value is None for each in scores) == 9
    assert (cursor.delivered, cursor.who) == (23, None)
