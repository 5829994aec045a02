"""Sealing beside those who write: whole segments, whatever goes wrong meanwhile, in a process that dies alone."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from gateways import until
from sealed import traffic

from equipoise.clock import ManualClock
from equipoise.errors import MissingExtraError, UsageError
from equipoise.events.cold.sealer import Sealing, keep_sealing
from equipoise.events.cold.shelf import shelf_of
from equipoise.events.cold.verifying import verify
from equipoise.events.sqlite import SQLiteLog
from equipoise.gateway import companion as companions
from equipoise.gateway.companion import companion, told_by


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


def rounds(path: Path, steps: list, **more) -> list[Sealing]:
    """What is told of some rounds, before each of which a step is done."""
    stop, said = threading.Event(), []
    left = iter(steps)

    class Steps(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if timeout == 9.0:
                step = next(left, None)
                if step is None:
                    stop.set()
                    self.set()
                else:
                    step()
            return self.is_set()

    keep_sealing(path, stop=Steps(), told=said.append, every_s=9.0, clock=ManualClock(5000.0), **more)
    return said


def test_whole_segments_are_sealed_and_the_rest_stays_hot(path: Path) -> None:
    """Round by round: what fills segments and is old enough goes; a round that does nothing says nothing."""
    clock = ManualClock(0.0)
    log = SQLiteLog(path, clock=clock)
    log.append(traffic(25))
    said = rounds(
        path,
        [
            lambda: None,
            lambda: log.append(traffic(7)),
            lambda: clock.advance(4500.0) or log.append(traffic(50)),
        ],
        segment_facts=10,
    )
    assert said == [Sealing(2, 20, 5000.0), Sealing(3, 30, 5000.0)]
    found = verify(path)
    assert (found.sound, found.hot, found.sealed, found.strays) == (True, 52, 30, ())
    log.close()


def test_what_goes_wrong_is_said_once_and_tried_again(path: Path) -> None:
    """A log that is not there yet, a shelf that cannot be: told when it happens and when it is over, and no more."""

    def write() -> None:
        shelf_of(path).write_text("in the way")
        log = SQLiteLog(path, clock=ManualClock(0.0))
        log.append(traffic(10))
        log.close()

    said = rounds(path, [lambda: None, write, lambda: None, shelf_of(path).unlink], segment_facts=10)
    assert said[0] == Sealing(
        trouble=f"there is no log at {path}. Register an experiment first, or name the log with --log"
    )
    assert said[1] == Sealing(trouble=f"a file in {shelf_of(path)} could not be written: File exists")
    assert said[2:] == [Sealing(1, 10, 5000.0)]


def test_without_the_extra_it_is_said_and_ends(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sealed and nothing lost; as long as no segment is full it is no matter."""
    log = SQLiteLog(path, clock=ManualClock(0.0))
    log.append(traffic(9))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said: list[Sealing] = []
    assert rounds(path, [lambda: None], segment_facts=10) == []
    log.append(traffic(1))
    with pytest.raises(MissingExtraError):
        keep_sealing(path, stop=threading.Event(), told=said.append, segment_facts=10)
    assert [each.trouble for each in said] == [
        "a log with sealed facts needs the 'analysis' extra. Install it: pip install 'equipoise[analysis]'"
    ]
    with pytest.raises(UsageError, match="a segment cannot hold 0 facts"):
        keep_sealing(path, stop=threading.Event(), told=said.append, segment_facts=0)
    log.close()


def test_a_companion_that_dies_is_started_again_and_one_that_refuses_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    """It is said each time that it died; at the end of the block it is gone."""
    monkeypatch.setattr(companions, "_BEHIND_S", 0.0)
    file = tmp_path / "lives"
    script = "import sys\nwith open(sys.argv[1], 'a') as f: f.write('x')\nsys.exit(int(sys.argv[2]))"
    with companion([sys.executable, "-c", script, str(file), "7"], "the helper of a test", pause_s=0.01):
        until(lambda: file.exists() and len(file.read_text()) > 2, "three lives")
    assert capsys.readouterr().err.startswith(
        "the helper of a test died with 7; starting it again in 0.01 s\n"
    )
    file.unlink()
    with companion([sys.executable, "-c", script, str(file), "2"], "the helper of a test"):
        until(file.exists, "one life")
        until(
            lambda: not any(each.name == "the helper of a test" for each in threading.enumerate()), "the end"
        )
    assert file.read_text() == "x"
    assert capsys.readouterr().err == ""
    with companion([str(tmp_path / "absent")], "the helper of a test"):
        until(lambda: "could not be started" in capsys.readouterr().err, "the sentence")


def test_what_a_companion_says_is_read_if_it_can_be(tmp_path: Path) -> None:
    """No file, a part of a file, and another form are nothing said."""
    file = tmp_path / "said.json"
    assert told_by(file) is None
    for text, said in (('{"facts": 3}', {"facts": 3}), ('{"facts"', None), ("[1]", None), ("", None)):
        file.write_text(text)
        assert told_by(file) == said
