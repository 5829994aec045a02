"""`equipoise demo`: from hypothesis to verdict, and what goes on while users are exposed; no key, no network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from equipoise.cli.output import AsJson, emit

__all__ = ["demo"]


def demo(
    folder: Annotated[
        Path, typer.Option(help="Where the demo's files go; what it wrote before is replaced.")
    ] = Path("equipoise-out/demo"),
    conversations: Annotated[int, typer.Option(min=1, help="How many customers to simulate.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of the simulated customers.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Walk from hypothesis to verdict on a simulated endpoint with simulated customers, then watch a rollout."""
    from equipoise.cli.demo.deciding import decide
    from equipoise.cli.demo.folder import lay_out
    from equipoise.cli.demo.watching import watch

    def tell(text: str = "") -> None:
        if not as_json:
            print(text, flush=True)

    lay_out(folder)
    tell(
        "SIMULATED: a bot and a judge that follow a script (on a real HTTP server on this machine), and customers"
    )
    tell(
        "drawn by chance with a difference that we put in. Router, log, statistics and verdict are the real ones."
    )
    analysis, told = decide(folder, conversations, seed, tell)
    told["watched"] = watch(folder, seed, tell)
    if as_json:
        emit({"simulated": True, **told})
    if analysis.verdict.word == "invalid":
        raise typer.Exit(analysis.verdict.exit_code)
