"""Off-policy evaluation of tables: what is refused, what is cautioned against, and how it is told."""

from __future__ import annotations

import csv
import json
import random
import re

import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from typer.testing import CliRunner

from equipoise.cli.main import app
from equipoise.conduct.off_policy import evaluate_policy
from equipoise.errors import DataError, UsageError
from equipoise.stats.adaptive.off_policy import off_policy, policy_value
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.moments import PairMoments

SHARES = {"brief": 0.5, "warm": 0.3, "formal": 0.2}


def write(path, header, lines):
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *lines])
    return path


@pytest.fixture
def log(tmp_path):
    rng = random.Random(1)
    lines = []
    for number in range(600):
        action = rng.choices(list(SHARES), weights=list(SHARES.values()))[0]
        earned = int(rng.random() < {"brief": 0.2, "warm": 0.4, "formal": 0.3}[action])
        lines.append([action, SHARES[action], earned, f"user {number // 3}", "new" if number % 2 else "old"])
    return write(tmp_path / "log.csv", ["action", "probability", "reward", "user", "kind"], lines)


def policy(tmp_path, plays, header=("action", "probability")):
    return write(tmp_path / "policy.csv", header, plays)


def test_a_policy_is_evaluated_and_told(log, tmp_path):
    """In text and as JSON, with what it rests on; the whole log on its own policy is the plain mean."""
    same = policy(tmp_path, SHARES.items())
    found = evaluate_policy(log, same, action="action")
    assert found.values.inverse_propensity.value == pytest.approx(found.played.value)
    assert found.values.overlap.effective == pytest.approx(600)
    assert found.values.overlap.mean == NotEstimable("all weights are the same")
    told = CliRunner().invoke(app, ["off-policy", str(log), "--action", "action", "--cluster", "user"])
    assert told.exit_code == 0, told.output
    lines = told.stdout.splitlines()
    assert lines[0] == f"reward of every action alike, from {log} (600 rows)"
    assert [re.split(r"  +", line)[0] for line in lines[2:9]] == [
        "method",
        "inverse propensities",
        "self-normalised",
        "direct method, as if its model were right",
        "doubly robust",
        "what was earned by the policy that played",
        "doubly robust, less what was earned",
    ]
    as_json = CliRunner().invoke(app, ["off-policy", str(log), "--action", "action", "--json"])
    assert json.loads(as_json.stdout)["overlap"]["rows"] == 600


def test_contexts_have_policies_of_their_own(log, tmp_path):
    """A policy by kind of user; a context of which it says nothing is named, with its rows."""
    plays = [(kind, action, 1.0 if action == best else 0.0) for kind, best in (("new", "warm"), ("old", "formal")) for action in SHARES]  # fmt: skip
    header = ("kind", "action", "probability")
    found = evaluate_policy(log, policy(tmp_path, plays, header), action="action", context=("kind",))
    assert 0.2 < found.values.doubly_robust.value < 0.5
    with pytest.raises(
        DataError,
        match=r"^the policy says nothing of kind old, where the log has 300 rows; give it a row for each action there$",
    ):
        evaluate_policy(log, policy(tmp_path, plays[:3], header), action="action", context=("kind",))


@pytest.mark.parametrize(
    ("plays", "says"),
    [
        ([("brief", 0.5), ("warm", 0.3)], "the policy's probabilities add up to 0.8; they must add up to 1"),
        ([("brief", 1.5), ("warm", -0.5)], "the column 'probability' of the policy holds 2 values that are not probabilities, such as 1.5. Accepted: from 0 to 1"),
        ([("brief", 0.5), ("brief", 0.5)], "the policy has several rows of action brief; it needs one for each action"),
    ],
)  # fmt: skip
def test_a_policy_that_is_none_is_refused(log, tmp_path, plays, says):
    """Probabilities lie between 0 and 1, add up, and there is one for each action."""
    with pytest.raises(DataError, match=f"^{re.escape(says)}$"):
        evaluate_policy(log, policy(tmp_path, plays), action="action")


def test_a_log_that_is_none_is_refused(log, tmp_path):
    """Columns by name, probabilities of what was played, rewards that are numbers, rows at all."""
    with pytest.raises(
        DataError,
        match=r"log.csv has no column 'acton'; it has action, probability, reward, user, kind; did you mean 'action'\?$",
    ):
        evaluate_policy(log, action="acton")
    never = write(
        tmp_path / "never.csv", ["action", "probability", "reward"], [["a", 0, 1], ["b", 0.5, "often"]]
    )
    with pytest.raises(
        DataError,
        match=r"^the column 'probability' holds 1 value that is not a probability: '0'. Accepted: above 0 and at most 1: "
        r"it was played$",
    ):
        evaluate_policy(never, action="action")
    with pytest.raises(
        DataError,
        match=r"^the column 'reward' holds 1 value that is not a reward: 'often'. Accepted: finite numbers, true, false$",
    ):
        evaluate_policy(
            write(tmp_path / "w.csv", ["action", "probability", "reward"], [["b", 0.5, "often"]]),
            action="action",
        )
    nothing = write(tmp_path / "nothing.csv", ["action", "probability", "reward"], [])
    with pytest.raises(DataError, match=r"nothing.csv holds no rows; there is nothing to evaluate$"):
        evaluate_policy(nothing, action="action")


def test_a_policy_that_the_log_says_nothing_of_has_no_value(log, tmp_path):
    """It plays what was never played: no estimate, and the share of such plays."""
    found = evaluate_policy(log, policy(tmp_path, [("rude", 0.99), ("formal", 0.01)]), action="action")
    assert (
        found.values.doubly_robust
        == found.gain
        == NotEstimable(
            "of 99% of the policy's plays the log has no row, so that it says nothing of the policy"
        )
    )
    assert found.unplayed == pytest.approx(0.99)
    assert len(found.cautions) == 2
    assert found.cautions[1] == (
        "99.0% of the policy's plays have no row in the log: of those only the model says anything"
    )


def test_wrong_probabilities_are_noticed(log):
    """Weights that do not average 1: a log whose probabilities were not those that were played by."""
    found = evaluate_policy(log, action="action")
    assert found.cautions == ()
    doubled = [[*line.split(",")] for line in log.read_text().splitlines()[1:]]
    other = write(
        log.parent / "other.csv",
        ["action", "probability", "reward"],
        [[action, float(p) / 2 if action == "brief" else p, y] for action, p, y, *_ in doubled],
    )
    assert evaluate_policy(other, action="action").cautions[0].startswith("the weights average 1.3")


def test_arrays_that_do_not_fit_are_refused():
    """Lengths, probabilities, finite numbers, a method by its name."""
    with pytest.raises(
        UsageError, match=r"^rewards, logged and target must have the same length, not 2, 1 and 2$"
    ):
        off_policy([1, 0], [0.5], [0.5, 0.5])
    with pytest.raises(
        UsageError, match=r"^every logged probability must be above 0 and at most 1: it was played$"
    ):
        off_policy([1], [0.0], [0.5])
    with pytest.raises(UsageError, match=r"^every target probability must lie between 0 and 1$"):
        off_policy([1], [0.5], [1.5])
    with pytest.raises(UsageError, match=r"^clusters must name one for each of the 1 rows, not 2$"):
        off_policy([1], [0.5], [0.5], clusters=["a", "b"])
    with pytest.raises(
        UsageError,
        match=r"^predicted and expected must have one value for each of the 40 rows, not 1 and 40$",
    ):
        off_policy([1, 0] * 20, [0.5] * 40, [0.5] * 40, predicted=[1], expected=[0.5] * 40)
    with pytest.raises(
        UsageError,
        match=r"^method must be one of inverse_propensity, self_normalised, direct, doubly_robust, not best$",
    ):
        policy_value(PairMoments.zero(), method="best")  # type: ignore[arg-type]
    found = off_policy([1, 0], [0.5, 0.5], [0.5, 0.5])
    assert found.doubly_robust == NotEstimable(
        "the log says as much of this policy as 2 rows would, and 30 are the least"
    )
    assert off_policy([1, 0] * 20, [0.5, 0.4] * 20, [0.5] * 40).direct == NotEstimable(
        "no predictions of rewards are given"
    )


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
def test_frames_are_taken_for_both_tables(log, kind):
    """A policy in a frame is what it is in a file, whoever's frame it is."""
    plays = {"action": list(SHARES), "probability": [0.2, 0.3, 0.5]}
    table = pa.table(plays)
    frame = {"pandas": table.to_pandas, "polars": lambda: pl.from_arrow(table), "arrow": lambda: table}[
        kind
    ]()
    found = evaluate_policy(log, frame, action="action")
    wanted = evaluate_policy(log, policy(log.parent, zip(*plays.values(), strict=True)), action="action")
    assert found.values == wanted.values


@pytest.mark.parametrize("name", ["p", "y", "Y", "w", "e", "q", "c0", "fold", "target", "place", "belongs"])
def test_a_column_s_name_means_nothing(log, name):
    """Rows of one cluster belong together whatever its column is called."""
    named = log.parent / "named.csv"
    named.write_text(log.read_text().replace("user,kind", f"{name},kind"))
    wanted = evaluate_policy(log, action="action", cluster="user", context=("kind",))
    assert evaluate_policy(named, action="action", cluster=name, context=("kind",)).values == wanted.values


@pytest.mark.parametrize(("column", "said"), [("action", "action"), ("kind", "kind"), ("user", "user")])
def test_rows_that_do_not_say_what_they_are_of_are_refused(log, column, said):
    """An action, a context or a cluster that is not there is equal to nothing: its row would be lost without a word."""
    rows = pa_csv.read_csv(log).to_pandas()
    rows.loc[:1, column] = None
    with pytest.raises(
        DataError,
        match=f"^the column '{said}' of a pandas DataFrame is empty in 2 rows; leave those out, or write a word there that "
        "stands for them$",
    ):
        evaluate_policy(rows, action="action", context=("kind",), cluster="user")


def test_actions_that_two_tables_write_differently_are_named(log, tmp_path):
    """An action 1 that the policy calls 1.0 is none of the log's."""
    with pytest.raises(
        DataError,
        match=r"^no action of the policy stands in the log: the log has such as 'brief', the policy such as 'Brief'; write "
        r"them alike in both tables$",
    ):
        evaluate_policy(log, policy(tmp_path, [("Brief", 0.5), ("Warm", 0.5)]), action="action")


def test_wrong_probabilities_are_noticed_though_all_weights_are_the_same(log):
    """Where one weight is everyone's, chance has no part in its not being 1."""
    rows = pa_csv.read_csv(log).to_pandas()
    rows["probability"] = 0.9
    assert evaluate_policy(rows, action="action").cautions[0] == (
        "the weights average 0.37 where 1 is right: the logged probabilities are not those that were played by, or the "
        "policy plays what the log could not"
    )


def test_weights_beyond_all_bounds_are_refused(log):
    """A probability next to 0 leads to sums that no number holds."""
    rows = pa_csv.read_csv(log).to_pandas()
    rows["probability"] = 1e-300
    with pytest.raises(
        DataError,
        match=r"^a pandas DataFrame: rewards over probabilities become too large to be added up; the largest weight is "
        r"3.33e\+299; look for a probability next to 0, or a reward beyond belief$",
    ):
        evaluate_policy(rows, action="action")
