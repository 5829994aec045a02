"""Sessions of the embedded engine: one engine serves a process, and nobody sees what another has made."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from equipoise.measurement.tables import _engine, connect


def test_what_one_session_makes_is_nobody_elses() -> None:
    """Tables, frames and settings of a session are not there in the next, nor after its end."""
    one, other = connect(), connect()
    one.execute("CREATE TEMP TABLE units AS SELECT 1 AS n")
    one.execute("SET TimeZone = 'Asia/Tokyo'")
    other.execute("CREATE TEMP TABLE units AS SELECT 2 AS n")
    assert [each.execute("SELECT n FROM units").fetchall() for each in (one, other)] == [[(1,)], [(2,)]]
    assert other.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
    for session, letter in ((one, "a"), (other, "b")):
        session.register("source_rows", pa.table({"letter": [letter]}))
    found = [each.execute("SELECT letter FROM source_rows").fetchall() for each in (one, other)]
    assert found == [[("a",)], [("b",)]]
    one.close()
    for name in ("units", "source_rows"):
        with connect() as third, pytest.raises(duckdb.CatalogException):
            third.execute(f"SELECT * FROM {name}")
    assert other.execute("SELECT letter FROM source_rows").fetchall() == [("b",)]
    assert other.execute("SELECT n FROM units").fetchall() == [(2,)]
    other.close()


def test_every_session_adds_in_one_order_and_fetches_nothing() -> None:
    """One thread, no extension by itself, and files are read anew each time."""
    names = ("threads", "autoinstall_known_extensions", "autoload_known_extensions", "enable_external_file_cache", "TimeZone")  # fmt: skip
    with connect() as session:
        said = [session.execute(f"SELECT current_setting('{name}')").fetchall() for name in names]
    assert said == [[(1,)], [(False,)], [(False,)], [(False,)], [("UTC",)]]


def test_a_file_that_changed_is_read_as_it_is(tmp_path: Path) -> None:
    """Although the engine has read one of that name before, of that size, and of that time."""
    path = tmp_path / "t.parquet"
    for number in (1, 2):
        with connect() as session:
            session.execute(f"COPY (SELECT {number} AS n) TO '{path}' (FORMAT parquet)")
            os.utime(path, (1e9, 1e9))
            assert session.execute(f"SELECT n FROM read_parquet('{path}')").fetchall() == [(number,)]


def test_threads_count_side_by_side() -> None:
    """Forty sums in eight threads, each in a session of its own."""

    def counted(number: int) -> int:
        with connect() as session:
            session.execute(f"CREATE TEMP TABLE units AS SELECT range AS n FROM range({number * 1000})")
            ((found,),) = session.execute("SELECT sum(n) FROM units").fetchall()
        return int(found)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(counted, range(1, 41)))
    assert found == [n * 1000 * (n * 1000 - 1) // 2 for n in range(1, 41)]


def test_an_engine_that_is_broken_is_replaced() -> None:
    """Whoever comes next gets a session of another one."""
    connect().close()
    broken = _engine(os.getpid())
    broken.close()
    with connect() as session:
        assert session.execute("SELECT 1").fetchall() == [(1,)]
    assert _engine(os.getpid()) is not broken


def _told(answers: multiprocessing.SimpleQueue) -> None:
    with connect() as session:
        answers.put(session.execute("SELECT sum(range) FROM range(1000)").fetchall())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
def test_a_forked_process_has_an_engine_of_its_own() -> None:
    """What its parent has open is left alone, while a session of the parent lives."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    with connect() as session:
        session.execute("CREATE TEMP TABLE units AS SELECT 1 AS n")
        child = context.Process(target=_told, args=(answers,))
        child.start()
        child.join()
        assert (child.exitcode, answers.get()) == (0, [(499_500,)])
        assert session.execute("SELECT n FROM units").fetchall() == [(1,)]
