"""`equipoise serve` under attack: signals, dead workers, taken ports, wrong settings, a log that moves."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import forked
import httpx2 as httpx
import pytest
from attacking import ASK, COMMAND, QUIET, facts, registered, serving
from gateways import definition, streamed, until, upstream

from equipoise.conduct.move import kill
from equipoise.events.ids import new_id
from equipoise.events.opening import open_log


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def children(process: forked.Process) -> list[int]:
    return [
        int(each) for each in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def refused(*arguments: str, **env: str) -> tuple[int, str]:
    """The exit code of a command that is to end by itself, and what it says."""
    done = forked.run((*COMMAND, *arguments), env=QUIET | env, timeout=60)
    return done.returncode, " ".join(done.stderr.split())


def test_draining_lets_streams_end_refuses_newcomers_and_leaves_no_fact_behind(tmp_path):
    """Four streams under way, idle connections and one that never asks: SIGTERM, and every stream ends whole."""
    begun = threading.Semaphore(0)

    async def slowly(request, body):
        begun.release()
        return await streamed(request, ["It ", "ships ", "today."] * 4, wait=0.1, body=body)

    with upstream(slowly) as up:
        registered(tmp_path / "log.db", definition(up.port))
        with serving(tmp_path) as at:
            host, port = at.url.removeprefix("http://").removesuffix("/v1").split(":")
            idle = [socket.create_connection((host, int(port))) for _ in range(3)]
            idle[0].sendall(b"POST /v1/chat/comp")
            ends: dict[int, str] = {}

            def stream(n: int) -> None:
                ends[n] = at.ask(f"c{n}", ASK | {"stream": True}).text

            threads = [threading.Thread(target=stream, args=(n,)) for n in range(4)]
            for each in threads:
                each.start()
            for _ in threads:
                assert begun.acquire(timeout=30)
            at.process.send_signal(signal.SIGTERM)
            until(lambda: _closed(idle[1]), "the idle connection's end")
            with pytest.raises(httpx.TransportError):
                at.ask("late")
            for each in threads:
                each.join()
            assert at.process.wait(30) == 0
            for each in idle:
                each.close()
        assert all(text.endswith("data: [DONE]\n\n") for text in ends.values())
        assert len(ends) == 4
        assert len(facts(tmp_path / "log.db", "turn")) == len(facts(tmp_path / "log.db", "exposure")) == 4


def _closed(line: socket.socket) -> bool:
    line.settimeout(0.05)
    try:
        return line.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def test_the_patience_of_a_drain_has_an_end_and_a_second_signal_ends_it_at_once(tmp_path):
    """An upstream that never answers: after --drain seconds, or at the second SIGTERM, the process is gone."""

    async def never(request, body):
        await __import__("asyncio").sleep(600)

    with upstream(never) as up:
        registered(tmp_path / "log.db", definition(up.port))
        for patience, signals in (("0.5", 1), ("600", 2)):
            with serving(tmp_path, "--drain", patience) as at:

                def ask(at=at) -> None:
                    with suppress(httpx.TransportError):
                        at.ask("c1")

                before = len(up.bodies)
                waiting = threading.Thread(target=ask)
                waiting.start()
                until(lambda before=before: len(up.bodies) > before, "the request")
                for _ in range(signals):
                    at.process.send_signal(signal.SIGTERM)
                    time.sleep(0.5)
                assert at.process.wait(60) in (0, -signal.SIGTERM)
                waiting.join()


def test_workers_refuse_together_and_end_together(tmp_path):
    """A taken port ends all with the sentence and 2; Ctrl-C drains each once; a dead supervisor leaves nobody."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, said = refused("--workers", "2", "--port", port, "--state", str(tmp_path / "s"))
        assert code == 2
        assert f"cannot listen on 127.0.0.1:{port}" in said
        assert "starting it again" not in said
    begun = threading.Event()

    async def slowly(request, body):
        begun.set()
        return await streamed(request, ["It ", "ships ", "today."] * 3, wait=0.1, body=body)

    with upstream(slowly) as up:
        registered(tmp_path / "log.db", definition(up.port))
        place = ("--log", str(tmp_path / "log.db"), "--state", str(tmp_path / "state"), "--json")
        for number in (signal.SIGINT, signal.SIGKILL):
            port = str(free_port())
            with subprocess.Popen(
                (*COMMAND, "--port", port, "--workers", "2", *place), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True, env=QUIET, start_new_session=True,
            ) as process:  # fmt: skip
                url = json.loads(process.stdout.readline())["base_url"]
                process.stdout.readline()
                workers = children(process)
                assert len(workers) == 2
                found: list[str] = []

                def ask(url=url, found=found) -> None:
                    with suppress(httpx.TransportError):
                        head = {"x-conversation-id": "c1"}
                        found.append(
                            httpx.post(f"{url}/chat/completions", json=ASK | {"stream": True}, headers=head, timeout=60).text
                        )  # fmt: skip

                begun.clear()
                asking = threading.Thread(target=ask)
                asking.start()
                assert begun.wait(30)
                # As a terminal does: to the whole group.
                os.killpg(process.pid, number)
                asking.join()
                assert found
                assert found[0].endswith("data: [DONE]\n\n")
                assert process.wait(30) == (0 if number == signal.SIGINT else -signal.SIGKILL)
                until(lambda workers=workers: not any(map(alive, workers)), "the workers' end")


def test_a_worker_that_dies_is_replaced_and_the_others_serve_meanwhile(tmp_path):
    """Each of two is killed in turn under traffic: somebody always answers, and conversations keep their variant."""
    with upstream() as up:
        registered(tmp_path / "log.db", definition(up.port))
        with serving(tmp_path, "--workers", "2", "--port", str(free_port())) as at:
            at.process.stdout.readline()
            arms = {f"c{n}": at.arm(f"c{n}") for n in range(4)}
            for _ in range(2):
                before = children(at.process)
                os.kill(before[0], signal.SIGKILL)
                until(
                    lambda before=before: len(children(at.process)) == 2 and before[0] not in children(at.process),
                    "the new worker",
                )  # fmt: skip
                assert json.loads(at.process.stdout.readline())["base_url"] == at.url
                for unit, arm in arms.items():
                    assert at.arm(unit) == arm
            at.process.send_signal(signal.SIGTERM)
            assert at.process.wait(30) == 0
        exposed = [fact.unit for fact in facts(tmp_path / "log.db", "exposure")]
        assert set(exposed) == set(arms)


@pytest.mark.parametrize(
    ("arguments", "env", "sentence"),
    [
        (
            ("--upstream", "not a url"),
            {},
            "'not a url' cannot be an upstream; accepted: http://HOST[:PORT]/v1",
        ),
        (("--upstream", "ftp://x/v1"), {}, "'ftp://x/v1' cannot be an upstream"),
        (("--upstream", "http://"), {}, "'http://' cannot be an upstream"),
        (("--upstream", "http://x:99999/v1"), {}, "'http://x:99999/v1' cannot be an upstream"),
        (("--upstream", "http://x\r\nevil: 1"), {}, "cannot be an upstream"),
        (("--host", "0.0.0.0"), {}, "Set EQUIPOISE_KEY, or listen on 127.0.0.1"),
        (("--host", "::"), {}, "Set EQUIPOISE_KEY, or listen on 127.0.0.1"),
        ((), {"EQUIPOISE_SECRET": "short"}, "a secret to sign with has at least 16 bytes"),
        (("--state", "/dev/null/state"), {}, "the state folder /dev/null/state cannot be used"),
        (("--port", "70000"), {}, "70000 is no port; accepted: 0 (any) to 65535"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_at_the_start(tmp_path, arguments, env, sentence):
    """Exit 2 and a sentence that says what would be accepted; never a traceback."""
    place = ("--port", "0", "--log", str(tmp_path / "log.db"), "--state", str(tmp_path / "state"))
    code, said = refused(*place, *arguments, **env)
    # The message is folded to the width of a terminal.
    assert (code, sentence.replace(" ", "") in said.replace(" ", "")) == (2, True), said
    assert "Traceback" not in said


def test_beyond_the_loopback_with_a_key_nobody_is_served_without_it(tmp_path):
    """0.0.0.0 with EQUIPOISE_KEY listens; without the key every door but health, preflight and tokens is 401."""
    with upstream() as up:
        registered(tmp_path / "log.db", definition(up.port))
        with serving(tmp_path, "--host", "0.0.0.0", EQUIPOISE_KEY="sk-long-enough") as at:
            base = at.url.replace("0.0.0.0", "127.0.0.1")
            doors = ("chat/completions", "responses", "embeddings", "feedback", "events", "assign")
            for key in (
                {},
                {"authorization": "Bearer sk-long"},
                {"authorization": "sk-long-enough"},
                {"authorization": "Bearer sk-long-enough x"},
            ):
                for door in doors:
                    reply = httpx.post(f"{base}/{door}", json=ASK, headers=key, timeout=60)
                    assert reply.status_code == 401, (door, key)
                for door in ("/v1/models", "/metrics", "/anything"):
                    assert httpx.get(base.removesuffix("/v1") + door, headers=key).status_code == 401
            assert httpx.get(base.removesuffix("/v1") + "/healthz").json() == {"status": "ok"}
            assert up.bodies == []
            good = {"authorization": "Bearer sk-long-enough", "x-conversation-id": "c"}
            assert httpx.post(f"{base}/chat/completions", json=ASK, headers=good).status_code == 200


def test_a_kill_is_heard_by_two_gateways_on_one_log_within_seconds(tmp_path):
    """Two processes, one file: the operator's word is served by both, without anybody being asked to look."""
    with upstream() as up:
        registered(tmp_path / "log.db", definition(up.port))
        with serving(tmp_path) as one, serving(tmp_path) as two:
            arms = {unit: one.arm(unit) for unit in ("c1", "c2", "c3", "c4")}
            assert {unit: two.arm(unit) for unit in arms} == arms
            log = open_log(tmp_path / "log.db")
            kill(log, "bot", by="op")
            log.close()
            for at in (one, two):
                until(lambda at=at: at.reason("c1") == "redirected", "the kill")
                before = len(up.bodies)
                assert {unit: at.arm(unit) for unit in arms} == arms
                assert {body["model"] for body in up.bodies[before:]} == {"model-a"}


def test_a_log_that_is_removed_under_a_gateway_is_missed_at_once_and_welcome_when_it_is_back(tmp_path):
    """Nobody is enrolled into a file that nobody can find; the exposed keep their variant; put back, it serves."""
    log, aside = tmp_path / "log.db", tmp_path / "aside"
    aside.mkdir()
    with upstream() as up:
        registered(log, definition(up.port))
        with serving(tmp_path) as at:
            arm = at.arm("c0")
            files = [each for each in tmp_path.iterdir() if each.name.startswith("log.db")]
            for each in sorted(files):
                each.rename(aside / each.name)
            assert {at.reason(f"n{n}") for n in range(4)} <= {"unrecorded", "stale"}
            assert at.arm("c0") == arm
            health = at.health()
            assert health["status"] == "degraded"
            assert str(log) in health["trouble"]["record"]
            for each in sorted(files, reverse=True):
                (aside / each.name).rename(each)
            until(lambda: at.reason(new_id()) == "split", "the recovery")
            until(lambda: at.health()["status"] == "ok", "health")
            at.process.send_signal(signal.SIGTERM)
            assert at.process.wait(30) == 0
        exposed = {fact.unit for fact in facts(log, "exposure")}
        assert "c0" in exposed
        assert exposed.isdisjoint(f"n{n}" for n in range(4))
