"""The dashboard over HTTP: what it shows and never shows, to whom, under which policy, and how it lives as a process."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import forked
import httpx2 as httpx
import pytest
from boarding import board, filled
from gateways import until
from processes import COMMAND, QUIET

from equipoise.conduct.purge import purge_unit
from equipoise.events.opening import open_log

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
PAGES = ("", "experiment/looked", "experiment/between-looks", "experiment/new", "experiment/looked/report", "experiment/new/report")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("board")
    filled(found / "log.db").close()
    return found


@pytest.fixture(scope="module")
def url(folder) -> Iterator[str]:
    with board(folder) as (_, found):
        yield found


def words(text: str) -> str:
    """What a page says, without its markup."""
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def test_all_experiments_are_listed_with_where_they_stand(url):
    """Name, stage, exposure, looks, verdict in a word, and the next look with the command that takes it."""
    said = words(httpx.get(url).text)
    assert "between-looks Stage ab Exposed 600 Looks taken 0 of 2 Verdict none yet Next look 1 of 2, at 50% of the information; the units are in; equipoise analyze says whether the look is due" in said  # fmt: skip
    assert "looked Stage ab Exposed 1,000 Looks taken 1 of 2 Verdict hold Next look none" in said
    assert "new Stage ab Exposed 0" in said


def test_one_experiment_is_shown_with_its_health_watches_and_what_comes_next(url):
    """The stage, whom it exposed, the health that exposures tell, each watch in each arm, and the way on."""
    said = words(httpx.get(url + "experiment/between-looks").text)
    for part in (
        "No look has been taken, so no effect is shown: peeks show health and guardrails only.",
        "Exposed control 300, brief 300 77% of the 779 planned",
        "Next: shipped. Before that: there is no verdict yet equipoise analyze between-looks",
        "units in two variants ✔ well no unit was exposed to more than one variant",
        "resolution_rate min 0.9 brief 0 of 2",
        "latency_p95 max 1.25 control 5 of 2",
        "epoch 0 2026-05-28",
    ):
        assert part in said, part
    said = words(httpx.get(url + "experiment/looked").text)
    assert (
        "Hold The last look did not show that resolution_rate improved; that is no proof that it did not."
        in said
    )
    assert "Look 1 of 2, taken 2026-05-28 20:37 UTC. Its report shows what was seen then." in said


def test_no_effect_is_shown_that_was_not_seen_at_a_registered_look(url):
    """Neither what came after a look, nor what a watch on the primary read in each arm, nor a difference before any look."""
    report = words(httpx.get(url + "experiment/looked/report").text)
    assert "control 450 units, brief 450 units" in report
    # Over all thousand units the difference would be about five points; at the look it was less than one.
    assert "resolution_rate brief 50.667% 51.111% +0.444 pp" in report
    for page in PAGES:
        said = words(httpx.get(url + page).text)
        if not page.endswith("looked/report"):
            assert not re.search(r"[+−-]\d[\d.]* ?pp|p-value|interval", said), page
    between = httpx.get(url + "experiment/between-looks").text
    lines = [words(each) for each in re.findall(r"<tr>.*?</tr>", between)]
    primary = [each for each in lines if each.startswith("resolution_rate")]
    assert len(primary) == 2
    assert all(re.fullmatch(r"resolution_rate min 0\.9 \w+ \d of 2 [\d-]+ [\d:]+: (breached|clear) alert", each) for each in primary)  # fmt: skip
    assert any(re.search(r"latency_p95 .* breached, 1\.\d+ against 1\.25", each) for each in lines)


def test_a_report_that_is_not_there_says_why(url):
    """Before any look; and an experiment that is not registered has no page."""
    assert "There is none to show: no look has been taken yet." in words(
        httpx.get(url + "experiment/new/report").text
    )
    for page in (
        "experiment/none",
        "experiment/none/report",
        "experiment/",
        "board.py",
        "label.js/",
        "experiment/..%2f",
    ):
        reply = httpx.get(url + page)
        assert reply.status_code == 404, page
        assert "There is no such page What you asked for is not here. Go back to the first page." in words(
            reply.text
        )


def test_a_purge_takes_a_report_away(tmp_path):
    """What was computed from a unit is not shown any more, although it had been shown before."""
    filled(tmp_path / "log.db").close()
    with board(tmp_path) as (_, url):
        assert "+0.444 pp" in httpx.get(url + "experiment/looked/report").text
        purge_unit(str(tmp_path / "log.db"), "u7", by="test")
        said = words(httpx.get(url + "experiment/looked/report").text)
        assert (
            "There is none to show: what it was computed from has changed since, by a purge or in the table; `equipoise verify looked` tells more."
            in said
        )


def test_every_page_has_the_policy_and_no_script(url):
    """No script, no other address, no frame, no cache; a report is styled by its one sheet, which its policy names."""
    for page in (*PAGES, "none", "board.css", "page.css"):
        reply = httpx.get(url + page)
        policy = reply.headers["content-security-policy"]
        if page == "experiment/looked/report":
            assert re.fullmatch(
                r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]{44}'; img-src data:; base-uri 'none'; form-action "
                r"'none'; frame-ancestors 'none'",
                policy,
            )
        else:
            assert policy == POLICY
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["x-content-type-options"] == "nosniff"
        if not page.endswith("css"):
            assert "<script" not in reply.text
            assert " style=" not in reply.text
            assert not re.search(r"<[^>]* on[a-z]+=", reply.text)
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert httpx.request(method, url).status_code in (403, 405)
    assert httpx.get(url, headers={"Host": "evil.example"}).status_code == 421


def test_what_somebody_wrote_is_text(url):
    """A hypothesis with markup in it is read and not run."""
    for page in ("experiment/looked", "experiment/looked/report"):
        text = httpx.get(url + page).text
        assert "&lt;img src=x onerror=alert(1)&gt; &amp; &lt;script&gt;" in text
        assert "<img" not in text


def test_it_writes_nothing(folder, url):
    """However often it is looked at, the log is as it was."""
    log = open_log(folder / "log.db", create=False)
    head = log.head()
    for page in PAGES:
        assert httpx.get(url + page).status_code == 200
    assert log.head() == head
    log.close()


def test_beyond_this_machine_it_does_not_start_without_a_key(tmp_path):
    """By itself and beside the gateway, which then does not start either; with a key every page asks for it."""
    for words_ in (("--only", "dashboard"), ()):
        place = ("--port", "0", "--log", "l.db", "--state", str(tmp_path))
        done = forked.run((*COMMAND, *words_, "--dashboard-host", "0.0.0.0", *place), env=QUIET, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (
            2,
            "error: the page would be open to the network at 0.0.0.0 without a key. Set EQUIPOISE_KEY, or listen on 127.0.0.1\n",
        )
    filled(tmp_path / "log.db").close()
    with (
        board(tmp_path, "--dashboard-host", "0.0.0.0", env={"EQUIPOISE_KEY": "sesame"}) as (_, url),
        httpx.Client(base_url=url.replace("0.0.0.0", "127.0.0.1")) as client,
    ):
        for page in PAGES:
            reply = client.get(page)
            assert (reply.status_code, "looked" in reply.text) == (401, False)
        assert client.post("key", data={"key": "wrong"}).status_code == 401
        assert client.post("key", data={"key": "sesame"}).status_code == 303
        assert "between-looks" in client.get("").text


def child(parent: int) -> int | None:
    """The process that serves the pages."""
    for each in Path("/proc").iterdir():
        try:
            command = (each / "cmdline").read_bytes().split(b"\0")
        except (OSError, NotADirectoryError):
            continue
        if b"--dashboard-port" in command and str(parent).encode() in command:
            return int(each.name)
    return None


def test_it_is_started_again_when_it_dies_and_ends_with_whoever_started_it(tmp_path):
    """Killed, it comes back at its address; its parent killed, it goes by itself; a log that comes later is found."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with board(tmp_path, "--dashboard-port", port) as (process, url):
        assert "This cannot be shown now" in httpx.get(url).text
        filled(tmp_path / "log.db").close()
        assert "between-looks" in httpx.get(url).text
        first = child(process.pid)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: child(process.pid) not in (None, first), "another process")

        def answers() -> bool:
            try:
                return "between-looks" in httpx.get(url).text
            except httpx.TransportError:
                return False

        until(answers, "its pages")
        second = child(process.pid)
        process.kill()
        process.wait(30)
        until(lambda: not Path(f"/proc/{second}").exists(), "its end")


def test_serve_has_one_beside_the_gateway_unless_told_otherwise(tmp_path):
    """Its address is under `dashboard` in /healthz; a port that is taken is said so, and the gateway serves all the same."""
    filled(tmp_path / "log.db").close()
    place = (
        "--port",
        "0",
        "--log",
        str(tmp_path / "log.db"),
        "--state",
        str(tmp_path / "state"),
        "--json",
        "--seal-every",
        "0",
    )

    def serving(*more: str) -> forked.Process:
        return forked.Process((*COMMAND, *place, *more), env=QUIET)

    with serving("--dashboard-port", "0") as process:
        health = json.loads(process.stdout.readline())["base_url"].removesuffix("/v1") + "/healthz"
        until(lambda: "dashboard" in httpx.get(health).json(), "the dashboard")
        assert "between-looks" in httpx.get(httpx.get(health).json()["dashboard"]["url"]).text
        process.terminate()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with serving("--dashboard-port", str(port)) as process:
            health = json.loads(process.stdout.readline())["base_url"].removesuffix("/v1") + "/healthz"
            said = ""
            while "the page cannot be served" not in said:
                said = process.stderr.readline()
                assert said
            assert said == (
                f"error: the page cannot be served at 127.0.0.1:{port}: Address already in use. Choose another port or host\n"
            )
            assert "dashboard" not in httpx.get(health).json()
            process.terminate()


def test_a_second_one_is_refused_and_takes_nothing_from_the_first(tmp_path):
    """By its message; the first goes on, and its address is where it says it."""
    with board(tmp_path) as (_, url):
        told, port = tmp_path / "state" / "dashboard.json", url.rstrip("/").rpartition(":")[2]
        place = ("--log", str(tmp_path / "log.db"), "--state", str(tmp_path / "state"), "--seal-every", "0")
        done = forked.run((*COMMAND, "--only", "dashboard", "--dashboard-port", port, *place), env=QUIET)
        assert (done.returncode, done.stderr) == (
            2,
            f"error: the page cannot be served at 127.0.0.1:{port}: Address already in use. Choose another port or host\n",
        )
        until(told.exists, "the first one's address")
        assert json.loads(told.read_text())["url"] == url
        assert httpx.get(url).status_code == 503


def test_one_that_is_told_to_stop_says_no_address_any_more(tmp_path):
    """Whoever asks where it is finds nothing, and is not sent to where nobody answers."""
    with board(tmp_path) as (process, _):
        first = child(process.pid)
        assert first is not None
        os.kill(first, signal.SIGTERM)
        until(lambda: not (tmp_path / "state" / "dashboard.json").exists(), "its silence")
