"""`equipoise off-policy LOG`: what another policy would have earned in a log of what was played."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from equipoise.cli.output import AsJson, emit, rows, working

if TYPE_CHECKING:
    from collections.abc import Iterator

    from equipoise.analysis.off_policy import Evaluation
    from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["off_policy"]


def off_policy(
    log: Annotated[str, typer.Argument(metavar="LOG", help="A table with a row for each play.")],
    action: Annotated[str, typer.Option(help="The column of what was played.")],
    policy: Annotated[
        str, typer.Option(help="A table with the policy's probabilities, or: uniform.")
    ] = "uniform",
    probability: Annotated[
        str, typer.Option(help="The column of the probability it was played with.")
    ] = "probability",
    reward: Annotated[str, typer.Option(help="The column of what it earned.")] = "reward",
    target: Annotated[
        str, typer.Option(help="The column of the policy's probability, in its table.")
    ] = "probability",
    context: Annotated[
        list[str] | None, typer.Option(help="A column of what was known before; may be repeated.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="The column of what rows belong together by, such as the user.")
    ] = None,
    level: Annotated[float, typer.Option(help="The level of the intervals.")] = 0.95,
    as_json: AsJson = False,
) -> None:
    """Estimate what another policy would have earned, from the log of the one that played."""
    from equipoise.conduct.off_policy import evaluate_policy

    with working("reading and counting"):
        found = evaluate_policy(
            log,
            policy,
            action=action,
            probability=probability,
            reward=reward,
            target=target,
            context=tuple(context or ()),
            cluster=cluster,
            level=level,
        )
    if as_json:
        emit(found.to_dict())
    else:
        print("\n".join(_lines(found)))


def _lines(found: Evaluation) -> Iterator[str]:
    values, seen = found.values, found.values.overlap
    yield f"{found.reward} of {found.policy}, from {found.source} ({seen.rows:,} rows)"
    yield ""
    yield rows(
        ["method", "value"],
        [
            ["inverse propensities", _told(values.inverse_propensity)],
            ["self-normalised", _told(values.self_normalised)],
            ["direct method, as if its model were right", _told(values.direct)],
            ["doubly robust", _told(values.doubly_robust)],
            ["what was earned by the policy that played", _told(found.played)],
            ["doubly robust, less what was earned", _told(found.gain)],
        ],
    )
    yield ""
    yield (
        f"the rows say as much of this policy as {seen.effective:,.0f} of its own would; the largest weight is "
        f"{seen.largest:.3g}, the mean weight (1 is right) {_told(seen.mean)}"
    )
    for each in found.cautions:
        yield f"beware: {each}"


def _told(found: Estimate | NotEstimable) -> str:
    from equipoise.stats.estimate import NotEstimable

    if isinstance(found, NotEstimable):
        return f"not estimable: {found.reason}"
    return f"{found.value:.4g} ({found.low:.4g} to {found.high:.4g})"
