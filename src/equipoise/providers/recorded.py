"""Answers given earlier, replayed from a file by case and variant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from equipoise.errors import DataError, UpstreamError, nearest
from equipoise.providers.messages import Reply, Request
from equipoise.providers.rows import read_rows

__all__ = ["RecordedAnswers"]

_WHAT = "the recorded answers"


class RecordedAnswers:
    """A Provider that replays: the answer to a request is found by `about["case"]` and `about["variant"]`.

    A case that the file lacks, or for which it holds null (no answer was given), is an UpstreamError, as an
    endpoint's silence would be: it is counted, and never an empty answer.
    """

    def __init__(self, answers: Mapping[tuple[str, str], str | None], *, origin: str, digest: str) -> None:
        self._answers = dict(answers)
        self.origin = origin
        self.digest = digest

    @classmethod
    def read(
        cls, path: Path, *, case: str, variant: str, value: str, names: Mapping[str, str] | None = None
    ) -> RecordedAnswers:
        """Read JSON lines or CSV with one answer a row; `names` maps a variant to what the file calls it."""
        rows = read_rows(path, columns=(case, variant, value), what=_WHAT)
        called: dict[str, list[str]] = {}
        for ours, theirs in (names or {}).items():
            called.setdefault(theirs, []).append(ours)
        answers: dict[tuple[str, str], str | None] = {}
        seen: dict[tuple[str, str], int] = {}
        for row in rows:
            case_id, theirs = rows.name(row, case), rows.name(row, variant)
            text = row.values[value]
            if text is not None and not isinstance(text, str):
                raise rows.wrong(row, value, "a text, or null where no answer was given")
            if (case_id, theirs) in seen:
                raise DataError(
                    f"{_WHAT} {path}, line {row.line}: case '{case_id}' of '{theirs}' was answered on line "
                    f"{seen[case_id, theirs]} already. Keep one answer for each case and variant"
                )
            seen[case_id, theirs] = row.line
            # A name of the file that is mapped stands for the variants mapped to it, and only for them.
            for ours in called.get(theirs) or ([] if theirs in (names or {}) else [theirs]):
                answers[case_id, ours] = text
        return cls(answers, origin=path.name, digest=rows.digest)

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants for which there is at least one answer."""
        return tuple(sorted({variant for _, variant in self._answers}))

    def require(self, variants: Iterable[str]) -> None:
        """Raise DataError where one of the variants has no answer at all."""
        for variant in variants:
            if variant not in self.variants:
                advice = nearest(variant, self.variants)
                raise DataError(
                    f"{_WHAT} {self.origin} have none of the variant '{variant}'. They have: "
                    f"{', '.join(self.variants) or 'nothing'}"
                    + (f"; {advice}" if advice else ".")
                    + " Map it under `answers.names` to what the file calls it"
                )

    def find(self, case: str, variant: str) -> str | None:
        """The answer, or None where the file has none.

        >>> RecordedAnswers({("1", "control"): "Yes."}, origin="a.csv", digest="").find("1", "control")
        'Yes.'
        """
        return self._answers.get((case, variant))

    async def complete(self, request: Request) -> Reply:
        """The recorded answer; its latency and tokens are not known."""
        case, variant = request.about.get("case", ""), request.about.get("variant", "")
        text = self.find(case, variant)
        if text is None:
            raise UpstreamError(f"{self.origin} has no answer to case '{case}' by the variant '{variant}'")
        return Reply(text=text, model=request.model)

    async def aclose(self) -> None:
        """Nothing to let go of."""
