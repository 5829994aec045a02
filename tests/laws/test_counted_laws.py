"""One rule, twice said: what a turn counts for is the same by the engine and by Python."""

from __future__ import annotations

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.events.facts import Turn, encode
from equipoise.experiment.metric import CHECKED, OF_TURNS
from equipoise.measurement.counted import ENROLLED, enrolled, turn_number, turn_value

NAMES = ("latency_s", "tpot_s", "ttft_s", "cost_usd", "error", "safe", "tool_calls", "tokens", "kilotokens", "answered", "count", "happened", "unheard_of", "model", "pii", "toxicity")  # fmt: skip
seconds = st.none() | st.floats(0, 1e6)
whole = st.none() | st.integers(0, 10**9)
flags = st.none() | st.booleans()
turns = st.builds(
    Turn,
    experiment=st.just("bot"),
    happened=st.floats(0, 2e9),
    unit=st.just("u"),
    variant=st.sampled_from([None, "control", "treatment"]),
    reason=st.sampled_from([None, "split", "pinned", "forced", "stale", "no_unit", "unrecorded", "holdout"]),
    latency_s=seconds,
    tpot_s=seconds,
    ttft_s=seconds,
    cost_usd=seconds,
    error=flags,
    safe=flags,
    cancelled=flags,
    redirected=flags,
    fallback=flags,
    tool_calls=whole,
    input_tokens=whole,
    output_tokens=whole,
    model=st.sampled_from([None, "7"]),
    checks=st.none()
    | st.dictionaries(
        st.sampled_from(["pii", "toxicity", "length"]),
        st.sampled_from(["passed", "failed", "skipped", "odd"]),
    ),
)


@given(st.lists(turns, min_size=1, max_size=20))
@settings(max_examples=60)
def test_the_engine_and_python_count_the_same(some):
    """Who is enrolled, and every quantity of every turn, to the last digit."""
    numbers = sorted({part for name in NAMES for part in turn_value(name)[0]})
    shape = ", ".join(
        [f'"{each}": "{"JSON" if each == "checks" else "DOUBLE"}"' for each in numbers]
        + ['"variant": "VARCHAR"', '"reason": "VARCHAR"']
    )
    read = ", ".join(f"CAST({turn_value(name)[1]} AS DOUBLE)" for name in NAMES)
    rows = ", ".join(["(?::DOUBLE, ?)"] * len(some))
    values = [value for each in some for value in (each.happened, encode(each).decode())]
    with duckdb.connect() as connection:
        found = connection.execute(
            f"""SELECT {ENROLLED.replace("reason", "told.reason").replace("variant", "told.variant")}, {read}
                FROM (SELECT happened, from_json(body, '{{{shape}}}') AS told FROM (VALUES {rows}) AS t(happened, body))""",
            values,
        ).fetchall()
    assert found == [(enrolled(each), *(turn_number(name)(each) for name in NAMES)) for each in some]


def test_what_the_log_tells_of_a_turn_is_listed_where_definitions_are_read():
    """A definition that names another number of turns is warned of, and one that names these is not."""
    told = {name for name in dir(Turn) if not name.startswith("_")} | {*OF_TURNS}
    read = Turn(experiment="bot", happened=0.0, checks=dict.fromkeys(CHECKED, "failed"),
                **{name: name != "cancelled" for name in Turn.__slots__ if name != "checks"})  # fmt: skip
    assert {name for name in told if turn_number(name)(read) is not None} == {*OF_TURNS}
