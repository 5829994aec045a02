"""Runs made already, by us or by others, read back and compared."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from equipoise.arena.comparing import compare_runs
from equipoise.arena.runs import Arm, KeptRun, read_run
from equipoise.errors import DataError
from equipoise.stats.comparison.paired import paired_difference_of_proportions
from equipoise.stats.estimate import Estimate

RUNS = Path(__file__).parents[1] / "vectors" / "runs"


def run(values, *, name="a", clusters=None, digest="x"):
    return KeptRun(
        origin=f"{name}.json",
        tool="Equipoise",
        digest=digest,
        arms=(Arm(name=name, values={"correct": values}, clusters=clusters or {}),),
    )


def test_logs_that_inspect_wrote_are_read_and_compared_on_common_cases():
    """Two real logs of twelve questions, two epochs each: six right against nine, paired."""
    first, second = (read_run(RUNS / f"inspect-sums-{which}.eval") for which in ("first", "second"))
    assert (first.tool, [arm.name for arm in first.arms]) == ("Inspect", ["sums (mockllm/model)"])
    (includes, exact) = compare_runs(first, second).compared
    assert (includes.measure, includes.cases, includes.first, includes.second) == ("includes", 12, 0.5, 0.75)
    # Right in both: the even ones below nine. Lost: s10. Gained: 1, 3, 5, 7.
    assert includes.difference == paired_difference_of_proportions(5, 1, 4, 2)
    assert includes.lost == (("s10", -1.0),)
    assert [case for case, _ in includes.gained] == ["s1", "s3", "s5", "s7"]
    # Neither run is ever exact: no difference is seen, and twelve cases rule out only a large one.
    assert exact.difference.value == 0.0
    assert 0.2 < exact.difference.high < 0.3


def test_output_that_promptfoo_wrote_compares_its_prompts_with_one_another():
    """One real file with two prompts: the first is compared with the second on each set of variables."""
    kept = read_run(RUNS / "promptfoo-greeting.json")
    assert kept.tool == "promptfoo"
    assert [arm.name for arm in kept.arms] == ["Hello {{name}}", "Good day to you, {{name}}, how may I help?"]
    compared = {each.measure: each for each in compare_runs(kept, kept).compared}
    assert set(compared) == {"pass_rate", "score"}
    assert (compared["pass_rate"].first, compared["pass_rate"].second) == (2 / 3, 2 / 3)
    assert [case for case, _ in compared["pass_rate"].gained] == ['{"name":"Bo"}']
    assert [case for case, _ in compared["pass_rate"].lost] == ['{"name":"Ann"}']


def test_cases_that_belong_together_widen_the_interval():
    """Ten clusters of five like cases carry about as much as ten cases."""
    before = {f"c{n}": 0.0 for n in range(50)}
    after = {f"c{n}": float((n // 5) % 3 == 0) for n in range(50)}
    clusters = {f"c{n}": f"g{n // 5}" for n in range(50)}
    alone = compare_runs(run(before), run(after, digest="y")).compared[0].difference
    together = compare_runs(run(before, clusters=clusters), run(after, digest="y")).compared[0].difference
    assert isinstance(alone, Estimate)
    assert isinstance(together, Estimate)
    assert together.standard_error > 1.8 * alone.standard_error


def test_what_is_not_common_is_said_and_nothing_common_is_an_error():
    """Cases of one run alone are counted, measures of one run alone are named."""
    found = compare_runs(run({"a": 1.0, "b": 0.0, "c": 1.0}), run({"b": 1.0, "c": 1.0, "d": 0.0}, digest="y"))
    (only,) = found.compared
    assert (only.cases, only.only_first, only.only_second) == (2, 1, 1)
    with pytest.raises(
        DataError, match=r"no case has 'correct' in both runs. Compare runs on the same cases"
    ):
        compare_runs(run({"a": 1.0}), run({"z": 1.0}, digest="y"))


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("gone.json", None, r"the run .*gone.json does not exist"),
        ("text.json", "not json", r"the run .*text.json is not JSON: .* Accepted: NAME.arena.json of"),
        (
            "other.json",
            '{"a": 1}',
            r"the run .*other.json is of no kind this reads. Accepted: NAME.arena.json of",
        ),
        (
            "broken.json",
            json.dumps({"results": [{"success": True}]}),
            r"the run .*broken.json, result 1 is not one of promptfoo's: KeyError 'score'",
        ),
    ],
)
def test_a_file_that_is_no_run_is_met_with_what_would_be(tmp_path, name, content, said):
    """Missing, not JSON, of another kind, half of one."""
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=said):
        read_run(tmp_path / name)


def test_a_log_of_a_run_that_did_not_end_is_refused(tmp_path):
    """Inspect writes the header last."""
    with zipfile.ZipFile(tmp_path / "half.eval", "w") as archive:
        archive.writestr("samples/a_epoch_1.json", "{}")
    with pytest.raises(DataError, match=r"has no header.json: it is of a run that did not end"):
        read_run(tmp_path / "half.eval")
