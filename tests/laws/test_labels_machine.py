"""Raters, windows and servers in any order, against a model of a few lines: what each said last is what stands."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from equipoise.clock import ManualClock
from equipoise.conduct.labelling.items import cases_of_run
from equipoise.conduct.labelling.task import Settings, Shown
from equipoise.conduct.labels import AnsweredElsewhereError, Labelling
from equipoise.events.labels import standing
from equipoise.events.log import MemoryLog

sys.path.insert(0, str(Path(__file__).parents[1]))
from labelling import a_run, experiment

RATERS = ("jo", "kim", "lu")
EXPERIMENT = experiment()
with TemporaryDirectory() as folder:
    PAIRS = cases_of_run(a_run(Path(folder), 3), EXPERIMENT, "preference")
    SINGLE = cases_of_run(Path(folder) / "run.arena.json", EXPERIMENT, "grades")


class Machine(RuleBasedStateMachine):
    """Two servers on one log; each rater has windows that were opened at some time and are answered at another."""

    @initialize(ask=st.sampled_from(["preference", "grades"]), overlap=st.sampled_from([0.0, 0.5, 1.0]))
    def begin(self, ask, overlap):
        self.clock = ManualClock(0.0)
        self.log = MemoryLog(self.clock)
        self.settings = Settings(ask=ask, overlap=overlap, raters=2)
        self.source = PAIRS if ask == "preference" else SINGLE
        self.servers = [self.started(), self.started()]
        self.windows: list[tuple[str, Shown]] = []
        self.said: dict[tuple[str, str], dict[str, int | None]] = {}
        self.order: dict[str, list[str]] = {rater: [] for rater in RATERS}

    def started(self) -> Labelling:
        return Labelling(self.log, EXPERIMENT, self.source, self.settings, clock=self.clock)

    @rule(number=st.integers(0, 1))
    def restart(self, number):
        """A server is killed and started anew: all it knows is the log."""
        self.servers[number] = self.started()

    @rule(rater=st.sampled_from(RATERS), number=st.integers(0, 1), place=st.integers(0, 20))
    def open_window(self, rater, number, place):
        """The next item, or any other."""
        server = self.servers[number]
        keys = [item.key for item in self.source.items]
        key = server.next(rater) if place < 10 else keys[place % len(keys)]
        if key is not None:
            self.windows.append((rater, server.show(rater, key)))

    @rule(data=st.data(), number=st.integers(0, 1), passes=st.integers(0, 5))
    def answer(self, data, number, passes):
        """From any window that is open, however old."""
        if not self.windows:
            return
        rater, shown = data.draw(st.sampled_from(self.windows), label="window")
        self.clock.advance(1.0)
        choices: dict[str, int | None] = {
            question.name: None if passes == 0 else data.draw(st.sampled_from(question.choices))
            for question in shown.questions
        }
        before = self.said.get((rater, shown.key))
        knows = (shown.given or None) == before and self.is_fresh(rater, shown)
        try:
            self.servers[number].answer(rater, shown.key, choices, seen=shown.seen)
        except AnsweredElsewhereError:
            assert not knows
            assert before != choices
            return
        assert knows or before == choices
        if before != choices:
            self.said[rater, shown.key] = choices
            if shown.key in self.order[rater]:
                self.order[rater].remove(shown.key)
            self.order[rater].append(shown.key)

    def is_fresh(self, rater: str, shown: Shown) -> bool:
        now = self.started().show(rater, shown.key)
        return now.seen == shown.seen

    @rule(rater=st.sampled_from(RATERS), number=st.integers(0, 1))
    def undo(self, rater, number):
        """The last answer goes, wherever it was given; without one nothing does."""
        server = self.servers[number]
        key = server.undo(rater, server.progress(rater).last or "")
        assert key == (self.order[rater].pop() if self.order[rater] else None)
        if key is not None:
            del self.said[rater, key]

    @invariant()
    def what_was_said_last_stands(self):
        if not hasattr(self, "log"):
            return
        for server in self.servers:
            for rater in RATERS:
                mine = {key: said for (each, key), said in self.said.items() if each == rater}
                progress = server.progress(rater)
                assert progress.answered == len(mine)
                for key, said in mine.items():
                    assert server.show(rater, key).given == said
        stands = standing(record.fact for record in self.log.read_since(0, kinds=("label",)))
        assert len(stands) == sum(len(said) for said in self.said.values())
        assert len({(label.rater, label.item, label.variant, label.name) for label in stands}) == len(stands)

    @invariant()
    def nobody_is_asked_what_is_done(self):
        if not hasattr(self, "log"):
            return
        for rater in RATERS:
            key = self.servers[0].next(rater)
            assert key is None or (rater, key) not in self.said
        progress = self.servers[0].progress("jo")
        assert 0 <= progress.complete <= progress.items == len(self.source.items)


def test_whatever_raters_windows_and_servers_do_the_last_word_stands() -> None:
    """Two hundred histories of up to forty moves."""
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=200,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
