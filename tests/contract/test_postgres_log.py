"""What the log in PostgreSQL promises besides what every log does (test_event_log.py): machines and servers."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import forked
import pytest

from equipoise.clock import ManualClock
from equipoise.errors import MissingExtraError, RecordError, UsageError
from equipoise.events import postgres as module
from equipoise.events.facts import Outcome
from equipoise.events.log import EventLog, Receipt, StaleHeadError
from equipoise.events.opening import open_log
from equipoise.events.postgres import PostgresLog


def outcome(unit: str = "u", value: float = 1.0, **more: Any) -> Outcome:
    return Outcome(**{"experiment": "e", "happened": 1.0, "unit": unit, "name": "n", "value": value} | more)


@pytest.fixture
def log(database: str) -> Iterator[PostgresLog]:
    opened = PostgresLog(database)
    yield opened
    opened.close()


def run(script: str, *args: str) -> forked.Process:
    """A process of its own that runs a few lines with a log at hand."""
    prelude = (
        "import sys\nfrom equipoise.errors import RecordError\nfrom equipoise.events.opening import open_log\n"
        "from equipoise.events.log import StaleHeadError\nfrom equipoise.events.facts import Outcome\n"
        "def fact(unit, value=True): return Outcome(experiment='e', happened=1.0, unit=unit, name='n', value=value)\n"
        "log = open_log(sys.argv[1])\n"
    )
    return forked.Process([sys.executable, "-c", prelude + script, *args])  # fmt: skip


def refused(url: str, **options: Any) -> str:
    with pytest.raises(RecordError) as error:
        PostgresLog(url, **options)
    return str(error.value)


def shown(postgres) -> str:
    return f"postgresql://postgres@127.0.0.1:{postgres.port}/postgres"


# Several writers.


def test_a_reader_beside_two_writing_processes_skips_nothing(database: str) -> None:
    """A reader that goes on from the last position it saw meets 1, 2, 3 … without a gap, while others write."""
    script = (
        "for i in range(150): log.append([fact(sys.argv[2], i), fact(sys.argv[2], i + 0.5)])\nlog.close()"
    )
    log = open_log(database)
    writers = [run(script, database, name) for name in ("a", "b")]
    met: list[int] = []
    facts: list[Outcome] = []
    while len(met) < 600:
        ended = all(writer.poll() is not None for writer in writers)
        for record in log.read_since(met[-1] if met else 0):
            assert isinstance(record.fact, Outcome)
            met.append(record.position)
            facts.append(record.fact)
        if ended:
            break
    for writer in writers:
        assert writer.communicate(timeout=60) == ("", "")
    assert met == list(range(1, 601))
    assert log.head() == 600
    for name in ("a", "b"):
        assert [fact.value for fact in facts if fact.unit == name] == [half / 2 for half in range(300)]
    log.close()


def test_of_two_threads_with_logs_of_their_own_one_wins(database: str) -> None:
    """append_if holds between connections: of two that read the same head exactly one is kept, each time."""
    logs = [PostgresLog(database) for _ in range(2)]
    for number in range(25):
        barrier = threading.Barrier(2)

        def decide(log: PostgresLog, head: int = number, barrier: threading.Barrier = barrier) -> str:
            barrier.wait()
            try:
                log.append_if([outcome()], head, experiment="e", kinds=("outcome",))
            except StaleHeadError as stale:
                return f"lost to {stale.found} after {stale.expected}"
            return "won"

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(decide, logs)) == [f"lost to {number + 1} after {number}", "won"]
    assert logs[0].head() == 25
    for log in logs:
        log.close()


def test_of_two_processes_that_decide_one_wins(log: PostgresLog, database: str) -> None:
    """And between processes."""
    script = (
        "head = log.head()\nprint(head, flush=True)\nsys.stdin.readline()\n"
        "try:\n    log.append_if([fact('u')], head); print('won')\nexcept StaleHeadError: print('lost')\nlog.close()\n"
    )
    deciders = [run(script, database) for _ in range(3)]
    for decider in deciders:
        assert decider.stdout is not None
        assert decider.stdout.readline() == "0\n"
    for decider in deciders:
        assert decider.stdin is not None
        decider.stdin.write("go\n")
        decider.stdin.flush()
    answers = sorted(decider.communicate(timeout=60)[0].strip() for decider in deciders)
    assert answers == ["lost", "lost", "won"]
    assert log.head() == 1


def test_many_may_create_one_log_together(postgres) -> None:
    """Whoever comes first makes the table and the others open it; nobody is turned away."""
    barrier = threading.Barrier(4)

    def make(url: str) -> int:
        barrier.wait()
        log = PostgresLog(url)
        log.append([outcome()])
        log.close()
        return 1

    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            url = postgres.database()
            assert sum(pool.map(make, [url] * 4)) == 4
            log = PostgresLog(url, create=False)
            assert log.head() == 4
            log.close()


def test_a_long_delivery_is_kept_in_one_piece(log: PostgresLog) -> None:
    """More facts than are sent at a time: positions in order, repeats found across the seams, all or none."""
    facts = [outcome(value=index) for index in range(12_000)]
    assert log.append([*facts, *facts[:10]]) == Receipt(accepted=12_000, repeated=10, head=12_000)
    assert [record.fact for record in log.read_since()] == facts
    with pytest.raises(UsageError):
        log.append([*(outcome() for _ in range(6_000)), outcome(experiment="a\0b")])
    assert log.head() == 12_000


def test_the_time_of_arrival_is_the_servers(log: PostgresLog, postgres) -> None:
    """Machines whose clocks differ agree on when a fact arrived."""
    before = float(postgres.ask("SELECT extract(epoch FROM clock_timestamp()) AS now")[0]["now"])
    log.append([outcome(), outcome()])
    after = float(postgres.ask("SELECT extract(epoch FROM clock_timestamp()) AS now")[0]["now"])
    first, second = (record.received for record in log.read_since())
    assert before - 0.001 <= first == second <= after + 0.001


# News.


def test_news_of_another_connection_ends_a_wait_without_the_poll(
    log: PostgresLog, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server tells whoever listens; with the poll out of reach nothing else could."""
    monkeypatch.setattr(module, "_POLL", 3600.0)
    heads: list[int] = []
    waiting = [threading.Thread(target=lambda: heads.append(log.wait(0, 3600.0)), daemon=True) for _ in range(3)]  # fmt: skip
    for thread in waiting:
        thread.start()
    while log._listener is None:
        time.sleep(0.01)
    other = PostgresLog(database)
    other.append([outcome()])
    for thread in waiting:
        thread.join(60)
    assert heads == [1, 1, 1]
    other.close()


def test_the_poll_finds_what_nobody_told(
    log: PostgresLog, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where listening does not work, as behind a pooler, news comes a little later."""

    async def deaf(self: PostgresLog) -> None:
        pass

    monkeypatch.setattr(PostgresLog, "_listen", deaf)
    writer = run("import time\ntime.sleep(0.5)\nlog.append([fact('u')])\nlog.close()", database)
    assert log.wait(0, timeout=120.0) == 1
    assert writer.communicate(timeout=60) == ("", "")


# A server that goes and comes.


def test_after_a_restart_the_next_call_connects_anew(log: PostgresLog, database: str, postgres) -> None:
    """While the server is away each verb is a RecordError with a sentence; afterwards all goes on, with nothing lost."""
    log.append([outcome(value=1)])
    assert log.wait(0, 0.0) == 1
    listener = log._listener
    postgres.stop()
    away = f"the log {shown(postgres)} could not be %s: no server answers there. Start it, or correct the address"
    calls: list[tuple[str, Callable[[], object]]] = [
        ("written", lambda: log.append([outcome()])),
        ("written", lambda: log.append_if([outcome()], 1)),
        ("read", lambda: list(log.read_since())),
        ("read", log.head),
        ("read", lambda: log.wait(5, 60.0)),
    ]
    for verb, call in calls:
        with pytest.raises(RecordError) as error:
            call()
        assert str(error.value) == away % verb
    assert refused(database) == (
        f"{shown(postgres)} cannot be used as a log: no server answers there. Start it, or correct the address"
    )
    postgres.start()
    assert log.append([outcome(value=2)]) == Receipt(accepted=1, repeated=0, head=2)
    assert [getattr(record.fact, "value", None) for record in log.read_since()] == [1, 2]
    assert log.wait(1, 60.0) == 2
    assert log._listener is not listener


def test_a_restart_between_two_calls_is_not_noticed(log: PostgresLog, postgres) -> None:
    """Connections that died meanwhile are made anew without an error."""
    log.append([outcome()])
    postgres.stop()
    postgres.start()
    assert log.append_if([outcome()], 1).head == 2
    postgres.ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'equipoise'"
    )
    assert log.append([outcome()]).head == 3


def cut_while_writing(database: str, call: Callable[[], object]) -> object:
    """What becomes of a call whose connection is cut while it stands in line to write."""
    import asyncpg

    async def cut() -> object:
        blocker, operator = await asyncpg.connect(database), await asyncpg.connect(database)

        async def standing() -> int:
            """The first that stands in line, once there is one."""
            found: int | None = None
            while found is None:
                found = await operator.fetchval(
                    "SELECT pid FROM pg_stat_activity WHERE application_name = 'equipoise' AND wait_event_type = 'Lock'"
                )
            return found

        try:
            async with blocker.transaction():
                await blocker.execute("SELECT head FROM equipoise_events_head FOR UPDATE")
                doing = asyncio.get_running_loop().run_in_executor(None, call)
                # Waits until it has ended, for so many milliseconds at most.
                await operator.execute(f"SELECT pg_terminate_backend({await standing()}, 30000)")
            return await doing
        finally:
            await blocker.close()
            await operator.close()

    return asyncio.run(cut())


def test_a_delivery_whose_connection_is_cut_is_repeated(log: PostgresLog, database: str) -> None:
    """Re-delivering is harmless, so `append` does it by itself: the caller sees one delivery, kept once."""
    receipt = cut_while_writing(database, lambda: log.append([outcome()]))
    assert receipt == Receipt(accepted=1, repeated=0, head=1)


def test_a_decision_whose_connection_is_cut_is_not_repeated(
    log: PostgresLog, database: str, postgres
) -> None:
    """It might have been kept, and would then be refused because of itself; whoever decides looks again."""
    with pytest.raises(RecordError) as error:
        cut_while_writing(database, lambda: log.append_if([outcome()], 0))
    assert str(error.value) == (
        f"the log {shown(postgres)} could not be written: the connection to the server was lost"
    )
    assert not isinstance(error.value, StaleHeadError)
    assert log.append_if([outcome()], 0).head == 1


# Places that are none.


def test_the_password_is_never_shown(postgres) -> None:
    """Not in a message, nor anywhere in what is printed with it."""
    secret = f"hunter{postgres.port}"
    with pytest.raises(RecordError) as error:
        PostgresLog(f"postgresql://guarded:{secret}@127.0.0.1:{postgres.port}/postgres")
    assert str(error.value) == (
        f"postgresql://guarded@127.0.0.1:{postgres.port}/postgres cannot be used as a log: password authentication "
        'failed for user "guarded". Check the user and the password in the address'
    )
    assert secret not in "".join(traceback.format_exception(error.value))
    right = PostgresLog(f"postgresql://guarded:open%20sesame@127.0.0.1:{postgres.port}/postgres?search_path={postgres_schema(postgres)}")  # fmt: skip
    assert right.head() == 0
    assert right.name == f"postgresql://guarded@127.0.0.1:{postgres.port}/postgres"
    right.close()


def postgres_schema(postgres) -> str:
    name = postgres.database().rpartition("=")[2]
    postgres.ask(f"GRANT ALL ON SCHEMA {name} TO guarded")
    return str(name)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:pa/ss@db.example/prod",
        "postgresql://ann:12/34@db.example/prod",
        "postgresql://ann:12?34@db.example/prod",
        "postgresql://ann:12#34@db.example/prod",
        "postgresql://ann:1@2/3@db.example/prod",
        "postgresql://ann:pass[word@db.example/prod",
        "postgresql://ann:pa:ss@db.example:port/prod",
    ],
)
def test_an_address_whose_password_was_not_escaped_is_refused_unseen(url: str) -> None:
    """What cannot be told apart from a password is not repeated; the sentence says how to write it."""
    assert refused(url) == (
        "this address of a PostgreSQL server cannot be read. It looks like "
        "postgresql://user:password@host:5432/database; the characters @ : / ? # % of a password are written "
        "%40 %3A %2F %3F %23 %25"
    )


def test_a_database_that_is_absent_is_refused(postgres) -> None:
    """By the server's own words; and so is a schema."""
    there = f"postgresql://postgres@127.0.0.1:{postgres.port}"
    assert refused(f"{there}/absent") == (
        f'{there}/absent cannot be used as a log: database "absent" does not exist'
    )
    assert refused(f"{there}/postgres?search_path=absent") == (
        f"{there}/postgres cannot be used as a log: no schema has been selected to create in"
    )
    assert refused(f"{there}/postgres?sslmode=perhaps") == (
        f"{there}/postgres cannot be used as a log: an option in the address is not one that PostgreSQL knows"
    )


def test_a_log_that_must_exist_is_not_made(database: str, postgres) -> None:
    """Without leave to create, an absent table is an error and stays absent."""
    sentence = (
        f"there is no log at {shown(postgres)}. Register an experiment first, or name the log with --log"
    )
    for _ in range(2):
        with pytest.raises(RecordError) as error:
            open_log(database, create=False)
        assert str(error.value) == sentence


@pytest.mark.parametrize(
    "table", ["equipoise_events (event_id text)", "equipoise_events (a int)", "equipoise_events_head (b int)"]
)
def test_the_table_of_another_program_is_refused(table: str, database: str, postgres) -> None:
    """And nothing is made beside it."""
    schema = database.rpartition("=")[2]
    postgres.ask(f"CREATE TABLE {schema}.{table}")
    assert refused(database) == (
        f"the table equipoise_events at {shown(postgres)} is one of something else, not an event log"
    )
    assert len(postgres.ask(f"SELECT FROM pg_tables WHERE schemaname = '{schema}'")) == 1


def test_the_log_of_a_later_version_is_refused(log: PostgresLog, database: str, postgres) -> None:
    """The message names both formats and what to do."""
    schema = database.rpartition("=")[2]
    assert postgres.ask(f"SELECT format FROM {schema}.equipoise_events_head")[0]["format"] == 1
    postgres.ask(f"UPDATE {schema}.equipoise_events_head SET format = 7")
    assert refused(database) == (
        f"{shown(postgres)} was written by a later version (format 7, this one reads 2). Upgrade equipoise"
    )


def test_a_table_may_have_a_name_and_a_schema(database: str, postgres) -> None:
    """Two logs in one database know nothing of each other; a name that could be anything else is refused."""
    schema = postgres.database().rpartition("=")[2]
    one, other = PostgresLog(database, table="Trial"), PostgresLog(database, table=f"{schema}.Trial")
    one.append([outcome()])
    assert (one.head(), other.head()) == (1, 0)
    other.append([outcome(), outcome()])
    assert (one.wait(0, 0.0), other.wait(0, 0.0)) == (1, 2)
    postgres.ask(f"CREATE SCHEMA {'s' * 58}")
    longest = PostgresLog(database, table=f"{'s' * 58}.{'t' * 58}")
    longest.append([outcome()])
    assert longest.wait(0, 0.0) == 1
    assert longest._listener is not None
    longest.close()
    one.close()
    other.close()
    for name in ("", "a.b.c", 'x"; DROP TABLE events; --', "a" * 59, "é"):
        with pytest.raises(UsageError) as error:
            PostgresLog(database, table=name)
        assert str(error.value) == (
            f"{name!r} cannot name the table of a log; accepted: letters, digits and underscores, at most 58, "
            "with a schema and a point before them or without"
        )


def test_a_session_is_durable_and_cannot_hold_up_the_others(database: str, postgres) -> None:
    """Whatever the server's defaults: a commit is on disk when acknowledged, and a frozen writer loses its turn."""
    log = PostgresLog(f"{database}&synchronous_commit=off&default_transaction_isolation=serializable")

    async def settings(connection: Any) -> list[str]:
        return [await connection.fetchval(f"SHOW {name}") for name in ("synchronous_commit", "default_transaction_isolation", "idle_in_transaction_session_timeout")]  # fmt: skip

    assert log._connections.run(settings, "asked") == ["on", "read committed", "5s"]
    log.close()


def test_a_closed_log_says_so(database: str, postgres) -> None:
    """Every verb after closing is a RecordError, and so is a wait that closing ends."""
    log = PostgresLog(database, clock=ManualClock(77.0))
    ended: list[str] = []

    def wait() -> None:
        try:
            log.wait(0, 3600.0)
        except RecordError as error:
            ended.append(str(error))

    waiting = threading.Thread(target=wait)
    waiting.start()
    while log._listener is None:
        time.sleep(0.01)
    log.close()
    log.close()
    waiting.join()
    assert ended == [f"the log {shown(postgres)} could not be read: it is closed"]
    calls: list[tuple[str, Callable[[], object]]] = [
        ("written", lambda: log.append([outcome()])),
        ("read", lambda: list(log.read_since())),
        ("read", log.head),
        ("read", lambda: log.wait(0, 1.0)),
    ]
    for verb, call in calls:
        with pytest.raises(RecordError) as error:
            call()
        assert str(error.value) == f"the log {shown(postgres)} could not be {verb}: it is closed"


def test_a_forked_process_opens_its_own(database: str, postgres) -> None:
    """A connection is not shared with a child: there the log says so, and does not hang."""
    script = (
        "import os, warnings\nwarnings.simplefilter('ignore')\nlog.append([fact('u')])\n"
        "if os.fork() == 0:\n"
        "    try: log.head()\n    except RecordError as error: print(error, flush=True)\n"
        "    log.close()\n    os._exit(0)\n"
        "os.wait()\nprint(log.head())\nlog.close()\n"
    )
    assert run(script, database).communicate(timeout=60) == (
        f"the log {shown(postgres)} could not be read: it was opened by another process; open it anew in each process\n1\n",
        "",
    )


def test_without_the_driver_the_line_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is tried."""
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(MissingExtraError) as error:
        open_log("postgres://127.0.0.1/postgres")
    assert str(error.value) == (
        "a log in PostgreSQL needs the 'postgres' extra. Install it: pip install 'equipoise[postgres]'"
    )


def test_an_address_is_opened_as_a_log(database: str) -> None:
    """By either name of the scheme."""
    for url in (database, database.replace("postgresql:", "postgres:")):
        log = open_log(url)
        assert isinstance(log, PostgresLog)
        assert isinstance(log, EventLog)
        log.close()
