"""The promises of a store of pins, kept by every implementation; and those of the file and of the server."""

from __future__ import annotations

import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import forked
import pytest

from equipoise.assignment.opening import open_pins
from equipoise.assignment.pins import MemoryPins, PinStore, unit_key
from equipoise.assignment.postgres_pins import PostgresPins
from equipoise.assignment.sqlite_pins import SQLitePins
from equipoise.errors import MissingExtraError, RecordError, UsageError
from equipoise.events.postgres import PostgresLog
from equipoise.events.sqlite import SQLiteLog

SALT = "demo/1"


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where pins outlive who keeps them."""
    if request.param == "sqlite":
        return str(tmp_path / "pins.db")
    found: str = request.getfixturevalue("database")
    return found


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def pins(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PinStore]:
    match request.param:
        case "memory":
            where = "memory:"
        case "sqlite":
            where = str(tmp_path / "pins.db")
        case _:
            where = request.getfixturevalue("database")
    store = open_pins(where)
    yield store
    store.close()


# What every store promises.


def test_the_first_epoch_is_kept(pins: PinStore) -> None:
    """Whoever pins first decides; later calls are told what was kept, whatever they bring."""
    assert isinstance(pins, PinStore)
    assert pins.find(SALT, "u") is None
    assert pins.pin(SALT, "u", 3) == 3
    assert [pins.pin(SALT, "u", epoch) for epoch in (4, 0, 3)] == [3, 3, 3]
    assert pins.find(SALT, "u") == 3


def test_looking_keeps_nothing(pins: PinStore) -> None:
    """A unit that was only looked for may still be pinned to anything."""
    assert pins.find(SALT, "u") is None
    assert pins.pin(SALT, "u", 7) == 7


def test_experiments_and_units_are_apart(pins: PinStore) -> None:
    """A salt and a unit together name a pin; neither runs over into the other, and epoch 0 is an epoch."""
    pairs = [("a/1", "u"), ("a/2", "u"), ("a/1", "U"), ("a/1", "u "), ("a/", "1u"), ("a", "/1u")]
    for epoch, (salt, unit) in enumerate(pairs):
        assert pins.pin(salt, unit, epoch) == epoch
    assert [pins.find(salt, unit) for salt, unit in pairs] == list(range(len(pairs)))


@pytest.mark.parametrize("unit", ["a\0b", "Zoë 🙂\n", "' OR 1=1 --", "é", "e\u0301", "x" * 1024])
def test_any_name_of_a_unit_is_kept(unit: str, pins: PinStore) -> None:
    """Whatever may be assigned may be pinned, and nothing else is found by it."""
    assert pins.pin(SALT, unit, 5) == 5
    assert pins.find(SALT, unit) == 5
    assert pins.find(SALT, unit[:-1] or "x") is None


@pytest.mark.parametrize("unit", ["", " ", "\ud800", "x" * 1025])
def test_what_cannot_name_a_unit_is_refused(unit: str, pins: PinStore) -> None:
    """With the same error as by assignment."""
    for call in (lambda: pins.pin(SALT, unit, 1), lambda: pins.find(SALT, unit)):
        with pytest.raises(UsageError, match=r"^a unit"):
            call()


def test_threads_agree(pins: PinStore) -> None:
    """Of many threads that pin one unit at once to different epochs, all are told the same one."""
    barrier = threading.Barrier(8)

    def pin(epoch: int) -> set[tuple[int, int]]:
        barrier.wait()
        return {(number, pins.pin(SALT, f"unit {number}", epoch)) for number in range(50)}

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(pin, range(8)))
    assert all(each == told[0] for each in told)


# What outlives who keeps it.


def run(script: str, *args: str) -> forked.Process:
    """A process of its own that runs a few lines with the pins at hand."""
    prelude = (
        "import sys\nfrom equipoise.assignment.opening import open_pins\npins = open_pins(sys.argv[1])\n"
    )
    return forked.Process([sys.executable, "-c", prelude + script, *args])  # fmt: skip


def test_pins_are_there_after_reopening(place: str) -> None:
    """Closing, twice even, loses none."""
    store = open_pins(place)
    store.pin(SALT, "u", 2)
    store.close()
    store.close()
    again = open_pins(place)
    assert again.find(SALT, "u") == 2
    assert again.pin(SALT, "u", 9) == 2
    again.close()


def test_processes_agree(place: str) -> None:
    """Processes that pin the same units at once, each to an epoch of its own, are told the same ones."""
    script = "print('ready', flush=True)\nsys.stdin.readline()\nprint([pins.pin('demo/1', f'unit {i}', int(sys.argv[2])) for i in range(100)])\npins.close()"
    processes = [run(script, place, str(epoch)) for epoch in (1, 2, 3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate(timeout=60) for process in processes]
    assert told[0] == told[1] == told[2]
    store = open_pins(place)
    assert told[0] == (f"{[store.find(SALT, f'unit {number}') for number in range(100)]}\n", "")
    store.close()


def test_many_may_make_one_store_together(place: str) -> None:
    """Whoever comes first makes it and the others open it; nobody is turned away."""
    barrier = threading.Barrier(4)

    def make(epoch: int) -> int:
        barrier.wait()
        store = open_pins(place)
        kept = store.pin(SALT, "u", epoch)
        store.close()
        return kept

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(make, range(4)))) == 1


def test_a_store_keeps_no_names(place: str, request: pytest.FixtureRequest) -> None:
    """What it holds of a unit is a digest: whoever reads the store learns nobody's id."""
    store = open_pins(place)
    store.pin(SALT, "ann@example.org", 1)
    store.close()
    if place.startswith("postgresql:"):
        schema = place.rpartition("=")[2]
        (row,) = request.getfixturevalue("postgres").ask(f"SELECT * FROM {schema}.equipoise_pins")
        assert tuple(row) == (SALT, unit_key("ann@example.org"), 1)
    else:
        assert b"ann@example.org" not in Path(place).read_bytes()


def test_a_closed_store_says_so(place: str, request: pytest.FixtureRequest) -> None:
    """Both verbs after closing are a RecordError, never the driver's own error."""
    store = open_pins(place)
    store.pin(SALT, "known", 1)
    store.close()
    if isinstance(store, PostgresPins):
        where, closed = f"at {store.name}", "it is closed"
        writing = "written"
    else:
        where, closed = place, "Cannot operate on a closed database."
        writing = "read"
    for verb, call in ((writing, lambda: store.pin(SALT, "u", 1)), ("read", lambda: store.find(SALT, "u"))):
        with pytest.raises(RecordError) as error:
            call()
        assert str(error.value) == f"the pins {where} could not be {verb}: {closed}"


def test_a_store_is_opened_by_its_name(tmp_path: Path, database: str) -> None:
    """`memory:`, a path, or the address of a database."""
    kinds: dict[str | Path, type[PinStore]] = {
        "memory:": MemoryPins,
        tmp_path / "a.db": SQLitePins,
        str(tmp_path / "b.db"): SQLitePins,
        database: PostgresPins,
        database.replace("postgresql:", "postgres:"): PostgresPins,
    }
    for where, kind in kinds.items():
        store = open_pins(where)
        assert type(store) is kind
        store.close()


# What the file promises besides.


def refused(make: Callable[[], PinStore]) -> str:
    with pytest.raises(RecordError) as error:
        make()
    return str(error.value)


def test_every_pin_is_on_disk_before_it_is_answered(tmp_path: Path) -> None:
    """The journal is a WAL, synchronous is FULL, others are waited for two seconds."""
    store = SQLitePins(tmp_path / "pins.db")
    ask = store._connection.execute
    assert ask("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert ask("PRAGMA synchronous").fetchone()[0] == 2
    assert ask("PRAGMA busy_timeout").fetchone()[0] == 2000
    assert ask("PRAGMA application_id").fetchone()[0] == int.from_bytes(b"EQPI", "big")
    assert ask("PRAGMA user_version").fetchone()[0] == 1
    store.close()


def test_a_locked_file_stops_new_pins_and_no_known_ones(tmp_path: Path) -> None:
    """While another writes, known units are answered at once; a new one waits, and then is an error."""
    path = tmp_path / "pins.db"
    store = SQLitePins(path)
    store.pin(SALT, "known", 4)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert store.pin(SALT, "known", 9) == 4
    assert store.find(SALT, "known") == 4
    started = time.monotonic()
    assert refused(lambda: store.pin(SALT, "new", 1)) == f"the pins {path} could not be written: database is locked"  # fmt: skip
    assert time.monotonic() - started > 1.5
    other.execute("ROLLBACK")
    other.close()
    assert store.pin(SALT, "new", 1) == 1
    store.close()


def test_places_that_hold_no_pins_are_refused(tmp_path: Path) -> None:
    """A folder, no folder, notes, a log, another program's database, a later format; each is left as it was."""
    path = tmp_path / "pins.db"
    assert refused(lambda: open_pins(tmp_path)) == f"{tmp_path} is a folder; name a file in it for the pins"
    inside = tmp_path / "absent" / "pins.db"
    assert refused(lambda: open_pins(inside)) == f"there is no folder {inside.parent} to keep the pins in; make it first"  # fmt: skip
    path.write_bytes(b"just notes\n" * 200)
    assert refused(lambda: open_pins(path)) == f"{path} cannot be used for pins: file is not a database"
    path.unlink()
    SQLiteLog(path).close()
    before = path.read_bytes()
    assert (
        refused(lambda: open_pins(path)) == f"{path} is an SQLite database of something else, not one of pins"
    )
    assert path.read_bytes() == before
    path.unlink()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.close()
    before = path.read_bytes()
    assert (
        refused(lambda: open_pins(path)) == f"{path} is an SQLite database of something else, not one of pins"
    )
    assert path.read_bytes() == before
    path.unlink()
    SQLitePins(path).close()
    later = sqlite3.connect(path)
    later.execute("PRAGMA user_version = 7")
    later.close()
    assert (
        refused(lambda: open_pins(path))
        == f"{path} was written by a later version (format 7, this one reads 1). Upgrade equipoise"
    )


# What the server promises besides.


def test_pins_outlive_the_server(database: str, postgres) -> None:
    """While it is away both verbs are a RecordError; after a restart the next call connects anew."""
    name = f"postgresql://postgres@127.0.0.1:{postgres.port}/postgres"
    silent = "no server answers there. Start it, or correct the address"
    store = PostgresPins(database)
    store.pin(SALT, "u", 2)
    postgres.stop()
    for verb, call in {
        "written": lambda: store.pin(SALT, "u", 3),
        "read": lambda: store.find(SALT, "u"),
    }.items():
        with pytest.raises(RecordError) as error:
            call()
        assert str(error.value) == f"the pins at {name} could not be {verb}: {silent}"
    assert refused(lambda: PostgresPins(database)) == f"{name} cannot be used for pins: {silent}"
    postgres.start()
    assert store.pin(SALT, "u", 3) == 2
    postgres.ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'equipoise'"
    )
    assert store.pin(SALT, "v", 3) == 3
    store.close()


def test_tables_of_something_else_are_refused(database: str, postgres) -> None:
    """And a later format; a log in the same schema is no hindrance."""
    name = f"postgresql://postgres@127.0.0.1:{postgres.port}/postgres"
    PostgresLog(database).close()
    PostgresPins(database).close()
    schema = database.rpartition("=")[2]
    postgres.ask(f"UPDATE {schema}.equipoise_pins_format SET format = 7")
    assert refused(lambda: open_pins(database)) == (
        f"the pins at {name} were written by a later version (format 7, this one reads 1). Upgrade equipoise"
    )
    postgres.ask(f"DROP TABLE {schema}.equipoise_pins_format")
    assert refused(lambda: open_pins(database)) == (
        f"the table equipoise_pins at {name} is one of something else, not one of pins"
    )


def test_without_the_driver_the_line_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is tried."""
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(MissingExtraError) as error:
        open_pins("postgres://127.0.0.1/postgres")
    assert str(error.value) == (
        "a store of pins in PostgreSQL needs the 'postgres' extra. Install it: pip install 'equipoise[postgres]'"
    )
