"""Every store of texts keeps the same promises: SQLite in a file and in memory, and PostgreSQL."""

from __future__ import annotations

import re
import sqlite3
import threading
from dataclasses import replace

import pytest

from equipoise.errors import RecordError
from equipoise.events.opening import open_log, open_texts
from equipoise.events.text_writer import TextWriter
from equipoise.events.texts import NoTextsError, Said, Text, ToolCall, unit_digest

TEXT = Text(
    event_id="1", kind="turn", experiment="bot", digest="d1", variant="control", trace="t1", unit=unit_digest("ann"),
    happened=10.0, expires=100.0, probability=0.25, request=(Said("system", "Be brief."), Said("user", "Hé?\n\0")),
    context=("Orders ship in a day.",), answer="Today.", others=("Now.",), tools=(ToolCall("find", '{"a": 1}'),),
    blocked=True, omitted=2, cut=1, redacted={"IBAN": 3},
)  # fmt: skip


@pytest.fixture(params=["file", "memory", "postgres"])
def store(request, tmp_path):
    where = {"file": lambda: tmp_path / "log.db", "memory": lambda: "memory:"}.get(
        request.param, lambda: request.getfixturevalue("database")
    )()
    opened = open_texts(where)
    yield opened
    opened.close()


def test_a_text_is_given_back_as_it_was_and_kept_once(store):
    """Every field of it; a second text under its id is passed over, in one batch with a new one."""
    store.keep([TEXT])
    store.keep([replace(TEXT, answer="Another."), replace(TEXT, event_id="2", happened=5.0)])
    assert store.of_traces(["t1"], now=0.0) == (replace(TEXT, event_id="2", happened=5.0), TEXT)
    assert store.named(["1", "none"], now=0.0) == (TEXT,)
    assert store.of_traces([], now=0.0) == store.named(["x"], now=0.0) == ()


def test_what_has_expired_is_given_to_nobody(store):
    """At its second, whether or not it was removed; removed are these and no others, and once."""
    store.keep([TEXT, replace(TEXT, event_id="2", expires=101.0)])
    assert [each.event_id for each in store.of_traces(["t1"], now=99.9)] == ["1", "2"]
    assert [each.event_id for each in store.of_traces(["t1"], now=100.0)] == ["2"]
    assert store.turns("bot", "d1", now=100.0) == (("2", "control"),)
    assert (store.expire(100.0), store.expire(100.0)) == (1, 0)
    assert [each.event_id for each in store.named(["1", "2"], now=0.0)] == ["2"]


def test_a_purge_takes_the_texts_of_one_unit_and_of_no_other(store):
    """Whatever their experiment; who has no unit is nobody's."""
    others = [
        replace(TEXT, event_id="3", unit=unit_digest("bob")),
        replace(TEXT, event_id="4", unit=None),
    ]
    store.keep([TEXT, replace(TEXT, event_id="2", experiment="other"), *others])
    assert store.purge("ann") == 2
    assert store.purge("ann") == 0
    assert [each.event_id for each in store.of_traces(["t1"], now=0.0)] == ["3", "4"]


def test_the_turns_of_a_revision_are_named_with_their_arms(store):
    """Without shadows and without those of another revision."""
    store.keep(
        [
            TEXT,
            replace(TEXT, event_id="2", variant=None),
            replace(TEXT, event_id="3", kind="shadow"),
            replace(TEXT, event_id="4", digest="d2"),
        ]
    )
    assert store.turns("bot", "d1", now=0.0) == (("1", "control"), ("2", None))


def test_threads_and_connections_share_a_store(tmp_path):
    """Four at once, each with a connection of its own: nothing is lost, and nothing is there twice."""

    def write(name):
        mine = open_texts(tmp_path / "log.db")
        for n in range(25):
            mine.keep([replace(TEXT, event_id=f"{name}-{n}"), replace(TEXT, event_id=f"all-{n}")])
        mine.close()

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    store = open_texts(tmp_path / "log.db", create=False)
    assert len(store.of_traces(["t1"], now=0.0)) == 125
    store.close()


def test_a_purge_leaves_no_byte_in_the_file(tmp_path):
    """Neither of what was kept nor of the digest of the unit, and no journal."""
    store = open_texts(tmp_path / "log.db")
    for n in range(40):
        body = "".join(f"{n * n * each % 9973} " for each in range(n * 30))
        store.keep([replace(TEXT, event_id=f"{n}", unit=unit_digest("ann" if n % 2 else "bob"), answer=body)])
    path = tmp_path / "log.db.texts"
    with sqlite3.connect(path) as rows:
        bodies = rows.execute("SELECT body FROM texts WHERE unit = ?", (unit_digest("ann"),)).fetchall()
    pieces = [body[at : at + 16] for (body,) in bodies for at in range(0, len(body) - 16, 16)]
    assert store.purge("ann") == 20
    left = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    assert [piece for piece in (*pieces, unit_digest("ann").encode()) if piece in left] == []
    store.close()


def test_a_store_is_only_made_when_told_to_and_nothing_else_is_taken_for_one(tmp_path, database):
    """Each refusal is a sentence that names the place."""
    with pytest.raises(NoTextsError) as absent:
        open_texts(tmp_path / "log.db", create=False)
    assert (
        str(absent.value) == f"there are no texts at {tmp_path}/log.db.texts: none were kept beside this log"
    )
    assert not (tmp_path / "log.db.texts").exists()
    with pytest.raises(NoTextsError, match=r"^there are no texts at postgresql://"):
        open_texts(database, create=False)
    open_log(tmp_path / "other.texts").close()
    with pytest.raises(RecordError) as strange:
        open_texts(tmp_path / "other")
    assert str(strange.value) == (
        f"{tmp_path}/other.texts is an SQLite database of something else, not texts beside a log"
    )
    open_texts(tmp_path / "log.db").close()
    with sqlite3.connect(tmp_path / "log.db.texts") as rows:
        rows.execute("PRAGMA user_version = 9")
    with pytest.raises(RecordError) as later:
        open_texts(tmp_path / "log.db")
    assert str(later.value) == (
        f"{tmp_path}/log.db.texts was written by a later version (format 9, this one reads 1). Upgrade equipoise"
    )


def test_a_damaged_text_is_an_error_that_names_it(tmp_path):
    """Cut short, of another shape, or no deflated bytes at all: never half a text."""
    store = open_texts(tmp_path / "log.db")
    store.keep([TEXT])
    with sqlite3.connect(tmp_path / "log.db.texts") as rows:
        rows.execute("UPDATE texts SET body = substr(body, 1, 40)")
    with pytest.raises(RecordError, match=r"^the text of event 1 is damaged: "):
        store.named(["1"], now=0.0)
    store.close()


def test_a_text_that_cannot_be_made_is_lost_and_stops_no_other(caplog):
    """The log says what kind of error it was, and nothing of the text."""
    store = open_texts("memory:")

    def broken():
        raise ValueError("jo@example.org")

    with TextWriter(lambda create: store) as writer:
        writer.offer(broken, 1)
        writer.offer(lambda: TEXT, 1)
        writer.flush()
        assert (writer.kept, writer.lost) == (1, 1)
    assert re.findall(r"could not be prepared and is lost: (.*)", caplog.text) == ["ValueError"]


def test_the_room_for_what_waits_is_bounded():
    """By the characters held: a text that would not fit is lost at once, and one that fits after it is not."""
    store, waiting = open_texts("memory:"), threading.Event()

    def slow():
        waiting.wait(30)
        return TEXT

    with TextWriter(lambda create: store, room=100) as writer:
        assert writer.offer(slow, 60)
        assert not writer.offer(lambda: TEXT, 41)
        assert writer.offer(lambda: replace(TEXT, event_id="2"), 40)
        waiting.set()
        writer.flush()
        assert (writer.kept, writer.lost) == (2, 1)
