"""A bandit's epochs: what they rest on, when they are opened, when none is, and whom they leave out."""

from __future__ import annotations

import json
import math
import random
import time
from fractions import Fraction
from pathlib import Path

import pytest
from playing import HOUR, START, bandit, playing, served
from typer.testing import CliRunner

from equipoise.assignment.epochs import LEAD
from equipoise.cli.main import app
from equipoise.cli.output import moment
from equipoise.cli.rollout_text import status_lines, weighed_lines
from equipoise.clock import ManualClock
from equipoise.conduct.ledger import state_of
from equipoise.conduct.move import kill, pause, resume, reweight, roll_back
from equipoise.conduct.register import register
from equipoise.conduct.status import status
from equipoise.conduct.weigh import Weighed, weigh
from equipoise.errors import DataError, GateError
from equipoise.events.facts import Allocation, Decision, Exposure, Outcome, Transition, decode, encode
from equipoise.events.log import MemoryLog
from equipoise.events.opening import open_log
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.rewards import rewards_of_log
from equipoise.stats.bandits.posteriors import BetaBernoulli, Rewards
from equipoise.stats.bandits.probabilities import best_probabilities, shares_of, top_two_probabilities

RATES = {"control": 0.5, "b": 0.5, "c": 0.7}
ARMS = ("control", "b", "c")


def begun(section: dict | None = None, units: int = 300, **more) -> tuple[MemoryLog, ManualClock, Experiment]:
    """A log in which a bandit was served for a while, and an hour went by in which one unit more came in."""
    clock = ManualClock(START)
    log, experiment = MemoryLog(clock), bandit(section, **more)
    playing(log, experiment, clock)
    served(log, experiment, clock, random.Random(1), units, RATES)
    clock.advance(HOUR)
    served(log, experiment, clock, random.Random(2), 1, RATES)
    return log, clock, experiment


def told(log: MemoryLog, *, by: float) -> dict[str, list[float]]:
    """The rewards of each arm of units that came in before a time, straight from the facts."""
    arms: dict[str, str] = {}
    found: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for record in log.read_since(0):
        match record.fact:
            case Exposure(unit=unit, variant=variant, happened=happened) if happened <= by:
                arms[unit] = variant
            case Outcome(unit=unit, value=value) if unit in arms:
                found[arms[unit]].append(float(value))
    return found


def test_the_shares_are_what_the_policy_makes_of_the_matured_rewards() -> None:
    """Units that came in at least an hour before the data end count, and the epoch keeps all that its shares rest on."""
    log, clock, _ = begun()
    ends = clock.now() - 10.0 + 1.0
    rewards = told(log, by=ends - HOUR)
    head = log.head()
    done = weigh(log, "bot", by="monitor", clock=clock)
    believed = [BetaBernoulli().updated(Rewards.of(rewards[arm])) for arm in ARMS]
    best = best_probabilities(believed)
    assert {arm: Fraction(share) for arm, share in done.shares.items()} == shares_of(
        dict(zip(ARMS, best, strict=True)), Fraction(1, 20)
    )
    epoch = state_of(log, "bot").allocations[-1]
    assert (epoch.epoch, epoch.starts, epoch.by) == (1, clock.now() + LEAD, "monitor")
    assert (done.epoch, done.starts, done.because, done.dropped) == (1, epoch.starts, None, ())
    assert epoch.evidence == done.evidence
    assert {key: value for key, value in done.evidence.items() if key != "arms"} == {
        "policy": "thompson", "reward": "resolution_rate", "model": "beta_bernoulli", "position": head,
    }  # fmt: skip
    for arm, posterior, p in zip(ARMS, believed, best, strict=True):
        kept = done.evidence["arms"][arm]
        assert (kept["matured"], kept["counted"], kept["missing"]) == (
            len(rewards[arm]),
            len(rewards[arm]),
            0,
        )
        assert math.isclose(kept["mean"], sum(rewards[arm]) / len(rewards[arm]))
        assert all(math.isclose(kept["posterior"][key], value) for key, value in posterior.parameters.items())
        assert (kept["best"], kept["played"]) == (p, p)
    assert sum(each["pending"] for each in done.evidence["arms"].values()) == 1
    again = decode("allocation", event_id="i", experiment="bot", happened=1.0, body=encode(epoch))
    assert isinstance(again, Allocation)
    assert again.evidence == done.evidence


def test_top_two_shares_are_its_own() -> None:
    """The policy of the definition makes the shares, with its number."""
    log, clock, _ = begun({"policy": {"top_two": "2/3"}})
    done = weigh(log, "bot", by="monitor", clock=clock)
    arms = done.evidence["arms"]
    expected = top_two_probabilities([arms[arm]["best"] for arm in ARMS], 2 / 3)
    assert [arms[arm]["played"] for arm in ARMS] == list(expected)


@pytest.mark.parametrize("policy, share", [("ucb", "9/10"), ({"epsilon_greedy": "1/5"}, "7867/10000")])
def test_the_reference_policies_have_shares_too(policy, share) -> None:
    """The best bound gets all but what is explored; of greed's shares a fifth goes to all alike as well."""
    log, clock, _ = begun({"policy": policy})
    assert weigh(log, "bot", by="monitor", clock=clock).shares["c"] == share


def test_a_unit_without_a_reward_is_pending_and_then_missing_and_no_failure() -> None:
    """Until its window is over it is pending; afterwards it is missing, or what the metric says a silent unit counts as."""
    for absent, failures in ((None, 0), (0, 4)):
        clock = ManualClock(START)
        metric = {"priority": "primary", "window": "1h"} | ({} if absent is None else {"absent": absent})
        log, experiment = MemoryLog(clock), bandit(metrics={"resolution_rate": metric})
        playing(log, experiment, clock)
        exposed = [
            Exposure(experiment="bot", happened=clock.now() + at, digest=experiment.digest, unit=f"u{at}", unit_type="conversation", variant="b", probability=1 / 3, reason="split")
            for at in (0, 1, 2, 3, 4, 3602)
        ]  # fmt: skip
        log.append(
            [
                *exposed,
                Outcome(experiment="bot", happened=clock.now() + 5, unit="u0", name="resolved", value=True),
            ]
        )
        found = rewards_of_log(experiment, log)["b"]
        # The data end with the last thing that was received.
        assert (found.matured, found.missing, found.pending) == (0, 0, 6)
        clock.advance(3604.0)
        log.append(
            [Outcome(experiment="bot", happened=clock.now(), unit="u3602", name="resolved", value=True)]
        )
        found = rewards_of_log(experiment, log)["b"]
        assert (found.matured, found.missing, found.pending) == (1 + failures, 4 - failures, 1)
        wanted = Rewards.of([1.0] + [0.0] * failures)
        assert (found.rewards.n, found.rewards.mean) == (wanted.n, wanted.mean)
        assert found.rewards.m2 == pytest.approx(wanted.m2)
        # What is told of a unit after its window is no reward.
        clock.advance(10.0)
        log.append([Outcome(experiment="bot", happened=clock.now(), unit="u1", name="resolved", value=True)])
        assert rewards_of_log(experiment, log)["b"].rewards == found.rewards


def test_old_rewards_count_less() -> None:
    """With a half-life of two hours a unit of some hours ago counts 2^(−age/2h), its age known to within an epoch."""
    section = {"half_life": "2h", "every": "1h"}
    clock = ManualClock(START)
    log, experiment = MemoryLog(clock), bandit(section)
    playing(log, experiment, clock)
    for hour, value in ((0, True), (3, False)):
        at = START + 20.0 + hour * HOUR
        log.append(
            [
                Exposure(experiment="bot", happened=at, digest=experiment.digest, unit=f"u{hour}", unit_type="conversation", variant="b", probability=1 / 3, reason="split"),
                Outcome(experiment="bot", happened=at + 1, unit=f"u{hour}", name="resolved", value=value),
            ]
        )  # fmt: skip
    clock.advance(4.5 * HOUR)
    log.append([Outcome(experiment="bot", happened=clock.now(), unit="u3", name="other", value=True)])
    log.append([Exposure(experiment="bot", happened=clock.now(), digest=experiment.digest, unit="u", unit_type="conversation", variant="c", probability=1 / 3, reason="split")])  # fmt: skip
    found = rewards_of_log(experiment, log)["b"]
    old, new = 0.5 ** (4.5 / 2), 0.5 ** (1.5 / 2)
    assert (found.matured, found.pending) == (2, 0)
    assert math.isclose(found.rewards.n, old + new)
    assert math.isclose(found.rewards.total, old)


def test_amounts_and_lower_is_better() -> None:
    """A gaussian bandit for few tokens plays the arm with the fewest; a count's bandit learns a rate."""
    tokens = {"kind": "mean", "of": "outcome.tokens", "better": "lower", "window": "1h", "baseline": 100, "spread": 20, "priority": "primary"}  # fmt: skip
    clock, rng = ManualClock(START), random.Random(4)
    log, experiment = MemoryLog(clock), bandit({}, metrics={"tokens": tokens})
    playing(log, experiment, clock)
    served(log, experiment, clock, rng, 200, {}, outcome="tokens", value=lambda arm: rng.gauss(80 if arm == "b" else 100, 20))  # fmt: skip
    clock.advance(HOUR)
    served(log, experiment, clock, rng, 1, {}, outcome="tokens", value=lambda _: 90.0)
    done = weigh(log, "bot", by="monitor", clock=clock)
    assert done.evidence["arms"]["b"]["best"] > 0.99
    assert done.shares["b"] == max(done.shares.values(), key=Fraction)
    clicks = {"kind": "count", "of": "outcome.clicks", "better": "higher", "window": "1h", "priority": "primary"}  # fmt: skip
    clock = ManualClock(START)
    log, experiment = MemoryLog(clock), bandit({}, metrics={"clicks": clicks})
    playing(log, experiment, clock)
    served(log, experiment, clock, rng, 200, {}, outcome="clicks", value=lambda arm: rng.randrange(5 if arm == "c" else 3))  # fmt: skip
    clock.advance(HOUR)
    served(log, experiment, clock, rng, 1, {}, outcome="clicks", value=lambda _: 1)
    done = weigh(log, "bot", by="monitor", clock=clock)
    arm = done.evidence["arms"]["c"]
    assert arm["posterior"] == {"shape": 1.0 + arm["mean"] * arm["matured"], "rate": 1.0 + arm["matured"]}
    assert arm["best"] > 0.99


def test_an_epoch_is_opened_when_it_is_due_and_not_before() -> None:
    """`every` after the last one started, announced so long before as every gateway needs to hear of it."""
    log, clock, _ = begun({"every": "2h"})
    starts = state_of(log, "bot").allocations[-1].starts
    clock.advance(starts + 2 * HOUR - LEAD - 0.5 - clock.now())
    assert weigh(log, "bot", by="monitor", if_due=True, clock=clock).because == "the epoch is not over yet"
    clock.advance(0.5)
    done = weigh(log, "bot", by="monitor", if_due=True, clock=clock)
    assert (done.epoch, done.starts) == (1, starts + 2 * HOUR)
    assert weigh(log, "bot", by="monitor", if_due=True, clock=clock).because == "the epoch is not over yet"
    # Whoever asks for it by hand gets it, or hears that it would say the same.
    again = weigh(log, "bot", by="ann", clock=clock)
    assert (again.epoch, again.because, again.shares) == (None, "the shares stay as they are", done.shares)


def test_nothing_is_opened_before_a_reward_is_matured() -> None:
    """Neither before anybody is exposed, nor while all rewards are pending."""
    clock = ManualClock(START)
    log, experiment = MemoryLog(clock), bandit()
    playing(log, experiment, clock)
    identity = experiment.identity
    assert weigh(log, "bot", by="monitor", clock=clock) == Weighed(
        experiment=identity, because="nobody is exposed yet"
    )
    served(log, experiment, clock, random.Random(1), 30, RATES)
    assert weigh(log, "bot", by="monitor", clock=clock) == Weighed(
        experiment=identity, because="no reward is matured yet"
    )
    assert len(state_of(log, "bot").allocations) == 1


def test_where_the_experiment_is_not_open_no_epoch_is_opened() -> None:
    """Paused, redirected, rolled back, ended by a verdict, in another stage: each says so, and nothing is written."""

    def because(act) -> str | None:
        log, clock, experiment = begun(units=20)
        act(log, clock, experiment)
        head = log.head()
        done = weigh(log, "bot", by="monitor", clock=clock)
        assert log.head() == head
        assert done.epoch is None
        return done.because

    assert (
        because(lambda log, clock, _: pause(log, "bot", by="ann", clock=clock))
        == "it is paused, and nobody new comes in"
    )
    assert (
        because(lambda log, clock, _: kill(log, "bot", by="ann", clock=clock))
        == "it serves control to everyone"
    )
    assert because(lambda log, clock, _: roll_back(log, "bot", by="ann", reason="slow", clock=clock)) == (
        "it is in the stage rolled back, and shares follow rewards in ab"
    )
    assert because(
        lambda log, clock, experiment: log.append(
            [Decision(experiment="bot", happened=clock.now(), digest=experiment.digest, look="l", verdict="ship", because="it is best", arm="c")]
        )
    ) == "the verdict has ended it"  # fmt: skip
    clock = ManualClock(START)
    log, experiment = MemoryLog(clock), bandit(rollout={"stages": ["canary", "ab"]})
    playing(log, experiment, clock)
    assert weigh(log, "bot", by="monitor", clock=clock).because == (
        "it is in the stage canary, and shares follow rewards in ab"
    )
    log, clock, _ = begun(units=20)
    pause(log, "bot", by="ann", clock=clock)
    resume(log, "bot", by="ann", clock=clock)
    assert weigh(log, "bot", by="monitor", clock=clock).epoch == 1


def test_whoever_moved_it_meanwhile_was_first() -> None:
    """A pause, or an operator's shares, that come while rewards are counted: no epoch is opened over them."""
    log, clock, _ = begun()

    class Pausing:
        """A log to which somebody else writes, just before an epoch is."""

        def __getattr__(self, name):
            return getattr(log, name)

        def append_if(self, *given, **more):
            pause(log, "bot", by="ann", clock=clock)
            return log.append_if(*given, **more)

    assert weigh(Pausing(), "bot", by="monitor", clock=clock).because == "somebody else moved it meanwhile"
    state = state_of(log, "bot")
    assert (state.service, len(state.allocations)) == ("paused", 1)


def test_an_arm_that_is_surely_not_best_goes_and_stays_away() -> None:
    """In one epoch it is removed, its units are counted, and what is left is shared among the others from then on."""
    log, clock, experiment = begun({"drop": {"below": "5%", "after": 50}}, units=600)
    done = weigh(log, "bot", by="monitor", clock=clock)
    arms = done.evidence["arms"]
    assert done.dropped == ("b",)
    assert arms["b"]["best"] < 0.05
    assert arms["b"]["matured"] >= 50
    assert (arms["b"]["played"], sorted(done.shares)) == (None, ["c", "control"])
    # Control is as far behind, and is never dropped: it is what the others' units are served.
    moved = [record.fact for record in log.read_since(0) if isinstance(record.fact, Transition)][-2:]
    assert moved[0].evidence == {"removed": ["b"]}
    assert moved[1].evidence["redirected"]["units"] == {"b": arms["b"]["matured"] + arms["b"]["pending"]}
    clock.advance(20.0)
    came = served(log, experiment, clock, random.Random(3), 200, RATES)
    assert came["b"] == 0
    clock.advance(HOUR)
    served(log, experiment, clock, random.Random(4), 1, RATES)
    again = weigh(log, "bot", by="monitor", clock=clock)
    assert (again.dropped, sorted(again.evidence["arms"]), again.shares) == (
        (),
        ["c", "control"],
        done.shares,
    )
    assert again.because == "the shares stay as they are"


def test_too_few_units_drop_nobody_and_the_last_treatment_stays() -> None:
    """Below the number of matured units the rule says nothing; where all treatments fall below, the best of them stays."""
    log, clock, _ = begun({"drop": {"below": "49%", "after": 100_000}})
    assert weigh(log, "bot", by="monitor", clock=clock).dropped == ()
    clock = ManualClock(START)
    log, experiment = MemoryLog(clock), bandit({"drop": {"below": "5%", "after": 10}})
    playing(log, experiment, clock)
    rates = {"control": 0.9, "b": 0.2, "c": 0.3}
    served(log, experiment, clock, random.Random(1), 300, rates)
    clock.advance(HOUR)
    served(log, experiment, clock, random.Random(2), 1, rates)
    done = weigh(log, "bot", by="monitor", clock=clock)
    assert all(done.evidence["arms"][arm]["best"] < 0.05 for arm in ("b", "c"))
    assert (done.dropped, sorted(done.shares)) == (("b",), ["c", "control"])


def test_every_exposure_has_the_share_of_its_epoch() -> None:
    """Over six epochs of other shares, and an operator's: the logged probability is the share of the logged epoch, exactly."""
    clock, rng = ManualClock(START), random.Random(6)
    log, experiment = MemoryLog(clock), bandit({"policy": "top_two"})
    playing(log, experiment, clock)
    for epoch in range(6):
        served(log, experiment, clock, rng, 120, RATES, apart=30.0)
        if epoch == 3:
            reweight(log, "bot", {"control": Fraction(1, 7), "b": Fraction(2, 7), "c": Fraction(4, 7)}, by="ann", clock=clock)  # fmt: skip
        else:
            weigh(log, "bot", by="monitor", if_due=True, clock=clock)
        clock.advance(LEAD)
    shares = {each.epoch: each.shares for each in state_of(log, "bot").allocations}
    exposures = [record.fact for record in log.read_since(0, kinds=("exposure",))]
    assert len(shares) >= 5
    assert len({each.epoch for each in exposures if isinstance(each, Exposure)}) >= 5
    for each in exposures:
        assert isinstance(each, Exposure)
        assert each.probability == float(Fraction(shares[each.epoch][each.variant]))


def test_what_is_no_bandit_is_not_weighed() -> None:
    """And a bandit whose rewards are not what its kind says opens nothing."""
    clock = ManualClock(START)
    log = MemoryLog(clock)
    plain = read_canonical({
        "name": "plain", "hypothesis": "It helps.", "unit": "user", "changes": ["model"],
        "variants": {"control": {"model": "a"}, "b": {"model": "b"}}, "metrics": {"resolution_rate": {"priority": "primary"}},
    })  # fmt: skip
    register(log, plain, by="ann", reason="no gate is declared", clock=clock)
    with pytest.raises(GateError) as refused:
        weigh(log, "plain", by="ann", clock=clock)
    assert str(refused.value) == f"{plain.identity} is no bandit; `reweight` gives it other shares"
    experiment = bandit()
    playing(log, experiment, clock)
    served(log, experiment, clock, random.Random(1), 30, {}, value=lambda _: 0.5)
    clock.advance(HOUR)
    with pytest.raises(DataError) as wrong:
        weigh(log, "bot", by="monitor", clock=clock)
    assert str(wrong.value) == (
        "resolution_rate is a proportion of outcome.resolved, and 30 units have another value than 0 or 1, such as 0.5. "
        "Use `kind: mean`, or record true and false"
    )


def test_where_it_stands_tells_the_weights_and_when_they_change() -> None:
    """Before any weights, after some, with a removed arm, and where shares change no more."""

    def lines(log: MemoryLog, clock: ManualClock) -> list[str]:
        return list(status_lines(status(log, "bot", clock=clock)))

    log, clock, _ = begun({"drop": {"below": "5%", "after": 50}}, units=600)
    starts = state_of(log, "bot").allocations[-1].starts
    assert f"shares change next at {moment(starts + HOUR)} UTC, where `equipoise monitor` runs" in lines(
        log, clock
    )
    done = weigh(log, "bot", by="monitor", clock=clock)
    said = lines(log, clock)
    (table,) = [each for each in said if each.startswith("resolution_rate")]
    rows = {row.split()[0]: row.split() for row in table.splitlines()}
    assert rows["resolution_rate"][1:] == ["rewards", "pending", "missing", "mean", "best", "with", "share"]
    arm = done.evidence["arms"]["c"]
    assert rows["c"] == [
        "c", f"{arm['matured']:,}", str(arm["pending"]), "0", f"{arm['mean']:.4g}", f"{arm['best']:.2%}", "95.00%",
    ]  # fmt: skip
    assert rows["b"][-1] == "removed"
    pause(log, "bot", by="ann", clock=clock)
    assert "shares change no more: it is paused, and nobody new comes in" in lines(log, clock)
    told = status(log, "bot", clock=clock).to_dict()["weights"]
    assert (told["next"], told["because"]) == (None, "it is paused, and nobody new comes in")
    assert told["evidence"] == done.evidence
    assert list(weighed_lines(done))[-1] == (
        f"epoch 1 of {done.experiment} starts at {moment(done.starts or 0.0)} UTC"
    )


def test_of_many_epochs_the_last_are_told() -> None:
    """A bandit has one every hour: a dozen are shown, and how many there were before."""
    log, clock, _ = begun()
    for number in range(1, 20):
        reweight(log, "bot", {"control": Fraction(1, 3), "b": Fraction(number, 60), "c": Fraction(40 - number, 60)}, by="ann", clock=clock)  # fmt: skip
        clock.advance(20.0)
    said = list(status_lines(status(log, "bot", clock=clock)))
    assert "and 8 epochs before; --json has them all" in said
    (table,) = [each for each in said if each.startswith("epoch")]
    assert [line.split()[0] for line in table.splitlines()] == ["epoch", *map(str, range(8, 20))]


def test_by_hand_it_is_a_verb(tmp_path: Path) -> None:
    """`equipoise rollout NAME weigh` tells what is known and what was opened; with --json, all of it."""
    place = str(tmp_path / "log.db")
    clock = ManualClock(time.time() - 3 * HOUR)
    log, experiment = open_log(place), bandit()
    playing(log, experiment, clock)
    served(log, experiment, clock, random.Random(1), 60, RATES)
    clock.advance(time.time() - clock.now() - 60.0)
    served(log, experiment, clock, random.Random(2), 1, RATES)
    log.close()

    def asked(*words: str) -> str:
        result = CliRunner().invoke(app, ["rollout", "bot", "weigh", "--by", "ann", *words, "--log", place])
        assert result.exception is None, result.exception
        return result.stdout

    said = asked().splitlines()
    assert said[0].split() == [
        "resolution_rate",
        "rewards",
        "pending",
        "missing",
        "mean",
        "best",
        "with",
        "share",
    ]
    assert said[-1].startswith(f"epoch 1 of {experiment.identity} starts at ")
    again = json.loads(asked("--json"))
    assert (again["epoch"], again["because"]) == (None, "the shares stay as they are")
    assert again["evidence"]["arms"].keys() == {"control", "b", "c"}
    due = json.loads(asked("--json", "--if-due"))
    assert (due["because"], due["evidence"]) == ("the epoch is not over yet", {})
    log = open_log(place)
    assert state_of(log, "bot").allocations[-1].by == "ann"
    log.close()
