"""What holds of every definition, and of every text that is none."""

from __future__ import annotations

import json
import math
import random
import re
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from equipoise.errors import DefinitionError
from equipoise.experiment.amount import (
    Amount,
    Bound,
    parse_amount,
    parse_bound,
    parse_duration,
    parse_share,
)
from equipoise.experiment.definition import Experiment
from equipoise.experiment.identity import canonical, digest
from equipoise.experiment.reading import read_canonical, read_definition
from equipoise.experiment.variant import Variant, differences, freeze, thaw

GOOD = (Path(__file__).parents[1] / "vectors" / "definitions" / "whole.yaml").read_text("utf-8")

finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=1e-300, max_value=1e300)
rates = st.floats(min_value=1e-9, max_value=1 - 1e-9)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True)
words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(
    lambda text: bool(text.strip())
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | finite
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
)
plain = st.dictionaries(
    words,
    st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=3,
)
checks = st.one_of(
    st.fixed_dictionaries({"contains": words | st.just({"from": "reference"})}),
    st.fixed_dictionaries({"max_chars": st.integers(0, 10**6)}),
    st.fixed_dictionaries(
        {"safety": st.just(True) | st.fixed_dictionaries({"allow": st.lists(words, max_size=2)})}
    ),
    st.fixed_dictionaries({"regex": st.just("[a-z]+")}),
)
shares = st.builds(lambda a, b: f"{min(a, b)}/{max(a, b)}", st.integers(1, 10**6), st.integers(1, 10**6))
amounts = positive | st.builds(lambda x: f"{x!r}%", positive) | st.builds(lambda x: f"{x!r}pp", positive)
bounds = finite | st.builds(
    lambda r, s, x, u: f"{r}{s}{x!r}{u}",
    st.sampled_from(["control", "baseline"]),
    st.sampled_from("+-"),
    positive,
    st.sampled_from(["", "%", "pp"]),
)
durations = st.builds(
    lambda x, u: f"{x:.6f}".rstrip("0").rstrip(".") + u,
    st.floats(0.000001, 1e6),
    st.sampled_from(["ms", "s", "m", "h", "d", "w"]),
)


@st.composite
def metrics(draw: st.DrawFn) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for index, name in enumerate(
        draw(st.lists(names.map(lambda each: "own_" + each), min_size=1, max_size=4, unique=True))
    ):
        kind = draw(st.sampled_from(["proportion", "mean", "ratio", "count", "quantile", "time_to_event"]))
        metric: dict[str, Any] = {
            "priority": draw(st.sampled_from(["secondary", "guardrail", "exploratory"]))
            if index
            else "primary",
            "kind": kind,
            "of": draw(st.sampled_from(["outcome.a", "turn.b_1", "score.C"])),
            "better": draw(st.sampled_from(["higher", "lower"])),
        }
        if kind == "ratio":
            metric["per"] = "turn.answered"
        if kind == "quantile":
            metric["q"] = draw(rates)
        if metric["priority"] == "guardrail" or draw(st.booleans()):
            metric["margin"] = draw(amounts)
        if kind == "time_to_event":
            metric["window"] = "52w"
        elif kind != "proportion":
            metric |= draw(
                st.fixed_dictionaries({}, optional={"baseline": finite, "spread": positive, "mde": amounts})
            )
        metric |= draw(st.fixed_dictionaries({}, optional={
            "tier": st.sampled_from(["human", "judge", "code"]),
        }))  # fmt: skip
        if (
            kind in ("proportion", "mean")
            and metric["of"] == "score.C"
            and metric.get("tier", "judge") == "judge"
        ):
            metric |= draw(st.fixed_dictionaries({}, optional={"labels": st.integers(20, 500)}))
        if kind != "time_to_event":
            metric |= draw(st.fixed_dictionaries({}, optional={
                "limit": finite,
                "per_unit": st.sampled_from(["any", "all", "first", "last", "mean", "sum", "max", "min"]),
            }))  # fmt: skip
        result[name] = metric
    return result


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    """A definition that is right, as plain data."""
    arms = [
        "control",
        *draw(st.lists(names.filter(lambda each: each != "control"), min_size=1, max_size=3, unique=True)),
    ]
    measured = draw(metrics())
    weights = draw(st.lists(st.integers(1, 1000), min_size=len(arms), max_size=len(arms)))
    place = st.sampled_from(["header:x-user", "cookie:sid", "body:metadata.user"])
    endpoint = st.fixed_dictionaries({}, optional={
        "base_url": st.sampled_from(["http://127.0.0.1:1/v1", "https://api.example.org"]), "key_env": st.just("A_KEY"),
        "retries": st.integers(0, 5), "timeouts": st.fixed_dictionaries({}, optional={"total": st.sampled_from(["2m", 60])}),
        "fallback": st.fixed_dictionaries({"model": words}),
    })  # fmt: skip
    test = (
        words
        | st.booleans()
        | st.integers(-9, 9)
        | st.fixed_dictionaries(
            {"at_least": st.integers(-9, 9)}, optional={"not_in": st.just(["a", 1, True])}
        )
    )
    attributes = draw(
        st.dictionaries(
            names,
            place | st.fixed_dictionaries({"type": st.sampled_from(["text", "number", "boolean"])}),
            max_size=3,
        )
    )
    conditions = (
        st.dictionaries(st.sampled_from(sorted(attributes)), test, max_size=2) if attributes else st.just({})
    )
    variant = st.fixed_dictionaries({}, optional={
        "model": words, "system": st.text(st.characters(exclude_categories=["Cs"]), max_size=30), "params": plain,
        "retrieval": plain, "endpoint": endpoint, "serving": plain, "config": plain,
    })  # fmt: skip
    metric = st.sampled_from(sorted(measured))
    segments = draw(st.lists(st.from_regex(r"[A-Za-z0-9_.-]{1,8}", fullmatch=True), max_size=3, unique=True))
    watch = st.fixed_dictionaries({"metric": metric, "window": durations}, optional={
        "for": st.integers(1, 9), "at_least": st.integers(1, 10**6), "then": st.sampled_from(["alert", "review", "pause", "rollback"]),
    }).flatmap(lambda each: st.builds(lambda side, bound: each | {side: bound}, st.sampled_from(["max", "min"]), bounds))  # fmt: skip
    recording = st.fixed_dictionaries({"file": words}, optional={
        "case": words, "variant": words, "value": words, "names": st.dictionaries(names, words, max_size=2),
    })  # fmt: skip
    rubric = st.fixed_dictionaries(
        {"axes": st.dictionaries(names, words, min_size=1, max_size=3)}, optional={"top": st.integers(2, 10)}
    )
    offline = st.fixed_dictionaries({"cases": words | st.fixed_dictionaries({"file": words}, optional={"id": words, "reference": words})}, optional={
        "answers": recording, "rubric": rubric,
        "judge": st.fixed_dictionaries({"model": words}, optional={"base_url": words, "key_env": words, "pairwise": recording}),
        "checks": st.lists(checks, max_size=2, unique_by=lambda check: next(iter(check))),
        "gate": st.fixed_dictionaries({}, optional={
            "win_rate": st.fixed_dictionaries({}, optional={"margin": amounts, "superior": st.booleans()}),
            "must_pass": st.lists(st.sampled_from(["safety", "pii", "not_empty"]), max_size=2, unique=True), "level": rates,
        }),
    })  # fmt: skip
    # A win rate needs somebody who compares.
    offline = offline.filter(lambda each: "judge" in each or "win_rate" not in each.get("gate", {}))
    coverage = st.fixed_dictionaries({"coverage": shares})
    result: dict[str, Any] = {
        "name": draw(names),
        "hypothesis": draw(words),
        "changes": ["model", "system", "params", "retrieval", "endpoint", "serving", "config"],
        "unit": draw(
            st.sampled_from(["session", "user"])
            | st.fixed_dictionaries(
                {"type": st.just("slot")},
                optional={
                    "from": place,
                    "every": durations.filter(lambda each: float(each.rstrip("mshdw")) > 0),
                },
            )
        ),
        "variants": {arm: draw(variant) for arm in arms},
        "allocation": {arm: f"{weight}/{sum(weights)}" for arm, weight in zip(arms, weights, strict=True)},
        "metrics": measured,
        "segments": segments,
        "attributes": attributes,
        "target": draw(conditions),
        "traffic": draw(conditions),
    }
    return result | draw(st.fixed_dictionaries({}, optional={
        "method": st.sampled_from(["ab", "switchback"]),
        "cluster": words, "layer": names | st.fixed_dictionaries({"name": names, "range": st.just(["1/4", "1/2"])}),
        "holdouts": st.dictionaries(names, shares, max_size=2), "assignment_version": st.integers(1, 10**9),
        "plan": st.fixed_dictionaries({}, optional={
            "alpha": rates, "power": rates, "looks": st.sets(rates, max_size=3).map(lambda some: [*sorted(some), 1]),
            "spending": st.sampled_from(["obrien_fleming", "pocock"]), "burn_in": durations, "cycle": durations, "units_per_day": positive,
        }),
        "critical_segments": st.lists(
            st.builds(lambda a, v, m, x: {"where": f"{a}={v}", "metric": m, "margin": x}, st.sampled_from(segments or ["none"]), st.from_regex(r"[^\x00-\x20\n\ud800-\udfff]{1,9}", fullmatch=True), metric, amounts),
            max_size=2 if segments else 0),
        "offline": offline,
        "inline": st.lists(st.sampled_from(["pii", "toxicity", "length", "empty"]) | st.builds(lambda schema: {"json_schema": schema}, plain), max_size=3),
        "watches": st.lists(watch, max_size=3),
        "capture": st.fixed_dictionaries({}, optional={"text": st.sampled_from(["none", "sampled", "all"]), "redact": st.lists(st.sampled_from(["pii", "secrets", "email", "card"]), max_size=2), "keep": st.sampled_from(["12h", "30d", "90d"])}),
        "online_judge": st.fixed_dictionaries({"sample": shares}, optional={"budget_usd_per_day": positive, "turns_per_minute": positive, "backlog": st.integers(1, 99_999), "within": st.sampled_from(["1h", "1d", "2d"]), "audit": st.fixed_dictionaries({}, optional={"labels_per_week": st.integers(1, 99), "minimum_agreement": rates, "threshold": finite})}),
        "rollout": st.fixed_dictionaries({}, optional={
            "stages": st.lists(st.sampled_from(["shadow", "canary", "ab"]), unique=True),
            "shadow": st.fixed_dictionaries({}, optional={"share": shares, "budget_usd_per_day": positive}),
            "canary": coverage, "ab": coverage, "skip": st.dictionaries(st.sampled_from(["shadow", "canary"]), words),
        }),
        "pins": st.sampled_from(["none", "required"]),
    }))  # fmt: skip


quiet = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@quiet
@given(definitions())
def test_what_is_kept_reads_back_to_the_same_experiment(data: dict[str, Any]) -> None:
    """read(canonical(e)) is e, with the same digest, also through JSON text; canonical is a fixed point."""
    experiment = outcome(lambda: read_canonical(data))
    if isinstance(experiment, DefinitionError):
        # The only thing a definition made of right parts can still get wrong.
        assert all("mde" in str(fault.field) for fault in experiment.faults), experiment
        return
    kept = json.loads(json.dumps(canonical(experiment)))
    again = read_canonical(kept)
    assert again == experiment
    assert again.digest == experiment.digest == digest(kept)
    assert canonical(again) == kept
    hash(experiment.digest)


@settings(quiet, max_examples=40)
@given(definitions(), st.randoms(use_true_random=False), st.booleans())
def test_a_file_says_the_same_in_any_order_and_style(
    data: dict[str, Any], rng: random.Random, flow: bool
) -> None:
    """The digest of a file is that of its data: dumped in either style, with keys in any order."""

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            rng.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    text = yaml.safe_dump(shuffled(data), allow_unicode=True, default_flow_style=flow, sort_keys=False)
    # A lone "next line" (U+0085) is written by the library in a way that it reads as another character.
    assume(yaml.safe_load(text) == data)
    assert unplaced(read(text.encode("utf-8"))) == unplaced(read(json.dumps(data).encode()))


def unplaced(said: str) -> list[str]:
    """What was said, without the lines of the file: a style and an order have lines of their own."""
    return sorted(re.sub(r"e\.yaml:\d+:", "e.yaml:", line) for line in said.splitlines())


def outcome(reading: Callable[[], Experiment]) -> Experiment | DefinitionError:
    """What a reading comes to: an experiment or an error with faults, and nothing else."""
    try:
        return reading()
    except DefinitionError as error:
        return error


def read(raw: bytes) -> str:
    """The digest of a file with these bytes, or the message of the error."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "e.yaml"
        path.write_bytes(raw)
        found = outcome(lambda: read_definition(path).experiment)
        if not isinstance(found, DefinitionError):
            return found.digest
        assert found.faults
        assert all(fault.problem for fault in found.faults)
        return str(found).replace(folder, "")


@quiet
@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
@example(b"\xff")
@example(b"a: \x00")
@example(b"? [a]\n: b")
@example(b"a: &a\n  <<: *a")
@example(b"- !!python/object/apply:os.system [ls]")
@example(b"[" * 3000)
@example(b"{a: " * 3000)
@example(b'"\\ud800": "\\udfff"')
def test_no_bytes_raise_anything_but_a_definition_error(raw: bytes) -> None:
    """A file of arbitrary bytes is read, or refused with faults; nothing else comes out."""
    read(raw)


FRAGMENTS = ["on", "null", "1e999999999", "-0", "9" * 5000, "1/0", "[]", "{}", "[{}]", "*a", "&a", "!!python/name:os", "<<: {a: 1}", "\t", "'", '"\\ud800"', "0x1F", ".nan", ".inf", "1:30", "2024-01-01", "%", "5%", "control+", "\u0660", "a.b", "- 1", "? x", "|", "--- x"]  # fmt: skip


@settings(quiet, max_examples=120)
@given(st.integers(0, 10**9), st.integers(1, 4))
def test_no_mutation_of_a_good_file_raises_anything_but_a_definition_error(seed: int, edits: int) -> None:
    """Characters, tokens and lines are deleted, doubled, swapped and replaced: faults or a definition."""
    rng = random.Random(seed)
    text = GOOD
    for _ in range(edits):
        kind = rng.randrange(5)
        at = rng.randrange(len(text))
        if kind == 0:
            text = text[:at] + text[at + rng.randrange(1, 12) :]
        elif kind == 1:
            text = text[:at] + rng.choice(FRAGMENTS) + text[at:]
        elif kind == 2:
            lines = text.splitlines(keepends=True)
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            text = "".join(lines)
        else:
            tokens = [
                part
                for part in text.replace("{", " { ").replace("}", " } ").replace(",", " , ").split(" ")
                if part
            ]
            word = rng.choice(tokens)
            text = text.replace(word, rng.choice([*FRAGMENTS, rng.choice(tokens)]), 1)
    read(text.encode("utf-8", "surrogatepass"))


def paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in paths(item, (*path, key)))]


WRONG: list[Any] = [None, True, False, 0, -1, 1.5, 10**15, "", " ", "x", "1/3", "é", [], ["x"], [1, None], {}, {"x": 1}, {"file": "x"}, {"file": ["x"]}, [[[]]], "a\0b", {"file": "a\0b"}]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_any_value_in_any_place_is_read_or_refused(wrong: Any) -> None:
    """Each value of a whole definition in turn becomes something else: faults with a place, never a crash."""
    whole = yaml.safe_load(GOOD)
    for path in paths(whole)[1:]:
        data = json.loads(json.dumps(whole))
        inner = data
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = wrong
        found = outcome(lambda data=data: read_canonical(data))  # type: ignore[misc]
        # Prompt files are not there: faults are expected in every case, in our own words.
        assert isinstance(found, DefinitionError), path
        assert not any("nput should" in fault.problem for fault in found.faults), found


@quiet
@given(amounts)
@example("1e-7%")
@example("33.333333333333336%")
def test_an_amount_reads_back_from_its_text(written: float | str) -> None:
    """str and parse are inverse, and % and pp are exact hundredths."""
    try:
        amount = parse_amount(written)
    except ValueError:
        assert isinstance(written, str)
        assert not math.isfinite(float(written.rstrip("%p")) / 100)
        return
    assert parse_amount(str(amount)) == amount
    if isinstance(written, str):
        number = written.rstrip("%p")
        assert amount.value == float(Fraction(number) / 100)
        assert amount.scale == ("relative" if written.endswith("%") else "absolute")


@quiet
@given(bounds)
def test_a_bound_reads_back_from_its_text(written: float | str) -> None:
    """str and parse are inverse for limits, with any reference and sign."""
    bound = parse_bound(written)
    assert parse_bound(str(bound)) == bound


@quiet
@given(shares)
def test_a_share_is_exact(written: str) -> None:
    """A share is the fraction that was written, never a neighbouring double."""
    one, other = written.split("/")
    assert parse_share(written) == Fraction(int(one), int(other))
    assert parse_share(str(parse_share(written))) == parse_share(written)


@pytest.mark.parametrize(
    "text",
    ["", "%", "1%%", "1 pp p", "abc", "1e5000", "1e999999999", "1e-999999999%", "--1", "1,5", "٣", "1/2", "9" * 500, "inf", "nan", None, True, [], math.inf, math.nan, 10**400],
)  # fmt: skip
def test_what_is_no_amount_is_refused_at_once(text: Any) -> None:
    """Anything else is a ValueError (or an OverflowError), and takes no time however long its exponent."""
    with pytest.raises((ValueError, OverflowError)):
        parse_amount(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1/0",
        "3/2",
        "-1/2",
        "-0.1",
        "1.1",
        "101%",
        "5pp",
        "1/2/3",
        "½",
        "1e999999999",
        None,
        True,
        2,
        "9" * 5000,
    ],
)
def test_what_is_no_share_is_refused(text: Any) -> None:
    """A share lies in [0, 1] and is written as a fraction, a number or a percentage."""
    with pytest.raises((ValueError, OverflowError)):
        parse_share(text)


@pytest.mark.parametrize(
    "text", ["", "5", "5 minutes", "-5m", "1e3s", "1d12h", "5M", 5, None, True, "9" * 399 + "w"]
)
def test_what_is_no_duration_is_refused(text: Any) -> None:
    """A duration is a number and one unit."""
    with pytest.raises(ValueError):
        parse_duration(text)


@pytest.mark.parametrize(
    "text", ["20%", "control", "control20%", "control*2", "treatment+1%", "+", "", None, True]
)
def test_what_is_no_bound_is_refused(text: Any) -> None:
    """A limit is a number or a step from control or baseline; a bare percentage says not of what."""
    with pytest.raises(ValueError):
        parse_bound(text)


@pytest.mark.parametrize(
    "written, value",
    [
        ("500ms", 0.5),
        ("90s", 90.0),
        ("1.5m", 90.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("2w", 1209600.0),
        (" 5 m ", 300.0),
    ],
)
def test_a_duration_is_seconds(written: str, value: float) -> None:
    """Every unit in seconds."""
    assert parse_duration(written) == value


def test_a_relative_amount_is_taken_of_the_size_of_its_reference() -> None:
    """10 % of −2 is 0.2: an amount is a size, whatever the sign of what it is taken of."""
    assert parse_amount("10%").of(-2.0) == pytest.approx(0.2)
    assert parse_amount("10pp").of(-2.0) == 0.1
    assert parse_bound("baseline-5%") == Bound("baseline", Amount(-0.05, "relative"))


@quiet
@given(plain, plain)
def test_settings_differ_exactly_where_their_json_does(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """No difference means equal JSON, and equal JSON means no difference."""
    import rfc8785

    control = Variant(name="control", config=freeze(ours))
    treatment = Variant(name="treatment", config=freeze(theirs))
    same = rfc8785.dumps(ours) == rfc8785.dumps(theirs)
    assert (differences(control, treatment) == ()) == same
    assert thaw(freeze(ours)) == ours
    with pytest.raises(TypeError):
        freeze(ours)["new"] = 1
