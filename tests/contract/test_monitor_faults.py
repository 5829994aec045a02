"""A monitor on a disk that fails under it: it says so, goes on when the disk is well, and each thing is done once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from failing_disk import FAULTS, failing_disk
from gateways import until
from processes import QUIET
from watched import START, exposure, kept, served, turn, watched

from equipoise.clock import ManualClock
from equipoise.conduct.ledger import state_of
from equipoise.conduct.watch import Watcher
from equipoise.events.opening import open_windows

WATCHES = [{"metric": "error_rate", "max": 0.1, "window": "1m", "for": 2, "then": "pause"}]
MONITOR = """
import json, sys, time
from equipoise.errors import EquipoiseError
from equipoise.events.opening import open_log, open_windows
from equipoise.events.patient import PatientLog
from equipoise.monitor.loop import keep_going
from equipoise.monitor.watches import Watches
import threading
place = sys.argv[1]
log = PatientLog(lambda: open_log(place, create=False))

class Arriving:
    def now(self):
        head = log.head()
        return next(log.read_since(head - 1)).received

def told(chore, news):
    print(json.dumps([news.says, news.trouble]), flush=True)

keep_going([Watches(log, lambda: open_windows(place), every=0.05, arrival=Arriving())], stop=threading.Event(), told=told)
"""


@pytest.mark.parametrize("fault", [*FAULTS])
@pytest.mark.parametrize("files", ["log.db", "log.db.windows"])
def test_what_a_failing_disk_holds_up_is_done_once_when_it_is_well(tmp_path, fault, files):
    """The log's own disk, or that of the windows alone; the decision falls while nothing can be written."""
    place, clock, experiment = str(tmp_path / "log.db"), ManualClock(START + 0.0), watched(WATCHES)
    log = kept(place, clock)
    served(log, experiment, clock)

    def minute(error: bool) -> None:
        log.append([exposure(experiment, "u", "treatment", clock.now()), turn("u", "treatment", clock.now(), error=error)])  # fmt: skip
        clock.advance(61.0)

    def alerts() -> list[str]:
        return [record.fact.action for record in log.read_since(0, kinds=("alert",))]

    disk = failing_disk(tmp_path, tmp_path / files)
    monitor = subprocess.Popen(
        [sys.executable, "-c", MONITOR, place], env=QUIET | disk.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    try:
        for _ in range(3):
            # A window is closed by what arrives ten seconds after it.
            minute(error=True)
        until(lambda: alerts() == ["alert"])
        disk.fail(fault)
        minute(error=True)
        until(lambda: disk.failed > 0)
        disk.heal()
        until(lambda: len(alerts()) > 1)
        minute(error=False)
        minute(error=False)
        until(
            lambda: (
                (Watcher(experiment, log, open_windows(place)).standing.watermark or 0.0)
                >= clock.now() - 62.0
            )
        )
    finally:
        monitor.kill()
        said, failed = monitor.communicate()
    assert failed == ""
    assert alerts() == ["alert", "pause"]
    assert state_of(log, "bot").service == "paused"
    assert not list(log.read_since(0, kinds=("conflict",)))
    told = [json.loads(line) for line in said.splitlines()]
    assert any(trouble for _, trouble in told)
    log.close()
