"""One family of errors: its tree, its exit codes, its one JSON shape."""

from __future__ import annotations

import inspect
import json
import pickle
import re

import pytest

from equipoise import errors
from equipoise.errors import (
    BudgetError,
    DataError,
    DefinitionError,
    EquipoiseError,
    Fault,
    GateError,
    MissingExtraError,
    OutOfReachError,
    RecordError,
    UpstreamError,
    UsageError,
    nearest,
)
from equipoise.events.log import StaleHeadError

FAMILY: dict[type[EquipoiseError], tuple[type[Exception], int]] = {
    EquipoiseError: (Exception, 1),
    UsageError: (EquipoiseError, 2),
    MissingExtraError: (UsageError, 2),
    DefinitionError: (EquipoiseError, 2),
    DataError: (EquipoiseError, 2),
    RecordError: (EquipoiseError, 2),
    StaleHeadError: (RecordError, 2),
    GateError: (EquipoiseError, 3),
    UpstreamError: (EquipoiseError, 6),
    OutOfReachError: (EquipoiseError, 6),
    BudgetError: (EquipoiseError, 4),
}


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.__name__)
def test_the_family_has_its_tree_and_exit_codes(kind: type[EquipoiseError]) -> None:
    """Each error has one parent in the family and the exit code of its page in the manual."""
    parent, code = FAMILY[kind]
    assert kind.__bases__[0] is parent
    assert kind.exit_code == code


def test_the_drawing_is_the_tree() -> None:
    """The tree at the top of the module names every error in it, with its exit code, and no other."""
    drawn = {
        name: int(code)
        for name, code in re.findall(r"(\w+Error) +(?:exit code )?(\d)", inspect.getdoc(errors) or "")
    }
    assert drawn == {
        kind.__name__: code for kind, (_, code) in FAMILY.items() if kind.__module__ == "equipoise.errors"
    }
    defined = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert defined == set(drawn)
    assert defined <= set(errors.__all__)


@pytest.mark.parametrize(
    "error",
    [
        EquipoiseError("odd"),
        UsageError("what"),
        DataError("t"),
        RecordError("r"),
        GateError("g"),
        UpstreamError("u"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_has_one_json_shape(error: EquipoiseError) -> None:
    """Kind, message and faults: the same three keys for every error."""
    assert json.loads(json.dumps(error.to_dict())) == {
        "error": type(error).__name__,
        "message": str(error),
        "faults": [],
    }


def test_a_definition_error_carries_its_faults() -> None:
    """Every part of every fault is in the JSON; what is unknown is null."""
    error = DefinitionError(
        fault for fault in [Fault("a"), Fault("b", file="f", line=2, field="x", accepted="y", next="z")]
    )
    assert error.to_dict() == {
        "error": "DefinitionError",
        "message": "2 faults in the definition:\na\nf:2: x: b; accepted: y; z",
        "faults": [
            {"problem": "a", "file": None, "line": None, "field": None, "accepted": None, "next": None},
            {"problem": "b", "file": "f", "line": 2, "field": "x", "accepted": "y", "next": "z"},
        ],
    }
    assert str(DefinitionError([Fault("alone")])) == "alone"


@pytest.mark.parametrize(
    "fault, sentence",
    [
        (Fault("wrong"), "wrong"),
        (Fault("wrong", file="e.yaml"), "e.yaml: wrong"),
        (Fault("wrong", line=3), "line 3: wrong"),
        (Fault("wrong", file="e.yaml", line=3), "e.yaml:3: wrong"),
        (Fault("wrong", field="a.b"), "a.b: wrong"),
        (Fault("wrong", file="e.yaml", line=3, field="a.b", accepted="c", next="d"), "e.yaml:3: a.b: wrong; accepted: c; d"),
    ],
)  # fmt: skip
def test_a_fault_is_a_sentence(fault: Fault, sentence: str) -> None:
    """Place, field, problem, what is accepted, the way out: whichever are known."""
    assert str(fault) == sentence


def test_a_missing_extra_prints_the_line_that_installs_it() -> None:
    """The line can be copied into a shell as it stands."""
    assert str(MissingExtraError("the command plan", "analysis")) == (
        "the command plan needs the 'analysis' extra. Install it: pip install 'equipoise[analysis]'"
    )


def test_a_stale_head_says_what_is_new() -> None:
    """Both positions are in the sentence and on the error."""
    error = StaleHeadError(4, 6)
    assert str(error) == (
        "the log moved on while you decided: you had read up to 4, and 6 is new. Look at what happened, then try again"
    )
    assert (error.expected, error.found) == (4, 6)


@pytest.mark.parametrize(
    "word, offered",
    [
        ("allocatoin", "did you mean 'allocation'?"),
        ("zebra", None),
        ("", None),
        ("allocation", "did you mean 'allocation'?"),
    ],
)
def test_the_nearest_name_is_offered_only_if_it_is_near(word: str, offered: str | None) -> None:
    """No offer is better than a wild one."""
    assert nearest(word, ["allocation", "analysis"]) == offered
    assert nearest(word, []) is None


def test_errors_cross_process_borders() -> None:
    """A pool of processes hands an error over by pickling it: kind, message and parts arrive."""
    for error in (
        UsageError("what"),
        DefinitionError([Fault("a", line=1), Fault("b")]),
        StaleHeadError(4, 6),
        MissingExtraError("x", "all"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.to_dict() == error.to_dict()
