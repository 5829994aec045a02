"""Simulated customers while an experiment is rolled out: their conversations as a gateway records them, minute by minute.

The draws are the real ones; what is answered stands in the script, and how long it takes is drawn by chance.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from equipoise.assignment.assigning import Draw
from equipoise.assignment.configuration import running_of
from equipoise.assignment.hashing import HASH_VERSION
from equipoise.clock import ManualClock
from equipoise.conduct.ledger import state_of
from equipoise.events.facts import Exposure, Fact, Outcome, Shadow, Turn
from equipoise.events.log import EventLog
from equipoise.events.texts import Said, Text, TextStore, unit_digest
from equipoise.experiment.definition import Experiment

__all__ = ["Live"]

_DAY_S = 86_400.0
_MODELS = {"control": ("simulated-bot", 0.0040), "treatment": ("simulated-small-bot", 0.0024)}
"""What an arm asks, and what a turn costs there (US dollars)."""
_USUAL_S = 1.2
_RESOLVED = 0.65


class Live:
    """Customers who come while the clock is turned, `a_minute` of them; one turn each."""

    def __init__(
        self,
        experiment: Experiment,
        log: EventLog,
        texts: TextStore,
        clock: ManualClock,
        rng: random.Random,
        folder: Path,
        *,
        a_minute: int = 150,
    ) -> None:
        self._experiment, self._log, self._texts = experiment, log, texts
        self._clock, self._rng, self._a_minute = clock, rng, a_minute
        golden = _lines(folder / "golden.jsonl")
        answers = {
            (each["case"], each["variant"]): str(each["answer"]) for each in _lines(folder / "script.jsonl")
        }
        self._answers, self._asked = answers, [(str(each["id"]), str(each["input"])) for each in golden]

    def until(self, ends: float, *, slower: float = 1.0) -> None:
        """Let time pass (seconds since 1970 UTC); the treatment takes `slower` times as long as it usually does."""
        running = running_of(state_of(self._log, self._experiment.name), self._experiment)
        assigner = running.assigner(self._clock)
        while (began := self._clock.now()) < ends:
            # A minute is written at once: so it is durable once, and not a hundred times.
            minute = min(ends, (began // 60.0 + 1.0) * 60.0)
            number = max(1, round(self._a_minute * (minute - began) / 60.0))
            facts: list[Fact] = []
            texts: list[Text] = []
            for each in range(number):
                at = began + (minute - began) * (each + 0.5) / number
                self._clock.advance(at - self._clock.now())
                unit = f"conversation-{self._rng.getrandbits(64):016x}"
                self._conversation(unit, assigner.draw(unit, {}), slower, facts, texts)
            self._clock.advance(minute - self._clock.now())
            self._log.append(facts)
            self._texts.keep(texts)

    def _conversation(
        self, unit: str, draw: Draw, slower: float, facts: list[Fact], texts: list[Text]
    ) -> None:
        arm = draw.variant
        if draw.counts and arm is not None and draw.probability is not None:
            facts.append(
                Exposure(
                    experiment=self._experiment.name,
                    happened=self._clock.now(),
                    digest=self._experiment.digest,
                    unit=unit,
                    unit_type=self._experiment.unit.type,
                    variant=arm,
                    probability=draw.probability,
                    reason=draw.reason,
                    epoch=draw.epoch,
                    hash_version=HASH_VERSION,
                )
            )
        measured = self._measured(arm or "control", slower)
        share = float(self._experiment.text_share)
        sampled = share if self._rng.random() < share else None
        turn = Turn(
            **self._of(unit),
            variant=arm,
            epoch=draw.epoch if arm is not None else None,
            reason=draw.reason,
            trace=f"{self._rng.getrandbits(128):032x}",
            sampled=sampled,
            **measured,
        )
        facts.append(turn)
        if arm is None:
            if self._rng.random() < self._experiment.rollout.shadow_share:
                facts.append(
                    Shadow(
                        **self._of(unit),
                        variant="treatment",
                        reason="shadow",
                        trace=turn.trace,
                        of=turn.event_id,
                        **self._measured("treatment", slower),
                    )
                )
            return
        if sampled is not None:
            texts.append(self._text(turn))
        resolved = self._rng.random() < _RESOLVED
        facts.append(
            Outcome(
                experiment=self._experiment.name,
                happened=self._clock.now(),
                unit=unit,
                name="resolved",
                value=resolved,
            )
        )

    def _of(self, unit: str) -> dict[str, Any]:
        """What every turn of a conversation says."""
        return {
            "experiment": self._experiment.name,
            "happened": self._clock.now(),
            "unit": unit,
            "digest": self._experiment.digest,
        }

    def _measured(self, arm: str, slower: float) -> dict[str, Any]:
        model, cost = _MODELS[arm]
        usual = _USUAL_S * (slower if arm == "treatment" else 1.0)
        return {
            "latency_s": round(self._rng.lognormvariate(0.0, 0.3) * usual, 4),
            "cost_usd": round(self._rng.lognormvariate(0.0, 0.3) * cost, 6),
            "error": self._rng.random() < 0.01,
            "warm": True,
            "model": model,
        }

    def _text(self, turn: Turn) -> Text:
        case, asked = self._rng.choice(self._asked)
        # The smaller model forgets the policy now and then.
        forgets = turn.variant == "treatment" and self._rng.random() < 0.5
        return Text(
            event_id=turn.event_id,
            kind=turn.kind,
            experiment=turn.experiment,
            digest=self._experiment.digest,
            variant=turn.variant,
            trace=turn.trace or "",
            unit=unit_digest(turn.unit or ""),
            happened=turn.happened,
            expires=turn.happened + 30 * _DAY_S,
            probability=turn.sampled or 1.0,
            request=(Said("user", asked),),
            answer=self._answers[case, "control" if forgets else "treatment"],
        )


def _lines(path: Path) -> Sequence[Mapping[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
