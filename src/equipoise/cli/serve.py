"""`equipoise serve`: the gateway, an OpenAI-compatible endpoint that puts each conversation into its variant, and beside it
the monitor, the dashboard and the sealing of the log.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from equipoise.cli.monitor import AlertsPlace, destinations
from equipoise.cli.output import LogPlace, is_file, note
from equipoise.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

__all__ = ["serve"]

_PARTS = ("gateway", "monitor", "dashboard")
_LOOK_S = 0.5
_AGAIN_S = 1.0
"""What died is started again so many seconds later: nobody watches meanwhile."""


def serve(
    only: Annotated[
        str | None,
        typer.Option(
            help="Serve one part alone: gateway, monitor or dashboard (default: all).", show_default=False
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on; 0 for any.")] = 8080,
    log: LogPlace = None,
    alerts: AlertsPlace = None,
    dashboard: Annotated[
        bool, typer.Option(help="Whether the dashboard is served beside the gateway.")
    ] = True,
    dashboard_host: Annotated[str, typer.Option(help="The address of the dashboard.")] = "127.0.0.1",
    dashboard_port: Annotated[int, typer.Option(help="The port of the dashboard; 0 for any.")] = 8091,
    state: Annotated[
        Path, typer.Option(help="A folder for the last good configuration, pins and the secret.")
    ] = Path("equipoise-state"),
    upstream: Annotated[
        str | None,
        typer.Option(
            help="The base URL of models that no variant places; EQUIPOISE_BASE_URL, OPENAI_BASE_URL."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many processes share the port.")] = 1,
    drain: Annotated[float, typer.Option(min=0, help="Seconds to finish what is under way.")] = 30.0,
    seal_every: Annotated[
        float,
        typer.Option(min=0, help="Seconds between looks for old facts to seal; 0 to leave that to you."),
    ] = 60.0,
    seal_hot: Annotated[float, typer.Option(min=0, help="Seconds that a fact is not sealed.")] = 600.0,
    seal_facts: Annotated[int, typer.Option(min=1, help="Facts in a sealed segment.")] = 5_000,
    as_json: Annotated[bool, typer.Option("--json", help="Say where it listens as JSON.")] = False,
    worker: Annotated[int, typer.Option(hidden=True)] = -1,
    tell: Annotated[Path | None, typer.Option(hidden=True)] = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve the registered experiments: point an OpenAI client's base_url here.

    Keys come from the environment: EQUIPOISE_KEY is what clients and whoever opens the dashboard must show (needed beyond
    this machine),
    OPENAI_API_KEY the upstream's, EQUIPOISE_SECRET signs tokens (else one is kept in the state folder).
    """
    if only is not None and only not in _PARTS:
        raise UsageError(f"there is no part '{only}' to serve; accepted: {', '.join(_PARTS)}")
    from equipoise import settings

    place = log or settings.default_log()
    if parent is not None:
        from equipoise.cli.dashboard import serve_dashboard

        serve_dashboard(place, dashboard_host, dashboard_port, tell=tell, parent=parent)
        return
    beside: dict[str, list[str]] = {}
    if seal_every and is_file(place):
        said = {"--every": seal_every, "--hot": seal_hot, "--facts": seal_facts}
        beside["sealing"] = ["log", "seal", *(str(word) for pair in said.items() for word in pair)]
    if only in (None, "monitor") and place != "memory:":
        # What is wrong with the file is said at once, and not by a process beside this one.
        destinations(alerts)
        beside["monitor"] = ["monitor", *([] if alerts is None else ["--alerts", str(alerts)])]
    if only == "dashboard" or (only is None and dashboard and worker < 0 and place != "memory:"):
        from equipoise.cli.dashboard import command_of

        words = command_of(dashboard_host, dashboard_port, insist=only is not None, place=place)
        beside |= {} if words is None else {"dashboard": words}
    companions = {name: state / f"{name}.json" for name in beside}
    if only in ("monitor", "dashboard"):
        _without_gateway(only, beside, companions, place)
        return
    if workers > 1 and worker < 0:
        if port == 0:
            raise UsageError("several workers share one port: name it with --port")
        from equipoise.gateway.serving import supervise

        with _beside(beside, companions, place):
            code = supervise([sys.executable, "-m", "equipoise", *sys.argv[1:]], workers)
        sys.exit(code)
    from equipoise.gateway.serving import Serving
    from equipoise.gateway.serving import serve as carry_out

    base_url, base_key = settings.upstream(upstream)

    def ready(found: int) -> None:
        where = f"http://{f'[{host}]' if ':' in host else host}:{found}/v1"
        if as_json:
            # One line, in one piece: whoever started it reads that, and workers share where they write.
            sys.stdout.write(json.dumps({"base_url": where, "worker": max(worker, 0)}) + "\n")
        elif worker <= 0:
            note(f"serving at {where} (Ctrl-C stops it)")
        sys.stdout.flush()

    tracer, stop_tracing = _tracing()
    options = Serving(
        host=host,
        port=port,
        log=place,
        state=state,
        base_url=base_url,
        base_key=base_key,
        access_key=settings.variable("EQUIPOISE_KEY"),
        secret=settings.variable("EQUIPOISE_SECRET"),
        keys=settings.variable,
        drain=drain,
        worker=max(worker, 0),
        shared_port=workers > 1,
        ready=ready,
        tracer=tracer,
        companions=companions,
    )
    # Of several workers it is the one above them that looks after what runs beside.
    with _beside(beside if worker < 0 else {}, companions, place):
        carry_out(options)
    stop_tracing()


_CALLED = {"sealing": "the sealing of the log", "monitor": "the monitor", "dashboard": "the dashboard"}


@contextmanager
def _beside(
    commands: Mapping[str, list[str]], files: Mapping[str, Path], place: str
) -> Iterator[dict[str, threading.Event]]:
    """What runs meanwhile, each in a process of its own; gives what is set where one of them runs no more."""
    from equipoise.gateway.companion import companion

    with ExitStack() as running:
        over = {}
        for name, words in commands.items():
            # What an earlier run did is not what this one does.
            with suppress(OSError):
                files[name].unlink()
            command = [sys.executable, "-m", "equipoise", *words, "--log", place]
            command += ["--tell", str(files[name]), "--parent", str(os.getpid())]
            again = {} if name == "sealing" else {"pause_s": _AGAIN_S}
            over[name] = running.enter_context(companion(command, _CALLED[name], **again))
        yield over


def _without_gateway(
    only: str, commands: Mapping[str, list[str]], files: Mapping[str, Path], place: str
) -> None:
    """Serve one part alone, and what looks after the log; until told to stop, or the part has refused."""
    from equipoise.cli.stopping import until_told

    stop = until_told(None)
    with _beside(commands, files, place) as over:
        while not stop.wait(_LOOK_S):
            if over[only].is_set():
                sys.exit(UsageError.exit_code)


def _tracing() -> tuple[Tracer | None, Callable[[], None]]:
    """A tracer, where the environment says where spans go, and how to stop it."""
    from equipoise import settings

    if not settings.spans_wanted():
        return None, lambda: None
    try:
        from equipoise.integrations.opentelemetry import exporting
    except ModuleNotFoundError:
        raise MissingExtraError("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry") from None
    return exporting(settings.variable("OTEL_SERVICE_NAME") or "equipoise-gateway")
