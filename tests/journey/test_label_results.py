"""`equipoise label --results`: what people said as text and JSON, and on its way back to the gate."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import forked

from equipoise.clock import ManualClock
from equipoise.conduct.labelling.items import cases_of_run
from equipoise.conduct.labelling.task import Settings
from equipoise.conduct.labelling.turns import live_turns
from equipoise.conduct.labels import Labelling
from equipoise.events.opening import open_log, open_texts
from equipoise.experiment.offline import Labels, Recording
from equipoise.scoring.recorded import read_labels

sys.path.insert(0, str(Path(__file__).parents[1]))
from labelling import LONG, SAYS, experiment, kept, live, written
from processes import QUIET


def equipoise(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from equipoise.cli.main import run; run()", *words, "--log", "l.db"]
    return forked.run(command, cwd=cwd, env=QUIET)


def labelled(folder: Path, run: str) -> None:
    """Two raters: Jo answers all pairs by the case's number, Kim those that overlap, and takes the first of each."""
    log = open_log(folder / "l.db")
    clock = ManualClock(0.0)
    source = cases_of_run(Path(run), experiment(), "preference")
    task = Labelling(log, experiment(), source, Settings(ask="preference", overlap=0.5), clock=clock)
    items = {item.key: item for item in source.items}
    for rater in ("Jo", "Kim"):
        while (key := task.next(rater)) is not None:
            number = int(items[key].item.removeprefix("case-"))
            mine = [not answer.startswith(SAYS["control"]) for answer in task.show(rater, key).answers].index(
                True
            ) + 1
            choice = 1 if rater == "Kim" else (0 if number % 5 == 0 else (mine if number % 3 else 3 - mine))
            task.answer(rater, key, {"preference": choice}, seconds=float(5 + number % 4))
    log.close()


def test_what_people_said_is_told_as_text_and_as_json(tmp_path):
    """Every number of the text stands in the JSON, and what is not known says why."""
    named = written(tmp_path, 30)
    labelled(tmp_path, named[2])
    shown = equipoise("label", *named, "--results", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    found = json.loads(equipoise("label", *named, "--results", "--json", cwd=tmp_path).stdout)
    lines = shown.stdout.splitlines()
    several = found["overlapping"]
    assert lines[:2] == [
        f"support-bot: 60 items labelled, {several} of them by several",
        "  preference: 60 of 60",
    ]
    assert lines[3].split() == [
        "against",
        "control",
        "items",
        "wins",
        "ties",
        "losses",
        "passed",
        "win",
        "rate",
        "interval",
    ]
    for row, line in zip(found["preferences"], lines[4:6], strict=True):
        rate = row["win_rate"]
        assert line.split() == [
            row["variant"], "30", str(row["wins"]), str(row["ties"]), str(row["losses"]), "0",
            f"{rate['value']:.1%}", f"[{rate['low']:.1%},", f"{rate['high']:.1%}]",
        ]  # fmt: skip
    assert {row["variant"] for row in found["preferences"]} == {"brief", LONG}
    assert [row["variant"] for row in found["strengths"]][-1] == "control"
    kappa = found["agreement"][0]["kappa"][0]["kappa"]
    assert f"  Jo and Kim: kappa {kappa['value']:.2f} [{kappa['low']:.2f}, {kappa['high']:.2f}]" in lines
    assert lines[-3].split() == ["Jo", "60", "0", "6.0", "6.4"]
    assert lines[-1] == "an item takes 6.0 s; half of them between 5.0 and 7.0 s"


def test_preferences_go_back_to_the_gate_as_its_labels(tmp_path):
    """The CSV is what `offline.labels` reads: each pair once, the mean of its raters."""
    named = written(tmp_path, 30)
    labelled(tmp_path, named[2])
    done = equipoise("label", *named, "--results", "--csv", "labels.csv", cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "Preferences: labels.csv"
    recording = Recording(file="labels.csv", case="case", variant="variant", value="value")
    given = read_labels(Labels(recording=recording), tmp_path, variants=["brief", LONG])
    assert len(given) == 60
    assert set(given.values()) <= {0.0, 0.25, 0.5, 0.75, 1.0}
    found = json.loads(equipoise("label", *named, "--results", "--json", cwd=tmp_path).stdout)
    brief = next(row for row in found["preferences"] if row["variant"] == "brief")
    mean = sum(value for (_, variant), value in given.items() if variant == "brief") / 30
    assert abs(brief["win_rate"]["value"] - mean) < 1e-6
    refused = equipoise("label", *named, "--csv", "labels.csv", cwd=tmp_path)
    assert (refused.returncode, refused.stderr) == (
        2,
        "error: --csv writes what people said; say --results with it\n",
    )


def test_live_turns_are_read_out_by_the_name(tmp_path):
    """Labels of live turns are of the registered revision; those of a run are not among them, nor the reverse."""
    named = written(tmp_path)
    log, texts = open_log(tmp_path / "l.db"), open_texts(tmp_path / "l.db")
    clock = ManualClock(2_000.0)
    found = live(log, texts, 30)
    task = Labelling(
        log, found, live_turns(log, texts, found, "grades", clock=clock), Settings(ask="grades"), clock=clock
    )
    while (key := task.next("Jo")) is not None:
        task.answer("Jo", key, {"clarity": 3 + len(key) % 2, "policy": None if key < "8" else 2})
    log.close()
    texts.close()
    told = json.loads(equipoise("label", "support-bot", "--results", "--json", cwd=tmp_path).stdout)
    assert {(row["name"], row["variant"]) for row in told["grades"]} == {
        (axis, arm) for axis in ("clarity", "policy") for arm in ("control", "brief", LONG)
    }
    assert sum(row["items"] for row in told["grades"] if row["name"] == "clarity") == 30
    assert told["done"][0] == {"name": "clarity", "items": 30, "of": None}
    text = equipoise("label", "support-bot", "--results", cwd=tmp_path).stdout
    assert "clarity of control: not estimable, " in text
    assert equipoise("label", *named, "--results", cwd=tmp_path).stdout == (
        "support-bot: 0 items labelled, 0 of them by several\nnobody has labelled anything of it yet\n"
    )


def test_what_cannot_be_labelled_says_what_would_be(tmp_path):
    """No texts, no shadows, no score to disagree with: each sentence says what to do."""
    log = open_log(tmp_path / "l.db")
    texts = open_texts("memory:")
    live(log, texts, 3)
    log.close()

    def refused(*words: str) -> str:
        done = equipoise("label", "support-bot", *words, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        return done.stderr.removeprefix("error: ").strip()

    assert refused() == (
        "no text of a turn was kept beside this log, and people label what they can read. Keep texts with `capture` in the "
        "definition, or label the cases of an arena run with --run"
    )
    open_texts(tmp_path / "l.db").close()
    assert (
        refused("--disagreements", "5")
        == "--disagreements needs to know what disagrees: say --score NAME[>=LEVEL]"
    )
    assert refused("--disagreements", "5", "--score", "policy>=good") == (
        "'policy>=good' is no score and level; write it as NAME>=LEVEL, such as 'policy>=4'"
    )
    assert refused("--disagreements", "5", "--run", "r.json") == (
        "--disagreements is of live turns, and cases have no outcome; leave it out"
    )


def test_a_purge_of_a_unit_takes_what_people_said_of_it(tmp_path):
    """Its labels go with its turns and texts; those of others stay."""
    log, texts = open_log(tmp_path / "l.db"), open_texts(tmp_path / "l.db")
    clock = ManualClock(2_000.0)
    found = live(log, texts, 6)
    task = Labelling(
        log, found, live_turns(log, texts, found, "thumbs", clock=clock), Settings(ask="thumbs"), clock=clock
    )
    while (key := task.next("Jo")) is not None:
        task.answer("Jo", key, {"thumbs": 1})
    log.close()
    texts.close()
    units = [label.unit for label in kept(tmp_path / "l.db")]
    assert sorted(units) == ["unit-0", "unit-0", "unit-1", "unit-1", "unit-2", "unit-2"]
    assert equipoise("log", "purge", "unit-1", cwd=tmp_path).returncode == 0
    assert sorted(label.unit for label in kept(tmp_path / "l.db")) == ["unit-0", "unit-0", "unit-2", "unit-2"]
