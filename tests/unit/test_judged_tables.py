"""A judge's metric in a table: people's labels in a column beside the scores."""

from __future__ import annotations

import polars as pl
import pytest
from judged_and_labelled import TEXT, World, estimated, experiment, logged

from equipoise import analyze
from equipoise.conduct.look import look
from equipoise.errors import DefinitionError
from equipoise.experiment.reading import load_experiment
from equipoise.stats.estimate import NotEstimable


def rows_of(world: World) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"unit": unit, "variant": arm, "team": team, "score.polite": score, "label.polite": said}
            for arm, unit, team, _, score, said in world.turns
        ]
    )


def test_labels_in_a_column_correct_as_those_of_the_log_do(tmp_path):
    """Where every turn is judged a frame says what a log says: the same sums, and the same effect."""
    world = World(drawn=1.0)
    design = experiment(tmp_path, metric=", labels: 60")
    frame = analyze(design, rows_of(world), closing=True).effect("polite")
    log = look(logged(design, world.facts), "judged", closing=True).effect("polite")
    assert frame.by_labels is not None
    assert log.by_labels is not None
    assert frame.by_labels.labels == log.by_labels.labels
    for mine, other in ((frame.estimate, log.estimate), (frame.by_labels.judge, log.by_labels.judge)):
        # Everybody was asked alike: the probability that a frame does not know takes nothing from its answer.
        assert estimated(mine).value == pytest.approx(estimated(other).value, rel=1e-9)
        assert estimated(mine).standard_error == pytest.approx(estimated(other).standard_error, rel=1e-9)


def test_a_frame_without_the_labels_it_waits_for_says_so(tmp_path):
    """No effect, and the name of the column that would hold them."""
    found = analyze(
        experiment(tmp_path, metric=", labels: 60"), rows_of(World()).drop("label.polite"), closing=True
    )
    assert found.effect("polite").estimate == NotEstimable(
        "polite waits for people's labels of score.polite, and these data have none; a frame has them in a column "
        "'label.polite'"
    )


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("", "judged.yaml:11: source.columns: 'polite' is corrected by labels, and no column is named for them; accepted: label.polite: COLUMN"),
        ("connection: env:PLACE, ", "judged.yaml:9: metrics.polite.labels: labels in a warehouse's table are not read; leave out `labels`, or read a file"),
    ],
)  # fmt: skip
def test_a_table_names_the_column_of_its_labels(tmp_path, more, says):
    """A definition that waits for labels says where its table has them."""
    path = tmp_path / "judged.yaml"
    text = TEXT.replace("METRIC", ", labels: 60").replace("CLUSTER", "").replace("AUDIT", "")
    table = f"source: {{table: t.csv, unit: u, variant: v, {more}columns: {{score.polite: s}}}}\n"
    path.write_text(text.rstrip() + "\n\n" + table, encoding="utf-8")
    with pytest.raises(DefinitionError) as refused:
        load_experiment(path)
    assert says in str(refused.value)
