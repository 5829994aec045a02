"""`equipoise serve` as a process: killed, told to stop, shared by workers, and refused where it must be."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from pathlib import Path

import forked
import httpx2 as httpx
import openai
import pytest
from gateways import streamed, until, upstream
from processes import ASK, COMMAND, QUIET, client, registered, serving

from equipoise.conduct.move import kill
from equipoise.events.cold.verifying import verify
from equipoise.events.opening import open_log


def test_whoever_got_a_byte_is_in_the_record_whenever_the_process_is_killed(tmp_path):
    """Killed at the first byte, ten times over: each unit that saw one has exactly one exposure."""
    with upstream() as up:
        registered(tmp_path, up.port)
        seen = []
        for round_ in range(10):
            with serving(tmp_path) as (process, url):
                host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
                body = json.dumps(ASK | {"stream": True}).encode()
                with socket.create_connection((host, int(port))) as line:
                    line.settimeout(30)
                    line.sendall(
                        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-conversation-id: c%d\r\n"
                        b"content-length: %d\r\n\r\n%b" % (round_, len(body), body)
                    )
                    assert line.recv(1)
                    process.send_signal(signal.SIGKILL)
                    seen.append(f"c{round_}")
        log = open_log(tmp_path / "log.db")
        exposures = [record.fact.unit for record in log.read_since(0, kinds=("exposure",))]
        log.close()
        assert sorted(exposures) == sorted(seen)


def test_told_to_stop_it_finishes_what_is_under_way(tmp_path):
    """SIGTERM in mid-stream: the stream ends whole, nobody new is let in, the turn is kept, the exit is 0."""
    begun = threading.Event()

    async def slowly(request, body):
        begun.set()
        return await streamed(request, ["It ", "ships ", "today."] * 4, wait=0.1, body=body)

    with upstream(slowly) as up:
        registered(tmp_path, up.port)
        with serving(tmp_path) as (process, url):
            stream = client(url).chat.completions.create(
                **ASK, stream=True, extra_headers={"x-conversation-id": "c"}
            )
            text = next(iter(stream)).choices[0].delta.content or ""
            process.send_signal(signal.SIGTERM)
            text += "".join(piece.choices[0].delta.content or "" for piece in stream)
            assert text == "It ships today." * 4
            assert process.wait(30) == 0
            with pytest.raises(openai.APIConnectionError):
                client(url).models.list()
        log = open_log(tmp_path / "log.db")
        (turn,) = [record.fact for record in log.read_since(0, kinds=("turn",))]
        log.close()
        assert (turn.finish_reason, turn.cancelled) == ("stop", None)


def test_workers_share_a_port_and_a_kill_reaches_all_of_them(tmp_path):
    """Two processes serve; one dies and is started again; an operator's kill is served by whoever answers."""
    with upstream() as up, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        registered(tmp_path, up.port)
        with serving(tmp_path, "--workers", "2", "--port", str(port)) as (process, url):

            def worker() -> tuple[int, str]:
                talk = client(url)
                raw = talk.chat.completions.with_raw_response.create(
                    **ASK, extra_headers={"x-conversation-id": "c1"}
                )
                text = talk.with_options(base_url=url.removesuffix("/v1")).get("/metrics", cast_to=str)
                talk.close()
                number = next(line for line in text.splitlines() if line.startswith("equipoise_worker "))
                return int(float(number.split()[1])), raw.headers["x-equipoise-reason"]

            found: set[int] = set()
            until(lambda: found.add(worker()[0]) or found == {0, 1}, "both workers")
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            assert len(children) == 2
            os.kill(int(children[0]), signal.SIGKILL)
            until(
                lambda: len(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()) == 2
                and children[0] not in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split(),
                "the new worker",
            )  # fmt: skip

            def served() -> str:
                try:
                    return worker()[1]
                except openai.APIConnectionError:
                    # It asked the worker that was killed.
                    return ""

            until(lambda: served() == "split", "service")
            log = open_log(tmp_path / "log.db")
            kill(log, "bot", by="op")
            log.close()
            until(lambda: {served() for _ in range(6)} == {"redirected"}, "the kill everywhere")
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def test_the_last_good_configuration_starts_a_gateway_without_its_log(tmp_path):
    """The log is gone: known traffic is served as before, nobody new enters, and health says why."""
    with upstream() as up:
        registered(tmp_path, up.port)
        with serving(tmp_path) as (process, url):
            talk = client(url)
            raw = talk.chat.completions.with_raw_response.create(
                **ASK, extra_headers={"x-conversation-id": "c1"}
            )
            assert raw.headers["x-equipoise-reason"] == "split"
            until(lambda: (tmp_path / "state" / "configuration.json").exists(), "the last good configuration")
        with serving(tmp_path, log=str(tmp_path / "nowhere" / "log.db")) as (process, url):
            talk = client(url)
            raw = talk.chat.completions.with_raw_response.create(
                **ASK, extra_headers={"x-conversation-id": "c1"}
            )
            assert raw.headers["x-equipoise-reason"] in ("stale", "unrecorded")
            assert raw.parse().choices[0].message.content == "It ships today."
            assert up.bodies[-1]["model"] == "model-a"
            health = talk.with_options(base_url=url.removesuffix("/v1")).get("/healthz", cast_to=object)
            assert health["status"] == "degraded"
            assert "nowhere" in health["trouble"]["configuration"]
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--host", "0.0.0.0", "--port", "0"), "open to the network at 0.0.0.0 without a key"),
        (("--only", "everything"), "there is no part 'everything' to serve; accepted: gateway, monitor, dashboard"),
        (("--workers", "2", "--port", "0"), "several workers share one port"),
        (("--host", "256.1.1.1", "--port", "0"), "256.1.1.1"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused_in_a_sentence(tmp_path, arguments, sentence):
    """Exit 2 and one sentence; nothing is left behind that listens."""
    done = forked.run((*COMMAND, *arguments, "--state", str(tmp_path / "state")), env=QUIET)  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_said_so(tmp_path):
    """Another program has it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = forked.run((*COMMAND, "--port", port, "--state", str(tmp_path)), env=QUIET)  # fmt: skip
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def test_old_facts_are_sealed_while_it_serves(tmp_path):
    """In a process of its own, which says so and ends with the one that serves, however that ends."""
    with upstream() as up:
        registered(tmp_path, up.port)
        sealing = ("--seal-every", "0.1", "--seal-hot", "0", "--seal-facts", "4")
        for turn, end in enumerate((signal.SIGTERM, signal.SIGKILL)):
            with serving(tmp_path, *sealing) as (process, url):
                health = url.removesuffix("/v1") + "/healthz"
                for number in range(6):
                    client(url).chat.completions.create(
                        **ASK, extra_headers={"x-conversation-id": f"{turn} {number}"}
                    )
                until(lambda health=health: told_at(health)["facts"] == 12, "the seal")
                told = told_at(health)
                assert (told["segments"], told["trouble"]) == (3, None)
                process.send_signal(end)
                process.wait(30)
                # Its end of the pipe is open as long as the other process lives.
                assert f"facts of {tmp_path / 'log.db'} in " in process.stderr.read()
        found = verify(tmp_path / "log.db")
        assert (found.sound, found.sealed) == (True, 24)
        with serving(tmp_path, "--seal-every", "0") as (process, url):
            body = httpx.get(url.removesuffix("/v1") + "/healthz").json()
            assert (body["status"], "sealing" in body) == ("ok", False)
            # What was sealed is served on: whoever comes again keeps the variant.
            client(url).chat.completions.create(**ASK, extra_headers={"x-conversation-id": "0 0"})
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        log = open_log(tmp_path / "log.db")
        exposures = [record.fact for record in log.read_since(kinds=("exposure",))]
        turns = list(log.read_since(kinds=("turn",)))
        log.close()
        assert (len({each.unit for each in exposures}), len(turns)) == (12, 13)
        assert len({each.variant for each in exposures if each.unit == "0 0"}) == 1


def told_at(health):
    return httpx.get(health).json().get("sealing", {"facts": 0})


def test_the_monitor_runs_beside_it_and_is_started_again_when_it_dies(tmp_path):
    """What it watches is in the health of the gateway; killed, there is another; and it ends with the one that serves."""
    watches = [{"metric": "error_rate", "max": 0.5, "window": "1m", "then": "pause"}]
    with upstream() as up:
        registered(tmp_path, up.port, watches=watches)
        with serving(tmp_path) as (process, url):
            health = url.removesuffix("/v1") + "/healthz"

            def stands():
                return httpx.get(health).json().get("monitor", {}).get("watches", {})

            until(lambda: stands().get("watched"), "the monitor")
            [(identity, at)] = stands()["watched"].items()
            assert identity.startswith("bot@")
            # Nothing happened yet but that it was registered and opened.
            assert (stands()["trouble"], stands()["troubles"], at["position"] <= 2) == (None, {}, True)
            first = one_of(process.pid)
            os.kill(first, signal.SIGKILL)
            until(lambda: one_of(process.pid) not in (None, first), "another monitor")
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            said = process.stderr.read()
            assert "the monitor died with -9; starting it again in 1 s\n" in said
            assert f"bot: watching {identity}: 1 watch\n" in said


def one_of(parent):
    """The process of the monitor that belongs to a process, if there is one."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                above = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if above == parent and b"monitor" in words:
                return int(entry.name)
    return None


def test_one_part_can_be_served_alone(tmp_path):
    """The gateway without the monitor, and the monitor without the gateway, which ends when it is told to."""
    watches = [{"metric": "error_rate", "max": 0.5, "window": "1m", "then": "pause"}]
    with upstream() as up:
        registered(tmp_path, up.port, watches=watches)
        with serving(tmp_path, "--only", "gateway") as (process, url):
            assert "monitor" not in httpx.get(url.removesuffix("/v1") + "/healthz").json()
            assert one_of(process.pid) is None
    place = ("--log", str(tmp_path / "log.db"), "--state", str(tmp_path / "state"))
    with forked.Process([*COMMAND, "--only", "monitor", *place], env=QUIET) as process:  # fmt: skip
        told = tmp_path / "state" / "monitor.json"
        until(lambda: told.exists() and '"bot@' in told.read_text(), "the monitor")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
