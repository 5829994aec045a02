"""An interleaved experiment by the real program: planned, registered, shown, read out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random
from subprocess import CompletedProcess

import forked

from equipoise.events.opening import open_log
from equipoise.sdk.router import Router

DEFINITION = """\
name: search
hypothesis: The dense ranker finds what people look for higher up.
method: interleaving
interleaving: {length: 5, agreed: ignored, ties: 0.5}
unit: user
changes: [config]
variants:
  control: {config: {ranker: bm25}}
  treatment: {config: {ranker: dense}}
metrics:
  preference: {priority: primary, kind: proportion, of: outcome.click, better: higher, mde: 20pp}
plan: {units_per_day: 100, cycle: 1d}
"""


def equipoise(*words: str, cwd: Path) -> CompletedProcess[str]:
    command = [sys.executable, "-c", "from equipoise.cli.main import run; run()", *words]
    return forked.run(command, cwd=cwd)


def test_two_rankers_are_compared_from_the_plan_to_the_verdict(tmp_path: Path) -> None:
    """The plan counts queries and says when it fits; the treatment that people prefer ships."""
    (tmp_path / "search.yaml").write_text(DEFINITION, "utf-8")
    planned = equipoise("plan", "search.yaml", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert "queries in all" in planned.stdout
    assert "With one look at the end: 91 queries at most" in planned.stdout
    assert "Duration: 1 day at 100 queries a day" in planned.stdout
    assert (
        "Note: interleaving fits rankers over the same items and tells which people prefer" in planned.stdout
    )
    on = ("--log", "equipoise.db")
    assert equipoise("register", "search.yaml", *on, cwd=tmp_path).returncode == 0
    early = equipoise("analyze", "search", *on, "--json", cwd=tmp_path)
    assert early.returncode == 2
    assert "holds no list of search@" in early.stderr
    draws, log = Random(2), open_log(tmp_path / "equipoise.db")
    rankings = {"control": ["a", "c", "b", "d", "e"], "treatment": ["a", "b", "c", "d", "e"]}
    with Router.follow("search", log) as router:
        for number in range(150):
            shown = router.interleave(f"user-{number % 70}", rankings, query=f"query-{number}", wait=False)
            if draws.random() < 0.6:
                shown.click("b" if draws.random() < 0.8 else "c")
    log.close()
    told = equipoise("analyze", "search", *on, "--json", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["verdict"] == "ship"
    assert [check["name"] for check in found["health"]] == ["lists", "first places"]
    assert found["effects"][0]["difference"]["method"] == (
        "difference of credit per query within interleaved lists, variance by unit"
    )
    standing = equipoise("rollout", "search", *on, cwd=tmp_path)
    assert standing.returncode == 0, standing.stderr
    assert "exposed: interleaved 150 (165% of the 91 planned" in standing.stdout
    assert "sample ratio" not in standing.stdout
    assert equipoise("verify", "search", *on, cwd=tmp_path).returncode == 0
    listed = equipoise("list", *on, cwd=tmp_path)
    assert listed.returncode == 0
    assert "150" in listed.stdout
    assert equipoise("show", "search", *on, cwd=tmp_path).returncode == 0
