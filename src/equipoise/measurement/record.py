"""The event log as the source: exposures, and what happened to the exposed afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from equipoise.errors import DataError
from equipoise.events.facts import Exposure, Fact, Loss, Outcome, Score, Turn
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Quantity
from equipoise.measurement.tables import quantities
from equipoise.measurement.tally import Aside
from equipoise.measurement.warmth import Warmth

if TYPE_CHECKING:
    import duckdb

__all__ = ["log_facts"]

_MARKS = ("cancelled", "fallback", "redirected", "blocked")
_CENSORED = ("latency_s", "tpot_s")


def log_facts(
    connection: duckdb.DuckDBPyConnection, experiment: Experiment, log: EventLog, until: int | None = None
) -> tuple[Mapping[Quantity, str], Aside]:
    """Make `facts` out of the log: an exposure or a value per row, values only from first exposure on.

    `until` is the position in the log at which to stop reading, so that a look can be repeated.
    Returns the column of each quantity, and what was set aside. The latency of a turn that was cancelled is
    left out: it says how long somebody waited, not how long it would have taken.
    """
    import pyarrow as pa

    names = {quantity: f"q{index}" for index, quantity in enumerate(quantities(experiment))}
    segments = {segment: f"s{index}" for index, segment in enumerate(experiment.segments)}
    exposures: dict[str, list[Any]] = {
        name: [] for name in ("unit", "variant", "happened", "cluster", *segments.values())
    }
    values: dict[str, list[Any]] = {"unit": [], "quantity": [], "happened": [], "value": []}
    known = {variant.name for variant in experiment.variants}
    kinds = ("exposure", "outcome", "turn", "score", "loss")
    unenrolled, lost, marked = Counter[str](), Counter[str](), Counter[str]()
    warmth = Warmth()
    for record in log.read_since(0, experiment=experiment.name, kinds=kinds):
        if until is not None and record.position > until:
            break
        fact = record.fact
        if isinstance(fact, Exposure):
            if fact.digest != experiment.digest:
                continue
            if fact.variant not in known:
                raise DataError(
                    f"the log has an exposure to '{fact.variant}', which the definition does not; "
                    f"it has: {', '.join(sorted(known))}"
                )
            exposures["unit"].append(fact.unit)
            exposures["variant"].append(fact.variant)
            exposures["happened"].append(fact.happened)
            exposures["cluster"].append(_word(fact, experiment.cluster))
            for segment, column in segments.items():
                exposures[column].append(_word(fact, segment))
            continue
        if isinstance(fact, Loss):
            lost.update(fact.facts)
            continue
        if isinstance(fact, Turn):
            if fact.reason is not None and (fact.variant is None or fact.reason == "forced"):
                # Served the default, or a tester's choice: not control, and nobody's.
                unenrolled[fact.reason] += 1
                continue
            marked.update(mark for mark in _MARKS if getattr(fact, mark))
            warmth.add(fact)
        for quantity in names:
            value = _value(fact, quantity)
            if value is not None:
                values["unit"].append(getattr(fact, "unit"))  # noqa: B009 - every kind read here has one
                values["quantity"].append(str(quantity))
                values["happened"].append(fact.happened)
                values["value"].append(float(value))
    if not exposures["unit"]:
        raise DataError(
            f"the log holds no exposure to {experiment.identity} yet. Serve traffic through a Router with this log"
        )
    text, number = pa.string(), pa.float64()
    connection.register(
        "exposures",
        pa.table(
            exposures,
            schema=pa.schema([(name, number if name == "happened" else text) for name in exposures]),
        ),
    )
    connection.register(
        "happenings",
        pa.table(
            values,
            schema=pa.schema([("unit", text), ("quantity", text), ("happened", number), ("value", number)]),
        ),
    )
    columns = "".join(
        f", CASE WHEN quantity = '{quantity}' THEN value END AS {name}" for quantity, name in names.items()
    ) + "".join(f", NULL AS {column}" for column in segments.values())
    blanks = "".join(f", NULL::DOUBLE AS {name}" for name in names.values()) + "".join(
        f", {column}" for column in segments.values()
    )
    connection.execute(
        f"""
        CREATE TEMP VIEW facts AS
        WITH firsts AS (SELECT unit, min(happened) AS since FROM exposures GROUP BY unit)
        SELECT unit, variant, happened, cluster{blanks} FROM exposures
        UNION ALL
        SELECT h.unit, NULL, h.happened, NULL{columns}
        FROM happenings AS h JOIN firsts ON firsts.unit = h.unit AND h.happened >= firsts.since
        """
    )
    orphans = connection.execute(
        "SELECT count(*) FROM happenings WHERE unit NOT IN (SELECT unit FROM exposures)"
    ).fetchone() or (0,)
    early = connection.execute(
        """SELECT count(*) FROM happenings AS h
           JOIN (SELECT unit, min(happened) AS since FROM exposures GROUP BY unit) AS firsts
             ON firsts.unit = h.unit AND h.happened < firsts.since"""
    ).fetchone() or (0,)
    return names, Aside(
        int(orphans[0]), int(early[0]), dict(unenrolled), dict(lost), dict(marked), warmth.arms()
    )


def _word(exposure: Exposure, attribute: str | None) -> str | None:
    """An attribute as text, as a table's column would be read; None where it was not known."""
    value: object = None if attribute is None else exposure.attributes.get(attribute)
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def _value(fact: Fact, quantity: Quantity) -> float | bool | None:
    value: object = None
    if quantity.stream == "turn" and isinstance(fact, Turn):
        value = _turn_value(fact, quantity.name)
    elif (quantity.stream == "outcome" and isinstance(fact, Outcome) and fact.name == quantity.name) or (
        quantity.stream == "score" and isinstance(fact, Score) and fact.name == quantity.name
    ):
        value = fact.value
    return value if isinstance(value, bool | int | float) else None


def _turn_value(turn: Turn, name: str) -> object:
    if turn.cancelled and name in _CENSORED:
        return None
    tokens = (turn.input_tokens, turn.output_tokens)
    if name == "tokens":
        return None if None in tokens else sum(part or 0 for part in tokens)
    if name == "kilotokens":
        return None if None in tokens else sum(part or 0 for part in tokens) / 1000.0
    if name == "answered":
        return None if turn.error is None else not turn.error
    return getattr(turn, name, None)
