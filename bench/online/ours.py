"""The gateway itself as a contender: with known conversations, and with one that is new in each request."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from online.contenders import Contender, Make, free_port

__all__ = ["gateway"]

RUN = "from equipoise.cli.main import run; run()"


def gateway(name: str, units: str, definition: Callable[[int], str], *, shadows: bool = False) -> Make:
    """A maker of `equipoise serve --only gateway` with the experiment of `definition` registered in a log of its own."""

    def make(folder: Path, upstream: int) -> Contender | str:
        home = folder / name.replace(" ", "-").replace(",", "")
        home.mkdir()
        (home / "bench.yaml").write_text(definition(upstream), "utf-8")
        log = str(home / "log.db")
        ours = (sys.executable, "-c", RUN)
        subprocess.run(
            (*ours, "register", str(home / "bench.yaml"), "--log", log), check=True, capture_output=True
        )
        port = free_port()
        place = ("--port", str(port), "--log", log, "--state", str(home / "state"))
        return Contender(
            name=name,
            argv=(
                *ours,
                "serve",
                "--no-dashboard",
                "--only",
                "gateway",
                *place,
                "--upstream",
                f"http://127.0.0.1:{upstream}/v1",
            ),
            port=port,
            ready="/healthz",
            model="experiment/bench",
            units=units,
            shadows=shadows,
        )

    return make
