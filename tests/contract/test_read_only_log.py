"""A log on a disk that can only be read is read, whatever wrote it; and what it cannot tell there is said."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import forked
import pytest
from sealed import outcome, traffic

from equipoise import load_experiment
from equipoise.conduct.look import look
from equipoise.conduct.register import register
from equipoise.errors import RecordError
from equipoise.events import sqlite_file
from equipoise.events.cold.sealing import seal
from equipoise.events.facts import Exposure, Outcome
from equipoise.events.log import LogGoneError
from equipoise.events.sqlite import SQLiteLog

PAST = Path(__file__).parents[1] / "history" / "0.1.0" / "log.sql"
UNSHARE = shutil.which("unshare")
MOUNT = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && shift 0 && exec "$@"'

needs_mounts = pytest.mark.skipif(
    UNSHARE is None
    or subprocess.run([UNSHARE, "-rm", "true"], capture_output=True, check=False).returncode != 0,
    reason="needs a mount of its own, which this machine does not allow",
)


def run_read_only(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the program where nothing in the folder can be written, by nobody."""
    assert UNSHARE is not None
    return subprocess.run(
        [UNSHARE, "-rm", "sh", "-c", MOUNT, str(folder), sys.executable, "-m", "equipoise", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder.parent,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


def past(path: Path, *, wal: bool) -> None:
    """The log that the first release wrote; as it left it, or as a copy that was read in between."""
    connection = sqlite3.connect(path)
    connection.executescript(PAST.read_text("utf-8"))
    if wal:
        connection.execute("PRAGMA journal_mode = WAL")
    connection.close()


def frozen(path: Path, monkeypatch: pytest.MonkeyPatch) -> SQLiteLog:
    """The log as it is opened where nobody can write."""
    with monkeypatch.context() as patched:
        patched.setattr("equipoise.events.sqlite.connect", lambda path, create: sqlite_file._frozen(path))
        return SQLiteLog(path, create=False)


@needs_mounts
@pytest.mark.parametrize("wal", [False, True])
def test_a_log_of_the_first_format_is_read_on_a_disk_that_cannot_be_written(
    tmp_path: Path, wal: bool
) -> None:
    """Listed, shown, verified and exported as where it can be written, and its bytes are what they were."""
    folder = tmp_path / "a folder, für alle?"
    folder.mkdir()
    path = folder / "log #1.db"
    past(path, wal=wal)
    before = path.read_bytes()
    read = [
        ("list",),
        ("show", "support-policy-prompt"),
        ("verify", "support-policy-prompt"),
        ("log", "export"),
    ]
    there = [run_read_only(folder, *words, "--log", str(path)) for words in read]
    assert path.read_bytes() == before
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    for words, found in zip(read, there, strict=True):
        here = forked.run([sys.executable, "-m", "equipoise", *words, "--log", str(copy)])
        assert (found.returncode, found.stdout, found.stderr) == (here.returncode, here.stdout, here.stderr)
    refused = run_read_only(folder, "rollout", "support-policy-prompt", "pause", "--log", str(path))
    assert refused.returncode != 0


@needs_mounts
def test_a_sealed_log_is_read_on_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    """Its segments and its hot facts as one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    path = folder / "log.db"
    log = SQLiteLog(path)
    log.append(traffic(30))
    seal(path, hot_s=0, segment_facts=10)
    log.append([outcome()])
    log.close()
    found = run_read_only(folder, "log", "export", "--log", str(path))
    assert (found.returncode, found.stdout.count("\n"), found.stderr) == (0, 31, "")
    sealing = run_read_only(folder, "log", "seal", "--hot", "0", "--log", str(path))
    assert (sealing.returncode != 0, sealing.stderr) == (
        True,
        f"error: a file in {path}.segments could not be written: Read-only file system\n",
    )


@needs_mounts
def test_facts_in_the_journal_of_a_log_that_cannot_be_written_are_not_left_out(tmp_path: Path) -> None:
    """Without the file that says where in the journal they are, nothing is read rather than less than there is."""
    folder = tmp_path / "disk"
    folder.mkdir()
    log = SQLiteLog(tmp_path / "log.db")
    log.append([outcome()])
    for ending in ("", "-wal"):
        shutil.copy(f"{log.path}{ending}", folder)
    log.close()
    path = folder / "log.db"
    found = run_read_only(folder, "list", "--log", str(path))
    assert found.stderr == (
        f"error: {path} cannot be read where it is: what was written last is in log.db-wal, and nothing may be "
        "written there to bring it in. Copy both to a place that can be written, and name the copy with --log\n"
    )


def test_what_was_read_as_written_by_nobody_is_not_believed_once_somebody_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The read ends in an error that says so, never in a mixture of two moments."""
    path = tmp_path / "log.db"
    log = SQLiteLog(path)
    log.append([outcome(), outcome()])
    log.close()
    reader = frozen(path, monkeypatch)
    records = reader.read_since()
    next(records)
    with pytest.raises(LogGoneError) as refused:
        reader.append([outcome()])
    assert str(refused.value) == f"the log {path} could not be written: attempt to write a readonly database"
    log = SQLiteLog(path)
    log.append([outcome()])
    log.close()
    with pytest.raises(RecordError) as torn:
        list(records)
    assert str(torn.value) == (
        f"the log {path} could not be written when it was opened, and was written since: what was read of it may be "
        "torn. Read it again"
    )
    reader.close()


def test_a_look_that_cannot_be_recorded_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peek is; a look that is due would be one that no later look reckons with."""
    definition, path = tmp_path / "seen.yaml", tmp_path / "log.db"
    definition.write_text(
        """
name: seen
hypothesis: What is seen is recorded.
changes: [config]
unit: {type: user}
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
metrics:
  won: {priority: primary, kind: proportion, of: outcome.won, better: higher, baseline: 0.5, mde: 0.1}
plan: {looks: [0.3, 1.0]}
""",
        encoding="utf-8",
    )
    experiment = load_experiment(definition)
    log = SQLiteLog(path)
    register(log, experiment, by="ann")

    def serve(units: range) -> None:
        for n in units:
            common = {"experiment": "seen", "happened": float(n), "unit": f"u{n}"}
            arm = ("control", "b")[n % 2]
            log.append(
                [
                    Exposure(**common, digest=experiment.digest, unit_type="user", variant=arm, probability=0.5, reason="split"),
                    Outcome(**common, name="won", value=n % 3 == 0),
                ]
            )  # fmt: skip

    serve(range(100))
    log.close()
    assert not look(frozen(path, monkeypatch), "seen").findings.look.due
    log = SQLiteLog(path)
    serve(range(100, 600))
    log.close()
    with pytest.raises(RecordError) as refused:
        look(frozen(path, monkeypatch), "seen")
    assert str(refused.value) == (
        f"the log {path} could not be written: attempt to write a readonly database. This look of seen is due, and is "
        "shown only if it is recorded; analyse it where the log can be written"
    )
