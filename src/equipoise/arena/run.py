"""Running the arena: cases × variants → answers → checks → grades → comparisons → decision."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from equipoise.arena.asking import Asking, OutOfReachError, each
from equipoise.arena.cases import Case
from equipoise.arena.counting import conclude
from equipoise.arena.journal import Journal, open_journal
from equipoise.arena.preparing import Prepared, prepare
from equipoise.arena.result import Answered, ArenaResult, CaseResult
from equipoise.errors import UpstreamError, UsageError
from equipoise.experiment.definition import Experiment
from equipoise.experiment.variant import Variant
from equipoise.providers.messages import Provider, Request
from equipoise.scoring.pairwise import Comparison
from equipoise.scoring.passing import CheckResult
from equipoise.scoring.rubric import Grade

__all__ = ["Answerers", "OnProgress", "run_arena", "run_arena_sync"]

T = TypeVar("T")
OnProgress = Callable[[int, int, str], None]
Answerers = Provider | Mapping[str, Provider]


async def run_arena(
    experiment: Experiment,
    *,
    answers: Answerers | None = None,
    judge: Provider | None = None,
    journal: Path | None = None,
    concurrency: int = 8,
    on_progress: OnProgress | None = None,
    seed: int = 0,
) -> ArenaResult:
    """Run an experiment's offline gate.

    `answers` and `judge` are the endpoints that are asked where the definition names no recording;
    `answers` may give each variant one of its own. They are left open. Everything paid for goes to
    `journal`, and a rerun with the same journal asks only for what is missing. `on_progress(done, total,
    what)` is called with `what` one of answers, grades, comparisons. `seed` turns the order of the
    rubric's axes.

    Raises DataError for files that cannot be read as declared, UsageError for a run that cannot be
    carried out, both before anything is asked; UpstreamError where an endpoint does not answer at all. An
    endpoint that fails now and then only leaves cases unanswered or unscored, and they are counted.
    """
    if concurrency < 1:
        raise UsageError(f"a concurrency of {concurrency} asks nothing; accepted: 1 or more")
    prepared = prepare(experiment, answers=answers, judge=judge)
    with open_journal(journal) as kept:
        run = _Run(prepared, kept, concurrency, on_progress or _silent, seed)
        cases = await run.carry_out()
    return conclude(
        experiment, prepared, cases, seed=seed, asked=run.count("asked"), replayed=run.count("replayed")
    )


def run_arena_sync(
    experiment: Experiment,
    *,
    answers: Answerers | None = None,
    judge: Provider | None = None,
    journal: Path | None = None,
    concurrency: int = 8,
    on_progress: OnProgress | None = None,
    seed: int = 0,
) -> ArenaResult:
    """`run_arena` from ordinary code, in a notebook too; the providers are closed at the end."""

    async def run() -> ArenaResult:
        try:
            return await run_arena(
                experiment,
                answers=answers,
                judge=judge,
                journal=journal,
                concurrency=concurrency,
                on_progress=on_progress,
                seed=seed,
            )
        finally:
            several = list(answers.values()) if isinstance(answers, Mapping) else [answers]
            for provider in (*several, judge):
                if provider is not None:
                    await provider.aclose()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run())
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run()).result()


class _Run:
    """One run: the endpoints it asks, and the cases as they fill up."""

    def __init__(
        self, prepared: Prepared, journal: Journal, concurrency: int, on_progress: OnProgress, seed: int
    ) -> None:
        self._prepared = prepared
        self._journal = journal
        self._concurrency = concurrency
        self._on_progress = on_progress
        self._seed = seed
        self._asking: dict[int, Asking] = {}

    def count(self, what: str) -> int:
        return sum(int(getattr(asking, what)) for asking in self._asking.values())

    async def carry_out(self) -> tuple[CaseResult, ...]:
        cases = self._prepared.cases.cases
        names = [variant.name for variant in self._prepared.variants]
        answered = await self._all("answers", self._prepared.variants, self._answer)
        results = [
            CaseResult(
                id=case.id, asked=case.text, answers=dict(zip(names, given, strict=True)) if given else {}
            )
            for case, given in zip(cases, answered or [[]] * len(cases), strict=True)
        ]
        results = [
            replace(each, checks=self._checks(case, each)) for case, each in zip(cases, results, strict=True)
        ]
        by_id = {result.id: result for result in results}
        grades = await self._all("grades", self._prepared.variants, partial(self._grade, by_id))
        compared = await self._all("comparisons", self._prepared.variants[1:], partial(self._compare, by_id))
        return tuple(
            replace(
                result,
                grades=dict(zip(names, grades[index], strict=True)) if grades else {},
                comparisons=dict(zip(names[1:], compared[index], strict=True)) if compared else {},
            )
            for index, result in enumerate(results)
        )

    async def _all(
        self, what: str, variants: tuple[Variant, ...], job: Callable[[Case, Variant], Awaitable[T]]
    ) -> list[list[T]]:
        """The job for every case and variant, case by case; nothing where the definition does without."""
        if not self._prepared.does(what):
            return []
        cases = self._prepared.cases.cases
        total = len(cases) * len(variants)
        done = 0

        def on_done() -> None:
            nonlocal done
            done += 1
            self._on_progress(done, total, what)

        self._on_progress(0, total, what)
        results = await each(
            [partial(job, case, variant) for case in cases for variant in variants],
            at_once=self._concurrency,
            on_done=on_done,
        )
        for asking in self._asking.values():
            asking.check_reached()
        return [results[start : start + len(variants)] for start in range(0, total, len(variants))]

    def _through(self, provider: Provider) -> Asking:
        known = self._asking.get(id(provider))
        if known is None:
            known = Asking(provider, self._journal, concurrency=self._concurrency)
            self._asking[id(provider)] = known
        return known

    async def _answer(self, case: Case, variant: Variant) -> Answered:
        source = self._prepared.answers
        about = {"case": case.id, "variant": variant.name, "ask": "answer"}
        if source.recorded is not None:
            text = source.recorded.find(case.id, variant.name)
            return Answered(text, None if text is not None else f"{source.recorded.origin} has no answer")
        system = ({"role": "system", "content": variant.system.text},) if variant.system else ()
        request = Request(
            model=variant.model or "", messages=(*system, *case.messages), params=variant.params, about=about
        )
        try:
            return Answered((await self._through(source.live[variant.name]).complete(request)).text)
        except OutOfReachError:
            raise
        except UpstreamError as error:
            return Answered(None, str(error))

    def _checks(self, case: Case, result: CaseResult) -> dict[str, dict[str, CheckResult]]:
        return {
            name: {check.name: check.run(answer.text, case.reference) for check in self._prepared.checks}
            for name, answer in result.answers.items()
            if answer.text is not None
        }

    async def _grade(self, results: Mapping[str, CaseResult], case: Case, variant: Variant) -> Grade:
        judge, recorded = self._prepared.rubric_judge, self._prepared.grades
        axes = self._prepared.axes
        if recorded is not None:
            scores = recorded.grades.get((case.id, variant.name))
            if scores is None:
                return Grade(dict.fromkeys(axes), f"{recorded.origin} has no grade")
            missing = [axis for axis, score in scores.items() if score is None]
            return Grade(scores, f"no score recorded for {', '.join(missing)}" if missing else None)
        assert judge is not None
        answer = results[case.id].answers[variant.name]
        if answer.text is None:
            return Grade(dict.fromkeys(axes), f"no answer to grade: {answer.why_not}")
        try:
            return await replace(judge, provider=self._through(judge.provider)).grade(
                request=case.input,
                answer=answer.text,
                reference=case.reference,
                rotation=self._rotation(case, len(axes)),
                about={"case": case.id, "variant": variant.name},
            )
        except OutOfReachError:
            raise
        except UpstreamError as error:
            return Grade(dict.fromkeys(axes), f"the judge did not answer: {error}")

    def _rotation(self, case: Case, axes: int) -> int:
        """Which axis is graded first: by the case and the seed, so that a rerun asks the same."""
        return random.Random(f"{self._seed}:{case.id}").randrange(axes)  # noqa: S311 - no secret is made of it

    async def _compare(self, results: Mapping[str, CaseResult], case: Case, variant: Variant) -> Comparison:
        judge, recorded = self._prepared.pairwise_judge, self._prepared.verdicts
        if recorded is not None:
            score = recorded.scores.get((case.id, variant.name))
            return Comparison(
                score=score, why_not=None if score is not None else f"{recorded.origin} has no verdict"
            )
        assert judge is not None
        answers = results[case.id].answers
        control = self._prepared.variants[0].name
        for name in (variant.name, control):
            if answers[name].text is None:
                return Comparison(score=None, why_not=f"no answer by {name}: {answers[name].why_not}")
        try:
            return await replace(judge, provider=self._through(judge.provider)).compare(
                request=case.input,
                treatment=answers[variant.name].text or "",
                control=answers[control].text or "",
                reference=case.reference,
                about={"case": case.id, "variant": variant.name},
            )
        except OutOfReachError:
            raise
        except UpstreamError as error:
            return Comparison(score=None, why_not=f"the judge did not answer: {error}")


def _silent(done: int, total: int, what: str) -> None:
    """No progress is shown."""
