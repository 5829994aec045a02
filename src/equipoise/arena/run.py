"""Running the arena: cases × variants → answers → scores → comparisons → decision."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from equipoise.arena.asking import Asking, Turns, each
from equipoise.arena.case import Case
from equipoise.arena.cases import read_cases
from equipoise.arena.concluding import conclude
from equipoise.arena.embedding import AskingEmbedder
from equipoise.arena.journal import open_journal
from equipoise.arena.preparing import Answerers, Endpoints, Prepared, prepare
from equipoise.arena.result import Answered, ArenaResult, CaseResult
from equipoise.arena.spending import Purse
from equipoise.arena.stepping import Judging, order_of, plan_judging, settled
from equipoise.errors import DataError, UsageError
from equipoise.experiment.definition import Experiment
from equipoise.experiment.offline import Criterion
from equipoise.providers.messages import Embedder, Provider
from equipoise.scoring.evaluating import Score, Subject
from equipoise.scoring.pairwise import Comparison

__all__ = ["Answerers", "OnProgress", "Progress", "run_arena", "run_arena_sync"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is: cases done of all, what is being done, dollars spent, and the win rates so far."""

    done: int
    total: int
    doing: str
    cost_usd: float = 0.0
    win_rates: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


OnProgress = Callable[[Progress], None]


async def run_arena(
    experiment: Experiment,
    *,
    answers: Answerers | None = None,
    judge: Provider | Sequence[Provider] | None = None,
    embedder: Callable[[str | None, str], Embedder] | None = None,
    journal: Path | None = None,
    concurrency: int = 8,
    max_cost_usd: float | None = None,
    on_progress: OnProgress | None = None,
    seed: int = 0,
) -> ArenaResult:
    """Run an experiment's offline gate.

    `answers` and `judge` are the endpoints that are asked where the definition names no recording;
    `answers` may give each variant one of its own, and `judge` is a list for a panel. They are left open.
    Everything paid for goes to `journal`, and a rerun with the same journal asks only for what is missing.
    `max_cost_usd` is what this run may spend. `seed` turns the order of a rubric's axes and the order of
    judging, and is sent to endpoints that take one.

    Raises DataError for files that cannot be read as declared, UsageError for a run that cannot be
    carried out, both before anything is asked; UpstreamError or OutOfReachError where an endpoint does not
    answer at all; BudgetError where the limit is reached. An endpoint that fails now and then only leaves
    cases unanswered or unscored, and they are counted.
    """
    if concurrency < 1:
        raise UsageError(f"a concurrency of {concurrency} asks nothing; accepted: 1 or more")
    judges = () if judge is None else tuple(judge) if isinstance(judge, Sequence) else (judge,)
    with open_journal(journal) as kept:
        purse = Purse(experiment.prices, limit_usd=max_cost_usd)
        turns = Turns(concurrency, kept, purse)
        asking: dict[int, Asking] = {}

        def through(provider: Provider) -> Provider:
            return asking.setdefault(id(provider), Asking(provider, turns))

        embedders: list[AskingEmbedder] = []

        def embedding(base_url: str | None, key_env: str) -> Embedder:
            assert embedder is not None
            embedders.append(AskingEmbedder(embedder(base_url, key_env), turns))
            return embedders[-1]

        endpoints = Endpoints(
            answers=answers, judges=judges, embedder=embedding if embedder is not None else None
        )
        prepared = prepare(experiment, endpoints, through=through, seed=seed)
        if asking:
            purse.require_prices(_models(prepared))
        run = Run(prepared, turns, tuple(asking.values()), on_progress or _silent, seed)
        try:
            cases, judging = await run.carry_out()
        finally:
            await turns.settle()
            for opened in embedders:
                await opened.aclose()
        return conclude(
            experiment,
            prepared,
            cases,
            judging,
            heard=turns.said,
            changed=_changed(experiment, prepared),
            spent=purse.spent,
            seed=seed,
            sent=sum(each.sent for each in asking.values()),
            replayed=sum(each.replayed for each in asking.values()),
        )


def run_arena_sync(
    experiment: Experiment,
    *,
    answers: Answerers | None = None,
    judge: Provider | Sequence[Provider] | None = None,
    embedder: Callable[[str | None, str], Embedder] | None = None,
    journal: Path | None = None,
    concurrency: int = 8,
    max_cost_usd: float | None = None,
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
                embedder=embedder,
                journal=journal,
                concurrency=concurrency,
                max_cost_usd=max_cost_usd,
                on_progress=on_progress,
                seed=seed,
            )
        finally:
            for provider in _all(answers, judge):
                await provider.aclose()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run())
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run()).result()


def _all(answers: Answerers | None, judge: Provider | Sequence[Provider] | None) -> list[Provider]:
    several = [*answers.values()] if isinstance(answers, Mapping) else [answers]
    several += [*judge] if isinstance(judge, Sequence) else [judge]
    return [provider for provider in several if provider is not None]


def _changed(experiment: Experiment, prepared: Prepared) -> bool:
    """Whether the cases are no longer what they were when the run began."""
    offline = experiment.offline
    try:
        return (
            offline is not None
            and read_cases(offline.cases, Path(experiment.folder)).digest != prepared.cases.digest
        )
    except DataError:
        return True


def _models(prepared: Prepared) -> dict[str, str]:
    """Every model that may be asked, and what for."""
    live = prepared.answers.live and prepared.answers.application is None
    asked = {variant.model or "": f"answers of {variant.name}" for variant in prepared.variants if live}
    return asked | {judge.model or "": "judgements" for judge in prepared.judge.asked}


class Run:
    """One run: the endpoints it asks, and the cases as they fill up."""

    def __init__(
        self,
        prepared: Prepared,
        turns: Turns,
        asking: Sequence[Asking],
        on_progress: OnProgress,
        seed: int,
    ) -> None:
        self._prepared = prepared
        self._turns = turns
        self._asking = asking
        self._on_progress = on_progress
        self._seed = seed
        self._results: dict[str, CaseResult] = {}
        self._compared: dict[str, list[float]] = {}
        self._done = 0

    async def carry_out(self) -> tuple[tuple[CaseResult, ...], dict[str, Judging]]:
        """All cases in their order, and how far judging in steps went."""
        prepared = self._prepared
        # Where people's labels decide, the judge's own rate must not stop the judging.
        steps = prepared.gate.sequential and prepared.comparator is not None and not prepared.labels
        self._tell("answers and scores" if prepared.answers.gives else "verdicts")
        await each(
            [partial(self._case, case, compare=not steps) for case in prepared.cases],
            at_once=self._turns.concurrency,
        )
        for asking in self._asking:
            asking.check_reached()
        judging = await self._in_steps() if steps else {}
        return tuple(self._results[case.id] for case in prepared.cases), judging

    async def _case(self, case: Case, *, compare: bool) -> None:
        prepared = self._prepared
        result = _blank(case, prepared)
        answers: dict[str, tuple[Answered, ...]] = {}
        if prepared.answers.gives:
            given = await asyncio.gather(
                *(
                    prepared.answers.answer(case, variant, sample)
                    for variant in prepared.variants
                    for sample in range(prepared.samples)
                )
            )
            answers = {
                name: tuple(given[index * prepared.samples : (index + 1) * prepared.samples])
                for index, name in enumerate(prepared.names)
            }
        result = replace(result, answers=MappingProxyType(answers))
        treatments = prepared.names[1:] if compare and prepared.comparator is not None else ()
        scored, compared = await asyncio.gather(
            self._scores(case, result),
            asyncio.gather(*(self._comparisons(case, result, name) for name in treatments)),
        )
        comparisons = dict(zip(treatments, compared, strict=True))
        self._results[case.id] = replace(
            result, scores=MappingProxyType(scored), comparisons=MappingProxyType(comparisons)
        )
        self._done += 1
        self._count(self._results[case.id])
        self._tell("answers and scores")

    async def _scores(self, case: Case, result: CaseResult) -> dict[str, tuple[Mapping[str, Score], ...]]:
        names, samples = self._prepared.names, self._prepared.samples
        if not (self._prepared.evaluators or self._prepared.own.get(case.id)):
            return {}
        found = await asyncio.gather(
            *(self._score(case, result, name, sample) for name in names for sample in range(samples))
        )
        return {
            name: tuple(found[index * samples : (index + 1) * samples]) for index, name in enumerate(names)
        }

    async def _score(self, case: Case, result: CaseResult, variant: str, sample: int) -> Mapping[str, Score]:
        """What every evaluator says of one answer; nothing where there is none to speak of."""
        subject = _subject(case, result, variant, sample)
        if subject is None:
            return {}
        found: dict[str, Score] = {}
        waiting = []
        for evaluator in self._prepared.evaluators:
            check = getattr(evaluator, "check", None)
            if check is not None and getattr(evaluator, "inline", False):
                found[evaluator.name] = check(subject)
            else:
                waiting.append(evaluator.score(subject))
        for scores in await asyncio.gather(*waiting):
            found |= scores
        own = self._prepared.own.get(case.id, ())
        if own:
            said = await asyncio.gather(*(one.score(subject) for one in own))
            found["assertions"] = case.held([score for scores in said for score in scores.values()])
        return found

    async def _comparisons(self, case: Case, result: CaseResult, treatment: str) -> tuple[Comparison, ...]:
        prepared = self._prepared
        comparator = prepared.comparator
        assert comparator is not None
        control = prepared.names[0]
        # A recorded verdict is read whether or not the answers it was about are there.
        bare = comparator.recorded or not prepared.answers.gives
        jobs = []
        for sample in range(prepared.samples):
            ours = _subject(case, result, treatment, sample, bare=bare)
            theirs = _subject(case, result, control, sample, bare=bare)
            if ours is None or theirs is None:
                name = treatment if ours is None else control
                why = result.answers[name][sample].why_not
                jobs.append(_no_comparison(f"no answer by {name}: {why}"))
            else:
                jobs.append(comparator.compare(ours, theirs))
        return tuple(await asyncio.gather(*jobs))

    async def _in_steps(self) -> dict[str, Judging]:
        """Compare a few cases at a time, and stop for a treatment when its answer is clear."""
        prepared = self._prepared
        cases = order_of(prepared.cases.cases, self._seed)
        plan = plan_judging(len(cases), level=prepared.gate.level)
        criterion = next(
            (each for each in prepared.gate.criteria if each.of == "win_rate"), Criterion(of="win_rate")
        )
        reached: dict[str, Judging] = {}
        for treatment in prepared.names[1:]:
            start = 0
            for step, number in enumerate(plan.sizes):
                self._tell(f"judging {treatment}, step {step + 1} of at most {len(plan.sizes)}")
                batch = cases[start:number]
                await each(
                    [partial(self._compare_later, case, treatment) for case in batch],
                    at_once=self._turns.concurrency,
                )
                start = number
                reached[treatment] = Judging(plan=plan, step=step)
                if self._settled(reached[treatment], cases[:number], treatment, criterion):
                    break
        return reached

    async def _compare_later(self, case: Case, treatment: str) -> None:
        result = self._results[case.id]
        compared = await self._comparisons(case, result, treatment)
        result = self._results[case.id]
        comparisons = dict(result.comparisons) | {treatment: compared}
        self._results[case.id] = replace(result, comparisons=MappingProxyType(comparisons))
        self._count(self._results[case.id], only=treatment)

    def _settled(self, judging: Judging, cases: Sequence[Case], treatment: str, criterion: Criterion) -> bool:
        found = [
            (score, case.cluster or case.id)
            for case in cases
            if (score := self._results[case.id].preference(treatment)) is not None
        ]
        clusters = [cluster for _, cluster in found] if any(case.cluster for case in cases) else None
        return settled(judging, [score for score, _ in found], clusters, criterion)

    def _count(self, result: CaseResult, only: str | None = None) -> None:
        for treatment in (only,) if only else self._prepared.names[1:]:
            score = result.preference(treatment)
            if score is not None:
                self._compared.setdefault(treatment, []).append(score)

    def _tell(self, doing: str) -> None:
        self._on_progress(
            Progress(
                done=self._done,
                total=len(self._prepared.cases),
                doing=doing,
                cost_usd=self._turns.purse.here_usd,
                win_rates={name: sum(scores) / len(scores) for name, scores in self._compared.items()},
            )
        )


async def _no_comparison(why_not: str) -> Comparison:
    return Comparison(score=None, why_not=why_not)


def _blank(case: Case, prepared: Prepared) -> CaseResult:
    labels = {
        name: prepared.labels[case.id, name]
        for name in prepared.names[1:]
        if (case.id, name) in prepared.labels
    }
    return CaseResult(
        id=case.id,
        asked=case.text,
        reference=case.reference,
        description=case.description,
        cluster=case.cluster,
        weight=case.weight,
        tags=case.tags,
        severity=case.severity,
        must_pass=case.must_pass,
        labels=MappingProxyType(labels),
    )


def _subject(
    case: Case, result: CaseResult, variant: str, sample: int, *, bare: bool = False
) -> Subject | None:
    """An answer as evaluators see it; None where there is none. `bare` where no answers are part of the run."""
    about = {"case": case.id, "variant": variant, "sample": str(sample)}
    given = result.answers.get(variant)
    answer = given[sample] if given else None
    if answer is None or answer.text is None:
        return Subject(answer="", about=about) if bare or not result.answers else None
    return Subject(
        answer=answer.text,
        input=case.input,
        reference=case.reference,
        context=answer.context or case.context,
        values=case.values,
        latency_s=answer.latency_s,
        cost_usd=answer.cost_usd,
        finish_reason=answer.finish_reason,
        about=about,
    )


def _silent(progress: Progress) -> None:
    """No progress is shown."""
