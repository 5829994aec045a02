"""The outbox as a process that is killed, told to stop, or one of two: nothing is missing, nothing uncounted."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import forked
import pytest
from collecting import Said, collecting
from processes import COMMAND, QUIET

from equipoise.events.facts import Outcome
from equipoise.events.opening import open_cursors, open_log

OUTBOX = (*COMMAND[:-1], "outbox")


def outcome(number: int, experiment: str) -> Outcome:
    return Outcome(event_id=f"{experiment}-{number}", experiment=experiment, happened=1.0, unit="u", name="n", value=1.0)  # fmt: skip


@contextmanager
def delivering(where: str, there, kind: str, *more: str):
    """A process that delivers until it is ended; what it says goes to pipes."""
    with forked.Process((*OUTBOX, "deliver", "--log", where, "--to", there.url, "--kind", kind, "--turn", "0.5", "--json", *more), env=QUIET) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return forked.run((*OUTBOX, *arguments), env=QUIET | env)


def until(holds, process=None) -> None:
    """Wait until something holds; a process that ended meanwhile is a failure with its words."""
    while not holds():
        if process is not None and process.poll() is not None:
            raise AssertionError(process.stderr.read())
        time.sleep(0.002)


@pytest.fixture
def there():
    with collecting() as collector:
        yield collector


def killed(where: str, there, kind: str, kills: int, seed: int) -> None:
    """Facts stream in, some of them poison, while the process that delivers is killed again and again."""
    rng = random.Random(seed)
    log = open_log(where)
    written: list[Outcome] = []
    bad = {f"{experiment}-{number}" for experiment in "ab" for number in range(kills * 60) if rng.random() < 0.004}  # fmt: skip

    def answer(post):
        if rng.random() < 0.1:
            return Said(instead="reset") if rng.random() < 0.5 else Said(503, {"retry-after": "0"})
        return Said(400 if bad & set(post.ids) else 200)

    there.answer = answer
    numbers = {"a": 0, "b": 0}

    def write() -> None:
        experiment = rng.choice("ab")
        fresh = [outcome(numbers[experiment] + n, experiment) for n in range(rng.randrange(1, 40))]
        numbers[experiment] += len(fresh)
        log.append(fresh)
        written.extend(fresh)

    for _ in range(kills):
        with delivering(where, there, kind) as process:
            write()
            for _ in range(rng.randrange(1, 6)):
                seen = len(there.posts)
                write()
                until(lambda seen=seen: len(there.posts) > seen, process)
            # In the middle of a post, of a commit, of a wait: wherever it is by then.
            time.sleep(rng.uniform(0, 0.01))
            process.send_signal(signal.SIGKILL)
            process.wait()
    with delivering(where, there, kind) as process:
        cursors = open_cursors(where)
        until(lambda: [each.position for each in cursors.all()] == [log.head()], process)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate()
        assert process.returncode == 0
        assert json.loads(said)["collector"].startswith(kind)
    [cursor] = cursors.all()
    quarantined = [each.event_id for each in cursors.quarantine(cursor.collector)]
    everything = [fact.event_id for fact in written]
    assert quarantined == [each for each in everything if each in bad]
    assert there.ids == [each for each in everything if each not in bad]
    # Sent more than once perhaps, counted once.
    assert (cursor.delivered, cursor.refused) == (len(everything) - len(quarantined), len(quarantined))
    assert cursor.who is None
    cursors.close()
    log.close()


@pytest.mark.parametrize("kind", ["http", "otlp"])
def test_a_kill_anywhere_makes_no_hole(place, there, kind):
    """After four kills every fact has arrived or is in quarantine, in order, and is counted exactly once."""
    killed(place, there, kind, kills=4, seed=11)


@pytest.mark.long
def test_a_hundred_kills_make_no_hole(place, there):
    """The same, a hundred times."""
    killed(place, there, "http", kills=100, seed=12)


def test_of_two_processes_one_delivers_and_the_other_takes_over(place, there):
    """The second says who delivers and waits, a third will not wait; the first ends, and the second goes on there."""
    log = open_log(place)
    log.append([outcome(n, "e") for n in range(50)])
    with delivering(place, there, "http", "--turn", "300") as first:
        until(lambda: len(there.ids) == 50, first)
        with delivering(place, there, "http") as second:
            said = ""
            while "waiting for its turn to end" not in said:
                said = second.stderr.readline()
                assert said, second.poll()
            assert said.startswith(f"process {first.pid} on ")
            again = run("deliver", "--once", "--log", place, "--to", there.url)
            assert again.returncode == 2
            assert again.stderr.startswith(f"error: process {first.pid} on ")
            log.append([outcome(n, "e") for n in range(50, 100)])
            until(lambda: len(there.ids) == 100, first)
            first.send_signal(signal.SIGTERM)
            said, _ = first.communicate()
            assert (first.returncode, json.loads(said)["delivered"]) == (0, 100)
            log.append([outcome(n, "e") for n in range(100, 150)])
            until(lambda: len(there.ids) == 150, second)
            second.send_signal(signal.SIGTERM)
            said, _ = second.communicate()
            assert (second.returncode, json.loads(said)["delivered"]) == (0, 50)
    # Nobody had to be killed, so nothing came twice.
    assert [event_id for event_id, _ in there.taken] == [f"e-{n}" for n in range(150)]
    log.close()


def test_a_process_that_froze_moves_nothing_when_it_wakes(place, there):
    """A deliverer that stood still for longer than its turn finds the cursor taken, and nothing is lost or counted twice."""
    log = open_log(place)
    cursors = open_cursors(place)
    log.append([outcome(n, "e") for n in range(10)])
    there.answer = lambda post: Said(instead="hang")
    with delivering(place, there, "http") as frozen:
        until(lambda: len(there.posts) == 1, frozen)
        frozen.send_signal(signal.SIGSTOP)
        there.answer = lambda post: Said()
        with delivering(place, there, "http") as awake:
            until(lambda: [each.position for each in cursors.all()] == [10], awake)
            frozen.send_signal(signal.SIGCONT)
            there.let_go.set()
            log.append([outcome(n, "e") for n in range(10, 20)])
            until(lambda: [each.position for each in cursors.all()] == [20])
    [cursor] = cursors.all()
    assert (cursor.delivered, cursor.refused) == (20, 0)
    assert there.ids == [f"e-{n}" for n in range(20)]
    cursors.close()
    log.close()


def test_a_server_that_is_started_anew_ends_no_delivery(postgres, there):
    """The database of log and cursors goes away and comes back; the process says so, and delivers what came since."""
    where = postgres.database()
    log = open_log(where)
    log.append([outcome(0, "e")])
    with delivering(where, there, "http") as process:
        until(lambda: len(there.ids) == 1, process)
        postgres.stop()
        said = process.stderr.readline()
        while "trying again" not in said:
            said = process.stderr.readline()
            assert said, process.poll()
        postgres.start()
        log.append([outcome(1, "e")])
        until(lambda: len(there.ids) == 2, process)
    log.close()


def test_the_whole_way_by_the_command_line(tmp_path, there):
    """Deliver, look where it stands, look at what was refused, send it again: each as text and as JSON."""
    where = str(tmp_path / "log.db")
    at = ("--log", where)
    log = open_log(where)
    log.append([outcome(n, "e") for n in range(3)])
    log.close()
    assert run("status", *at).stdout == (
        "nothing of this log was ever delivered there; see `equipoise outbox deliver --help`\n"
    )
    assert json.loads(run("status", *at, "--json").stdout) == []
    there.refuse("e-1")
    secret = {"EQUIPOISE_OUTBOX_HEADERS": "authorization=Bearer%20abc%2C1, X-Tenant=7"}
    done = run("deliver", "--once", *at, "--to", there.url, **secret)
    assert (done.returncode, done.stdout) == (
        0,
        f"2 facts delivered to http {there.url}/\n  1 in quarantine: equipoise outbox quarantine\n",
    )
    assert done.stderr == (
        f"http {there.url}/ would not take the outcome e-1 of e at position 2: answered 400; it is in quarantine, and "
        "`equipoise outbox replay` sends it again\n"
    )
    assert there.posts[0].headers["authorization"] == "Bearer abc,1"
    assert there.posts[0].headers["x-tenant"] == "7"
    [status] = json.loads(run("status", *at, "--json").stdout)
    assert status.pop("acknowledged") > 1.7e9
    assert status == {
        "collector": f"http {there.url}/", "position": 3, "event_id": "e-2", "delivered": 2, "refused": 1,
        "replayed": 0, "gone": 0, "retries": 0, "trouble": None, "who": None, "behind": 0, "quarantined": 1,
    }  # fmt: skip
    shown = run("status", *at).stdout.splitlines()
    assert shown[0].split() == [
        "collector",
        "behind",
        "last",
        "acknowledged",
        "delivered",
        "quarantined",
        "replayed",
        "gone",
        "retries",
    ]
    assert shown[1].split()[2] == "0"
    [row] = json.loads(run("quarantine", *at, "--json").stdout)
    assert (row["event_id"], row["position"], row["status"], row["reason"]) == ("e-1", 2, 400, "answered 400")
    assert "e-1" in run("quarantine", *at).stdout
    again = run("replay", *at, "--to", there.url)
    assert (again.returncode, again.stdout) == (
        3,
        (
            f"0 facts out of quarantine delivered to http {there.url}/\n"
            "  1 refused again, and still there: equipoise outbox quarantine\n"
        ),
    )
    there.refuse()
    again = run("replay", *at, "--to", there.url, "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout) == {
        "collector": f"http {there.url}/",
        "replayed": 1,
        "refused": 0,
        "gone": 0,
    }
    assert run("quarantine", *at).stdout == "nothing is in quarantine\n"
    assert there.ids == ["e-0", "e-2", "e-1"]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["delivr"], "'delivr' is nothing an outbox does; accepted: deliver, status, quarantine, replay; did you mean 'deliver'?"),
        (["deliver"], "say where to: equipoise outbox deliver --to https://collector.example/facts"),
        (["status", "--once"], "--once belongs to deliver, and this is status"),
        (["deliver", "--to", "http://127.0.0.1:9/", "--kind", "grpc"], "'grpc' is no kind of collector; accepted: http or otlp"),
        (["status"], "there is no log at none.db. Register an experiment first, or name the log with --log"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_out_is_said_whole(tmp_path, arguments, sentence):
    """A usage error is a sentence and the exit code 2."""
    done = forked.run((*OUTBOX, *arguments, "--log", "none.db"), env=QUIET, cwd=tmp_path)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {sentence}\n")


@pytest.mark.parametrize("headers", ["authorization", "a b=c", "x=%0d%0ay: z", "=secret"])
def test_what_is_no_header_is_refused_and_not_repeated(tmp_path, headers):
    """The message names the place of the pair, and nothing of it."""
    done = run("deliver", "--to", "http://127.0.0.1:9/", "--log", "none.db", EQUIPOISE_OUTBOX_HEADERS=headers)
    assert done.returncode == 2
    assert done.stderr == (
        "error: pair 1 of EQUIPOISE_OUTBOX_HEADERS is no header; accepted: name=value,name=value, with commas and "
        "special characters of a value written as %2C\n"
    )


def test_otlp_without_its_extra_says_which_one(tmp_path):
    """The line that installs it is in the message."""
    hide = (
        "import sys; sys.modules['google.protobuf.message'] = None; from equipoise.cli.main import run; run()"
    )
    # What is not there must not have been imported before.
    done = subprocess.run((sys.executable, "-c", hide, "outbox", "deliver", "--kind", "otlp", "--to", "http://127.0.0.1:9/"), capture_output=True, text=True, env=QUIET, cwd=tmp_path)  # fmt: skip
    assert (done.returncode, done.stderr) == (
        2,
        "error: a collector of the kind otlp needs the 'telemetry' extra. Install it: pip install 'equipoise[telemetry]'\n",
    )


def test_to_ask_what_was_delivered_makes_nothing(tmp_path):
    """The status of a log that nobody was told of, also on a disk that cannot be written, leaves no file."""
    open_log(tmp_path / "log.db").close()
    before = sorted(each.name for each in tmp_path.iterdir())
    for verb in ("status", "quarantine"):
        asked = run(verb, "--log", str(tmp_path / "log.db"), "--json")
        assert (asked.returncode, asked.stderr) == (0, "")
    assert sorted(each.name for each in tmp_path.iterdir()) == before
