"""A bandit's worked example, which comes out to the last pull."""

from __future__ import annotations

import random

from equipoise.stats.bandits.policies import thompson
from equipoise.stats.bandits.posteriors import BetaBernoulli


def test_five_hundred_rounds_of_thompson_sampling_come_out_as_worked():
    """Two arms of .55 and .62, one betavariate an arm in their order, then one random for the reward."""
    rng = random.Random(7)
    arms, pulls = [BetaBernoulli(1, 1), BetaBernoulli(1, 1)], [0, 0]
    for _ in range(500):
        played = thompson(arms, rng)
        pulls[played] += 1
        arms[played] = arms[played].updated(float(rng.random() < (0.55, 0.62)[played]))
    assert pulls == [151, 349]
    assert arms == [BetaBernoulli(89, 64), BetaBernoulli(227, 124)]
