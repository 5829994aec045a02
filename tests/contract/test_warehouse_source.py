"""`source.connection`: a table in somebody's warehouse as the source of an experiment, from the definition on."""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path

import forked
import ibis
import pytest
from elsewhere import bandit, plays, slots, turns_of

from equipoise import analyze, load_experiment
from equipoise.conduct.look import look
from equipoise.conduct.register import register
from equipoise.conduct.verify import verify
from equipoise.errors import DataError, DefinitionError, MissingExtraError, UsageError
from equipoise.events.log import MemoryLog

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

DEFINITION = """
name: elsewhere
hypothesis: Somebody else's assignment, in somebody else's database.
unit: {{type: user}}
variants: {{control: {{}}, b: {{}}}}
metrics:
  won: {{priority: primary, kind: proportion, of: outcome.won, better: higher}}
  spent: {{priority: guardrail, kind: mean, of: outcome.spent, better: lower, margin: 1.0}}
source:
  connection: {connection}
  table: {table}
  unit: id
  variant: arm
  columns: {{outcome.won: won, outcome.spent: spent}}
"""


def definition(folder: Path, connection: str, table: str = "analytics.rows") -> Path:
    path = folder / "elsewhere.yaml"
    path.write_text(DEFINITION.format(connection=connection, table=table), encoding="utf-8")
    return path


def said(call, kind: type[Exception]) -> str:
    with pytest.raises(kind) as refused:
        call()
    return str(refused.value)


@pytest.fixture(scope="module")
def filled(postgres):
    """A schema of its own with 400 units, which a user with a password may read."""
    rng = random.Random(4)
    rows = ", ".join(
        f"({n}, '{'b' if n % 2 else 'control'}', {rng.random() < (0.7 if n % 2 else 0.5)}, {rng.randrange(100) / 8})"
        for n in range(400)
    )
    postgres.ask("CREATE SCHEMA analytics")
    postgres.ask("CREATE TABLE analytics.rows (id int, arm text, won boolean, spent numeric)")
    postgres.ask(f"INSERT INTO analytics.rows VALUES {rows}")
    postgres.ask("GRANT USAGE ON SCHEMA analytics TO guarded")
    postgres.ask("GRANT SELECT ON analytics.rows TO guarded")
    yield postgres
    postgres.ask("DROP SCHEMA analytics CASCADE")


def test_the_command_reads_out_a_warehouse_by_an_address_from_the_environment(filled, tmp_path):
    """`equipoise analyze FILE`: the verdict on the table, its password neither in the file nor in what is shown."""
    path = definition(tmp_path, "env:SHOP")
    address = filled.url.replace("postgres@", "guarded:open%20sesame@")
    done = forked.run(
        [sys.executable, "-c", "from equipoise.cli.main import run; run()", "analyze", str(path), "--json"],
        cwd=tmp_path,
        env=os.environ | {"SHOP": address},
    )
    assert done.stderr == ""
    shown = json.loads(done.stdout)
    assert shown["source"] == "the table rows in postgres"
    assert (shown["verdict"]["word"] if isinstance(shown["verdict"], dict) else shown["verdict"]) == "ship"
    assert "sesame" not in done.stdout


def test_a_recorded_look_at_a_warehouse_is_verified_to_nine_digits(filled, tmp_path):
    """A look is taken, taken again after the verdict, and verified, each time from the warehouse."""
    experiment = load_experiment(definition(tmp_path, "env:SHOP"))
    log = MemoryLog()
    register(log, experiment, by="a test")
    variable = {"SHOP": filled.url}.get
    first = look(log, "elsewhere", closing=True, variable=variable)
    assert first.verdict.word == look(log, "elsewhere", variable=variable).verdict.word == "ship"
    assert [each.answer for each in verify(log, "elsewhere", variable=variable).looks] == ["same"]


@pytest.mark.parametrize("design", ["bandit", "switchback"])
def test_a_look_at_other_designs_in_a_warehouse_is_verified_to_nine_digits(tmp_path, design):
    """Registered, looked at to the end and verified, where the rows are: a bandit by epoch, a switchback by slot."""
    address, common = f"duckdb://{tmp_path}/shop.db", {"unit": "unit", "variant": "variant", "time": "time"}
    columns = {each: each.split(".")[1] for each in ("turn.cost_usd", "turn.count", "turn.latency_s")}
    source = common | {"connection": address, "table": "rows", "columns": columns}
    if design == "bandit":
        columns |= {"outcome.answered": "answered", "tier": "tier", "before": "before"}
        experiment, rows = bandit(tmp_path, f"source: {json.dumps(source)}\n"), plays(12, units=900)
    else:
        experiment = slots(source=source)
        rows = turns_of(experiment, 2, seed=13)
    filling = ibis.duckdb.connect(tmp_path / "shop.db")
    filling.create_table("rows", rows)
    filling.disconnect()
    log = MemoryLog()
    register(log, experiment, by="a test")
    seen = look(log, experiment.name, closing=True)
    assert seen.findings.measurement.source == "the table rows in duckdb"
    assert seen.verdict.word != "invalid"
    assert [each.answer for each in verify(log, experiment.name).looks] == ["same"]


def test_what_is_not_there_is_refused_without_the_password(filled, tmp_path):
    """No variable, no address in it, no server, no table, no right to it: a sentence each, and never the password."""
    experiment = load_experiment(definition(tmp_path, "env:SHOP"))
    assert said(lambda: analyze(experiment, variable={}.get), UsageError) == (
        "the environment variable SHOP is not set, and `source.connection` names it. "
        "Set it: export SHOP=postgresql://user:password@host/database"
    )
    assert said(lambda: analyze(experiment, variable={"SHOP": "open sesame"}.get), UsageError) == (
        "the environment variable SHOP holds no address; accepted: postgresql://user:password@host/database"
    )
    wrong = filled.url.replace("postgres@", "guarded:close%20sesame@")
    text = said(lambda: analyze(experiment, variable={"SHOP": wrong}.get), DataError)
    assert text.startswith("the warehouse of `source.connection` cannot be reached: ")
    assert "sesame" not in text
    unknown = "nosuchengine://u:open-sesame@h/d"
    text = said(lambda: analyze(experiment, variable={"SHOP": unknown}.get), DataError)
    assert text.startswith("the warehouse of `source.connection` cannot be reached: ")
    assert "sesame" not in text
    absent = load_experiment(definition(tmp_path, "env:SHOP", "analytics.nowhere"))
    text = said(lambda: analyze(absent, variable={"SHOP": filled.url}.get), DataError)
    assert text.startswith("postgres has no table 'analytics.nowhere' for this user: ")
    assert text.endswith(". Check `source.table`")


def test_without_the_extra_the_line_that_installs_it_is_told(tmp_path, monkeypatch):
    """A warehouse in the definition and no Ibis: one sentence."""
    experiment = load_experiment(definition(tmp_path, "env:SHOP"))
    monkeypatch.setitem(sys.modules, "ibis", None)
    assert said(lambda: analyze(experiment), MissingExtraError) == (
        "`source.connection` needs the 'warehouse' extra. Install it: pip install 'equipoise[warehouse]'"
    )


def test_an_address_in_the_file_may_hold_no_password(tmp_path):
    """A definition is read by many; what is no address is refused as well."""
    accepted = "env:NAME, the environment variable with the address, or an address without a password: postgresql://host/database"
    place = f"{tmp_path}/elsewhere.yaml:10: source.connection"
    for connection, problem in {
        "postgresql://me:sesame@host/shop": "the address holds a password, and a definition is read by many",
        "postgresql://host/shop?password=sesame": "the address holds a password, and a definition is read by many",
        "a database": "'a database' is no address",
        "env:my shop": "'env:my shop' names no environment variable",
    }.items():
        text = said(lambda each=connection: load_experiment(definition(tmp_path, each)), DefinitionError)
        assert text.startswith(f"{place}: {problem}; accepted: {accepted}")
        assert "sesame" not in text
