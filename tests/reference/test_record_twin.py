"""The log read the slow way, fact by fact through Python: the engine's reading gives the same numbers, to the last digit."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pytest

from equipoise import load_experiment
from equipoise.clock import ManualClock
from equipoise.errors import DataError, RecordError
from equipoise.events.cold.sealing import seal
from equipoise.events.facts import Encoded, Exposure, Loss, Outcome, Score, Turn
from equipoise.events.log import MemoryLog
from equipoise.events.sqlite import SQLiteLog
from equipoise.measurement.measuring import _measure, measure_log
from equipoise.measurement.tables import connect, quantities
from equipoise.measurement.tally import Aside
from equipoise.measurement.warmth import Warmth

_MARKS = ("cancelled", "fallback", "redirected", "blocked")
_CENSORED = ("latency_s", "tpot_s")


def slow_facts(connection, experiment, log, until=None):
    """Facts as objects, one after another; a row for every value."""
    names = {quantity: f"q{index}" for index, quantity in enumerate(quantities(experiment))}
    segments = {segment: f"s{index}" for index, segment in enumerate(experiment.segments)}
    exposures = {name: [] for name in ("unit", "variant", "happened", "cluster", *segments.values())}
    values = {"unit": [], "quantity": [], "happened": [], "value": []}
    columns = {str(quantity): name for quantity, name in names.items()}
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
    since = {}
    for unit, happened in zip(exposures["unit"], exposures["happened"], strict=True):
        since[unit] = min(happened, since.get(unit, happened))
    rows = [dict(zip(exposures, row, strict=True)) for row in zip(*exposures.values(), strict=True)]
    orphans = early = 0
    for unit, quantity, happened, value in zip(*values.values(), strict=True):
        if unit not in since:
            orphans += unit is not None
        elif happened < since[unit]:
            early += 1
        else:
            rows.append({"unit": unit, "happened": happened, columns[quantity]: value})
    text, number = pa.string(), pa.float64()
    schema = [(name, number if name == "happened" else text) for name in exposures]
    schema += [(name, number) for name in names.values()]
    connection.register("facts", pa.Table.from_pylist(rows, schema=pa.schema(schema)))
    return names, Aside(orphans, early, dict(unenrolled), dict(lost), dict(marked), warmth.arms())


def _word(exposure, attribute):
    value = None if attribute is None else exposure.attributes.get(attribute)
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def _value(fact, quantity):
    value = None
    if quantity.stream == "turn" and isinstance(fact, Turn):
        value = _turn_value(fact, quantity.name)
    elif (quantity.stream == "outcome" and isinstance(fact, Outcome) and fact.name == quantity.name) or (
        quantity.stream == "score" and isinstance(fact, Score) and fact.name == quantity.name
    ):
        value = fact.value
    return value if isinstance(value, bool | int | float) else None


def _turn_value(turn, name):
    if turn.cancelled and name in _CENSORED:
        return None
    tokens = (turn.input_tokens, turn.output_tokens)
    if name == "tokens":
        return None if None in tokens else sum(part or 0 for part in tokens)
    if name == "kilotokens":
        return None if None in tokens else sum(part or 0 for part in tokens) / 1000.0
    if name == "answered":
        return None if turn.error is None else not turn.error
    if name == "pii":
        return {"failed": True, "passed": False}.get((turn.checks or {}).get("pii"))
    return getattr(turn, name, None)


DEFINITION = """
name: twin
hypothesis: Both ways of reading agree.
unit: {type: user}
inline: [pii]
variants: {control: {}, b: {}}
cluster: CLUSTER
segments: [tier]
critical_segments: [{where: tier=x, metric: won, margin: 5pp}]
metrics:
  won: {priority: primary, kind: proportion, of: outcome.won, better: higher}
  error_rate: {priority: guardrail, margin: 1pp}
  latency_p95: {priority: guardrail, margin: 50%}
  tpot: {priority: secondary}
  cost_per_response: {priority: secondary}
  cost_per_1k_tokens: {priority: secondary}
  tokens: {priority: exploratory}
  pii_rate: {priority: exploratory}
  tries: {priority: exploratory, kind: mean, of: turn.retries, better: lower, per_unit: last}
  grade: {priority: exploratory, kind: mean, of: score.grade, better: higher, per_unit: first}
"""


def definition(folder, *, clustered):
    text = DEFINITION.replace("cluster: CLUSTER\n", "cluster: team\n" if clustered else "")
    (folder / "twin.yaml").write_text(text, encoding="utf-8")
    return load_experiment(folder / "twin.yaml")


def happened_to(design, seed, units=150):
    """Turns of every sort, of the exposed, of strangers and of testers, in no order."""
    rng = random.Random(seed)

    def maybe(value, share=0.8):
        return value if rng.random() < share else None

    facts = []
    for number in range(units):
        unit, arm = f"Zoë {number}", rng.choice(("control", "b"))
        common = {"experiment": design.name, "unit": unit}
        attributes = {"team": f"t{number % 9}", "tier": rng.choice(("x", "y", 3, True, None, "it's"))}
        facts += [
            Exposure(
                **common,
                happened=rng.uniform(0, 30),
                digest=design.digest if rng.random() < 0.95 else "0" * 64,
                unit_type="user",
                variant=arm if rng.random() < 0.95 else "b",
                probability=0.5,
                reason="split",
                attributes={key: value for key, value in attributes.items() if rng.random() < 0.9},
            )
            for _ in range(rng.choice((0, 1, 1, 1, 2)))
        ]
        for _ in range(rng.randrange(5)):
            reason = rng.choice((None, None, None, "split", "forced", "stale"))
            facts.append(
                Turn(
                    **(common if rng.random() < 0.97 else common | {"unit": None}),
                    happened=rng.uniform(0, 100),
                    digest=design.digest,
                    variant=None if reason == "stale" else arm,
                    reason=reason,
                    latency_s=maybe(rng.lognormvariate(0, 1)),
                    tpot_s=maybe(rng.random()),
                    input_tokens=maybe(rng.randrange(10_000)),
                    output_tokens=maybe(rng.randrange(1000)),
                    cost_usd=maybe(rng.random() / 7),
                    error=maybe(rng.random() < 0.2),
                    retries=maybe(rng.randrange(4)),
                    warm=maybe(rng.random() < 0.7),
                    checks=maybe({"pii": rng.choice(("passed", "failed", "skipped"))}),
                    cancelled=maybe(rng.random() < 0.2, 0.5),
                    fallback=maybe(rng.random() < 0.1, 0.5),
                    redirected=maybe(rng.random() < 0.1, 0.5),
                    blocked=maybe(rng.random() < 0.1, 0.5),
                    model='a "latency_s":"7" model',
                )
            )
        for _ in range(rng.randrange(3)):
            facts.append(Outcome(**common, happened=rng.uniform(0, 100), name="won", value=rng.choice((True, False, 1, 0.0))))  # fmt: skip
            facts.append(Outcome(**common, happened=rng.uniform(0, 100), name="other", value=1e300))
            facts.append(Score(**common, happened=rng.uniform(0, 100), name="grade", value=maybe(rng.random()), evaluator="j"))  # fmt: skip
    # What is said in words is no number, not even where the words look like one.
    facts.append(Outcome(experiment=design.name, unit="Zoë 1", happened=90.0, name="won", value="1"))
    facts.append(Loss(experiment=design.name, happened=50.0, since=40.0, facts={"turn": 3, "exposure": 1}))
    facts.append(Loss(experiment=design.name, happened=60.0, since=50.0, facts={"turn": 2}))
    rng.shuffle(facts)
    return facts


def slowly(experiment, log, until=None):
    connection = connect()
    try:
        names, aside = slow_facts(connection, experiment, log, until)
        return _measure(connection, experiment, names, "the event log", timed=True, aside=aside)
    finally:
        connection.close()


@pytest.mark.parametrize("clustered", [False, True], ids=["units", "clusters"])
@pytest.mark.parametrize("seed", range(4))
def test_both_ways_of_reading_give_the_same_digits(tmp_path, seed, clustered):
    """Every count, moment and quantile is equal, bit for bit, up to any position, from memory and from a file."""
    design = definition(tmp_path, clustered=clustered)
    facts = happened_to(design, seed)
    kept, file = MemoryLog(), SQLiteLog(tmp_path / "log.db")
    for log in (kept, file):
        log.append(facts)
    for until in (None, len(facts) // 2):
        expected = slowly(design, kept, until)
        found = [measure_log(design, log, until=until) for log in (kept, file)]
        assert found[0] == found[1]
        assert replace(found[0], read=None) == expected
    file.close()
    assert expected.aside.marked
    assert expected.aside.early
    assert expected.aside.unenrolled
    assert expected.aside.warmth


def test_pages_are_not_seen_in_the_result(tmp_path, monkeypatch):
    """However many facts are read at once, the numbers and the hash over what was read are the same."""
    design = definition(tmp_path, clustered=False)
    log = SQLiteLog(tmp_path / "log.db")
    log.append(happened_to(design, 9))
    whole = measure_log(design, log)
    monkeypatch.setattr("equipoise.events.sqlite_reading._LONG_PAGE", 7)
    assert measure_log(design, log) == whole
    log.close()


@pytest.mark.parametrize(
    ("seed", "facts_each"),
    [
        (0, 50_000),
        (1, 50_000),
        (2, 50_000),
        (1, 41),
        pytest.param(0, 41, marks=pytest.mark.long),
        pytest.param(2, 41, marks=pytest.mark.long),
    ],
)
def test_a_sealed_log_gives_the_same_digits(tmp_path, seed, facts_each):
    """Sealed in one segment or in many, in part or in whole: the read-out is equal, bit for bit, up to any position."""
    design, clock = definition(tmp_path, clustered=seed == 1), ManualClock(0.0)
    facts = happened_to(design, seed)
    path = tmp_path / "log.db"
    log = SQLiteLog(path, clock=clock)
    ends = (len(facts) // 3, len(facts) // 2, len(facts))
    log.append(facts[: ends[1]])
    clock.advance(10.0)
    log.append(facts[ends[1] :])
    hot = [measure_log(design, log, until=end) for end in ends]
    for hot_s, moved in ((5.0, True), (0.0, True), (0.0, False)):
        assert bool(seal(path, hot_s=hot_s, segment_facts=facts_each, clock=clock).facts) == moved
        assert [measure_log(design, log, until=end) for end in ends] == hot
    log.close()


def test_the_hash_knows_every_fact_that_was_read(tmp_path):
    """A value, a time, or a fact more or less is another hash; what comes after the position is none of its business."""
    design = definition(tmp_path, clustered=False)
    facts = happened_to(design, 3)

    def digest(told, until=None):
        log = MemoryLog()
        log.append(told)
        return measure_log(design, log, until=until).read.digest

    of = digest(facts)
    turn = next(index for index, fact in enumerate(facts) if isinstance(fact, Turn) and fact.cost_usd)
    for changed in (
        replace(facts[turn], cost_usd=facts[turn].cost_usd * (1 + 1e-15)),
        replace(facts[turn], happened=facts[turn].happened + 1e-6),
        replace(facts[turn], unit="another"),
    ):
        assert digest([*facts[:turn], changed, *facts[turn + 1 :]]) != of
    assert digest(facts[:-1]) != of
    assert digest([*facts, replace(facts[turn], event_id="later")]) != of
    assert digest([*facts, replace(facts[turn], event_id="later")], len(facts)) == of


@pytest.mark.parametrize(
    "kind, body, why",
    [
        ("turn", b'{"unit": ', "unexpected end of data: line 1 column 10 (char 9)"),
        ("turn", b"[1]", "'list' object has no attribute 'items'"),
        ("turn", b'{"unit": "\xff"}', "str is not valid UTF-8: surrogates not allowed: line 1 column 1 (char 0)"),
        ("outcome", b'{"name": "won", "value": 1}', "Outcome.__init__() missing 1 required keyword-only argument: 'unit'"),
        ("loss", b"{}", "Loss.__init__() missing 2 required keyword-only arguments: 'since' and 'facts'"),
    ],
)  # fmt: skip
def test_a_damaged_fact_is_named(tmp_path, kind, body, why):
    """Whatever the engine says of it, the message is that of reading the fact itself, with its id."""
    design = definition(tmp_path, clustered=False)
    log = SQLiteLog(tmp_path / "log.db")
    log.append([*happened_to(design, 1), Encoded("the-one", kind, design.name, 99.0, body)])
    with pytest.raises(RecordError) as refused:
        measure_log(design, log)
    assert str(refused.value) == f"event the-one ({kind}) is damaged: {why}"
    log.close()


def test_nobody_and_strangers(tmp_path):
    """No exposure, and an exposure to an arm that is not declared, are refused in the old words."""
    design = definition(tmp_path, clustered=False)
    log = MemoryLog()
    for variant, said in (
        (None, f"the log holds no exposure to {design.identity} yet. Serve traffic through a Router with this log"),
        ("c", "the log has an exposure to 'c', which the definition does not; it has: b, control"),
    ):  # fmt: skip
        if variant:
            log.append([Exposure(experiment="twin", happened=1.0, digest=design.digest, unit="u", unit_type="user", variant=variant, probability=1.0, reason="split")])  # fmt: skip
        for read in (measure_log, slowly):
            with pytest.raises(DataError) as refused:
                read(design, log)
            assert str(refused.value) == said
