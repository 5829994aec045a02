"""What is written is true: the documents name everything there is, and their commands run."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import forked
import pytest
from typer.main import get_command

from equipoise.cli.main import app
from equipoise.events import facts
from equipoise.events.manifest import SEALED
from equipoise.experiment.catalogue import CATALOGUE
from equipoise.experiment.evaluators import GRAMMAR
from equipoise.experiment.reading import json_schema
from equipoise.verdict.deciding import EXIT_CODES

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
DEFINITION = (ROOT / "docs" / "definition.md").read_text(encoding="utf-8")
EVALUATORS = (ROOT / "docs" / "evaluators.md").read_text(encoding="utf-8")


def test_every_command_is_in_the_reference():
    """No command exists that the reference does not explain."""
    commands = get_command(app).commands
    for name in [*commands, *(f"log {verb}" for verb in commands["log"].commands)]:
        assert f"\n| `equipoise {name}" in REFERENCE, name


def test_every_setting_is_in_the_reference():
    """Every environment variable that `settings` reads is explained."""
    source = (ROOT / "src" / "equipoise" / "settings.py").read_text(encoding="utf-8")
    named = set(re.findall(r'environ\.get\("([A-Z_]+)"', source))
    assert named
    assert all(f"`{name}`" in REFERENCE for name in named), named


def test_every_kind_of_event_is_in_the_reference():
    """Every fact the log can hold is explained, in one row."""
    kinds = [each.kind for base in (facts.Fact, facts.Turn) for each in base.__subclasses__()]
    assert len(kinds) >= 9
    assert [kind for kind in kinds if REFERENCE.count(f"\n| `{kind}` |") != 1] == []


def test_every_kind_of_event_is_sealed_or_hot_in_the_guide():
    """The guide to the record says of each kind which it is."""
    record = (ROOT / "docs" / "record.md").read_text(encoding="utf-8")
    said = re.search(r"(Exposures,[^.]*) are sealed\. ([^.]*): they are few", record)
    assert said is not None
    sealed, hot = ({word.lower() for word in re.findall(r"\w+", part)} for part in said.groups())
    for kind in [each.kind for base in (facts.Fact, facts.Turn) for each in base.__subclasses__()]:
        assert f"{kind}{'es' if kind.endswith('s') else 's'}" in (sealed if kind in SEALED else hot), kind


def test_every_exit_code_is_in_the_reference():
    """Every verdict's exit code stands beside its word."""
    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", REFERENCE, re.MULTILINE))
    for word, code in EXIT_CODES.items():
        assert word in rows[str(code)]


def test_every_built_in_metric_is_in_the_reference():
    """The table of metrics is the catalogue, in words."""
    for name, metric in CATALOGUE.items():
        row = next(line for line in REFERENCE.splitlines() if line.startswith(f"| `{name}` |"))
        assert metric.kind in row
        assert str(metric.of) in row
        assert row.endswith(f"| {metric.better} |")


def test_every_key_of_a_definition_is_explained():
    """Each top-level key has its row, and each evaluator of the arena is named in its guide."""
    for key in json_schema()["properties"]:
        assert f"| `{key}` |" in DEFINITION, key
    for rule in GRAMMAR:
        assert f"{{{rule}:" in EVALUATORS or f"`{rule}`" in EVALUATORS, rule


DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs", "examples"]


def _pages(document: str) -> list[Path]:
    place = ROOT / document
    return [place] if place.is_file() else sorted(place.rglob("*.md"))


def _headings(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    said = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in said}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    """Every relative link and picture in the documents exists, and so does the heading it points at."""
    for page in _pages(document):
        text = page.read_text(encoding="utf-8")
        for target, heading in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text):
            there = page.parent / target if target else page
            assert there.exists(), f"{page.name}: {target}"
            assert not heading or heading in _headings(there), f"{page.name}: {target}#{heading}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_tables_are_whole(document):
    """Every row of a table has as many cells as its first one."""
    for page in _pages(document):
        width = 0
        for line in page.read_text(encoding="utf-8").splitlines():
            cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
            assert not (cells and width) or cells == width, f"{page.name}: {line}"
            width = cells


def test_the_tour_in_the_readme_runs(tmp_path):
    """Each command of the README that is marked to run ends well, and prints what its comment says."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- runs[^>]*-->\n```bash\n(.*?)```", readme, re.DOTALL)
    assert len(blocks) == 3
    program = Path(sys.executable).with_name("equipoise")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI", "EQUIPOISE"))}
    for block in blocks:
        commands = [line for line in block.splitlines() if not line.startswith("#")]
        promised = [line.removeprefix("# ") for line in block.splitlines() if line.startswith("#")]
        for command in commands:
            assert command.startswith("equipoise ")
            done = forked.run([program, *command.split()[1:]], cwd=tmp_path, env=clean)
            # An inconclusive gate (4) is an answer; a broken command is not.
            assert done.returncode in (0, 4), done.stderr
            assert all(line in done.stdout for line in promised)


def test_the_pins_name_no_address():
    """constraints.txt holds names and versions only."""
    assert "://" not in (ROOT / "constraints.txt").read_text(encoding="utf-8")


def test_the_version_is_one():
    """The package, its metadata and the changelog agree on the version."""
    from importlib.metadata import version

    import equipoise

    assert version("equipoise") == equipoise.__version__
    assert f"## {equipoise.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
