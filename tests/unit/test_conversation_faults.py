"""Faults in metrics of whole conversations: each says what is wrong, where, and what would be accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from equipoise.errors import DefinitionError
from equipoise.experiment.identity import canonical
from equipoise.experiment.reading import load_experiment, read_canonical, read_definition

BASE = """\
name: demo
hypothesis: People stay.
unit: {unit}
changes: [model]
variants:
  control: {{model: a}}
  treatment: {{model: b}}
metrics:
  resolution_rate: {{priority: primary}}
  it: {{better: higher, {metric}}}
"""

FAULTS: dict[str, tuple[str, list[str]]] = {
    "a threshold of no proportion": ("kind: mean, of: turn.tokens, above: 3", [
        "10: metrics.it.above: `above` makes a proportion of units, and this is a mean",
    ]),
    "turns as they are": ("kind: proportion, of: turn.count", [
        "10: metrics.it.kind: how many turns a unit had is no proportion; accepted: `above: 3` for the share of units with a turn after the third, or kind: count",
    ]),
    "the time to a turn": ("kind: time_to_event, of: turn.count, window: 1h", [
        "10: metrics.it.kind: every turn counts 1, which has no time_to_event; accepted: kind: count",
    ]),
    "the most of ones": ("kind: mean, of: turn.count, per_unit: max", [
        "10: metrics.it.per_unit: turns are counted, and `max` of ones is 1; accepted: sum",
    ]),
    "a slope that is true or false": ("kind: proportion, of: score.sentiment, per_unit: slope", [
        "10: metrics.it.per_unit: a slope is neither 0 nor 1; accepted: kind: mean, or `above: 0` for the share of units whose slope is above 0",
    ]),
    "a slope per something": ("kind: ratio, of: score.sentiment, per: turn.tokens, per_unit: slope", [
        "10: metrics.it.per_unit: a slope is averaged over units, and this is a ratio; accepted: kind: mean",
    ]),
    "a return within no time": ("kind: proportion, of: conversation.returned", [
        "10: metrics.it.window: whoever is seen for longer has longer to come back, so the time for it must be said; accepted: a duration such as 7d",
    ]),
    "something else of a conversation": ("kind: proportion, of: conversation.ended, window: 1d", [
        "10: metrics.it.of: nothing called conversation.ended is known of a conversation; accepted: conversation.returned",
    ]),
    "how many returns": ("kind: count, of: conversation.returned, window: 1d", [
        "10: metrics.it.kind: conversation.returned is true or false, and no count; accepted: proportion or time_to_event",
    ]),
    "the last return": ("kind: proportion, of: conversation.returned, window: 1d, per_unit: last", [
        "10: metrics.it.per_unit: conversation.returned tells of the next conversation alone; accepted: any",
    ]),
    "per return": ("kind: ratio, of: turn.cost_usd, per: conversation.returned", [
        "10: metrics.it.per: conversation.returned is true or false of a unit, and nothing is taken per it",
    ]),
    "a threshold of a return": ("kind: proportion, of: conversation.returned, window: 1d, above: 0", [
        "10: metrics.it.above: conversation.returned is true or false, and needs no threshold",
    ]),
    "silence that is half a yes": ("kind: proportion, of: outcome.sold, absent: 0.5", [
        "10: metrics.it.absent: 0.5 is neither yes nor no; accepted: 0 or 1",
    ]),
    "silence in a quantile": ("kind: quantile, q: 0.5, of: turn.latency_s, absent: 0", [
        "10: metrics.it.absent: a unit of which nothing was said has no value to add to a quantile",
    ]),
    "silence of a slope": ("kind: mean, of: score.mood, per_unit: slope, absent: 0", [
        "10: metrics.it.absent: what is not known here is not nothing; leave it out",
    ]),
}  # fmt: skip


def faults(folder: Path, text: str) -> list[str]:
    path = folder / "demo.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        load_experiment(path)
    except DefinitionError as error:
        return [str(each).partition("demo.yaml:")[2] for each in error.faults]
    return []


@pytest.mark.parametrize("name", FAULTS)
def test_a_metric_that_fits_nothing_says_so(name: str, tmp_path: Path) -> None:
    """Each sentence is whole, and there is no other."""
    metric, said = FAULTS[name]
    assert faults(tmp_path, BASE.format(unit="user", metric=metric)) == said


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        ("user", []),
        ("conversation\ncluster: user", []),
        ("conversation", ["10: metrics.it.of: whose the next conversation is, nobody says; accepted: `cluster:` with the attribute that names the user, or `unit: user`"]),
        ("{type: slot, every: 1h}", ["10: metrics.it.of: a slot does not come back; accepted: a unit that is a user or less"]),
    ],
)  # fmt: skip
def test_who_comes_back_must_be_known(unit: str, said: list[str], tmp_path: Path) -> None:
    """A user does, or the user that a cluster names; of a conversation alone nobody knows whose the next one is."""
    text = BASE.format(unit=unit, metric="kind: proportion, of: conversation.returned, window: 7d")
    line = 11 if "\n" in unit else 10
    assert faults(tmp_path, text) == [each.replace("10:", f"{line}:", 1) for each in said]


def test_a_built_in_metric_takes_no_threshold(tmp_path: Path) -> None:
    """Two teams that say error_rate mean the same thing."""
    text = BASE.format(unit="user", metric="kind: mean, of: turn.tokens").replace(
        "  it:", "  error_rate: {above: 0.5}\n  it:"
    )
    assert faults(tmp_path, text) == [
        "10: metrics.error_rate.above: 'error_rate' is a built-in metric without a threshold; give a metric of your own another name"
    ]


@pytest.mark.parametrize(
    ("metric", "why"),
    [
        ("kind: count, of: turn.count", "the number of a unit's turns"),
        ("kind: proportion, of: turn.latency_s, above: 9", "the share of units above a number"),
        ("kind: proportion, of: outcome.sold, absent: 0", "of units of which nothing was said, too"),
        ("kind: mean, of: score.mood, per_unit: slope", "a slope over a unit's readings"),
        ("kind: time_to_event, of: outcome.sold, window: 1d", "how long it takes a unit"),
        (
            "kind: proportion, of: conversation.returned, window: 1d",
            "known of a unit only when its window is over",
        ),
    ],
)
def test_what_takes_a_whole_conversation_cannot_be_watched(metric: str, why: str, tmp_path: Path) -> None:
    """A window counts by the minute; what needs a unit's whole time is refused there, in a sentence."""
    text = BASE.format(unit="user", metric=metric) + "watches: [{metric: it, min: 1, window: 5m}]\n"
    (said,) = faults(tmp_path, text)
    assert said == (
        f"11: watches[0].metric: 'it' is {why}, and a window counts reading by reading what happened in it; "
        "watch a rate, a mean or a quantile of turns or outcomes"
    )


def test_cost_a_turn_can_be_watched(tmp_path: Path) -> None:
    """A ratio per turn is told by the minute."""
    metric = "kind: ratio, of: turn.cost_usd, per: turn.count"
    text = BASE.format(unit="user", metric=metric) + "watches: [{metric: it, max: 1, window: 5m}]\n"
    assert faults(tmp_path, text) == []


def test_a_primary_per_turn_gives_pause(tmp_path: Path) -> None:
    """Allowed, and warned of: the arm has a say in what it is divided by. A guardrail per turn is not warned of."""
    path = tmp_path / "demo.yaml"
    text = BASE.format(unit="conversation", metric="kind: ratio, of: turn.cost_usd, per: turn.count")
    path.write_text(text, encoding="utf-8")
    assert read_definition(path).warnings == ()
    path.write_text(
        text.replace("{priority: primary}", "{}").replace("{better", "{priority: primary, better"),
        encoding="utf-8",
    )
    (warned,) = read_definition(path).warnings
    assert str(warned) == (
        f"{path}:10: metrics.it: the primary is taken per turn, and how many turns a conversation has is the arm's own "
        "doing; decide by what is per conversation; the figure per turn stands beside it"
    )


def test_a_threshold_and_a_slope_are_part_of_the_identity(tmp_path: Path) -> None:
    """They survive the canonical form; another threshold is another experiment, and none leaves the digest as it was."""
    digests = set()
    for metric in (
        "kind: proportion, of: turn.tokens, per_unit: sum",
        "kind: proportion, of: turn.tokens, per_unit: sum, above: 3",
        "kind: proportion, of: turn.tokens, per_unit: sum, above: 4",
        "kind: mean, of: turn.tokens, per_unit: slope",
        "kind: mean, of: turn.tokens, per_unit: sum, absent: 0",
    ):
        path = tmp_path / "demo.yaml"
        path.write_text(BASE.format(unit="user", metric=metric), encoding="utf-8")
        experiment = load_experiment(path)
        assert read_canonical(canonical(experiment)) == experiment
        digests.add(experiment.digest)
    assert len(digests) == 5
