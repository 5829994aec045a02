"""`equipoise show NAME`: one experiment in full."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from equipoise.cli.output import AsJson, LogPlace, emit, moment
from equipoise.cli.rollout_text import did
from equipoise.figures.lettering import clean

__all__ = ["show"]


def show(
    name: Annotated[str, typer.Argument(help="The experiment's name.")],
    log: LogPlace = None,
    as_json: AsJson = False,
) -> None:
    """Show one experiment: its definition, plan, and everything that was decided about it."""
    from equipoise import settings
    from equipoise.conduct.survey import history
    from equipoise.events.opening import open_log

    record = open_log(log or settings.default_log(), create=False)
    try:
        told = history(record, name)
    finally:
        record.close()
    if as_json:
        emit(told)
        return
    print(f"{told['experiment']}  (stage {told['stage']}, service {told['service']})")
    print(clean(told["definition"]["hypothesis"]))
    print(
        f"exposed: {', '.join(f'{arm} {count:,}' for arm, count in told['exposed'].items()) or 'nobody yet'}"
    )
    total = told["plan"].get("total")
    size = f"{total:,} {told['counted']}" if total else "no size could be planned"
    looks = len(told["plan"]["looks"])
    print(f"planned: {size}, {looks} look{'' if looks == 1 else 's'}")
    for judge in told["calibration"]:
        print(clean(f"judge: {judge['says']}"))
        for line in _beside(judge):
            print(f"  {clean(line)}")
    print()
    for entry in told["ledger"]:
        # Who moved it and why is anybody's text.
        print(f"{moment(entry['happened'])}  {clean(_line(entry))}")


def _beside(judge: dict[str, Any]) -> list[str]:
    """What a calibration shows beside its sentence, a line each; what is not known is left out."""
    shown = {
        "kappa": judge["kappa"],
        "sensitivity": judge["sensitivity"],
        "specificity": judge["specificity"],
        "correlation": judge["correlation"],
        "raters' alpha": judge["alpha"],
    }
    lines = [
        ", ".join(
            f"{name} {found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
            for name, found in shown.items()
            if found is not None and "value" in found
        )
    ]
    if judge["split"]:
        lines.append(f"{judge['split']:,} more on which the raters are evenly divided")
    if judge["apart"]:
        turns = f"{judge['apart']:,} turn{'' if judge['apart'] == 1 else 's'}"
        lines.append(
            f"apart: {turns} drawn where judge and outcome disagree, and people side with the judge on "
            f"{judge['apart_alike']:,}; in no estimate"
        )
    return [line for line in lines if line]


def _line(entry: dict[str, Any]) -> str:
    kind = entry["kind"]
    reason = f"; reason: {entry['reason']}" if entry.get("reason") else ""
    if kind == "registration":
        return f"registered {entry['digest'][:12]} by {entry['by']}{reason}"
    if kind == "transition":
        return "; ".join([f"{_move(entry)} by {entry['by']}{reason}", *did(entry.get("evidence", {}))])
    if kind == "allocation":
        shares = ", ".join(f"{arm} {share}" for arm, share in entry["shares"].items())
        return f"epoch {entry['epoch']}: {shares} of {entry['coverage']} by {entry['by']}{reason}"
    if kind == "gate":
        return f"offline gate: {entry['decision']}"
    if kind == "look":
        statistic = entry.get("statistic")
        z = "not estimable" if statistic is None else f"{statistic:.3f}"
        return f"look {entry['number']} at {entry['fraction']:.0%}: statistic {z}, boundary {entry['boundary']:.3f}"
    arm = f" {entry['arm']}" if entry.get("arm") else ""
    return f"verdict: {entry['verdict']}{arm}; {entry['because']}"


def _move(entry: dict[str, Any]) -> str:
    service, evidence = entry.get("service"), entry.get("evidence", {})
    move = entry["stage"] if entry["origin"] == entry["stage"] else f"{entry['origin']} -> {entry['stage']}"
    if service is not None and not (service == "open" and evidence.get("service", "open") == "open"):
        move += f", service {service}"
    if entry.get("variant"):
        move += f": {entry['variant']}"
    if "removed" in evidence:
        move += f": {', '.join(evidence['removed'])} removed"
    return move
