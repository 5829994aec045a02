"""Which of the offline evaluators can score a live turn: all but those that want what only a golden case has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from equipoise.errors import UsageError
from equipoise.experiment.definition import Experiment
from equipoise.experiment.evaluators import Declared, declared
from equipoise.experiment.offline import Judge
from equipoise.scoring.evaluating import Evaluator
from equipoise.scoring.evaluators import Tools, read_evaluators
from equipoise.scoring.rubric import rubric_evaluator

__all__ = ["OnlineEvaluators", "configuration_of", "instrument", "online_evaluators", "wants_judge"]


@dataclass(frozen=True, slots=True)
class OnlineEvaluators:
    """The evaluators that score live turns, and those that cannot, each with the reason."""

    evaluators: tuple[Evaluator, ...]
    left_out: Mapping[str, str]

    @property
    def measures(self) -> tuple[str, ...]:
        """Everything that is measured of a turn."""
        return tuple(measure for each in self.evaluators for measure in each.measures)


def online_evaluators(experiment: Experiment, tools: Tools) -> OnlineEvaluators:
    """The evaluators and the rubric of `offline:`, as the arena has them, as far as a live turn can be scored by them.

    A turn has no reference, so similarities and rules that compare with one are left out; verdicts and grades that were
    recorded are about cases. Raises UsageError where nothing is left, and what `read_evaluators` raises.

    >>> from equipoise.experiment.reading import read_canonical
    >>> experiment = read_canonical({"name": "bot", "hypothesis": "It errs less.", "unit": "user", "changes": ["model"],
    ...     "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
    ...     "metrics": {"error_rate": {"priority": "primary"}}, "offline": {"cases": "golden.jsonl",
    ...     "evaluators": [{"max_words": 50}, {"rouge": "rougeL"}]}})
    >>> online = online_evaluators(experiment, Tools())
    >>> online.measures, dict(online.left_out)
    (('max_words',), {'rouge': 'it compares with a reference, and a live turn has none'})
    """
    offline = experiment.offline
    if offline is None:
        raise UsageError(
            f"{experiment.name} has nothing to judge live turns by: they are judged by what judges its golden cases; add "
            "`offline:` with a rubric and a judge, or with evaluators"
        )
    listed = declared(offline.evaluators)
    left_out = {each.name: why for each in listed if (why := _why_not(each)) is not None}
    kept = [one for one, each in zip(offline.evaluators, listed, strict=True) if each.name not in left_out]
    absent = {each.rule for each in listed if each.name in left_out}
    needed = [name for name in offline.gate.must_pass if name not in left_out and name not in absent]
    evaluators, _ = read_evaluators(kept, tools=tools, must_pass=needed)
    judging = offline.judge or Judge()
    if offline.rubric is not None:
        if judging.grades is None and tools.judges:
            evaluators += (rubric_evaluator(offline.rubric, tools.judges, samples=judging.samples),)
        else:
            left_out["rubric"] = (
                "nobody is asked: `offline.judge` names no model"
                if judging.grades is None
                else "its grades are recorded, and about golden cases"
            )
    if not evaluators:
        said = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise UsageError(
            f"nothing under `offline:` of {experiment.name} can judge a live turn"
            + (f" ({said})" if said else "")
            + ". Add a rubric and the judge's model, or an evaluator that needs no reference"
        )
    return OnlineEvaluators(evaluators, left_out)


def _why_not(each: Declared) -> str | None:
    own_tests = isinstance(each.argument, Mapping) and isinstance(each.argument.get("tests"), str)
    if (
        each.kind == "similarity"
        or each.argument == {"from": "reference"}
        or (each.rule == "code_tests" and not own_tests)
    ):
        return "it compares with a reference, and a live turn has none"
    return None


def wants_judge(experiment: Experiment) -> bool:
    """Whether anything that scores live turns asks a judge.

    Plug-ins may, and are taken to.
    """
    offline = experiment.offline
    if offline is None or offline.judge is None or not offline.judge.asked:
        return False
    asks = any(each.kind in ("judge", "plugin") for each in declared(offline.evaluators))
    return asks or (offline.rubric is not None and offline.judge.grades is None)


def instrument(evaluator: Evaluator) -> str:
    """What an evaluator is called as it is configured: `name@` and the first twelve digits of its digest.

    Scores of one instrument are one series; another model, prompt, rubric or revision is another instrument.
    """
    return f"{evaluator.name}@{evaluator.digest[:12]}"


def configuration_of(evaluator: Evaluator) -> dict[str, Any]:
    """The whole configuration of an evaluator as plain JSON; of a plug-in its digest, and what it says of itself."""
    said = getattr(evaluator, "configuration", None)
    named = {"name": evaluator.name, "kind": evaluator.kind, "revision": evaluator.revision}
    return named | {"digest": evaluator.digest} | (_plain(said) if isinstance(said, Mapping) else {})


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
