"""The label page over HTTP: what it answers to whom, what it never keeps, and what it keeps whatever happens."""

from __future__ import annotations

import html
import http.client
import random
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import forked
import pytest
from labelling import LONG, a_run, experiment, kept, live, page, serve_turns, written
from processes import QUIET

from equipoise.conduct.labelling.audit_set import week_of
from equipoise.conduct.register import register
from equipoise.events.opening import open_log, open_texts

FORM = "application/x-www-form-urlencoded"
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


class Browser:
    """A client that does as it is told, and keeps cookies."""

    def __init__(self, url: str, *, source: str = "") -> None:
        self.at = urlsplit(url).netloc
        self.source = (source, 0) if source else None
        self.cookies: dict[str, str] = {}

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], str]:
        """Status, headers and text of the reply."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent.setdefault("Host", self.at)
        if self.cookies:
            sent.setdefault("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        line = http.client.HTTPConnection(self.at, timeout=30, source_address=self.source)
        try:
            line.putrequest(method, path, skip_host=True)
            for name, value in sent.items():
                line.putheader(name, value)
            if body is not None:
                line.putheader("Content-Length", str(len(body)))
            line.endheaders(body)
            reply = line.getresponse()
            text = reply.read().decode("utf-8", "replace")
            for name, value in reply.getheaders():
                if name.lower() == "set-cookie":
                    found, _, rest = value.partition("=")
                    self.cookies[found] = rest.partition(";")[0]
            return reply.status, {name.lower(): value for name, value in reply.getheaders()}, text
        finally:
            line.close()

    def post(self, path: str, form: dict[str, str], **headers: str) -> tuple[int, dict[str, str], str]:
        return self.ask("POST", path, urlencode(form).encode(), **{"Content_Type": FORM} | headers)

    def get(self, path: str = "/", **headers: str) -> str:
        """A page, wherever the way to it leads."""
        for _ in range(5):
            status, said, text = self.ask("GET", path, **headers)
            if status != 303:
                assert status == 200, text
                return text
            path = said["location"]
        raise AssertionError(path)

    def name(self, rater: str) -> None:
        form = fields(self.get(), "/rater")
        assert self.post("/rater", form | {"rater": rater})[0] == 303


def fields(text: str, action: str) -> dict[str, str]:
    """The hidden fields of a form, by where it goes."""
    form = re.search(rf'<form[^>]*action="{re.escape(action)}".*?</form>', text, re.DOTALL).group(0)
    return {
        html.unescape(name): html.unescape(value)
        for name, value in re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form)
    }


def item(text: str) -> str:
    """Where the page's answer goes."""
    return re.search(r'action="(/item/[0-9a-f]{32})"', text).group(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def url(folder) -> Iterator[str]:
    with page(folder, *written(folder, 60)) as (_, found):
        yield found


def test_every_reply_carries_the_policy_and_is_kept_by_nobody(url):
    """Pages, files, refusals and redirections alike: no script in line, no other address, no cache, no frame."""
    client = Browser(url)
    client.name("policy")
    place = item(client.get())
    for path, status in (("/", 303), (place, 200), ("/label.js", 200), ("/label.css", 200), ("/page.css", 200), ("/none", 404), ("/pages.py", 404), ("/item/x", 404)):  # fmt: skip
        found, headers, _ = client.ask("GET", path)
        assert found == status, path
        assert headers["content-security-policy"] == POLICY
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
    text = client.get()
    assert "<style" not in text
    assert " style=" not in text
    assert re.findall(r"<script[^>]*>", text) == ['<script src="/label.js" defer>']
    assert not re.search(r" on[a-z]+=", text)
    assert "http" not in re.sub(r"\s(class|content)=\"[^\"]*\"", "", text)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8090", "127.0.0.1.evil.example", "0.0.0.0", "[", "", "10.0.0.1"]
)
def test_a_name_that_is_not_this_machine_is_refused(folder, url, host):
    """Somebody who points a name of theirs here gets nothing, and writes nothing."""
    client = Browser(url)
    before = len(kept(folder / "l.db"))
    for method in ("GET", "POST"):
        status, headers, text = client.ask(method, "/", b"" if method == "POST" else None, Host=host)
        assert status in (400, 421), host
        assert "parcel" not in text
        if status == 421:
            assert headers["content-security-policy"] == POLICY
            assert "This is not that host" in text
    assert len(kept(folder / "l.db")) == before


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "127.8.8.8:80", "[::1]:9"])
def test_a_name_of_this_machine_is_answered_whatever_the_port(url, host):
    """A tunnel ends at another port."""
    assert Browser(url).ask("GET", "/", Host=host)[0] == 200


def test_what_comes_from_elsewhere_is_not_kept(folder, url):
    """Another origin, a form of another site, an origin that hides: even with the right token and cookies."""
    client = Browser(url)
    client.name("origin")
    text = client.get()
    place, form = item(text), fields(text, item(text)) | {"q.preference": "1"}
    before = len(kept(folder / "l.db"))
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": f"http://{client.at}.evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": f"http://{client.at}", "Sec_Fetch_Site": "cross-site"},
    ):
        for path in (place, "/undo", "/rater"):
            status, _, said = client.post(path, form, **headers)
            assert status == 403, (path, headers)
            assert (
                "An answer is taken from this page alone, and this one came from another. Nothing was kept."
                in said
            )
    assert len(kept(folder / "l.db")) == before
    status, said, _ = client.post(place, form, Origin=f"http://{client.at}", Sec_Fetch_Site="same-origin")
    assert (status, said["location"]) == (303, "/")
    assert len(kept(folder / "l.db")) == before + 1


def test_without_the_token_of_the_page_nothing_is_kept(folder, url):
    """None, a wrong one, another rater's, one of before a restart: the item is shown again, and says so."""
    other = Browser(url)
    other.name("token-other")
    stolen = fields(other.get(), item(other.get()))["token"]
    client = Browser(url)
    client.name("token")
    text = client.get()
    place, form = item(text), fields(text, item(text)) | {"q.preference": "1"}
    before = len(kept(folder / "l.db"))
    for token in ("", "0" * 64, stolen, "ü" * 64):
        status, headers, _ = client.post(place, form | {"token": token})
        assert (status, headers["location"]) == (303, f"{place}?n=again")
    assert (
        "The server was started anew since this page was shown, and nothing was kept. Answer once more."
        in client.get(f"{place}?n=again")
    )
    assert client.post("/undo", {"token": stolen, "last": "x"})[1]["location"] == "/?n=again"
    assert Browser(url).post(place, form)[1]["location"] == f"{place}?n=again"
    assert len(kept(folder / "l.db")) == before


def test_too_much_and_rubbish_are_refused_with_a_sentence(folder, url):
    """A body of 65 KiB, bytes that are no text, another form, a code nobody knows, answers that are none."""
    client = Browser(url)
    client.name("rubbish")
    text = client.get()
    place, form = item(text), fields(text, item(text))
    before = len(kept(folder / "l.db"))
    status, _, said = client.post(place, form | {"q.preference": "1", "more": "x" * 66_000})
    assert (
        status,
        "An answer is a few bytes, and this is more than the page takes. Nothing was kept." in said,
    ) == (
        413,
        True,
    )
    for body, kind in (
        (b"\xff\xfe=\x00", FORM),
        (b"{}", "application/json"),
        (b"q.preference=1", "text/plain"),
        (b"q.preference=1", f"{FORM}; charset=klingon"),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (b"", "multipart/form-data"),
    ):
        status, _, said = client.ask("POST", place, body, Content_Type=kind)
        assert status in (400, 303), (body, kind)
        if status == 400:
            assert (
                "What came is not what the page sends. Nothing was kept; go back and try once more." in said
            )
    for choice, says in (
        ("3", "3 is no answer to preference; accepted: 1, 2, 0."),
        ("-1", "An answer is a whole number, and that to preference is none."),
        ("1e0", "An answer is a whole number, and that to preference is none."),
        ("٣", "3 is no answer to preference; accepted: 1, 2, 0."),
        ("9" * 5000, "An answer is a whole number, and that to preference is none."),
        ("", "Preference has no answer; answer it, or skip the item."),
    ):
        status, _, said = client.post(place, form | {"q.preference": choice})
        assert (status, says in html.unescape(said)) == (400, True), (choice, said)
    status, _, said = client.post(place, form | {"q.preference": "3"}, Accept="application/json")
    assert (status, said) == (400, '{"problem": "3 is no answer to preference; accepted: 1, 2, 0."}')
    assert client.post("/item/" + "0" * 32, form | {"q.preference": "1"})[0] == 400
    assert client.ask("DELETE", place)[0] == 405
    assert len(kept(folder / "l.db")) == before
    for seconds in ("nan", "inf", "-5", "1e99", "soon", "", "9" * 400):
        text = client.get()
        form = fields(text, item(text)) | {"q.preference": "1", "seconds": seconds}
        assert client.post(item(text), form)[1]["location"] == "/"
    assert {label.seconds for label in kept(folder / "l.db") if label.rater == "rubbish"} == {None}


def test_a_thousand_bodies_of_noise_break_nothing(folder, url):
    """Whatever the bytes, the path and the head: a refusal or a redirection, never a failure of the server."""
    rng = random.Random(7)
    client = Browser(url)
    client.name("noise")
    text = client.get()
    place, form = item(text), fields(text, item(text))
    before = len(kept(folder / "l.db"))
    seen = set()
    for _ in range(1_000):
        noise = bytes(rng.randrange(256) for _ in range(rng.randrange(60)))
        path = rng.choice([place, "/undo", "/rater", "/item/" + "f" * 32, "/key", "/"])
        body = rng.choice(
            [noise, urlencode(form).encode() + b"&q.preference=" + noise, b"&" * 3_000 + noise, b"%" + noise]
        )
        kind = rng.choice([FORM, f"{FORM}; charset=utf-16", "text/html", "multipart/form-data; boundary=b"])
        status, headers, _ = client.ask("POST", path, body, Content_Type=kind)
        assert headers["content-security-policy"] == POLICY
        seen.add(status)
    assert seen <= {303, 400, 404, 405, 413}, seen
    assert {label.rater for label in kept(folder / "l.db")[before:]} <= {"noise"}


def test_lines_that_are_no_http_break_nothing(url):
    """Half a head, a head without end, a line of zeros: the page is there afterwards."""
    host, _, port = urlsplit(url).netloc.partition(":")
    for said in (b"\0" * 500, b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"):  # fmt: skip
        with socket.create_connection((host, int(port)), timeout=30) as line:
            line.sendall(said)
            line.shutdown(socket.SHUT_WR)
            while line.recv(65_536):
                pass
    assert "Who is labelling?" in Browser(url).get()


def test_a_raters_name_is_a_name(url):
    """Not empty, not long, not unprintable; escaped where it is shown, and any script of the world."""
    client = Browser(url)
    form = fields(client.get(), "/rater")
    for name in ("", "   ", "x" * 81, "a\nb", "\x1b[2J"):
        status, _, said = client.post("/rater", form | {"rater": name})
        assert (status, "A rater needs a name of 1 to 80 printable characters." in said) == (400, True)
    for name in ("<script>alert(1)</script>", "Jörg 漢字; Path=/x", "שלום"):
        client = Browser(url)
        client.name(name)
        text = client.get()
        assert html.escape(name).replace("&#x27;", "&#39;") in text
        assert "<script>" not in text


def test_twenty_posts_of_one_page_are_one_answer(folder, url):
    """The same form sent at once, then forms that contradict each other: one label stands, and the rest are told."""
    for rater, choices in (("same", ["1"] * 20), ("torn", ["1", "2", "0"] * 7)):
        client = Browser(url)
        client.name(rater)
        text = client.get()
        place, form = item(text), fields(text, item(text))
        found: list[str] = []

        def send(choice: str, client=client, place=place, form=form, found=found) -> None:
            found.append(client.post(place, form | {"q.preference": choice})[1]["location"])

        threads = [threading.Thread(target=send, args=(choice,)) for choice in choices]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len([label for label in kept(folder / "l.db") if label.rater == rater]) == 1
        assert set(found) == ({"/"} if rater == "same" else {"/", f"{place}?n=elsewhere"})


def test_an_undo_that_is_sent_twice_takes_back_one(folder, url):
    """Its form names the answer that it takes back; the second finds another one last."""
    client = Browser(url)
    client.name("undo")
    for _ in range(2):
        text = client.get()
        client.post(item(text), fields(text, item(text)) | {"q.preference": "2"})
    form = fields(client.get(), "/undo")
    first, second = client.post("/undo", form)[1]["location"], client.post("/undo", form)[1]["location"]
    assert first.endswith("?n=undone")
    assert second == "/?n=nothing"
    mine = [label for label in kept(folder / "l.db") if label.rater == "undo"]
    assert [label.replaces is None for label in mine] == [True, True, False]
    assert "Taken back. Answer it again, or go on." in client.get(first)
    assert "There was nothing to take back: your last answer is another one by now." in client.get(second)


def test_an_answer_the_page_confirmed_is_in_the_log_whenever_the_server_is_killed(tmp_path):
    """Killed right after its answer, ten times over: nothing is lost, nothing comes twice, and the rater goes on."""
    words = written(tmp_path)
    for round_ in range(10):
        with page(tmp_path, *words, "--rater", "jo") as (process, url):
            client = Browser(url)
            text = client.get()
            assert f"{round_} answered, {12 - round_} left" in text
            assert client.post(item(text), fields(text, item(text)) | {"q.preference": "1"})[0] == 303
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert len(kept(tmp_path / "l.db")) == round_ + 1
    assert len({(label.item, label.variant) for label in kept(tmp_path / "l.db")}) == 10


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_raters_at_two_servers_share_one_task(tmp_path, request, store):
    """Two processes on one log, three raters, every item for two of them: each is labelled twice, by two people."""
    log = "l.db" if store == "sqlite" else request.getfixturevalue("database")
    words = (*written(tmp_path), "--overlap", "1", "--raters", "2")
    with page(tmp_path, *words, log=log) as (_, one), page(tmp_path, *words, log=log) as (_, two):

        def label(url: str, rater: str, choice: str) -> None:
            client = Browser(url)
            client.name(rater)
            while 'id="answer"' in (text := client.get()):
                said = client.post(item(text), fields(text, item(text)) | {"q.preference": choice})
                assert said[0] == 303

        for url, rater, choice in ((one, "jo", "1"), (two, "kim", "2"), (one, "lu", "0")):
            label(url, rater, choice)
    said = kept(log if store == "postgres" else tmp_path / "l.db")
    assert {rater: sum(label.rater == rater for label in said) for rater in ("jo", "kim", "lu")} == {
        "jo": 12,
        "kim": 12,
        "lu": 0,
    }


def test_beyond_this_machine_a_key_is_asked_for(tmp_path):
    """Without a key it does not start; with one every page waits for it, and the cookie of it is for this page alone."""
    words = written(tmp_path)
    refused = forked.run(["equipoise", "label", *words, "--host", "0.0.0.0", "--log", "l.db"], cwd=tmp_path, env=QUIET)  # fmt: skip
    assert (refused.returncode, refused.stderr.splitlines()[-1]) == (
        2,
        "error: the page would be open to the network at 0.0.0.0 without a key. Set EQUIPOISE_KEY, or listen on 127.0.0.1",
    )
    with page(tmp_path, *words, env={"EQUIPOISE_KEY": "here"}) as (_, url):
        # On this machine others may work, too.
        assert Browser(url).ask("GET", "/")[0] == 401
        assert Browser(url).ask("GET", "/", Host="evil.example")[0] == 421
    with page(tmp_path, *words, "--host", "0.0.0.0", env={"EQUIPOISE_KEY": "sesame ü"}) as (_, url):
        client = Browser(url.replace("0.0.0.0", "127.0.0.1"))
        for path in ("/", "/item/" + "0" * 32, "/none"):
            status, headers, text = client.ask("GET", path)
            assert (status, headers["content-security-policy"]) == (401, POLICY)
            assert "The key that you were given" in text
        assert client.post("/undo", {"token": "x"})[0] == 401
        status, _, text = client.post("/key", {"key": "sesame"})
        assert (status, "That is not the key." in text) == (401, True)
        status, headers, _ = client.post("/key", {"key": "sesame ü"})
        assert (status, headers["location"]) == (303, "/")
        assert headers["set-cookie"].endswith("; HttpOnly; Path=/; SameSite=Strict")
        assert "sesame" not in headers["set-cookie"]
        client.name("jo")
        text = client.get()
        assert client.post(item(text), fields(text, item(text)) | {"q.preference": "1"})[0] == 303
        # With a key the page may have any name: whoever has no cookie under it is asked for the key.
        assert client.ask("GET", "/", Host="labels.example", Cookie="")[0] == 401
    assert len(kept(tmp_path / "l.db")) == 1


def test_a_key_is_not_guessed_and_whoever_has_it_comes_in(tmp_path):
    """Five wrong keys from one address are heard, then none for a while, right or wrong; who is in and who waits get in."""
    with page(tmp_path, *written(tmp_path), "--rater", "jo", env={"EQUIPOISE_KEY": "sesame"}) as (_, url):
        inside, stranger = Browser(url), Browser(url)
        assert inside.post("/key", {"key": "sesame"})[0] == 303
        (cookie,) = inside.cookies.values()
        assert "sesame" not in cookie
        replies = [stranger.post("/key", {"key": f"guess {n}"}) for n in range(8)]
        assert [status for status, _, _ in replies[:5]] == [401] * 5
        status, headers, text = replies[-1]
        assert (status, headers["content-security-policy"]) == (429, POLICY)
        assert 1 <= int(headers["retry-after"]) <= 10
        assert "There were too many wrong keys, so this one was not looked at. Try again in " in text
        # Another address is heard, and a page, a wrong cookie and whoever is in already wait for nothing.
        assert Browser(url, source="127.0.0.2").post("/key", {"key": "sesame"})[0] == 303
        assert inside.get().count("/item/") > 0
        stranger.cookies = dict.fromkeys(inside.cookies, "0" * 64)
        assert stranger.ask("GET", "/")[0] == 401
        assert (
            stranger.ask("POST", "/undo", b"last=x", Content_Type=FORM, Accept="application/json")[2]
            == '{"next": "/"}'
        )
        # The rightful one at the same address has only to wait as long as is said, whatever others do meanwhile.
        for _ in range(30):
            status, headers, _ = stranger.post("/key", {"key": "sesame"})
            if status == 303:
                break
            assert status == 429
            time.sleep(min(int(headers["retry-after"]), 11))
        assert status == 303


def test_a_hundred_keys_that_come_at_once_are_counted_one_by_one(tmp_path):
    """Guesses in parallel: no more than five of them are heard (and one for each ten seconds that it takes)."""
    with page(tmp_path, *written(tmp_path), "--rater", "jo", env={"EQUIPOISE_KEY": "sesame"}) as (_, url):
        began, heard = time.monotonic(), []
        threads = [
            threading.Thread(target=lambda n=n: heard.append(Browser(url).post("/key", {"key": f"{n}"})[0]))
            for n in range(100)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert heard.count(401) + heard.count(429) == 100
        assert 5 <= heard.count(401) <= 5 + (time.monotonic() - began) // 10 + 1


def test_what_a_model_wrote_is_text_and_no_variant_is_in_the_source(tmp_path):
    """Markup, entities, direction marks and a template's braces come out as they were written; names stay inside."""
    evil = "</div><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}{% raw %} &lt; \u202eabc\u202c \x00 ]]>"
    words = written(tmp_path)
    a_run(tmp_path, 3, answers={"control": evil, "brief": evil + "!", LONG: evil + "?"})
    with page(tmp_path, *words, "--rater", "jo") as (_, url):
        client = Browser(url)
        text = client.get()
        assert (
            text.count(
                "&lt;/div&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;{{ 7*7 }}"
            )
            == 2
        )
        assert "<img" not in text
        assert "<script>" not in text
        for name in ("control", "brief", LONG):
            assert name not in text
        assert "case-" not in text


def test_turns_that_come_while_the_page_is_open_join_at_its_next_item(tmp_path):
    """It starts with nothing to label and says so; what is served meanwhile, by another process, is there when one looks."""
    place = str(tmp_path / "l.db")
    log = open_log(place)
    found = experiment()
    register(log, found, by="test", reason="a test")
    open_texts(place).close()
    log.close()
    with page(tmp_path, "support-bot", "--ask", "thumbs", "--rater", "jo", log=place) as (_, url):
        client = Browser(url)
        text = client.get()
        assert "Nothing to label yet" in text
        assert "Turns join as they come." in text
        serve_turns(place, found, range(2), time.time())
        text = client.get()
        assert "0 answered, 2 left" in text
        serve_turns(place, found, range(2, 5), time.time())
        client.post(item(text), fields(text, item(text)) | {"q.thumbs": "1"})
        assert "1 answered, 4 left" in client.get()
    (label,) = kept(place)
    assert (label.draw, label.probability) == ("audit", 0.5)


def test_an_audit_is_rationed_by_the_week(tmp_path):
    """Turns of two weeks ago and before: their sets of seven are drawn, a part each day, and the page says how far they are."""
    place = str(tmp_path / "l.db")
    log = open_log(place)
    found = experiment(
        online_judge={"sample": 0.5, "audit": {"labels_per_week": 7}}, capture={"text": "sampled"}
    )
    register(log, found, by="test", reason="a test")
    log.close()
    now = time.time()
    monday = week_of(now - 14 * 86_400.0) * 7 * 86_400.0 - 3 * 86_400.0
    for day in range(7):
        serve_turns(place, found, range(day * 10, day * 10 + 10), monday + day * 86_400.0)
    words = ("support-bot", "--ask", "thumbs", "--rater", "jo")
    with page(tmp_path, *words, log=place) as (_, url):
        client = Browser(url)
        text = client.get()
        assert "0 answered, 7 left" in text
        assert "0 of 7 this week, 0 drawn so far; 7 left of earlier weeks" in text
        client.post(item(text), fields(text, item(text)) | {"q.thumbs": "0"})
        assert "0 of 7 this week, 0 drawn so far; 6 left of earlier weeks" in client.get()
    (label,) = kept(place)
    assert (label.draw, label.probability) == ("audit", 0.05)
    refused = forked.run(["equipoise", "label", *words, "--share", "1/2", "--log", place], cwd=tmp_path, env=QUIET)  # fmt: skip
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1] == (
        "error: support-bot says how many turns people label (`online_judge.audit.labels_per_week: 7`), and of two draws "
        "nobody could tell with which probability a turn was labelled. Leave out --share"
    )


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_live_turns_are_labelled_with_their_trace_and_unit(tmp_path, request, store):
    """A registered experiment with kept texts, graded; the system's message is nowhere."""
    place = str(tmp_path / "l.db") if store == "sqlite" else request.getfixturevalue("database")
    log, texts = open_log(place), open_texts(place)
    live(log, texts, 9, expires=4e9)
    log.close()
    texts.close()
    with page(tmp_path, "support-bot", "--ask", "grades", "--rater", "jo", log=place) as (_, url):
        client = Browser(url)
        text = client.get()
        assert "PROMPT OF A VARIANT" not in text
        assert "What was looked up for it (1)" in text
        client.post(
            item(text), fields(text, item(text)) | {"q.clarity": "4", "q.policy": "2", "seconds": "12.5"}
        )
        text = client.get()
        client.post(item(text), fields(text, item(text)) | {"pass": "1"})
    one, two, *passed = kept(place)
    assert [(each.name, each.value, each.seconds, each.probability) for each in (one, two)] == [
        ("clarity", 4.0, 12.5, 0.5),
        ("policy", 2.0, 12.5, 0.5),
    ]
    assert one.trace == one.item
    assert one.unit.startswith("unit-")
    assert [(each.value, each.replaces) for each in passed] == [(None, None)] * 2
