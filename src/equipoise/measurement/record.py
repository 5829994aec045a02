"""The event log as the source: exposures, and what happened to the exposed afterwards.

The bodies of facts go to the engine as they are kept, and the engine reads their JSON: no fact becomes an object.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import orjson

from equipoise.errors import DataError, RecordError
from equipoise.events.bodies import bodies_of
from equipoise.events.facts import Fact, Label
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import RETURNED, Quantity
from equipoise.measurement.canary import set_aside
from equipoise.measurement.clocks import NOT_AHEAD, Clocks
from equipoise.measurement.conversations import begin
from equipoise.measurement.counted import ENROLLED, turn_value
from equipoise.measurement.epochs import SETTLED
from equipoise.measurement.joining import apart, join
from equipoise.measurement.labels import answered
from equipoise.measurement.slots import name_blocks, wash_out
from equipoise.measurement.tables import covariate_names, quantities
from equipoise.measurement.tally import Aside, Read
from equipoise.measurement.warmth import warmth_by_arm
from equipoise.rollout.stages import State, canary_ended, fold

if TYPE_CHECKING:
    import duckdb

__all__ = ["log_facts"]

_MARKS = ("cancelled", "fallback", "redirected", "blocked")


def log_facts(
    connection: duckdb.DuckDBPyConnection, experiment: Experiment, log: EventLog, until: int | None = None
) -> tuple[Mapping[Quantity, str], Aside, Read]:
    """Make `facts` out of the log: an exposure, or the values of an event, in a row; values from first exposure on.

    `until` is the position in the log at which to stop reading, so that a look can be repeated.
    Returns the column of each quantity, what was set aside, and what was read. The latency of a turn that was
    cancelled is left out: it says how long somebody waited, not how long it would have taken.
    Raises DataError where nobody was exposed, or to an arm that is not declared; RecordError for a damaged fact.
    """
    names = {quantity: f"q{index}" for index, quantity in enumerate(quantities(experiment))}
    called = {
        stream: {name: quantity.name for quantity, name in names.items() if quantity.stream == stream}
        for stream in ("turn", "outcome", "score")
    }
    reading = _Reading(connection, experiment, log, log.head() if until is None else until)
    reading.exposures()
    correctable = [metric for metric in experiment.metrics if metric.correctable]
    slots = experiment.switchback is not None
    reading.turns(called["turn"], traced=slots or bool(called["score"]))
    for stream in ("outcome", "score"):
        if called[stream]:
            reading.values(stream, called[stream], drawn=stream == "score" and bool(correctable))
    if correctable:
        reading.labels()
    reading.settle()
    washed = wash_out(connection, experiment, [f"{each}s" for each in ("outcome", "score") if called[each]])
    moved = fold(reading.transitions(), State(digest=experiment.digest))
    ended, canary = canary_ended(experiment, moved), 0
    if ended is not None and math.isfinite(ended):
        canary = set_aside(
            connection,
            experiment,
            ended,
            ("turns", *(f"{each}s" for each in called if each != "turn" and called[each])),
        )
    lost, conflicts = reading.losses(), reading.conflicts()
    told = {f"{stream}s": list(of) for stream, of in called.items()}
    connection.execute(
        "CREATE TEMP TABLE firsts AS SELECT unit, min(happened) AS since FROM exposures GROUP BY unit"
    )
    begun = begin(connection, experiment, names)
    also = {"returns": [names[RETURNED]]} if RETURNED in names else {}
    join(connection, experiment, told | also, begun)
    orphans, early, counted, early_by = apart(connection, told, reading.sourced)
    (exposed,) = connection.execute("SELECT count(*) FROM exposures").fetchone() or (0,)
    unenrolled, marked = _of_turns(connection)
    latest, ahead = reading.clocks.latest()
    aside = Aside(
        orphans,
        early,
        unenrolled,
        lost,
        marked,
        warmth_by_arm(connection),
        conflicts,
        early_by,
        _judges(connection) if correctable else {},
        canary,
        ended is not None and math.isinf(ended),
        reading.clocks.told(),
        reading.redated,
        ahead,
        washed,
    )
    return names, aside, Read(reading.read, reading.digest, exposed + counted, reading.received(), latest)


class _Page(NamedTuple):
    """Facts as they are kept, field by field; `named` says that the word `source` stands in a body."""

    happened: Sequence[float]
    received: Sequence[float]
    bodies: Sequence[bytes]
    named: bool


class _Reading:
    """Facts on their way from the log to the engine, a page at a time, and the hash of what went by."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, experiment: Experiment, log: EventLog, until: int
    ) -> None:
        self._connection, self._experiment, self._log, self._until = connection, experiment, log, until
        self._times, self._bodies = hashlib.sha256(), hashlib.sha256()
        self.read: dict[str, int] = {}
        self.clocks, self.redated = Clocks(connection), 0
        # Tables with a `source`: most logs name none, and a column of nothing is not free.
        self.sourced: set[str] = set()
        # Tables with a `received`, since something in them may be wildly ahead.
        self._ahead: set[str] = set()
        self._position = 0

    @property
    def digest(self) -> str:
        """SHA-256 over how many facts of each kind were read, when they happened, and their bodies."""
        return hashlib.sha256(
            orjson.dumps([list(self.read.items()), self._times.hexdigest(), self._bodies.hexdigest()])
        ).hexdigest()

    def received(self) -> float | None:
        """When the last of the facts read was received, by the clock of whoever keeps the log."""
        for record in self._log.read_since(self._position - 1, experiment=self._experiment.name):
            return record.received
        return None

    def exposures(self) -> None:
        """`exposures`: unit, arm, time, cluster, segments and covariates of everyone exposed to this revision."""
        experiment, run = self._experiment, self._connection.execute
        shape = {
            "digest": "VARCHAR",
            "unit": "VARCHAR",
            "variant": "VARCHAR",
            "attributes": "MAP(VARCHAR, JSON)",
        }
        columns = {
            "digest": "told.digest",
            "unit": "told.unit",
            "variant": "told.variant",
            "happened": "happened",
            "received": "received",
            "cluster": _word(experiment.cluster),
        } | {f"s{index}": _word(segment) for index, segment in enumerate(experiment.segments)}
        columns |= {f"z{index}": _measure(name) for index, name in enumerate(covariate_names(experiment))}
        if experiment.method == "bandit":
            shape |= dict.fromkeys(SETTLED, "DOUBLE")
            columns |= {each: f"told.{each}" for each in SETTLED}
        self._fill("exposed", "exposure", shape, columns, given=("digest", "unit", "variant"))
        if experiment.switchback is not None:
            name_blocks(self._connection, experiment, "exposed")
            run("UPDATE exposed SET cluster = slots.block FROM slots WHERE slots.unit = exposed.unit")
        self._date(f"FROM exposed WHERE digest = '{experiment.digest}'")
        known = sorted(variant.name for variant in experiment.variants)
        stranger = run(
            f"SELECT variant FROM exposures WHERE variant NOT IN ({', '.join('?' * len(known))}) LIMIT 1",
            known,
        ).fetchone()
        if stranger is not None:
            raise DataError(
                f"the log has an exposure to '{stranger[0]}', which the definition does not; "
                f"it has: {', '.join(known)}"
            )
        if not run("SELECT 1 FROM exposures LIMIT 1").fetchone():
            raise DataError(
                f"the log holds no exposure to {experiment.identity} yet. Serve traffic through a Router with this log"
            )

    def _date(self, told: str) -> None:
        """`exposures`: those told, each at the time it happened, or was received where its clock is wildly off."""
        run, fence = self._connection.execute, self.clocks.fence("exposure")
        happened = "happened"
        if self.clocks.beyond(fence, "exposure"):
            # One clock without a battery would say that the experiment began in 1970.
            happened = f"CASE WHEN {fence.beyond} THEN received ELSE happened END AS happened"
            (self.redated,) = run(f"SELECT count(*) FILTER ({fence.beyond}) {told}").fetchone() or (0,)
        run(f"CREATE TEMP VIEW exposures AS SELECT * EXCLUDE (digest, happened, received), {happened} {told}")

    def turns(self, names: Mapping[str, str], *, traced: bool) -> None:
        """`turns`: whose, when, arm, marks, warmth, `traced` its trace, and for each of `names` the number so called."""
        wanted = {name: turn_value(quantity) for name, quantity in names.items()}
        numbers = {part for parts, _ in wanted.values() for part in parts}
        read = sorted(numbers | {*_MARKS, "warm", "latency_s", "error"})
        shape = dict.fromkeys(("unit", "variant", "reason"), "VARCHAR")
        shape |= {part: "JSON" if part == "checks" else "DOUBLE" for part in read}
        columns = {each: f"told.{each}" for each in ("unit", "variant", "reason")}
        columns |= {"happened": "happened"}
        columns |= {mark: f"coalesce(told.{mark} <> 0, false)" for mark in _MARKS}
        columns |= {"warm": "told.warm <> 0", "failed": "coalesce(told.error <> 0, false)"}
        columns |= {
            "answered_s": "CASE WHEN coalesce(told.cancelled <> 0 OR told.error <> 0, false) "
            "THEN NULL ELSE told.latency_s END"
        }
        columns |= {name: f"CAST({value} AS DOUBLE)" for name, (_, value) in wanted.items()}
        if self._experiment.unit.members is not None:
            shape, columns = shape | {"member": "VARCHAR"}, columns | {"member": "told.member"}
        if self._experiment.switchback is not None:
            columns |= {"began": "happened - coalesce(told.latency_s, 0)"}
        if traced:
            shape, columns = shape | {"trace": "VARCHAR"}, columns | {"trace": "told.trace"}
        self._fill("turns", "turn", shape, columns)

    def values(self, stream: str, names: Mapping[str, str], *, drawn: bool) -> None:
        """`outcomes` or `scores`: whose, when, and for each of `names` the value so called.

        Of what was `drawn`, also the item (a turn's trace, or the unit) and the probability of being scored.
        """
        number = _number("told.value")
        columns = {"unit": "told.unit", "name": "told.name", "happened": "happened"} | {
            name: f"CASE WHEN told.name = '{called}' THEN {number} END" for name, called in names.items()
        }
        shape = {"unit": "VARCHAR", "name": "VARCHAR", "value": "JSON"}
        if drawn:
            shape |= {"probability": "DOUBLE", "evaluator": "VARCHAR"}
            columns |= {
                "item": "coalesce(told.trace, told.unit)",
                "of_a_turn": "told.trace IS NOT NULL",
                "probability": "coalesce(told.probability, 1.0)",
                "evaluator": "told.evaluator",
            }
        if stream == "score" or self._experiment.switchback is not None:
            shape, columns = shape | {"trace": "VARCHAR"}, columns | {"trace": "told.trace"}
        self._fill(f"{stream}s", stream, shape, columns, given=("unit", "name"))

    def labels(self) -> None:
        """`labels`: of every item drawn at random what people said of it, by name, and the probability of asking them."""
        import pyarrow as pa

        told = []
        if self._counted("label"):
            for record in self._log.read_since(0, experiment=self._experiment.name, kinds=("label",)):
                if record.position > self._until:
                    break
                assert isinstance(record.fact, Label)
                told.append(record.fact)
        rows = [each for each in answered(told).items() if each[1].drawn == "audit"]
        table = pa.table(
            {
                "name": pa.array([name for (name, _), _ in rows], pa.string()),
                "item": pa.array([item for (_, item), _ in rows], pa.string()),
                "said": pa.array([each.value for _, each in rows], pa.float64()),
                "asked": pa.array([each.probability for _, each in rows], pa.float64()),
            }
        )
        self._connection.register("told_labels", table)
        self._connection.execute("CREATE TEMP TABLE labels AS SELECT * FROM told_labels")

    def settle(self) -> None:
        """What is dated wildly ahead happened when it was received, and a score when the turn did that it is of."""
        run, fence = self._connection.execute, self.clocks.fence()
        for table in sorted(self._ahead):
            run(f"UPDATE {table} SET happened = received WHERE received - happened < {fence.low!r}")
        if "score" in self.read and run("SELECT 1 FROM scores WHERE trace IS NOT NULL LIMIT 1").fetchone():
            run(
                """UPDATE scores SET happened = told.happened
                   FROM (SELECT unit, trace, min(happened) AS happened FROM turns GROUP BY unit, trace) AS told
                   WHERE scores.unit = told.unit AND scores.trace = told.trace"""
            )

    def transitions(self) -> Iterator[Fact]:
        """The moves from stage to stage. They are the ledger's, of which a look keeps what it rests on by itself."""
        for record in self._log.read_since(0, experiment=self._experiment.name, kinds=("transition",)):
            if record.position > self._until:
                break
            yield record.fact

    def losses(self) -> dict[str, int]:
        """What could not be kept while the record was away, by kind."""
        lost = Counter[str]()
        for page in self._pages("loss"):
            try:
                for body in page.bodies:
                    lost.update(orjson.loads(body)["facts"])
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise self._damaged("loss", error) from None
        return dict(lost)

    def conflicts(self) -> int:
        """Events that came under the id of another one."""
        return self._counted("conflict")

    def _counted(self, kind: str) -> int:
        """How many facts there are of a kind that came to be later than others."""
        found = sum(len(page.bodies) for page in self._pages(kind))
        if not found:
            # As a log without any was read before there were such facts: a look at it is still the same look.
            del self.read[kind]
        return found

    def _fill(
        self,
        table: str,
        kind: str,
        shape: Mapping[str, str],
        columns: Mapping[str, str],
        *,
        given: Sequence[str] = (),
    ) -> None:
        """A table of one kind of fact; `shape` is what is read of its JSON, `given` what no sound fact lacks."""
        import duckdb
        import pyarrow as pa

        run = self._connection.execute
        told = f"from_json(body, '{json.dumps(shape)}') AS told"
        selected = f"SELECT {', '.join(f'{value} AS {name}' for name, value in columns.items())}"
        run(
            f"CREATE TEMP TABLE {table} AS {selected} FROM "
            f"(SELECT 0.0::DOUBLE AS happened, 0.0::DOUBLE AS received, '{{}}' AS body, {told}) LIMIT 0"
        )
        for page in self._pages(kind):
            try:
                text = pa.array(page.bodies, pa.binary()).cast(pa.string())
                times = {"happened": page.happened, "received": page.received}
                numbers = {name: pa.array(of, pa.float64()) for name, of in times.items()}
                self._connection.register("page", pa.table(numbers | {"body": text}))
                if run("SELECT 1 FROM page WHERE NOT starts_with(body, '{') LIMIT 1").fetchone():
                    raise self._damaged(kind, ValueError("it is no JSON object"))
                rows, also = "page", ""
                if page.named:
                    rows, also = "(SELECT *, body->>'$.source' AS source FROM page)", ", source"
                    self._widen(table, self.sourced, "source VARCHAR")
                if (
                    "received" not in columns
                    and run(
                        f"SELECT 1 FROM page WHERE received - happened < {NOT_AHEAD!r} LIMIT 1"
                    ).fetchone()
                ):
                    also += ", received"
                    self._widen(table, self._ahead, "received DOUBLE")
                run(f"INSERT INTO {table} BY NAME {selected}{also} FROM (SELECT *, {told} FROM {rows})")
                self.clocks.count(kind, rows, named=page.named)
            except (pa.ArrowInvalid, duckdb.Error) as error:
                raise self._damaged(kind, error) from None
        lacking = " OR ".join(f"{name} IS NULL" for name in given)
        if lacking and run(f"SELECT 1 FROM {table} WHERE {lacking} LIMIT 1").fetchone():
            raise self._damaged(kind, ValueError(f"it lacks {' or '.join(given)}"))

    def _widen(self, table: str, widened: set[str], column: str) -> None:
        """A column of what few logs have, from the first page that has it on."""
        if table not in widened:
            self._connection.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
            widened.add(table)

    def _pages(self, kind: str) -> Iterator[_Page]:
        self.read[kind] = 0
        for page in bodies_of(self._log, self._experiment.name, kind, until=self._until):
            self.read[kind] += len(page)
            positions, happened, received, bodies = zip(*page, strict=True)
            self._position = max(self._position, positions[-1])
            self._times.update(_little_endian(happened))
            joined = b"\n".join(bodies)
            self._bodies.update(joined)
            self._bodies.update(b"\n")
            yield _Page(happened, received, bodies, b'"source":"' in joined)

    def _damaged(self, kind: str, error: Exception) -> RecordError:
        """The error about the first damaged fact of a kind, in the words of whoever reads it as a fact."""
        try:
            for record in self._log.read_since(0, experiment=self._experiment.name, kinds=(kind,)):
                if record.position > self._until:
                    break
        except RecordError as found:
            return found
        said = str(error).splitlines()[0]
        return RecordError(f"a {kind} of {self._experiment.name} in the log is damaged: {said}")


def _little_endian(numbers: Sequence[float]) -> bytes:
    packed = array("d", numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _number(value: str) -> str:
    """JSON as a number, true as 1. Words are no number, not even where they look like one."""
    return f"CASE WHEN json_type({value}) <> 'VARCHAR' THEN TRY_CAST({value} AS DOUBLE) END"


def _attribute(name: str) -> str:
    return f"told.attributes['{name.replace(chr(39), chr(39) * 2)}']"


def _measure(attribute: str) -> str:
    """An attribute as a number; NULL where it was not known or is no number."""
    return _number(_attribute(attribute))


def _word(attribute: str | None) -> str:
    """An attribute as text, as a table's column would be read; NULL where it was not known."""
    if attribute is None:
        return "CAST(NULL AS VARCHAR)"
    value = _attribute(attribute)
    return f"CASE json_type({value}) WHEN 'NULL' THEN NULL ELSE {value}->>'$' END"


def _judges(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How many evaluators gave the scores of a name, where there is more than one."""
    return dict(
        connection.execute(
            """SELECT name, count(DISTINCT evaluator) AS n FROM scores JOIN firsts USING (unit)
               GROUP BY name HAVING n > 1 ORDER BY name"""
        ).fetchall()
    )


def _of_turns(connection: duckdb.DuckDBPyConnection) -> tuple[dict[str, int], dict[str, int]]:
    """Turns outside the experiment by reason, and turns within it by mark."""
    unenrolled = dict(
        connection.execute(
            f"SELECT reason, count(*) FROM turns WHERE NOT ({ENROLLED}) GROUP BY reason ORDER BY reason"
        ).fetchall()
    )
    counts = connection.execute(
        f"SELECT {', '.join(f'count(*) FILTER ({mark})' for mark in _MARKS)} FROM turns WHERE {ENROLLED}"
    ).fetchone() or (0,) * len(_MARKS)
    return unenrolled, {mark: count for mark, count in zip(_MARKS, counts, strict=True) if count}
