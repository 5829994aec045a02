"""Rankers that share lists, rehearsed: searches are what the plan assumes, past lists come back, and refusals say why."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import orjson
import pytest
import yaml
from searching import BASE, facts, rankers
from typer.testing import CliRunner

from equipoise.cli.main import app
from equipoise.conduct.past.lists import past_lists
from equipoise.conduct.register import register
from equipoise.conduct.rehearsal.clicks import AssumedSearches
from equipoise.conduct.rehearsal.run import Ending, Scenario
from equipoise.conduct.rehearsal.split_instead import Split, lost_in_lists, split_instead
from equipoise.conduct.rehearse import rehearse
from equipoise.errors import DataError, UsageError
from equipoise.events.log import MemoryLog
from equipoise.events.sqlite import SQLiteLog
from equipoise.stats.estimate import NotEstimable

SCHEMES = [
    {"length": 5, "agreed": "ignored"},
    {"length": 10},
    {"length": 4, "scheme": "balanced"},
    {"length": 1},
]


@pytest.mark.parametrize("design", SCHEMES)
@pytest.mark.parametrize("effect", [0.0, 0.05, -0.1])
def test_searches_have_the_ties_and_the_effect_that_the_plan_assumes(design, effect):
    """Of 200,000 searches by any scheme 70 % are ties, and wins less losses come to the effect; within five standard errors."""
    experiment = rankers(interleaving=design | {"ties": 0.7})
    shown = AssumedSearches(experiment).draw(200_000, {"preference": effect}, np.random.default_rng(3))
    lost, won = shown.credit["preference"].T
    assert np.mean(won + lost) == pytest.approx(0.3, abs=5 * np.sqrt(0.21 / 200_000))
    assert np.mean(won - lost) == pytest.approx(effect, abs=5 * np.sqrt(0.3 / 200_000))
    assert set(np.unique(won - lost)) == {-1.0, 0.0, 1.0}
    # Chance is fair to both, whoever is better.
    begun = np.bincount(shown.first + 1, minlength=3)[1:]
    assert begun[1] / begun.sum() == pytest.approx(0.5, abs=5 * np.sqrt(0.25 / begun.sum()) + 0.01)


def test_credit_varies_as_its_spread_says():
    """Of a count the difference within a query has the spread that is declared, and the mean that is planted."""
    shown = AssumedSearches(rankers()).draw(200_000, {"reports": 0.05}, np.random.default_rng(3))
    more = shown.credit["reports"][:, 1] - shown.credit["reports"][:, 0]
    assert more.std() == pytest.approx(0.3, rel=0.02)
    assert more.mean() == pytest.approx(0.05, abs=5 * 0.3 / np.sqrt(200_000))
    metrics = {
        "paid": {
            "priority": "primary",
            "kind": "mean",
            "of": "outcome.paid",
            "better": "higher",
            "mde": 2,
            "spread": 20.0,
        }
    }
    shown = AssumedSearches(rankers(metrics=metrics)).draw(200_000, {"paid": 2.0}, np.random.default_rng(3))
    more = shown.credit["paid"][:, 1] - shown.credit["paid"][:, 0]
    assert more.std() == pytest.approx(20.0, rel=0.02)
    assert more.mean() == pytest.approx(2.0, abs=5 * 20 / np.sqrt(200_000))


@pytest.mark.parametrize("effect", [0.0, 0.2])
def test_searches_of_a_person_are_alike_by_the_icc(effect):
    """Two searches of one person correlate in who wins by what was asked for."""
    searches = AssumedSearches(rankers(), icc=0.15, per_unit=4)
    shown = searches.draw(200_000, {"preference": effect}, np.random.default_rng(1))
    more = (shown.credit["preference"][:, 1] - shown.credit["preference"][:, 0]).reshape(-1, 4)
    assert more.mean() == pytest.approx(effect, abs=0.01)
    between = np.mean([np.corrcoef(more[:, i], more[:, j])[0, 1] for i in range(4) for j in range(i)])
    assert between == pytest.approx(0.15, abs=0.01)


def test_an_effect_goes_as_far_as_one_ranker_can_be_better():
    """Where the better ranker of a search wins but for luck, a treatment that always is one has the largest effect there is."""
    searches = AssumedSearches(rankers())
    metric = rankers().primary
    most = searches.possible(metric, 1.0)
    assert 0.3 < most < 0.5
    assert searches.possible(metric, -1.0) == -most
    assert searches.possible(metric, 0.1) == 0.1
    assert searches.better(most) == 1.0
    always = searches.draw(1_000, {"preference": most}, np.random.default_rng(1))
    assert np.mean(always.credit["preference"][:, 1] - always.credit["preference"][:, 0]) > 0.2


def test_what_the_click_model_cannot_have_is_said():
    """More than two rankers, likeness beyond what people differ by, fewer ties than clicks leave: each with a sentence."""
    three = rankers(variants={"control": {}, "b": {}, "c": {}})
    with pytest.raises(
        UsageError,
        match=r"^a rehearsal drafts lists of two rankers, and search@\w{12} has 3; `equipoise plan`",
    ):
        AssumedSearches(three)
    with pytest.raises(
        UsageError, match=r"^an intraclass correlation lies from 0 to below 1, and this is 1$"
    ):
        AssumedSearches(rankers(), icc=1.0, per_unit=2)
    with pytest.raises(UsageError, match=r"^a unit makes 1 search or more, and this is 0$"):
        AssumedSearches(rankers(), per_unit=0)
    with pytest.raises(
        UsageError, match=r"^by this click model searches of one user are alike by less than 0\.\d+ in "
    ):
        AssumedSearches(rankers(), icc=0.9, per_unit=2)
    surely = AssumedSearches(
        rankers(interleaving={"length": 5, "agreed": "ignored", "ties": 0.0}), per_unit=2
    )
    clicks, alike = surely.notes
    assert clicks.startswith("by this click model ")
    assert clicks.endswith(
        "% of the searches have no winner even where everybody clicks, and the plan says 0%"
    )
    assert alike == "searches of one person are drawn as if they were not alike; say --icc"
    assert AssumedSearches(rankers()).notes == ()
    # A probabilistic list is won by chances, which add up to as much.
    chances = AssumedSearches(rankers(interleaving={"length": 5, "scheme": "probabilistic", "ties": 0.5}))
    shown = chances.draw(50_000, {}, np.random.default_rng(1)).credit["preference"]
    assert shown.sum() / 50_000 == pytest.approx(0.5, abs=0.015)
    assert chances.notes == ()


def test_an_ab_on_the_same_clicks_takes_many_times_the_queries():
    """Its arms are the better ranker as often as the effect says; nothing to find, or less that is better, has no A/B."""
    experiment = rankers()
    searches = AssumedSearches(experiment)
    found = split_instead(experiment, searches, {"preference": 0.2})
    assert isinstance(found, Split)
    assert found.metric == "reciprocal rank of the first click"
    assert found.low < found.queries < found.high < 1.2 * found.low
    assert found.to_dict() == {
        "metric": found.metric, "queries": found.queries, "low": found.low, "high": found.high, "power": 0.8
    }  # fmt: skip
    # Lists by other luck take as many, but for what their luck is said to be worth (at three times the half width).
    for seed in (1, 2, 3):
        other = split_instead(experiment, AssumedSearches(experiment, seed=seed), {"preference": 0.2})
        assert isinstance(other, Split)
        assert abs(other.queries - found.queries) < 3 * (found.high - found.queries)
    half = split_instead(experiment, searches, {"preference": 0.1})
    assert isinstance(half, Split)
    assert half.queries == pytest.approx(4 * found.queries, rel=0.05)
    # By hand, with the arms drawn: the treatment is the better ranker in so many of the searches in which somebody clicks.
    rng, share = np.random.default_rng(2), searches.better(0.2)
    arms = []
    for chance in (share, 1 - share):
        rows = rng.integers(0, 10_000, 200_000)
        values = searches.own.reciprocal[rows, (rng.random(200_000) < chance).astype(int)]
        arms.append(values * (rng.random(200_000) < searches.clicking))
    effect, variance = arms[0].mean() - arms[1].mean(), (arms[0].var() + arms[1].var()) / 2
    assert found.queries == pytest.approx(4 * (1.959964 + 0.841621) ** 2 * variance / effect**2, rel=0.06)
    assert split_instead(experiment, searches, {}) == NotEstimable("no arm is better")
    metrics = {
        "harm": {
            "priority": "primary",
            "kind": "proportion",
            "of": "outcome.harm",
            "better": "lower",
            "mde": "5pp",
        }
    }
    lower = rankers(metrics=metrics)
    assert split_instead(lower, AssumedSearches(lower), {"harm": -0.05}) == NotEstimable(
        "where less is better, clicks are no finds"
    )


def test_what_is_lost_is_what_the_better_ranker_would_have_found():
    """Lists of both until it ends, then those of whoever is served; what is beyond the horizon is nobody's loss."""
    experiment = rankers()
    searches = AssumedSearches(experiment)
    planned = Scenario("planned", "better", "treatment", {"preference": 0.2})
    shipped = Ending("ship", "treatment", 4.0, 300, (100, 100), 1, True, (0.0, 1.0), once="treatment")
    held = Ending("hold", None, 4.0, 500, (100, 100), 1, False, (1.0, 0.0))
    common = {"horizon": 1000, "once": 200, "before": 50.0}
    found = lost_in_lists(experiment, searches, planned, [shipped, held], **common)
    better, (worst, best) = searches.better(0.2), searches.own.found.mean(axis=0)
    whole = searches.clicking * (2 * better - 1) * (best - worst)
    shared = searches.clicking * (better * best + (1 - better) * worst - searches.own.in_shared.mean())
    assert found["control for everyone"][0] == pytest.approx(1000 * whole)
    # Some ten thousand lists say what rankers find to within two or three hundredths.
    assert 0 < found["control for everyone"][1] < 0.04 * 1000 * whole
    assert found["treatment for everyone, untested"] == (0.0, 0.0)
    assert found["as designed"][0] == pytest.approx((350 * shared + 550 * shared + 450 * whole) / 2)
    assert found["one look at the end"][0] == pytest.approx((250 * shared + 250 * shared + 750 * whole) / 2)
    split = split_instead(experiment, searches, planned.effects)
    tried = min(split.queries, 1000)
    assert found["an A/B instead"][0] == pytest.approx(tried * whole / 2 + 0.2 * (1000 - tried) * whole)
    nothing = Scenario("nothing", "A/A", "treatment", {})
    assert lost_in_lists(experiment, searches, nothing, [held], **common) == NotEstimable("no arm is better")
    broken = Scenario("reports broken", "worse", "treatment", {"preference": 0.2, "reports": 0.2})
    assert lost_in_lists(experiment, searches, broken, [held], **common) == NotEstimable(
        "what a broken guardrail costs is not told by preference"
    )


def test_rankers_are_rehearsed_as_they_share_lists():
    """Scenarios as of any design, in queries; everybody meets items of both, and a broken guardrail is found."""
    found = rehearse(rankers(), runs=30, processes=1, seed=2)
    assert [each.scenario.name for each in found.outcomes] == [
        "nothing",
        "planned",
        "opposite",
        "reports broken",
    ]
    assert (found.counted, found.length[-1]) == ("queries", "items of that ranker (9 of 10 within)")
    for each in found.outcomes:
        # Of five items some are agreed on, and nobody's.
        assert 0.4 * each.units.mean < each.exposed.mean < 2.5 * each.units.mean
    nothing, planned, opposite, broken = found.outcomes
    assert planned.ships.value > 0.5 > nothing.ships.value
    assert opposite.ships.value == broken.ships.value == 0.0
    assert broken.words["roll back"] > 15
    assert rehearse(rankers(), runs=30, processes=2, seed=2, only=["planned"]).outcomes == (planned,)
    with pytest.raises(
        UsageError,
        match=r"^rankers share the list of every query, and not to whole clusters; leave --whole-clusters out$",
    ):
        rehearse(rankers(), runs=1, whole_clusters=True)


def past(experiment, shown):
    log = MemoryLog()
    register(log, experiment, by="ann", reason="nothing was tried offline")
    log.append(list(facts(experiment, shown)))
    return log


def test_past_lists_are_drawn_again_with_nobody_better():
    """Whoever was better in the past, drawn again neither is; people keep their lists, and an effect is what is planted."""
    experiment = rankers()
    made = AssumedSearches(experiment, icc=0.1, per_unit=3)
    before = made.draw(3_000, {"preference": 0.2}, np.random.default_rng(5))
    found = past_lists(past(experiment, before), "search", experiment)
    assert found.says == "3,000 past lists of 1,000 units in the log, drawn again unit by unit"
    assert found.notes == ()
    assert found.left_out == {}
    won = before.credit["preference"].sum() / 3_000
    for effect in (0.0, 0.1, -0.15):
        again = found.draw(200_000, {"preference": effect}, np.random.default_rng(7))
        more = again.credit["preference"][:, 1] - again.credit["preference"][:, 0]
        assert np.mean(np.abs(more)) == pytest.approx(won, abs=0.01)
        assert more.mean() == pytest.approx(effect, abs=0.01)
        assert np.bincount(np.bincount(again.units))[4:].sum() == 0
    assert found.possible(experiment.primary, 1.0) == pytest.approx(won)
    told = rehearse(experiment, found, runs=20, processes=1, only=["planned"])
    assert told.split == NotEstimable(
        "past lists do not tell what people would have clicked in a list of one ranker alone"
    )
    assert told.outcomes[0].regret == told.split
    assert told.promises()[-1] == (
        "An A/B instead: not known, since past lists do not tell what people would have clicked in a list of one ranker alone."
    )


def test_past_lists_that_tell_too_little_are_refused():
    """Few people are said, a metric that nobody earned is left out; no lists, one person and another method are refused."""
    experiment = rankers()
    few = AssumedSearches(experiment).draw(40, {}, np.random.default_rng(5))
    few.credit["reports"][:] = 0.0
    other = rankers(interleaving={"length": 8, "ties": 0.5})
    found = past_lists(past(experiment, few), "search", other)
    assert found.left_out == {"reports": "no ranker earned more than the other in any past list"}
    assert found.notes == (
        f"past lists were drafted as {experiment.identity} says (`team_draft` of 5), and not as here",
        "40 past units hardly show how units differ",
    )
    alone = AssumedSearches(experiment, per_unit=9).draw(9, {}, np.random.default_rng(5))
    with pytest.raises(
        DataError,
        match=r"^the log has lists of 1 units of search@\w{12} that are older than every metric's window; ",
    ):
        past_lists(past(experiment, alone), "search", experiment)
    split = rankers(method="ab", interleaving=None, variants={"control": {"config": {"x": 1}}, "b": {"config": {"x": 2}}},
                    changes=["config"], metrics={"ok": {"priority": "primary", "kind": "proportion", "of": "outcome.ok", "better": "higher"}})  # fmt: skip
    log = MemoryLog()
    register(log, split, by="ann", reason="nothing was tried offline")
    with pytest.raises(
        UsageError,
        match=r"^search@\w{12} is no interleaving, and has no lists that rankers share; name one that is",
    ):
        past_lists(log, "search", experiment)


def test_the_command_rehearses_rankers(tmp_path: Path):
    """Text, JSON and a page speak of queries; past lists come from a log, of another experiment where one is named."""
    file, page, place = tmp_path / "search.yaml", tmp_path / "page.html", tmp_path / "equipoise.db"
    file.write_text(yaml.safe_dump(BASE), encoding="utf-8")
    run = CliRunner()
    told = run.invoke(app, ["simulate", str(file), "--runs", "6", "--processes", "1", "--report", str(page)])
    assert told.exit_code == 0, told.output
    assert (
        "The design, carried out 6 times for each line on searches for one item each, clicked from the top"
        in told.output
    )
    assert "60 queries a day, looked at after 60 queries." in told.output
    assert "in searches that would have found what they were for (± a standard error):" in told.output
    assert (
        "An A/B instead: on the same clicks, by its better metric (reciprocal rank of the first click), it takes "
        in told.output
    )
    written = page.read_text(encoding="utf-8")
    assert "items of that ranker" in written
    assert "after each 60 queries. Seed 0." in written
    found = json.loads(
        run.invoke(app, ["simulate", str(file), "--runs", "4", "--processes", "1", "--aa", "--json"]).output
    )
    assert found["method"] == "interleaving"
    assert found["split"]["power"] == 0.8

    log = SQLiteLog(place)
    experiment = rankers()
    register(log, experiment, by="ann", reason="nothing was tried offline")
    log.append(list(facts(experiment, AssumedSearches(experiment).draw(300, {}, np.random.default_rng(5)))))
    log.close()
    file.write_text(yaml.safe_dump(BASE | {"name": "next"}), encoding="utf-8")
    words = [
        "simulate",
        str(file),
        "--runs",
        "4",
        "--processes",
        "1",
        "--json",
        "--log",
        str(place),
        "--past",
        "log",
    ]
    again = run.invoke(app, [*words, "--like", "search"])
    assert again.exit_code == 0, again.output
    known = orjson.loads(again.stdout)
    assert known["population"] == "300 past lists of 300 units in the log, drawn again unit by unit"
    assert known["split"]["not_estimable"].startswith("past lists do not tell")
    for wrong, said in (
        (words, "no experiment called 'next' is registered in this log; it holds: search"),
        (
            [*words[:2], "--past", "source"],
            "lists that rankers share are in a log, and in no table; accepted: --past log",
        ),
        ([*words, "--arm", "treatment"], "every ranker had its items in the past lists; leave --arm out"),
        (
            [*words[:2], "--like", "search"],
            "--like names the experiment whose past is drawn; say --past log with it",
        ),
    ):
        refused = run.invoke(app, wrong)
        assert said in str(refused.exception), refused.output
