"""A bandit in a definition: what it means, what is usual, what cannot be, and what is part of its name."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from equipoise.errors import DefinitionError
from equipoise.experiment.bandit import Bandit, Drop, Stop
from equipoise.experiment.definition import Experiment
from equipoise.experiment.identity import canonical
from equipoise.experiment.reading import read_canonical, read_definition

BASE = """\
name: greeting
hypothesis: One of these openings resolves more.
unit: {type: conversation, id: uuid7}
changes: [model]
variants: {control: {model: a}, brief: {model: b}, warm: {model: c}}
metrics:
  resolution_rate: {priority: primary, window: 1d}
  tokens: {kind: mean, of: turn.tokens, better: lower, window: 1h}
  turns: {kind: count, of: turn.count, better: lower, window: 1h, baseline: 4}
  cost: {kind: ratio, of: turn.cost_usd, per: turn.count, better: lower}
method: bandit
"""
"""Eleven lines."""


def read(tmp_path: Path, text: str) -> Experiment:
    path = tmp_path / "e.yaml"
    path.write_text(text, "utf-8")
    return read_definition(path).experiment


FAULTS: dict[str, tuple[str, str, list[str]]] = {
    "no bandit": ("method: bandit", "bandit: {every: 1h}", [
        "11: bandit: this is no bandit but `method: ab`; accepted: `method: bandit`",
    ]),
    "nobody knows who came when": ("id: uuid7", "id: any", [
        "3: unit.id: a bandit changes its shares, and which of them a unit came in under cannot be told; accepted: `unit: {id: uuid7}`, `unit: {id: token}` or `pins: required`",
    ]),
    "no word of a policy": ("", "bandit: {policy: tompson}", [
        "12: bandit.policy: 'tompson' is not one of the values this takes; accepted: thompson, top_two, epsilon_greedy, ucb; did you mean 'thompson'?",
    ]),
    "two policies": ("", "bandit: {policy: {top_two: 1/2, epsilon_greedy: 10%}}", [
        "12: bandit.policy: a policy is one of its kind; accepted: thompson, top_two, epsilon_greedy, ucb, {top_two: 1/2} or {epsilon_greedy: 10%}",
    ]),
    "a policy without a choice": ("", "bandit: {policy: {top_two: 1}}", [
        "12: bandit.policy: with a probability of 1 there is no choice; accepted: more than 0 and less than 1",
    ]),
    "too quick": ("", "bandit: {every: 10s}", [
        "12: bandit.every: shares cannot be made anew every 10 s; accepted: 1m or more",
    ]),
    "a half-life of nothing": ("", "bandit: {half_life: 0s}", [
        "12: bandit.half_life: what is known has no half-life of nothing; accepted: more than 0, such as 7d",
    ]),
    "nothing to give": ("", "bandit: {explore: 1/3}", [
        "12: bandit.explore: 3 arms cannot have at least 1/3 each and anything left to give to the better ones; accepted: more than 0 and less than 1/3",
    ]),
    "nothing explored": ("", "bandit: {explore: 0}", [
        "12: bandit.explore: 3 arms cannot have at least 0 each and anything left to give to the better ones; accepted: more than 0 and less than 1/3",
    ]),
    "an unknown reward": ("", "bandit: {reward: resolution}", [
        "12: bandit.reward: there is no metric 'resolution'; accepted: resolution_rate, tokens, turns, cost; did you mean 'resolution_rate'?",
    ]),
    "a reward of no unit": ("", "bandit: {reward: cost}", [
        "12: bandit.reward: 'cost' is a ratio, of which a unit alone has none, so that it is no reward; accepted: a proportion, mean or count",
    ]),
    "pending for ever": (", window: 1d", "", [
        "7: metrics.resolution_rate.window: a unit without a reward is pending, and for how long must be said; accepted: a duration such as 1d",
    ]),
    "a trimmed reward": ("kind: count,", "kind: count, winsorise: 0.99,", [
        "9: metrics.turns.winsorise: a reward counts as it comes, and not as much as those of others allow; leave it out, or play for another metric",
    ]),
    "a rate that is no mean": ("", "bandit: {reward: turns, model: beta_bernoulli}", [
        "12: bandit.model: 'turns' is a count, and beta_bernoulli is of proportions; accepted: gaussian or gamma_poisson",
    ]),
    "a bound of what has none": ("", "bandit: {reward: turns, policy: ucb}", [
        "12: bandit.policy: the bound of `ucb` is that of rewards between 0 and 1, and these are gamma_poisson; accepted: thompson, top_two or epsilon_greedy",
    ]),
    "a mean that may be anything": ("", "bandit: {reward: tokens}", [
        "12: bandit.prior: nothing says where a mean may lie and how much units differ; accepted: the metric's `baseline` and `spread`, or {mean: …, weight: 1, shape: 1, scale: …}, the scale being a variance",
    ]),
    "half a prior": ("", "bandit: {prior: {alpha: 1}}", [
        "12: bandit.prior: the prior of beta_bernoulli is made of alpha, beta, and this one of alpha; accepted: {alpha: 1, beta: 1}",
    ]),
    "a drop of everything": ("", "bandit: {drop: {below: 60%, after: 500}}", [
        "12: bandit.drop.below: with a probability of 3/5 it would be right no more often than a coin; accepted: more than 0 and less than 1/2, such as 5%",
    ]),
    "an error of none": ("", "bandit: {stop: {error: 0}}", [
        "12: bandit.stop.error: nobody is ever that sure; accepted: more than 0 and less than 1/2, such as 5%",
    ]),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_says_where_it_is_and_what_would_do(fault: str, tmp_path: Path) -> None:
    """A bandit that cannot be run is refused when it is read, at its place, with what would be accepted."""
    old, new, said = FAULTS[fault]
    text = BASE.replace(old, new) if old else BASE + new + "\n"
    if fault == "a trimmed reward":
        text += "bandit: {reward: turns}\n"
    with pytest.raises(DefinitionError) as refused:
        read(tmp_path, text)
    assert [str(each).removeprefix(f"{tmp_path}/e.yaml:") for each in refused.value.faults] == said


def test_what_is_usual_need_not_be_said(tmp_path: Path) -> None:
    """A bandit without a section plays for the primary by Thompson's rule; saying so in full means the same."""
    plain = read(tmp_path, BASE)
    assert plain.bandit == Bandit(
        reward="resolution_rate", model="beta_bernoulli", prior={"alpha": 1.0, "beta": 1.0}
    )
    full = (
        BASE
        + "bandit: {policy: thompson, reward: resolution_rate, model: beta_bernoulli, prior: {alpha: 1, beta: 1}, every: 60m, explore: 1/20, stop: {error: 5%}}\n"
    )
    assert read(tmp_path, full).digest == plain.digest
    assert canonical(plain)["bandit"] == {
        "reward": "resolution_rate", "model": "beta_bernoulli", "prior": {"alpha": 1.0, "beta": 1.0},
    }  # fmt: skip


def test_an_experiment_that_is_no_bandit_has_none(tmp_path: Path) -> None:
    """`method: ab` has no section, and its canonical form says nothing of one."""
    experiment = read(tmp_path, BASE.replace("method: bandit\n", ""))
    assert experiment.bandit is None
    assert "bandit" not in canonical(experiment)


def test_priors_are_taken_from_what_the_metric_says(tmp_path: Path) -> None:
    """A count starts about its baseline, a mean about its baseline and as wide as its spread."""
    counts = read(tmp_path, BASE + "bandit: {reward: turns}\n").bandit
    assert counts is not None
    assert (counts.model, dict(counts.prior)) == ("gamma_poisson", {"shape": 1.0, "rate": 0.25})
    text = BASE.replace("of: turn.tokens,", "of: turn.tokens, baseline: 200, spread: 30,")
    means = read(tmp_path, text + "bandit: {reward: tokens}\n").bandit
    assert means is not None
    assert (means.model, dict(means.prior)) == (
        "gaussian", {"mean": 200.0, "weight": 1.0, "shape": 1.0, "scale": 900.0},
    )  # fmt: skip


EDITS = (
    "{policy: top_two}", "{policy: {top_two: 2/3}}", "{policy: epsilon_greedy}", "{policy: {epsilon_greedy: 5%}}",
    "{policy: ucb}", "{reward: turns}", "{reward: turns, model: gaussian, prior: {mean: 0, weight: 1, shape: 1, scale: 1}}",
    "{model: gaussian, prior: {mean: 0.5, weight: 1, shape: 1, scale: 0.25}}", "{prior: {alpha: 2, beta: 1}}",
    "{every: 30m}", "{explore: 1%}", "{half_life: 7d}", "{drop: {below: 1%, after: 500}}",
    "{drop: {below: 1%, after: 501}}", "{drop: {below: 2%, after: 500}}", "{stop: {error: 1%}}",
)  # fmt: skip


def test_every_part_of_it_is_part_of_the_name(tmp_path: Path) -> None:
    """Whatever is said otherwise, the digest is another one, and what is kept reads back to the same bandit."""
    found = {read(tmp_path, BASE.replace("method: bandit\n", "")).digest, read(tmp_path, BASE).digest}
    for edit in EDITS:
        experiment = read(tmp_path, f"{BASE}bandit: {edit}\n")
        assert experiment.digest not in found, edit
        found.add(experiment.digest)
        assert read_canonical(canonical(experiment)) == experiment
    assert len(found) == len(EDITS) + 2


def test_each_key_means_what_it_says(tmp_path: Path) -> None:
    """Shares are exact, durations are seconds, a policy may bring its number along."""
    text = "bandit: {policy: {top_two: 2/3}, every: 30m, explore: 1/7, half_life: 2d, drop: {below: 1%, after: 500}, stop: {error: 1%}}"
    assert read(tmp_path, BASE + text).bandit == Bandit(
        policy="top_two", reward="resolution_rate", model="beta_bernoulli", prior={"alpha": 1.0, "beta": 1.0},
        every=1800.0, explore=Fraction(1, 7), half_life=172800.0, drop=Drop(below=0.01, after=500),
        stop=Stop(error=0.01), leader=Fraction(2, 3),
    )  # fmt: skip
