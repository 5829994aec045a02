"""Labelling in a terminal: a real one, with keys that are pressed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from contextlib import contextmanager
from pathlib import Path

import forked
from labelling import LONG, SAYS, a_run, experiment, kept, written
from processes import QUIET

from equipoise.conduct.register import register
from equipoise.events.labels import standing
from equipoise.events.opening import open_log, open_texts

COMMAND = (sys.executable, "-c", "from equipoise.cli.main import run; run()", "label")


class Terminal:
    """The other end of a program's terminal."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.shown = ""

    def until(self, words: str, patience: float = 60.0) -> str:
        """What came up to these words."""
        ends = time.monotonic() + patience
        while words not in self.shown:
            assert time.monotonic() < ends, self.shown
            if select.select([self._handle], [], [], 1.0)[0]:
                try:
                    self.shown += os.read(self._handle, 65_536).decode("utf-8", "replace")
                except OSError:
                    raise AssertionError(self.shown) from None
        found, _, self.shown = self.shown.partition(words)
        return found

    def press(self, keys: str, then: str) -> str:
        """Keys, and what came up to these words."""
        os.write(self._handle, keys.encode())
        return self.until(then)


@contextmanager
def terminal(folder: Path, *words: str):
    """The program in a terminal of its own; gives both."""
    outer, inner = pty.openpty()
    with subprocess.Popen(
        (*COMMAND, *words, "--terminal", "--log", "l.db"),
        cwd=folder, stdin=inner, stdout=inner, stderr=inner, env=QUIET, start_new_session=True,
        # The terminal is this program's, so that Ctrl-C in it reaches the program.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - there are no threads here
    ) as process:  # fmt: skip
        os.close(inner)
        try:
            yield process, Terminal(outer)
        finally:
            process.kill()
            os.close(outer)


ASKED = "Which is better? 1 first, 2 second, 0 neither (? for keys):"


def test_a_rater_labels_by_keys(tmp_path):
    """Answers, a pass, a taking back, a look back and forward, help, and a stop; each kept before the next item."""
    with terminal(tmp_path, *written(tmp_path), "--rater", "Jo") as (process, at):
        shown = at.until(ASKED)
        assert "── 0 answered, 12 left · Jo ──" in shown
        assert re.search(r"user: Where is parcel \d\?", shown)
        first = re.search(r"FIRST\r\n  (\w+)", shown).group(1)
        shown = at.press("1", ASKED)
        assert "kept" in shown
        assert "1 answered, 11 left" in shown
        (one,) = kept(tmp_path / "l.db")
        assert (one.rater, SAYS[one.first]) == ("Jo", first)
        assert one.seconds >= 0.0
        assert "2 answered" in at.press("x2", ASKED)
        assert "skipped" in at.press("s", ASKED)
        assert "you have answered this one; an answer now takes its place" in at.press("k", ASKED)
        assert "3 answered, 9 left" in at.press("j", ASKED)
        assert "s skip · u take back the last answer · k back · j forward · ? this · q stop" in at.press(
            "?", ASKED
        )
        assert "taken back" in at.press("u", ASKED)
        at.press("q", "2 answered, 10 left")
        assert process.wait(30) == 0
    assert [label.value is None for label in standing(kept(tmp_path / "l.db"))] == [False, False]


def test_what_a_model_wrote_cannot_steer_the_terminal(tmp_path):
    """Escapes, a bell, a turned direction and a carriage return come out as the mark of what cannot be shown."""
    named = written(tmp_path)
    a_run(
        tmp_path,
        1,
        answers=dict.fromkeys(("control", "brief", LONG), "\x1b[2J\x1b]0;title\x07 a\rb \u202e \x9b31m"),
    )
    with terminal(tmp_path, *named, "--rater", "Jo") as (_, at):
        shown = at.until(ASKED)
        assert "\ufffd[2J\ufffd]0;title\ufffd a" in shown
        assert not set(shown) & {"\x1b", "\x07", "\x9b", "\u202e"}


def test_grades_are_asked_axis_by_axis_and_kept_together(tmp_path):
    """Half of a page is nothing: a stop before the last axis keeps none of it; Ctrl-C gives the terminal back."""
    with terminal(tmp_path, *written(tmp_path), "--ask", "grades", "--rater", "Jo") as (process, at):
        at.until("clarity (It is easy to follow.) 1 to 5:")
        # Six is no grade, and is not heard.
        at.press("64", "policy (It names the rule that applies.) 1 to 5:")
        assert kept(tmp_path / "l.db") == []
        at.press("2", "clarity (It is easy to follow.) 1 to 5:")
        assert [(label.name, label.value) for label in kept(tmp_path / "l.db")] == [
            ("clarity", 4.0),
            ("policy", 2.0),
        ]
        at.press("5", "policy")
        at.press("\x03", "interrupted; what was recorded so far is kept")
        assert process.wait(30) == 130
    assert len(kept(tmp_path / "l.db")) == 2


def test_killed_in_the_middle_it_goes_on_where_it_was(tmp_path):
    """What it called kept is kept, and the same item is asked again."""
    named = (*written(tmp_path), "--rater", "Jo")
    with terminal(tmp_path, *named) as (process, at):
        at.until(ASKED)
        at.press("1", "kept")
        shown = at.until(ASKED)
        process.kill()
    with terminal(tmp_path, *named) as (_, at):
        again = at.until(ASKED)
        assert re.search(r"user: .*", again).group(0) == re.search(r"user: .*", shown).group(0)
        assert "1 answered, 11 left" in again
    assert len(kept(tmp_path / "l.db")) == 1


def test_without_a_terminal_it_says_what_to_do(tmp_path):
    """Piped, or asked for JSON, or of nothing: a sentence and the exit code of usage."""
    named = written(tmp_path)

    def refused(*words: str) -> str:
        done = forked.run((*COMMAND, *words, "--log", "l.db"), cwd=tmp_path, env=QUIET)
        assert (done.returncode, done.stdout) == (2, "")
        return done.stderr.removeprefix("error: ").strip()

    assert (
        refused(*named, "--terminal")
        == "--terminal reads keys, and this is no terminal; leave it out to serve a page"
    )
    assert '"--terminal talks with a person and not in JSON; leave out one of them"' in refused(
        *named, "--terminal", "--json"
    )
    assert refused(*named, "--ask", "thumb") == (
        "'thumb' is nothing that is asked; accepted: preference, grades, thumbs; did you mean 'thumbs'?"
    )
    assert refused(*named, "--share", "lots") == (
        "'lots' is no share; accepted: a fraction, a number or a percentage, such as 1/4, 0.25 or 25%"
    )
    assert not (tmp_path / "l.db").exists()
    assert refused("none", "--results").startswith("there is no log at l.db")


def test_of_live_turns_it_says_that_there_is_nothing_yet(tmp_path):
    """A page could wait for turns to come; a terminal says what is missing, with and without a ration, and ends."""
    rationed = {
        "capture": {"text": "sampled"},
        "online_judge": {"sample": 0.5, "audit": {"labels_per_week": 7}},
    }
    plain = (
        "no item with the texts that grades needs was drawn. A preference needs shadows; thumbs and grades need an answer "
        "whose text was kept. Or draw a larger --share\r\n"
    )
    weekly = (
        "its judge has read no turn of a day that is over (UTC). A part of the 7 turns of a week is drawn each day, when it "
        "is over\r\n"
    )
    for folder, more, says in (("plain", {}, plain), ("rationed", rationed, weekly)):
        place = tmp_path / folder
        place.mkdir()
        log = open_log(place / "l.db")
        register(log, experiment(**more), by="test", reason="a test")
        open_texts(place / "l.db").close()
        log.close()
        with terminal(place, "support-bot", "--ask", "grades", "--rater", "Jo") as (process, at):
            at.until("error: there is nothing to label of support-bot yet: " + says)
            assert process.wait(60) == 2
