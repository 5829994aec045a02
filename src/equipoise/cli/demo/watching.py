"""The second act: a model goes into shadow and a canary, is watched, judged and labelled, and goes back."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equipoise.cli.output import moment

if TYPE_CHECKING:
    from equipoise.clock import ManualClock
    from equipoise.conduct.conversation import Conversation
    from equipoise.conduct.moving import Moved
    from equipoise.events.facts import Label, Score
    from equipoise.events.log import EventLog
    from equipoise.events.texts import TextStore
    from equipoise.experiment.definition import Experiment
    from equipoise.monitor.loop import News

__all__ = ["watch"]

REASON = "The arena has asked these five questions already; shadow and the canary are there to find out more."
_WINDOW_S = 300.0
_CLOSED_S = 10.0
"""So long after its end a window is closed, for facts that are still on their way."""
_BEGAN_S = 3_600.0
"""The story begins so long ago, and its clock never overtakes the real one."""
_SLOWER = 2.5
_AXIS = "policy"
_RATERS = ("jo", "kim")

Tell = Callable[[str], None]


def watch(folder: Path, seed: int, tell: Tell) -> dict[str, Any]:
    """Shadow, canary, a fault, what the monitor does, online judge, labels: each is told; all of it as plain JSON."""
    from equipoise.cli.demo.folder import WATCHED
    from equipoise.cli.demo.live import Live
    from equipoise.cli.rollout_text import did, shadow_lines, status_lines
    from equipoise.clock import ManualClock
    from equipoise.conduct.calibration import calibrations
    from equipoise.conduct.enter import enter
    from equipoise.conduct.move import roll_back
    from equipoise.conduct.register import register
    from equipoise.conduct.shadow import shadow
    from equipoise.conduct.status import status
    from equipoise.events.opening import open_texts, open_windows
    from equipoise.events.sqlite import SQLiteLog
    from equipoise.experiment.reading import load_experiment
    from equipoise.monitor.watches import Watches

    experiment, name = load_experiment(folder / "cheaper.yaml"), "support-cheaper-model"
    place, rng = folder / WATCHED, random.Random(seed)  # noqa: S311 - simulated customers
    # Windows begin at whole multiples of their length.
    clock = ManualClock((time.time() - _BEGAN_S) // _WINDOW_S * _WINDOW_S)
    with ExitStack() as held:
        log = held.enter_context(closing(SQLiteLog(place, clock=clock)))
        texts = held.enter_context(closing(open_texts(place)))
        windows = held.enter_context(closing(open_windows(place)))
        watches = Watches(log, lambda: windows, clock=clock, arrival=clock)
        live = Live(experiment, log, texts, clock, rng, folder)

        tell(
            "\n\nTHE SECOND ACT, simulated as well: what goes on while users are exposed. Its clock is turned by hand."
        )
        tell("\n== 6. Another model in shadow: it answers too, and nobody sees it ==")
        register(log, experiment, by="demo", reason=REASON, clock=clock)
        live.until(clock.now() + _WINDOW_S)
        shadowed = shadow(log, experiment)
        tell("\n".join(shadow_lines(shadowed)))

        tell(
            "\n== 7. A canary on that evidence; after ten minutes the new model becomes slow, and the monitor acts =="
        )
        entered = enter(log, name, "canary", by="demo", reason=REASON, clock=clock)
        tell(_moved(entered))
        # Its epoch begins a moment later, when every process has heard of it.
        window = clock.now() + _WINDOW_S
        clock.advance(_WINDOW_S)
        news: list[News] = []
        for slower in (1.0, 1.0, _SLOWER, _SLOWER):
            window += _WINDOW_S
            live.until(window, slower=slower)
            clock.advance(_CLOSED_S)
            for each in watches.run(clock.now(), lambda: False):
                tell(f"{moment(clock.now())} UTC  {each.says}")
                news.append(each)

        tell(f"\n== 8. Where it stands: equipoise rollout {name} --log {place} ==")
        stands = status(log, name, windows=windows, clock=clock)
        tell("\n".join(status_lines(stands)))

        tell("\n== 9. The turns that were drawn, judged; the lowest score followed to its turn ==")
        judged, scores = _judge(experiment, log, texts, clock, folder)
        lowest = min((each for each in scores if each.name == _AXIS), key=_value)
        found = _follow(log, texts, lowest, clock, judged, tell)

        tell(
            "\n== 10. Two people label the same turns (simulated, too), and the judge is held against them =="
        )
        log.append(_labels(experiment, log, scores, clock, rng))
        calibrated = [each for each in calibrations(log, experiment) if each.labels]
        tell("\n".join(f"judge: {each.says}" for each in calibrated))

        tell("\n== 11. And back ==")
        back = roll_back(log, name, by="demo", reason="the new model is too slow", clock=clock)
        tell("\n".join([_moved(back), *(f"  {line}" for line in did(back.evidence))]))
        tell(
            f"\nAll of this was simulated: the treatment was made to take {_SLOWER:g} times as long as before."
        )
        tell(
            f"Its log answers more questions: equipoise show {name} --log {place}, or drift, or log show TRACE"
        )
    return {
        "experiment": experiment.identity,
        "log": str(place),
        "shadow": shadowed.to_dict(),
        "entered": asdict(entered),
        "news": [asdict(each) for each in news],
        "standing": stands.to_dict(),
        "judged": judged,
        "followed": found.to_dict(),
        "calibration": [each.to_dict() for each in calibrated],
        "rolled_back": asdict(back),
    }


def _moved(moved: Moved) -> str:
    return f"{moved.experiment} is in the stage {moved.stage}, service {moved.service}"


def _judge(
    experiment: Experiment, log: EventLog, texts: TextStore, clock: ManualClock, folder: Path
) -> tuple[dict[str, Any], list[Score]]:
    """Have the turns that were drawn judged at the simulated endpoint: how that went, and the scores."""
    from equipoise.cli.demo.customers import scripted
    from equipoise.cli.demo.folder import WATCHED
    from equipoise.conduct.judge import OnlineJudge
    from equipoise.events.facts import Score
    from equipoise.events.opening import open_cursors
    from equipoise.providers.simulated import SimulatedEndpoint

    with (
        SimulatedEndpoint(scripted(folder), models=("simulated-judge",)) as url,
        closing(open_cursors(folder / WATCHED)) as cursors,
        closing(
            OnlineJudge(experiment, log, texts, cursors, connect=lambda *_: (url, None), clock=clock)
        ) as judge,
    ):
        done = judge.advance()
    scores = [
        record.fact
        for record in log.read_since(0, experiment=experiment.name, kinds=("score",))
        if isinstance(record.fact, Score)
    ]
    return done.to_dict(), scores


def _value(score: Score) -> float:
    return float("inf") if score.value is None else float(score.value)


def _follow(
    log: EventLog, texts: TextStore, score: Score, clock: ManualClock, judged: dict[str, Any], tell: Tell
) -> Conversation:
    """From a score to the turn behind it: what was asked and answered, and what the judge made of it."""
    from equipoise.conduct.conversation import conversation

    assert score.trace is not None
    found = conversation(log, texts, score.trace, clock=clock)
    (turn,) = found.turns
    assert turn.text is not None
    tell(f"{judged['scored']} turns judged, each drawn with a probability of {score.probability:g}")
    tell(
        f"{score.name} = {_value(score):g} by {score.evaluator}, trace {score.trace}: equipoise log show prints it all"
    )
    tell(f"  answered by {turn.turn.variant} in {turn.turn.latency_s:.2f} s")
    tell(f"  user: {turn.text.request[0].text}")
    tell(f"  answer: {turn.text.answer}")
    tell(f"  scores: {', '.join(f'{each.name} {_value(each):g}' for each in found.scores)}")
    return found


def _labels(
    experiment: Experiment, log: EventLog, scores: Sequence[Score], clock: ManualClock, rng: random.Random
) -> list[Label]:
    """What two people say of every turn that was judged: mostly what the judge says, and now and then a grade less."""
    from equipoise.events.facts import Label, Turn

    arms = {
        record.fact.trace: record.fact.variant
        for record in log.read_since(0, experiment=experiment.name, kinds=(Turn.kind,))
        if isinstance(record.fact, Turn)
    }
    return [
        Label(
            experiment=experiment.name,
            digest=experiment.digest,
            happened=clock.now(),
            name=each.name,
            rater=rater,
            item=each.trace or "",
            trace=each.trace,
            unit=each.unit,
            variant=arms[each.trace],
            # All that were drawn are labelled: so likely was it of any turn there is.
            probability=each.probability,
            value=_value(each) - (1.0 if _value(each) > 1.0 and rng.random() < 0.25 else 0.0),
        )
        for each in scores
        if each.name == _AXIS and each.value is not None
        for rater in _RATERS
    ]
