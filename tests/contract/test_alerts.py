"""Alerts on their way out: signed, retried, to nobody inside the house, by mail; and never in the way of the watching."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import random
import socket
import socketserver
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import forked
import pytest
from aiohttp.resolver import DefaultResolver

sys.path.insert(0, str(Path(__file__).parents[1]))
from collecting import attributes, collecting
from gateways import until
from mailing import certificate_of, mailing
from processes import QUIET
from watched import START, kept, served, watched, worked

from equipoise.clock import ManualClock
from equipoise.errors import DefinitionError, EquipoiseError, UpstreamError
from equipoise.events.cursors import StrayCursorError
from equipoise.events.facts import Alert
from equipoise.events.log import MemoryLog, Recorded
from equipoise.events.opening import open_cursors, open_log, open_windows
from equipoise.integrations.alerting import Alerting
from equipoise.integrations.batches import Patience
from equipoise.integrations.collectors import Acknowledged, Away, Refused
from equipoise.integrations.destinations import read_destinations
from equipoise.integrations.mail import Mail, Server
from equipoise.integrations.parcels import parcel
from equipoise.monitor.loop import News, keep_going, once
from equipoise.monitor.watches import Watches

MONITOR = (sys.executable, "-c", "from equipoise.cli.main import run; run()")
SECRETS = {"OPS_SECRET": "a secret", "SMTP_PASSWORD": "open sesame"}
QUICK = Patience(first_s=0.001, longest_s=0.002, turn_s=1.0)


def alert(number: int, action: str = "alert", says: str = "error_rate of b was 0.2") -> Alert:
    return Alert(
        experiment="bot", happened=START + number, event_id=f"a{number}", digest="d", watch=0, metric="error_rate",
        variant="b", action=action, sustained=action != "alert", ends=START + 0.0, streak=1, value=0.2, limit=0.1, says=says,
    )  # fmt: skip


def parcels(*alerts: Alert):
    return [parcel(Recorded(number, START + 0.5, each)) for number, each in enumerate(alerts, 1)]


class Hooks:
    """Whatever is posted, and a status for each in turn; 200 for those that are left."""

    def __init__(self):
        self.posts: list[tuple[dict, bytes]] = []
        self.statuses: list[int] = []
        self.hang = threading.Event()
        self.hang.set()
        self.url = ""


@contextmanager
def hooks():
    made = Hooks()

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            made.posts.append(({key.lower(): value for key, value in self.headers.items()}, body))
            made.hang.wait()
            self.send_response(made.statuses.pop(0) if made.statuses else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        server.daemon_threads = True
        made.url = f"http://127.0.0.1:{server.server_port}/hook"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield made
        finally:
            made.hang.set()
            server.shutdown()


def destinations(folder: Path, text: str):
    (folder / "alerts.yaml").write_text(text)
    return read_destinations(folder / "alerts.yaml", SECRETS.get)


def told(log, receiver, cursors=None, **more) -> list[str]:
    """One run of the chore, for what is in the log now."""
    made = cursors or open_cursors("memory:")
    chore = Alerting(log, lambda: made, receiver, rng=random.Random(1), once=True, patience=QUICK, **more)
    return [news.says for news in chore.run(0.0, lambda: False)]


def test_a_webhook_is_signed_and_tried_again_until_it_is_taken(tmp_path):
    """One alert a request and in order; its signature is that of Standard Webhooks, its id the same at each try."""
    log = MemoryLog()
    log.append([alert(1), alert(2, "pause")])
    with hooks() as there:
        there.statuses = [503, 200, 429, 500]
        [hook] = destinations(tmp_path, f"ops: {{kind: webhook, url: '{there.url}', secret_env: OPS_SECRET, private: true}}")  # fmt: skip
        assert told(log, hook) == ["2 alerts delivered"]
    assert len(there.posts) == 5
    read = [json.loads(body) for _, body in there.posts]
    assert [each["data"]["event_id"] for each in read] == ["a1", "a1", "a2", "a2", "a2"]
    assert read[2]["type"] == "equipoise.alert"
    assert read[2]["timestamp"] == "2023-11-14T22:15:02+00:00"
    assert read[2]["data"] == {
        "event_id": "a2", "experiment": "bot", "digest": "d", "watch": 0, "metric": "error_rate", "variant": "b", "action": "pause",
        "sustained": True, "ends": START + 0.0, "streak": 1, "value": 0.2, "limit": 0.1, "says": "error_rate of b was 0.2",
    }  # fmt: skip
    for headers, body in there.posts:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        mac = base64.b64encode(hmac.new(b"a secret", signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{mac}"
        assert headers["content-type"] == "application/json"
        assert "content-encoding" not in headers
        # A receiver that refuses what is old refuses a replay: the time is that of the sending.
        assert abs(int(headers["webhook-timestamp"]) - time.time()) < 3600
    ids = [headers["webhook-id"] for headers, _ in there.posts]
    assert ids[0] == ids[1] != ids[2] == ids[3] == ids[4]


def test_a_message_in_a_channel_holds_no_markup(tmp_path):
    """Several alerts in one message, a line each, as Slack writes what is not markup."""
    log = MemoryLog()
    log.append([alert(1), alert(2, "rollback", "p<1 & so on; <!channel>")])
    with hooks() as there:
        [channel] = destinations(tmp_path, f"team: {{kind: slack, url: '{there.url}', private: true}}")
        assert told(log, channel) == ["2 alerts delivered"]
    [(_, body)] = there.posts
    assert json.loads(body) == {
        "text": "bot: alert: error_rate of b was 0.2\nbot: rollback: p&lt;1 &amp; so on; &lt;!channel&gt;"
    }


def test_what_a_destination_refuses_is_set_aside_and_the_rest_goes_on(tmp_path):
    """As an outbox does it: counted, shown, and behind nobody's back."""
    log, cursors = MemoryLog(), open_cursors("memory:")
    log.append([alert(1), alert(2), alert(3)])
    with hooks() as there:
        there.statuses = [200, 400, 200]
        [hook] = destinations(tmp_path, f"ops: {{kind: webhook, url: '{there.url}', secret_env: OPS_SECRET, private: true}}")  # fmt: skip
        assert told(log, hook, cursors) == ["2 alerts delivered"]
        assert told(log, hook, cursors) == []
    [cursor] = cursors.all()
    assert (cursor.collector, cursor.delivered, cursor.refused) == ("alerts webhook ops", 2, 1)
    [refused] = cursors.quarantine("alerts webhook ops")
    assert (refused.event_id, refused.kind, refused.reason) == ("a2", "alert", "answered 400")


def test_what_was_refused_is_sent_again_on_demand(tmp_path):
    """By the name of the destination, one alert a request as before; to deliver is the monitor's."""
    place = str(tmp_path / "log.db")
    log = open_log(place)
    log.append([alert(1), alert(2)])
    log.close()
    named = QUIET | {"OPS_SECRET": "a secret"}

    def run(*words):
        return forked.run([*MONITOR, *words, "--log", place, "--alerts", str(tmp_path / "alerts.yaml")], env=named)  # fmt: skip

    with hooks() as there:
        there.statuses = [400, 400]
        (tmp_path / "alerts.yaml").write_text(f"ops: {{kind: webhook, url: '{there.url}', secret_env: OPS_SECRET, private: true}}")  # fmt: skip
        assert run("monitor", "--once").returncode == 0
        assert len(there.posts) == 2
        done = run("outbox", "replay", "--to", "alerts webhook ops")
        assert (done.returncode, done.stdout) == (
            0,
            "2 facts out of quarantine delivered to alerts webhook ops\n",
        )
        assert len(there.posts) == 4
    assert run("outbox", "deliver", "--to", "alerts webhook ops").stderr == (
        "error: alerts are delivered by whoever watches: equipoise monitor --alerts FILE\n"
    )
    assert run("outbox", "replay", "--to", "alerts webhook op").stderr == (
        "error: there is no destination 'alerts webhook op'; there are: alerts webhook ops\n"
    )


def test_a_new_destination_is_not_told_of_old_times(tmp_path):
    """Of what happened in the last minute, and from then on; not of last year."""
    clock, cursors = ManualClock(START + 0.0), open_cursors("memory:")
    log = MemoryLog(clock)
    log.append([alert(1)])
    clock.advance(3_600.0)
    log.append([alert(2)])
    clock.advance(30.0)
    with hooks() as there:
        [channel] = destinations(tmp_path, f"team: {{kind: slack, url: '{there.url}', private: true}}")
        assert told(log, channel, cursors, clock=clock) == ["1 alert delivered"]
        clock.advance(3_600.0)
        log.append([alert(3)])
        clock.advance(3_600.0)
        # It has a cursor by now, and that says what it knows.
        assert told(log, channel, cursors, clock=clock) == ["1 alert delivered"]
    assert ["0.2" in body.decode() for _, body in there.posts] == [True, True]


def test_cursors_of_another_log_are_let_go_when_they_are_taken_away(tmp_path):
    """As the message says; the monitor need not be started again."""
    clock, place = ManualClock(START + 0.0), tmp_path / "log.db"
    before, log = MemoryLog(clock), MemoryLog(clock)
    before.append([alert(1), alert(2)])
    log.append([alert(3)])
    with hooks() as there:
        hook = destinations(tmp_path, f"ops: {{kind: slack, url: '{there.url}', private: true}}")[0]
        made = open_cursors(place)
        assert told(before, hook, made, clock=clock) == ["2 alerts delivered"]
        made.close()
        chore = Alerting(log, lambda: open_cursors(place), hook, rng=random.Random(1), once=True, patience=QUICK, clock=clock)  # fmt: skip
        for _ in range(2):
            with pytest.raises(StrayCursorError):
                list(chore.run(0.0, lambda: False))
        (tmp_path / "log.db.outbox").unlink()
        clock.advance(3_600.0)
        log.append([alert(4)])
        assert [news.says for news in chore.run(0.0, lambda: False)] == ["2 alerts delivered"]
        chore.close()


def test_an_alert_is_a_warning_of_opentelemetry(tmp_path):
    """An event by its name, with where it belongs."""
    log = MemoryLog()
    log.append([alert(1, "pause")])
    with collecting() as there:
        url = there.url.rpartition("/")[0] if there.url.count("/") > 2 else there.url
        [collector] = destinations(tmp_path, f"otel: {{kind: otlp, url: '{url}', private: true}}")
        assert told(log, collector) == ["1 alert delivered"]
    [post] = there.posts
    [record] = post.records
    assert (record.event_name, record.severity_number) == ("equipoise.alert", 13)
    assert attributes(record)["equipoise.experiment"] == "bot@d"
    assert attributes(record)["equipoise.variant"] == "b"


def test_no_name_leads_into_the_house(tmp_path, monkeypatch):
    """A name that stands for a private address is not called, whatever it stood for when it was written down."""
    asked = DefaultResolver.resolve

    async def inside(self, host, port=0, family=socket.AF_INET):
        return await asked(self, "127.0.0.1" if host == "hooks.example" else host, port, family)

    monkeypatch.setattr(DefaultResolver, "resolve", inside)
    with hooks() as there:
        port = there.url.rpartition(":")[2].partition("/")[0]
        [hook] = destinations(tmp_path, f"ops: {{kind: slack, url: 'https://hooks.example:{port}/hook'}}")

        async def post():
            try:
                return await hook.post(parcels(alert(1)))
            finally:
                await hook.aclose()

        assert asyncio.run(post()) == Away(
            "stands for a private address, which is called only where that is allowed"
        )
    assert there.posts == []


FAULTS = {
    "ops: {kind: webhok, url: 'https://x.example'}": "1: ops.kind: 'webhok' is no kind of destination; accepted: webhook, slack, otlp, email; did you mean 'webhook'?",
    "ops: {url: 'https://x.example'}": "1: ops: a destination has a kind; accepted: webhook, slack, otlp, email",
    "ops: {kind: webhook, url: 'https://x.example'}": "1: ops: the key 'secret_env' is missing",
    "ops: {kind: slack}": "1: ops: it is not said where to; accepted: either url, or url_env where the address is a secret",
    "ops: {kind: slack, url_env: SLACK}": "1: ops.url_env: the environment variable SLACK is not set; export SLACK=…",
    "ops: {kind: slack, url: 'https://10.0.0.7/x'}": "1: ops: a public address is called by https, and no other; say `private: true` where this one is yours",
    "ops: {kind: slack, url: 'http://hooks.example/x'}": "1: ops: a public address is called by https, and no other; say `private: true` where this one is yours",
    "ops: {kind: slack, url: 'https://hooks.example/x', channel: team}": "1: ops.channel: unknown key 'channel'; accepted: url, url_env, private, timeout",
    "ops: {kind: slack, url: 'https://hooks.example/x', timeout: 0}": "1: ops.timeout: this cannot be waited for; accepted: seconds, up to 300",
    "o ps: {kind: slack, url: 'https://hooks.example/x'}": "1: o ps: this is not a name; accepted: up to 64 letters, digits, '.', '_' and '-', a letter or digit first",
    "m: {kind: email, to: [me], from: me@x.example, host: h}": "1: m.to: this cannot be written to; accepted: an address such as me@shop.example, or a list",
    "m: {kind: email, to: 'me@x.example', from: nobody, host: h}": "1: m.from: nobody writes from here; accepted: an address such as equipoise@shop.example",
    "m: {kind: email, to: 'me@x.example', from: me@x.example, host: h, security: ssl}": "1: m.security: 'ssl' protects nothing we know; accepted: starttls, tls, none",
    "m: {kind: email, to: 'me@x.example', from: me@x.example, host: h, port: 70000}": "1: m.port: 70000 is no port; accepted: 1 to 65535",
    "m: {kind: email, to: 'me@x.example', from: me@x.example, host: h, user: u}": "1: m: a user and a password belong together; accepted: both user and password_env",
    "m: {kind: email, to: 'me@x.example', from: me@x.example, host: h, user: u, password_env: SMTP_PASSWORD, security: none}": "1: m.security: a password would be shown to everybody; accepted: starttls or tls",
    "[ops]": " this is no list of destinations; accepted: NAME: {kind: …}, one for each",
}


@pytest.mark.parametrize("text", FAULTS)
def test_what_is_wrong_with_the_file_is_said_with_its_place(tmp_path, text):
    """What it is, where, and what would be accepted; no secret is repeated."""
    with pytest.raises(DefinitionError) as caught:
        destinations(tmp_path, text)
    assert str(caught.value) == f"{tmp_path / 'alerts.yaml'}:{FAULTS[text]}"


def test_all_faults_are_said_at_once(tmp_path):
    """Of every destination; a file that is not there is one, too."""
    with pytest.raises(DefinitionError) as caught:
        destinations(tmp_path, "a: {kind: slack}\nb: {kind: webhook, url: 'https://x.example'}")
    assert len(caught.value.faults) == 2
    with pytest.raises(DefinitionError) as caught:
        read_destinations(tmp_path / "none.yaml", SECRETS.get)
    assert str(caught.value) == f"the file of destinations {tmp_path / 'none.yaml'} does not exist"


def mail(port: int, *, to=("me@x.example", "you@x.example"), **more) -> Mail:
    server = Server(host="localhost", port=port, **{"security": "none", "timeout_s": 30.0, **more})
    return Mail("alerts email on-call", server, sender="equipoise@x.example", to=to)


def posted(receiver: Mail, *alerts: Alert):
    return asyncio.run(receiver.post(parcels(*alerts)))


def test_a_message_by_mail_is_plain_and_has_one_id():
    """Several alerts in one message; the same alerts again are the same message."""
    with mailing() as there:
        assert posted(mail(there.port), alert(1, "pause"), alert(2, says="für alle ≥ 2")) == Acknowledged()
        assert posted(mail(there.port), alert(1, "pause"), alert(2, says="für alle ≥ 2")) == Acknowledged()
    (to, encrypted, message), (_, _, again) = there.taken
    assert (to, encrypted) == (["me@x.example", "you@x.example"], False)
    assert message["subject"] == "Equipoise: bot: pause: error_rate of b was 0.2 (and 1 more)"
    assert (message["from"], message["to"]) == ("equipoise@x.example", "me@x.example, you@x.example")
    assert message["auto-submitted"] == "auto-generated"
    assert (
        message.get_content().replace("\r\n", "\n")
        == "bot: pause: error_rate of b was 0.2\n\nbot: alert: für alle ≥ 2\n"
    )
    assert message["message-id"] == again["message-id"]


def test_a_password_is_shown_by_tls_alone(tmp_path, monkeypatch):
    """STARTTLS first, by a certificate that is trusted; then the name and the password."""
    certificate = certificate_of(tmp_path)
    secure = {"security": "starttls", "user": "equipoise", "password": "open sesame"}
    with mailing(certificate) as there:
        there.users["equipoise"] = "open sesame"
        assert posted(mail(there.port, **secure), alert(1)) == Away(
            "showed a certificate that cannot be trusted"
        )
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert posted(mail(there.port, **secure), alert(1)) == Acknowledged()
        wrong = mail(there.port, **secure | {"password": "sesame"})
        assert posted(wrong, alert(1)) == Away("would not let us in (535)")
    assert [encrypted for _, encrypted, _ in there.taken] == [True]
    with mailing() as there:
        assert posted(mail(there.port, **secure), alert(1)) == Away(
            "offers no STARTTLS, or no way to show a password; say `security: tls`, or `none` where nobody can listen"
        )
    assert there.taken == []


def test_a_password_that_cannot_be_shown_is_nowhere_said(tmp_path, monkeypatch):
    """Neither where the file is read, nor where it is shown, nor by whatever runs it."""
    certificate = certificate_of(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    secret = "ös sesame"
    with mailing(certificate) as there:
        there.users["equipoise"] = secret
        shown = mail(there.port, security="starttls", user="equipoise", password=secret)
        assert posted(shown, alert(1)) == Away(
            "could not be told in ASCII what it must be told; see the addresses, the user and the password"
        )
    monkeypatch.setitem(SECRETS, "SMTP_PASSWORD", secret)
    with pytest.raises(DefinitionError) as caught:
        destinations(
            tmp_path,
            "ops: {kind: email, to: me@x.example, from: e@x.example, host: h, user: e, password_env: SMTP_PASSWORD}",
        )
    assert str(caught.value) == (
        f"{tmp_path / 'alerts.yaml'}:1: ops: the user and the password are shown to the server in ASCII, and one of them "
        "holds another letter; accepted: ASCII"
    )

    class Telling:
        name, every = "telling", 1.0

        def run(self, now, stopping):
            yield News(says=secret.encode("ascii").decode())

        def state(self):
            return {}

    told: list[str] = []
    with pytest.raises(EquipoiseError) as unforeseen:
        once([Telling()], told=lambda _, news: told.append(news.says))
    assert told == [str(unforeseen.value)]
    assert told[0].startswith("UnicodeEncodeError: ")
    assert secret not in told[0]


@pytest.mark.parametrize(
    ("answers", "answer"),
    [
        ({"DATA": "554 no thanks"}, Refused(554, "answered 554 to the message")),
        ({"DATA": "451 later"}, Away("answered 451 to the message")),
        ({"MAIL": "550 not from you"}, Refused(550, "answered 550 to the message")),
        ({"RCPT": "550 nobody here"}, Refused(550, "answered 550 for every address")),
        ({"RCPT": "450 busy"}, Away("answered 450 for every address")),
        ({"RCPT TO:<me@x.example>": "550 nobody here"}, Acknowledged()),
        ({"EHLO": "421 closing", "HELO": "421 closing"}, Away("answered 421")),
    ],
)
def test_what_a_server_answers_means_what_it_says(answers, answer):
    """5… for good, 4… for now; taken for one address it is taken."""
    with mailing() as there:
        there.answers = answers
        assert posted(mail(there.port), alert(1)) == answer


def test_what_a_server_says_after_it_took_a_message_is_no_reason_to_send_it_again():
    """It would not part; the message is taken, once."""
    with mailing() as there:
        there.answers = {"QUIT": "421 too busy for that"}
        assert posted(mail(there.port), alert(1)) == Acknowledged()
    assert len(there.taken) == 1


def test_a_server_that_never_ends_its_answer_is_hung_up_on():
    """A line now and then is no silence, and no answer either."""
    over = threading.Event()

    class Dripping(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"220 mail.example ESMTP\r\n")
            while not over.wait(0.02):
                self.wfile.write(b"250-and\r\n")

    class Served(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, request, client_address):
            """It was hung up on."""

    with Served(("127.0.0.1", 0), Dripping) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            said = posted(mail(server.server_address[1], timeout_s=0.1), alert(1))
            assert said == Away("could not be reached (SMTPServerDisconnected)")
        finally:
            over.set()
            server.shutdown()


HOSTILE = "error_rate of b was 0.2\r\nBcc: you@evil.example\r\n\r\nbot: alert: all is well\x1b[2J\u202e"


def test_no_words_of_an_alert_make_another_header_or_another_alert(tmp_path):
    """What stands in a log may be anybody's: it is one line, wherever it is told."""
    plain = "bot: alert: error_rate of b was 0.2 Bcc: you@evil.example bot: alert: all is well[2J"
    with mailing() as there:
        assert posted(mail(there.port), alert(1, says=HOSTILE)) == Acknowledged()
    [(to, _, message)] = there.taken
    assert (to, message["bcc"]) == (["me@x.example", "you@x.example"], None)
    assert message.get_content().strip() == plain
    log = MemoryLog()
    log.append([alert(1, says=HOSTILE)])
    with hooks() as there:
        told(log, destinations(tmp_path, f"ops: {{kind: slack, url: '{there.url}', private: true}}")[0])
    assert json.loads(there.posts[0][1]) == {"text": plain}


@pytest.mark.parametrize("happened", [1e18, -1e18])
def test_an_alert_of_no_year_holds_up_none_behind_it(tmp_path, happened):
    """A calendar has no such day; it is told with the time at which it arrived."""
    odd = replace(alert(1), happened=happened)
    log = MemoryLog(ManualClock(START + 0.0))
    log.append([odd, alert(2)])
    with hooks() as there:
        [hook] = destinations(
            tmp_path, f"ops: {{kind: webhook, url: '{there.url}', private: true, secret_env: OPS_SECRET}}"
        )
        assert told(log, hook, clock=ManualClock(START + 0.0)) == ["2 alerts delivered"]
    assert [json.loads(body)["timestamp"] for _, body in there.posts] == [
        "2023-11-14T22:15:00+00:00", "2023-11-14T22:15:02+00:00"
    ]  # fmt: skip
    with mailing() as mailed:
        assert posted(mail(mailed.port), odd) == Acknowledged()


def test_a_mail_server_that_is_away_is_tried_again():
    """There is nobody at the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert posted(mail(port), alert(1)) == Away("could not be reached (ConnectionRefusedError)")
    log = MemoryLog()
    log.append([alert(1)])
    with pytest.raises(UpstreamError) as caught:
        told(log, mail(port))
    assert str(caught.value) == (
        "alerts email on-call could not be reached (ConnectionRefusedError), asked 5 times; what it has not acknowledged is "
        "delivered the next time"
    )


def test_a_destination_that_hangs_holds_no_watch_up(tmp_path):
    """The experiment is rolled back while the first alert still waits for its answer."""
    clock, experiment = ManualClock(START + 0.0), watched()
    log, windows, cursors = MemoryLog(clock), open_windows("memory:"), open_cursors("memory:")
    served(log, experiment, clock)
    with hooks() as there:
        there.hang.clear()
        [hook] = destinations(tmp_path, f"ops: {{kind: webhook, url: '{there.url}', secret_env: OPS_SECRET, private: true}}")  # fmt: skip
        watches = Watches(log, lambda: windows, every=0.01, clock=clock, arrival=clock)
        telling = Alerting(log, lambda: cursors, hook, rng=random.Random(1), clock=clock, patience=QUICK)
        stop = threading.Event()
        thread = threading.Thread(
            daemon=True,
            target=keep_going,
            args=([watches, telling],),
            kwargs={"stop": stop, "told": lambda *_: None},
        )
        thread.start()
        for number in range(2):
            clock.advance(START + number * 300 + 299.0 - clock.now())
            head = log.append(worked(experiment, number)).head
            until(
                lambda head=head: [each["position"] for each in watches.state()["watched"].values()] == [head]
            )
            clock.advance(11.5)
            until(lambda number=number: watches.state()["acted"] == 3 * number + 3)
        until(lambda: len(there.posts) == 1)
        assert telling.state()["delivered"] == 0
        there.hang.set()
        until(lambda: telling.state()["delivered"] == 6)
        stop.set()
        thread.join()
    actions = [json.loads(body)["data"]["action"] for _, body in there.posts]
    assert actions == ["alert", "alert", "alert", "pause", "rollback", "review"]


def test_the_whole_way_by_the_command_line(tmp_path):
    """Watched, decided, recorded and told, each once; and what was told is shown beside the other outboxes."""
    place = str(tmp_path / "log.db")
    clock, experiment = ManualClock(START + 0.0), watched()
    log = kept(place, clock)
    served(log, experiment, clock)
    for number in range(2):
        clock.advance(299.0)
        log.append(worked(experiment, number))
        clock.advance(1.0)
    log.close()
    with hooks() as there:
        (tmp_path / "alerts.yaml").write_text(
            f"ops: {{kind: webhook, url: '{there.url}', secret_env: OPS_SECRET, private: true}}\n"
        )
        named = QUIET | {"OPS_SECRET": "a secret", "EQUIPOISE_ALERTS": str(tmp_path / "alerts.yaml")}
        runs = [
            forked.run([*MONITOR, "monitor", "--once", "--log", place], env=named)
            for _ in range(2)
        ]  # fmt: skip
        assert [each.returncode for each in runs] == [0, 0], runs
        assert runs[0].stderr.splitlines()[-1].endswith("alerts webhook ops: 6 alerts delivered")
        assert runs[1].stderr == ""
        actions = [json.loads(body)["data"]["action"] for _, body in there.posts]
        assert actions == ["alert", "alert", "alert", "pause", "rollback", "review"]
    shown = forked.run([*MONITOR, "outbox", "--log", place, "--json"], env=QUIET)  # fmt: skip
    [cursor] = json.loads(shown.stdout)
    assert (cursor["collector"], cursor["delivered"], cursor["behind"]) == ("alerts webhook ops", 6, 0)
    done = forked.run([*MONITOR, "serve", "--log", place, "--alerts", "none.yaml"], env=QUIET, cwd=tmp_path)  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "error: the file of destinations none.yaml does not exist\n")
