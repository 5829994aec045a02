"""What the outbox promises, to a collector that listens, from every log: at least once, in order, nothing uncounted."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
import time
from contextlib import suppress

import pytest
from collecting import Said, attributes, collecting, partial, plain

from equipoise.errors import RecordError, UpstreamError, UsageError
from equipoise.events.cursors import CursorLostError, HeldError, Quarantined, StrayCursorError
from equipoise.events.facts import Exposure, Outcome, Registration, Turn
from equipoise.events.log import Recorded
from equipoise.events.opening import open_cursors, open_log
from equipoise.integrations.collectors import Acknowledged, Away, Refused
from equipoise.integrations.collectors import collector as at
from equipoise.integrations.outbox import Patience, deliver
from equipoise.integrations.parcels import parcel
from equipoise.integrations.replaying import replay

QUICK = Patience(first_s=0.001, longest_s=0.01, asked_s=0.2, turn_s=1.0)


def outcome(number: int, experiment: str = "e") -> Outcome:
    return Outcome(event_id=f"{experiment}-{number}", experiment=experiment, happened=float(number), unit=f"u{number}", name="resolved", value=True)  # fmt: skip


class Desk:
    """A log, the cursors beside it and a collector, as a test wants them."""

    def __init__(self, where: str, collector, kind: str):
        self.where, self.there, self.kind = where, collector, kind
        self.log, self.cursors = open_log(where), open_cursors(where)
        self.name = at(collector.url, kind).name

    def put(self, count: int, experiment: str = "e", start: int = 0) -> list[str]:
        facts = [outcome(n, experiment) for n in range(start, start + count)]
        self.log.append(facts)
        return [fact.event_id for fact in facts]

    def deliver(self, patience: Patience = QUICK, timeout_s: float = 30.0, **more):
        to = at(self.there.url, self.kind, timeout_s=timeout_s)
        return deliver(self.log, self.cursors, to, rng=random.Random(1), once=True, patience=patience, **more)

    def replay(self):
        return replay(
            self.log, self.cursors, at(self.there.url, self.kind), rng=random.Random(1), patience=QUICK
        )

    @property
    def cursor(self):
        [found] = [each for each in self.cursors.all() if each.collector == self.name]
        return found

    @property
    def quarantine(self) -> tuple[Quarantined, ...]:
        return self.cursors.quarantine(self.name)

    def close(self):
        self.cursors.close()
        self.log.close()


@pytest.fixture
def there():
    with collecting() as collector:
        yield collector


@pytest.fixture(params=["http", "otlp"])
def desk(request, tmp_path, there):
    """Both kinds of collectors, and a log in a file."""
    opened = Desk(str(tmp_path / "log.db"), there, request.param)
    yield opened
    opened.close()


# From every log.


def test_every_fact_arrives_once_and_in_order_where_nothing_fails(place, there):
    """Two thousand facts arrive in the log's order, in batches; the cursor is at the end, and a second run sends none."""
    desk = Desk(place, there, "http")
    ids = desk.put(1_201, "a") + desk.put(801, "b")
    assert desk.deliver().delivered == 2_002
    assert [event_id for event_id, _ in there.taken] == ids
    assert len(there.posts) == 5
    assert (desk.cursor.position, desk.cursor.event_id) == (2_002, "b-800")
    assert (desk.cursor.delivered, desk.cursor.refused, desk.cursor.retries) == (2_002, 0, 0)
    assert abs(desk.cursor.acknowledged - time.time()) < 300
    assert desk.deliver().delivered == 0
    assert len(there.posts) == 5
    desk.close()


def test_the_cursor_outlives_the_process_that_moved_it(place, there):
    """Opened anew, it stands where it stood, and only what is new is sent."""
    first = Desk(place, there, "http")
    first.put(3)
    first.deliver()
    first.close()
    second = Desk(place, there, "http")
    second.put(2, start=3)
    assert second.deliver().delivered == 2
    assert there.posts[-1].ids == ["e-3", "e-4"]
    second.close()


def test_a_clock_that_is_put_back_keeps_nobody_from_taking_over(place, there):
    """Whoever held the cursor died, and by the clock of before its turn ends in an hour; a turn is ten minutes at most."""
    desk = Desk(place, there, "http")
    ids = desk.put(2)
    desk.cursors.take(desk.name, "gone", "somebody else", 10.0)
    with pytest.raises(UsageError) as caught:
        desk.cursors.take(desk.name, "gone", "somebody else", 3_600.0)
    assert str(caught.value) == "a turn of 3600 seconds is too long; accepted: up to 600"
    with pytest.raises(HeldError):
        desk.deliver()

    def put_back():
        yield ("UPDATE equipoise_cursors SET until = until + 3600.0", ())

    desk.cursors._database.carry_out(put_back)
    assert desk.deliver().delivered == len(ids)
    desk.close()


def test_whoever_comes_second_is_told_who_delivers(place, there):
    """While one holds the cursor another sends nothing; when it lets go, each fact arrives, and none twice."""
    held = threading.Event()

    def answer(post):
        held.set()
        return Said()

    there.answer = answer
    desks = [Desk(place, there, "http") for _ in range(2)]
    ids = desks[0].put(1_500)
    taken = desks[0].cursors.take(desks[0].name, "me", "somebody else", 60.0)
    assert (taken.position, desks[0].cursor.who) == (0, "somebody else")
    with pytest.raises(HeldError) as error:
        desks[1].deliver()
    assert str(error.value) == (
        f"somebody else delivers to {desks[1].name}; one does at a time. Stop it, or leave it to its work"
    )
    assert not held.is_set()
    desks[0].cursors.release(desks[0].name, "me")
    assert desks[0].cursor.who is None
    assert desks[1].deliver().delivered == 1_500
    assert [event_id for event_id, _ in there.taken] == ids
    for desk in desks:
        desk.close()


def test_a_cursor_moves_for_its_holder_alone(place, there):
    """Who was away for longer than its turn moves nothing any more, nor leaves anything in quarantine."""
    desk = Desk(place, there, "http")
    desk.put(5)
    desk.cursors.take(desk.name, "slow", "slow", 0.01)
    time.sleep(0.1)
    desk.cursors.take(desk.name, "quick", "quick", 60.0)
    bad = Quarantined(desk.name, 3, "e-2", "e", "outcome", 400, "answered 400")
    with pytest.raises(CursorLostError) as error:
        desk.cursors.advance(desk.name, "slow", position=3, event_id="e-2", delivered=2, refused=[bad])
    assert str(error.value) == (
        f"another process took over the delivery to {desk.name}; what was just acknowledged, it delivers again"
    )
    assert not desk.cursors.renew(desk.name, "slow", 60.0)
    assert (desk.cursor.position, desk.cursor.delivered, desk.quarantine) == (0, 0, ())
    desk.cursors.advance(desk.name, "quick", position=3, event_id="e-2", delivered=2, refused=[bad])
    assert (desk.cursor.position, desk.cursor.quarantined) == (3, 1)
    # Nor does it ever go back.
    with pytest.raises(CursorLostError):
        desk.cursors.advance(desk.name, "quick", position=2, event_id="e-1", delivered=2)
    desk.close()


def test_a_poison_row_goes_into_quarantine_and_out_of_it_again(place, there):
    """Refused facts are found by halving and kept apart, the others arrive in order; sent again, they arrive too."""
    desk = Desk(place, there, "http")
    ids = desk.put(700)
    bad = ["e-0", "e-137", "e-138", "e-699"]
    there.refuse(*bad)
    done = desk.deliver()
    assert (done.delivered, done.refused, done.retries) == (696, 4, 0)
    assert [event_id for event_id, _ in there.taken] == [each for each in ids if each not in bad]
    assert [(each.position, each.event_id, each.kind, each.status, each.reason, each.tries) for each in desk.quarantine] == [
        (int(name[2:]) + 1, name, "outcome", 400, "answered 400", 1) for name in bad
    ]  # fmt: skip
    assert all(abs(each.since - time.time()) < 300 for each in desk.quarantine)
    assert (desk.cursor.position, desk.cursor.quarantined, desk.cursor.event_id) == (700, 4, "e-699")
    # Half of them are taken now.
    there.refuse("e-0", "e-699", status=413)
    again = desk.replay()
    assert (again.replayed, again.refused, again.gone) == (2, 2, 0)
    assert [(each.event_id, each.status, each.tries) for each in desk.quarantine] == [
        ("e-0", 413, 2),
        ("e-699", 413, 2),
    ]
    there.refuse()
    assert desk.replay().replayed == 2
    assert sorted(there.ids) == sorted(ids)
    assert desk.quarantine == ()
    cursor = desk.cursor
    assert (cursor.delivered, cursor.refused, cursor.replayed, cursor.quarantined) == (696, 4, 4, 0)
    desk.close()


# To every kind of collector.


def test_no_failure_makes_a_hole(desk):
    """A collector that fails, hangs, resets or speaks another language is asked again until it acknowledges."""
    ids = desk.put(20)
    troubles = [
        Said(500), Said(503, {"retry-after": "0"}), Said(429), Said(401), Said(404), Said(302, {"location": "/"}),
        Said(instead="reset"), Said(instead="hang"),
    ]  # fmt: skip
    repeated = 0
    for number, trouble in enumerate(troubles):
        desk.there.fail(2, trouble)
        if trouble.instead == "hang":
            # On a busy machine an answer may come too late as well, and is asked for again.
            done = desk.deliver(Patience(first_s=0.001, longest_s=0.01, tries=10_000), timeout_s=0.3)
            assert done.retries >= 2
        else:
            done = desk.deliver()
            assert done.retries == 2, trouble
        repeated += done.retries
        assert (done.delivered, done.refused) == (20, 0), trouble
        assert (desk.cursor.retries, desk.cursor.trouble) == (repeated, None)
        assert desk.there.ids == ids
        assert len({post.headers["idempotency-key"] for post in desk.there.posts[-3:]}) == 1
        ids += desk.put(20, start=20 * (number + 1))
    assert desk.quarantine == ()


def test_nothing_moves_before_the_acknowledgement(desk):
    """What was sent and not acknowledged stands ahead of the cursor; whoever wants to end is told why it cannot."""
    ids = desk.put(600)
    first = []

    def answer(post):
        first.append(post)
        return Said() if len(first) == 1 else Said(503)

    desk.there.answer = answer
    with pytest.raises(UpstreamError) as error:
        desk.deliver()
    assert str(error.value) == (
        f"{desk.name} answered 503, asked 5 times; what it has not acknowledged is delivered the next time"
    )
    assert (desk.cursor.position, desk.cursor.delivered, desk.cursor.retries) == (500, 500, 5)
    assert (desk.cursor.trouble, desk.cursor.who) == ("answered 503", None)
    desk.there.answer = lambda post: Said()
    assert desk.deliver().delivered == 100
    assert [event_id for event_id, _ in desk.there.taken] == ids


def test_retry_after_is_honoured(desk):
    """A collector that names a time is not asked before it, and who will not wait so long is told."""
    desk.put(1)
    desk.there.fail(1, Said(429, {"retry-after": "1"}))
    started = time.monotonic()
    desk.deliver(Patience(first_s=0.001, longest_s=2.0))
    assert time.monotonic() - started >= 1.0
    desk.put(1, start=1)
    desk.there.fail(1, Said(503, {"retry-after": "600"}))
    with pytest.raises(UpstreamError) as error:
        desk.deliver(Patience())
    assert str(error.value) == (
        f"{desk.name} answered 503 and asks to wait 600 s, asked once; "
        "what it has not acknowledged is delivered the next time"
    )
    assert desk.cursor.position == 1


def test_the_first_arrivals_of_each_experiment_are_in_order(desk):
    """Whatever fails at random, what arrives first of each experiment is in the order of the log, and whole."""
    rng = random.Random(6)
    facts = [outcome(n, rng.choice("abc")) for n in range(1_500)]
    desk.log.append(facts)
    bad = {fact.event_id for fact in facts if rng.random() < 0.01}
    assert bad

    def answer(post):
        chance = rng.random()
        if chance < 0.2:
            return Said(rng.choice([429, 500, 503]))
        if chance < 0.25:
            return Said(instead="reset")
        return Said(400 if bad & set(post.ids) else 200)

    desk.there.answer = answer
    done = desk.deliver(Patience(first_s=0.001, longest_s=0.005, tries=100))
    for experiment in "abc":
        wanted = [fact.event_id for fact in facts if fact.experiment == experiment]
        assert [each for each in desk.there.ids if each[0] == experiment] == [each for each in wanted if each not in bad]  # fmt: skip
    assert {each.event_id for each in desk.quarantine} == bad
    assert (done.delivered + done.refused, done.refused) == (1_500, len(bad))
    assert (desk.cursor.delivered, desk.cursor.refused) == (done.delivered, done.refused)
    assert desk.cursor.retries == done.retries > 0


def test_a_collector_that_refuses_everything_is_not_fed_the_log(desk):
    """After a hundred facts refused in a row, delivery stops and says that it is rather the address."""
    desk.put(300)
    desk.there.answer = lambda post: Said(400)
    with pytest.raises(UpstreamError) as error:
        desk.deliver()
    assert str(error.value) == (
        f"{desk.name} refused 100 facts one after another and took none; they are in quarantine. Check the address "
        "and the kind of the collector, then send them again with `equipoise outbox replay`; to go on past them, "
        "deliver again"
    )
    assert (desk.cursor.position, desk.cursor.quarantined) == (100, 100)
    desk.there.answer = lambda post: Said()
    assert desk.deliver().delivered == 200
    assert desk.replay().replayed == 100
    assert len(desk.there.ids) == 300


def test_what_it_says_is_not_kept(desk):
    """A collector may repeat what it was sent: of its answer a plain word is kept, and no sentence."""
    desk.put(1)
    desk.there.answer = lambda post: Said(
        422, body=b'{"error": {"code": "too_old", "message": "u0 resolved"}}'
    )
    desk.deliver()
    assert [each.reason for each in desk.quarantine] == ["answered 422 (too_old)"]


def test_an_endless_answer_is_cut_off(desk):
    """A long answer is read no further than it takes to see that it is too long."""
    desk.put(1)
    desk.there.fail(1, Said(400, body=b"x" * 3_000_000))
    desk.deliver()
    assert [each.reason for each in desk.quarantine] == ["answered 400"]


def test_no_answer_whatever_is_in_it_ends_the_outbox():
    """Garbage, cut-off answers, endless headers, bits turned over: each means something, and none is an exception."""
    rng = random.Random(3)
    whole = [
        b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n", b"HTTP/1.1 999999 X\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 50_000 + b"\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"\x00\xff" * 100,
        b"HTTP/1.1 429 X\r\nretry-after: nan\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 429 X\r\nretry-after: Wed, 99 Foo 20xx\r\ndate: x\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
    ]  # fmt: skip
    turned = []
    for raw in whole[1:] * 5:
        bits = bytearray(raw[:500])
        for _ in range(3):
            bits[rng.randrange(len(bits))] = rng.randrange(256)
        turned.append(bytes(bits))
    facts = [
        parcel(Recorded(1, 1.0, Outcome(experiment="e", happened=1e308, unit="u", name="n", value=True)))
    ]
    with socket.create_server(("127.0.0.1", 0)) as listening, asyncio.Runner() as runner:
        port = listening.getsockname()[1]

        def answer() -> None:
            for raw in [each for each in whole + turned for _ in range(2)]:
                connection, _ = listening.accept()
                with connection, suppress(OSError):
                    connection.recv(65_536)
                    connection.sendall(raw)
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(1)

        threading.Thread(target=answer, daemon=True).start()
        for _ in whole + turned:
            for kind in ("http", "otlp"):
                to = at(f"http://127.0.0.1:{port}", kind)
                assert isinstance(runner.run(to.post(facts)), Acknowledged | Away | Refused)
                runner.run(to.aclose())


def test_a_log_that_was_changed_for_another_is_not_delivered(tmp_path, desk):
    """A cursor belongs to the log it was kept beside: what another log holds at its place is no reason to go on."""
    desk.put(3)
    desk.deliver()
    for count in (2, 5):
        other = open_log(tmp_path / f"other-{count}.db")
        other.append([outcome(n, "other") for n in range(count)])
        with pytest.raises(StrayCursorError) as error:
            deliver(other, desk.cursors, at(desk.there.url, desk.kind), rng=random.Random(1), patience=QUICK)
        assert str(error.value) == (
            f"the cursor of {desk.name} stands at position 3 of another log than this one, which ends at {count}. "
            "Deliver the log it belongs to, or take away the cursors beside this one (the file ….outbox, or the "
            "table equipoise_cursors) to deliver this one from its beginning"
        )
        other.close()
    assert len(desk.there.posts) == 1


def test_what_the_log_has_no_more_leaves_the_quarantine_and_is_counted(desk):
    """A refused fact that was purged is not sent again; it is counted as gone."""
    desk.put(3)
    desk.there.refuse("e-1")
    desk.deliver()
    desk.log._connection.execute("DELETE FROM events WHERE event_id = 'e-1'")
    again = desk.replay()
    assert (again.replayed, again.refused, again.gone) == (0, 0, 1)
    assert (desk.quarantine, desk.cursor.gone, desk.cursor.quarantined) == ((), 1, 0)


def test_a_fact_that_cannot_be_read_stops_the_outbox_behind_those_before_it(desk):
    """What comes before it is delivered; then the outbox says what is wrong, and passes nothing by."""
    desk.put(3)
    desk.log._connection.execute("UPDATE events SET kind = 'later' WHERE position = 3")
    with pytest.raises(RecordError) as error:
        desk.deliver()
    assert str(error.value).startswith("event e-2 is a 'later', which this version cannot read; it reads ")
    assert desk.there.ids == ["e-0", "e-1"]
    assert desk.cursor.position == 2


# What each kind is sent.


def test_a_fact_as_a_line(tmp_path, there):
    """JSON lines, packed, with the operator's headers, an id a fact and the same key for the same facts."""
    desk = Desk(str(tmp_path / "log.db"), there, "http")
    desk.log.append(
        [Outcome(event_id="1", experiment="e", happened=5.0, unit="u", name="resolved", value=True)]
    )
    to = at(f"{there.url}/facts?team=a", headers={"authorization": "Bearer secret"})
    assert to.name == f"http {there.url}/facts?team=a"
    deliver(desk.log, desk.cursors, to, rng=random.Random(1), once=True)
    [post] = there.posts
    [line] = post.records
    assert abs(line.pop("received") - time.time()) < 300
    assert line == {
        "event_id": "1",
        "kind": "outcome",
        "experiment": "e",
        "happened": 5.0,
        "position": 1,
        "fact": {"unit": "u", "name": "resolved", "value": True},
    }
    assert post.path == "/facts?team=a"
    assert post.headers["content-encoding"] == "gzip"
    assert post.headers["authorization"] == "Bearer secret"
    assert len(post.headers["idempotency-key"]) == 64
    assert "secret" not in str(desk.cursors.all())
    desk.close()


def test_a_fact_as_a_log_record(tmp_path, there):
    """OTLP: times in nanoseconds, the trace of its turn, names as in spans, the whole fact as a structured body."""
    desk = Desk(str(tmp_path / "log.db"), there, "otlp")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    deep = {"x": 1}
    for _ in range(60):
        deep = {"in": deep}
    desk.log.append(
        [
            Turn(
                event_id="1", experiment="e", happened=5.25, unit="u", digest="d" * 64, variant="b", epoch=2,
                reason="split", trace=trace, latency_s=0.5, input_tokens=7, safe=True, checks={"length": "passed"},
            ),
            Exposure(
                event_id="2", experiment="e", happened=-1.0, digest="d" * 64, unit="u", unit_type="user", variant="b",
                probability=0.5, reason="split",
            ),
            Registration(
                event_id="3", experiment="e", happened=6.0, digest="d" * 64, definition=deep,
                plan={"large": 2**63, "list": [1, None, "x"], "none": {}, "empty": []}, by="test",
            ),
        ]
    )  # fmt: skip
    assert desk.deliver().delivered == 3
    [post] = there.posts
    assert post.path == "/v1/logs"
    assert post.headers["content-type"] == "application/x-protobuf"
    turn, exposure, registration = post.records
    assert (turn.time_unix_nano, turn.event_name, turn.severity_number) == (
        5_250_000_000,
        "equipoise.turn",
        9,
    )
    assert abs(turn.observed_time_unix_nano / 1e9 - time.time()) < 300
    assert turn.trace_id.hex() == trace
    assert attributes(turn) == {
        "equipoise.event_id": "1",
        "equipoise.kind": "turn",
        "equipoise.experiment": "e@dddddddddddd",
        "equipoise.variant": "b",
        "equipoise.epoch": 2,
        "equipoise.reason": "split",
        "gen_ai.usage.input_tokens": 7,
        "equipoise.safe": True,
    }
    assert plain(turn.body)["checks"] == {"length": "passed"}
    assert plain(turn.body)["latency_s"] == 0.5
    assert (exposure.time_unix_nano, exposure.trace_id) == (0, b"")
    assert plain(exposure.body)["unit"] == "u"
    assert plain(registration.body)["plan"] == {
        "large": str(2**63),
        "list": [1, None, "x"],
        "none": {},
        "empty": [],
    }
    assert '{"x":1}' in str(plain(registration.body)["definition"])
    desk.close()


def test_a_partial_success_is_read(tmp_path, there):
    """Records that OTLP's partial success turns down are found, and are in quarantine like any that were refused."""
    desk = Desk(str(tmp_path / "log.db"), there, "otlp")
    ids = desk.put(100)
    bad = {"e-7", "e-93"}
    there.answer = lambda post: partial(len(bad & set(post.ids)))
    done = desk.deliver()
    assert (done.delivered, done.refused) == (98, 2)
    assert [(each.event_id, each.status, each.reason) for each in desk.quarantine] == [
        ("e-7", 200, "rejected by a partial success"),
        ("e-93", 200, "rejected by a partial success"),
    ]
    assert set(there.ids) == set(ids)
    desk.close()


def test_what_is_no_answer_of_otlp_acknowledges_nothing(tmp_path, there):
    """Some other server that answers 200 to everything takes no facts away."""
    desk = Desk(str(tmp_path / "log.db"), there, "otlp")
    desk.put(2)
    there.answer = lambda post: Said(body=b"<html>Welcome!</html>")
    with pytest.raises(UpstreamError) as error:
        desk.deliver()
    assert str(error.value) == (
        f"{desk.name} answered 200 with something else than an acknowledgement, asked 5 times; "
        "what it has not acknowledged is delivered the next time"
    )
    assert desk.cursor.position == 0
    desk.close()


@pytest.mark.parametrize("to", ["collector.example/facts", "ftp://collector.example/", "http://", "http://h:x/", "http://[::1", "http://a..b/"])  # fmt: skip
def test_what_is_no_address_is_refused(to):
    """The message says what an address looks like, and does not repeat what may hold a secret."""
    with pytest.raises(UsageError) as error:
        at(to)
    assert str(error.value) == (
        "the address of the collector cannot be used; accepted: http:// or https://, a host and a path, such as "
        "https://collector.example/facts"
    )


def test_secrets_do_not_stand_in_the_address():
    """An address is shown and kept: a name or password in it is refused."""
    with pytest.raises(UsageError) as error:
        at("https://ann:secret@collector.example/")
    assert str(error.value) == (
        "the address of the collector holds a name or password, and it is shown and kept; put what it must be shown "
        "into EQUIPOISE_OUTBOX_HEADERS"
    )


def test_what_is_no_store_of_cursors_is_refused(tmp_path):
    """Neither another database nor what a later version wrote is written to."""
    log = open_log(tmp_path / "log.db")
    log.close()
    (tmp_path / "log.db").rename(tmp_path / "x.db.outbox")
    with pytest.raises(RecordError) as error:
        open_cursors(tmp_path / "x.db")
    assert str(error.value) == (
        f"{tmp_path / 'x.db.outbox'} is an SQLite database of something else, not the cursors of an outbox"
    )
    (tmp_path / "y.db.outbox").write_text("something else entirely " * 100)
    with pytest.raises(RecordError) as error:
        open_cursors(tmp_path / "y.db")
    assert str(error.value) == (
        f"{tmp_path / 'y.db.outbox'} cannot be used for the cursors of an outbox: file is not a database"
    )
    cursors = open_cursors(tmp_path / "z.db")
    cursors._database._connection.execute("UPDATE equipoise_cursors_format SET format = 9")
    cursors.close()
    with pytest.raises(RecordError) as error:
        open_cursors(tmp_path / "z.db")
    assert str(error.value) == (
        f"{tmp_path / 'z.db.outbox'} was written by a later version (format 9, this one reads 1). Upgrade equipoise"
    )
