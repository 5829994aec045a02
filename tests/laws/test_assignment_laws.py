"""What no edit, ramp or odd unit may do to who sees what."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from equipoise.assignment.hashing import MAX_UNIT, SPACE, point, prefix, salt, unit_bytes
from equipoise.assignment.splitting import Splitter, cut_points
from equipoise.errors import UsageError
from equipoise.experiment.reading import read_canonical
from equipoise.sdk.router import Router

UNITS = [f"conversation-{index}" for index in range(4_000)]
BASE: dict[str, Any] = {
    "name": "demo",
    "hypothesis": "A newer model resolves more.",
    "unit": "conversation",
    "changes": ["model", "system"],
    "variants": {
        "control": {"model": "a", "system": "Be helpful."},
        "treatment": {"model": "b", "system": "Be brief."},
    },
    "metrics": {"resolution_rate": {"priority": "primary"}},
}
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda text: not text.isspace()
)
weights = st.lists(st.integers(1, 10**9), min_size=1, max_size=8).map(
    lambda some: [Fraction(each, sum(some)) for each in some]
)
quiet = settings(max_examples=150, deadline=None, derandomize=True)


def variants(definition: dict[str, Any], **options: Any) -> list[str | None]:
    router = Router(read_canonical(definition), **options)
    return [router.assign(unit).variant for unit in UNITS]


BEFORE = variants(BASE)

EDITS: dict[str, dict[str, Any]] = {
    "hypothesis": {"hypothesis": "It costs less."},
    "metrics": {"metrics": {"csat_score": {"priority": "primary"}, "error_rate": {"priority": "guardrail", "margin": "1pp"}}},
    "prompts and models": {"variants": {"control": {"model": "x", "system": "1"}, "treatment": {"model": "y", "system": "2"}}},
    "the order of variants": {"variants": dict(reversed(BASE["variants"].items()))},
    "the same shares written out": {"allocation": {"treatment": "2/4", "control": "50%"}},
    "plan, segments, watches": {
        "plan": {"alpha": 0.01, "looks": [0.5, 1]}, "segments": ["tier"],
        "watches": [{"metric": "resolution_rate", "min": 0.1, "window": "5m"}],
    },
    "the kind of unit": {"unit": {"type": "user", "from": "header:x-user"}},
    "layer and cluster": {"layer": "bots", "cluster": "team"},
    "an explicit version": {"assignment_version": 1},
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_editing_a_definition_moves_nobody(edit: str) -> None:
    """Only the name, the assignment version and the shares say who sees what."""
    assert read_canonical(BASE | EDITS[edit]).assignment_version == 1
    assert variants(BASE | EDITS[edit]) == BEFORE


@pytest.mark.parametrize("edit", [{"assignment_version": 2}, {"name": "demo2"}])
def test_a_new_version_or_name_reshuffles(edit: dict[str, Any]) -> None:
    """About half of the units move: 2,000 of 4,000, and a fair coin strays 200 from that once in 10 billion."""
    moved = sum(now != then for now, then in zip(variants(BASE | edit), BEFORE, strict=True))
    assert 1_800 < moved < 2_200


def test_a_ramp_moves_nobody() -> None:
    """1 → 5 → 25 → 100 %: whoever was enrolled stays, with the same variant; the share grows as it says."""
    seen: dict[str, str] = {}
    for coverage in (Fraction(1, 100), 0.05, "0.25", 1):
        now = dict(zip(UNITS, variants(BASE, coverage=coverage), strict=True))
        assert all(now[unit] == variant for unit, variant in seen.items())
        seen = {unit: variant for unit, variant in now.items() if variant is not None}
        share = float(Fraction(str(coverage)))
        # Six standard errors: a false alarm once in 500 million runs, were the seed not fixed by the names.
        assert abs(len(seen) / len(UNITS) - share) <= 6 * (share * (1 - share) / len(UNITS)) ** 0.5
    assert [seen[unit] for unit in UNITS] == BEFORE


def test_the_coverage_of_the_stage_is_the_default() -> None:
    """Without an argument the router enrols what `rollout: {ab: {coverage: …}}` says."""
    partly = BASE | {"rollout": {"ab": {"coverage": "25%"}}}
    assert variants(partly) == variants(BASE, coverage=0.25)
    assert variants(partly, coverage=1) == BEFORE
    assert set(variants(BASE, coverage=0)) == {None}


def test_being_covered_says_nothing_about_the_variant() -> None:
    """The two draws are independent: among the first 25 % the split is even."""
    early = [variant for variant in variants(BASE, coverage=0.25) if variant is not None]
    assert abs(early.count("control") / len(early) - 0.5) < 6 * 0.5 / len(early) ** 0.5


@quiet
@given(texts, texts, weights, st.fractions(0, 1))
def test_a_draw_is_a_pure_function(name: str, unit: str, shares: list[Fraction], coverage: Fraction) -> None:
    """The same salt, shares and unit give the same draw in every splitter, whatever was drawn before."""
    allocation = {("control" if not index else f"arm-{index}"): share for index, share in enumerate(shares)}
    one = Splitter(salt(name), allocation, coverage)
    two = Splitter(salt(name), dict(reversed(allocation.items())), coverage)
    two.arm("somebody else")
    arm = one.arm(unit)
    assert arm == two.arm(unit) == one.arm(unit)
    assert one.arms == two.arms
    place = one.place(unit.encode())
    assert arm == (None if place < 0 else one.arms[place])
    everybody = Splitter(salt(name), allocation).arm(unit)
    assert everybody is not None
    assert arm in (None, everybody)


@quiet
@given(weights)
@example([Fraction(1, 3)] * 3)
@example([Fraction(1, 2**70), 1 - Fraction(1, 2**70)])
def test_cut_points_are_exact_and_close_the_range(shares: list[Fraction]) -> None:
    """Each cut is the floor of its exact sum, cuts never fall, and the last one is 2**64."""
    cuts = cut_points(shares)
    assert list(cuts) == sorted(cuts)
    assert cuts[-1] == SPACE
    for index, cut in enumerate(cuts):
        exact = sum(shares[: index + 1], Fraction(0)) * SPACE
        assert cut <= exact < cut + 1


@pytest.mark.parametrize(
    "shares, written",
    [
        ([], "none"),
        ([Fraction(1, 2)], "1/2"),
        ([Fraction(1, 2), Fraction(1, 2), Fraction(0)], "1/2, 1/2, 0"),
        ([Fraction(3, 2), Fraction(-1, 2)], "3/2, -1/2"),
        ([Fraction(1, 3), Fraction(333333, 500000)], "1/3, 333333/500000"),
    ],
)
def test_shares_that_are_none_are_refused(shares: list[Fraction], written: str) -> None:
    """Positive and adding up to one exactly; the sentence shows them."""
    with pytest.raises(UsageError) as refused:
        cut_points(shares)
    assert str(refused.value) == f"shares must be positive and add up to 1; these are {written}"


@quiet
@given(texts, texts)
def test_units_and_labels_cannot_imitate_each_other(one: str, other: str) -> None:
    """Different units, labels or salts hash different bytes; equal points would be a collision of SHA-256."""
    before = prefix("split", salt("demo"))
    assert 0 <= point(before, one.encode()) < SPACE
    assert (point(before, one.encode()) == point(before, other.encode())) == (one == other)
    assert point(before, one.encode()) != point(prefix("coverage", salt("demo")), one.encode())
    assert point(before, one.encode()) != point(prefix("split", salt("demo", 2)), one.encode())


REFUSED: list[tuple[Any, str]] = [
    (None, "a unit is named by text, and this is None (NoneType); pass the id as a string, or serve the request unenrolled"),
    (3, "a unit is named by text, and this is 3 (int); pass the id as a string, or serve the request unenrolled"),
    (b"u", "a unit is named by text, and this is b'u' (bytes); pass the id as a string, or serve the request unenrolled"),
    (["u"], "a unit is named by text, and this is ['u'] (list); pass the id as a string, or serve the request unenrolled"),
    (True, "a unit is named by text, and this is True (bool); pass the id as a string, or serve the request unenrolled"),
    ("", "a unit must have a name, and this one is empty; pass the id, or serve the request unenrolled"),
    (" ", "a unit must have a name, and this one is empty; pass the id, or serve the request unenrolled"),
    ("\t\n\u00a0\u3000", "a unit must have a name, and this one is empty; pass the id, or serve the request unenrolled"),
    ("a\ud800", "a unit's name must be valid Unicode, and this one has a lone surrogate"),
    ("x" * (MAX_UNIT + 1), "a unit's name has at most 1024 characters, and this one has 1025"),
]  # fmt: skip


@pytest.mark.parametrize("coverage", [0, Fraction(1, 2), 1])
@pytest.mark.parametrize("unit, sentence", REFUSED, ids=lambda value: repr(value)[:12])
def test_what_cannot_name_a_unit_is_refused(unit: Any, sentence: str, coverage: Fraction | int) -> None:
    """It is never bucketed, at whatever coverage; the sentence says what to do."""
    router = Router(read_canonical(BASE), coverage=coverage)
    with pytest.raises(UsageError) as refused:
        router.assign(unit)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("unit", [" u", "u ", "0", "None", "a\0b", "\u200b", "x" * MAX_UNIT, "🙂" * MAX_UNIT])
def test_an_odd_name_is_still_a_name(unit: str) -> None:
    """Nothing is trimmed, folded or normalised."""
    assert unit_bytes(unit) == unit.encode("utf-8")
    assert Router(read_canonical(BASE)).assign(unit).unit == unit


@pytest.mark.parametrize("coverage", [-0.1, 1.1, Fraction(3, 2), 2, "5"])
def test_a_coverage_is_a_share(coverage: Any) -> None:
    """From 0 to 1, both included."""
    with pytest.raises(UsageError) as refused:
        Router(read_canonical(BASE), coverage=coverage)
    assert str(refused.value) == f"coverage is a share from 0 to 1, and this is {Fraction(str(coverage))}"


@pytest.mark.parametrize("coverage", ["many", float("nan"), float("inf"), "1/0", [], True])
def test_a_coverage_is_a_number(coverage: Any) -> None:
    """Words, NaN and infinity are refused in our own words."""
    with pytest.raises(UsageError) as refused:
        Router(read_canonical(BASE), coverage=coverage)
    assert str(refused.value) == f"coverage is a share from 0 to 1, and this is {coverage!r}"


def test_only_a_split_is_split() -> None:
    """A bandit is not quietly run as an A/B test."""
    experiment = read_canonical(BASE | {"method": "bandit"})
    with pytest.raises(UsageError) as refused:
        Router(experiment)
    assert str(refused.value) == (
        f"{experiment.identity} is a bandit, whose shares change, and this router knows those that are declared; "
        "`Router.follow` serves by its log"
    )


def test_a_router_reads_a_file(tmp_path: Path) -> None:
    """The path of a definition serves as well as the definition."""
    import json

    path = tmp_path / "e.json"
    path.write_text(json.dumps(BASE), "utf-8")
    assert (
        Router(path).experiment.digest == Router(str(path)).experiment.digest == read_canonical(BASE).digest
    )
