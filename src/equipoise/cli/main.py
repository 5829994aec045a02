"""The command line: every command takes `--json`, and writes nothing to stdout but its result."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from equipoise.cli import (
    analyze,
    arena,
    baseline,
    drift,
    importing,
    init,
    label,
    listing,
    log,
    monitor,
    off_policy,
    outbox,
    plan,
    register,
    rollout,
    schema,
    serve,
    show,
    simulate,
    size,
    verify,
)
from equipoise.cli.demo.command import demo
from equipoise.cli.output import fail, note
from equipoise.errors import EquipoiseError, UsageError, missing_extra

__all__ = ["app", "run"]

_INTERRUPTED = 130
_UNHEARD = 1
# typer's own "this cannot be an argument", which stands two steps above the class it shows to the world.
_REFUSED: type[Any] = typer.BadParameter.__mro__[2]

_CALLED_HERE = {
    "status": "where an experiment stands is `equipoise rollout NAME`, and all of them are `equipoise list`",
    **dict.fromkeys(
        ("report", "result", "results", "verdict", "look"),
        "read-out, report and verdict are `equipoise analyze NAME`",
    ),
    **dict.fromkeys(
        ("validate", "check", "lint"), "`equipoise plan FILE` reads a definition and tells all its faults"
    ),
    **dict.fromkeys(("rehearse", "simulation"), "a rehearsal is `equipoise simulate FILE`"),
    **dict.fromkeys(("gate", "eval", "test"), "the offline gate is `equipoise arena FILE`"),
    **dict.fromkeys(("start", "launch", "create"), "an experiment begins with `equipoise register FILE`"),
    **dict.fromkeys(("dashboard", "gateway", "proxy"), "gateway and dashboard are `equipoise serve`"),
    **dict.fromkeys(
        ("ramp", "pause", "resume", "kill", "rollback", "enter", "stop"),
        "an experiment is moved by `equipoise rollout NAME`, and then what to do: `equipoise rollout -h`",
    ),
}
"""Commands that people type who come from elsewhere, and where it is to be found."""


class _Commands(TyperGroup):
    """The commands; of some that there are not it is known what was meant."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in _CALLED_HERE and args[0] not in self.commands:
            raise UsageError(f"there is no command '{args[0]}': {_CALLED_HERE[args[0]]}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="equipoise",
    cls=_Commands,
    help="A/B testing for LLM features: from a written hypothesis to a defended verdict.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 pass, ship · 1 unexpected · 2 usage or definition · 3 fail, hold, roll back · "
    "4 inconclusive, keep running · 5 invalid · 6 endpoint or judge unavailable.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from equipoise import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A/B testing for LLM features: from a written hypothesis to a defended verdict."""


app.command("init")(init.init)
app.add_typer(size.app, name="size")
app.command("plan")(plan.plan)
app.command("simulate")(simulate.simulate)
app.command("arena")(arena.arena)
app.command("import")(importing.import_definition)
app.command("register")(register.register)
app.command("serve")(serve.serve)
app.command("monitor")(monitor.monitor)
app.command("rollout")(rollout.rollout)
app.command("outbox")(outbox.outbox)
app.command("label")(label.label)
app.command("analyze")(analyze.analyze)
app.command("off-policy")(off_policy.off_policy)
app.command("baseline")(baseline.baseline)
app.command("list")(listing.list_experiments)
app.command("show")(show.show)
app.command("verify")(verify.verify)
app.command("drift")(drift.drift)
app.add_typer(log.app, name="log")
app.command("schema")(schema.schema)
app.command("demo")(demo)


def run() -> None:
    """The program `equipoise`: runs a command, and turns errors into sentences and exit codes."""
    as_json = "--json" in sys.argv
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except EquipoiseError as error:
        fail(error, as_json=as_json)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        missing = missing_extra("this command", error)
        if missing is None:
            raise
        fail(missing, as_json=as_json)
        sys.exit(missing.exit_code)
    except BrokenPipeError:
        # The reader of our output went away (`| head`); there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # As typer does where it meets this first: 0 would say "pass" or "ship", which nobody has seen.
        sys.exit(_UNHEARD)
    except OSError as error:
        # A disk that is full, a name that is too long: what no command foresees at every place.
        place = f"{error.filename}: " if error.filename else ""
        fail(UsageError(f"{place}{error.strerror or error}"), as_json=as_json)
        sys.exit(UsageError.exit_code)
    except _REFUSED as refused:
        if as_json:
            fail(UsageError(refused.format_message()), as_json=True)
        else:
            refused.show()
        sys.exit(2)
    if code == _INTERRUPTED:
        note("interrupted; what was recorded so far is kept")
    sys.exit(code if isinstance(code, int) else 0)
