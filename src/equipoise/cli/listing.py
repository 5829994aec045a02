"""`equipoise list`: the experiments in a log."""

from __future__ import annotations

from equipoise.cli.output import AsJson, LogPlace, emit, note, rows
from equipoise.figures.lettering import clean

__all__ = ["list_experiments"]


def list_experiments(log: LogPlace = None, as_json: AsJson = False) -> None:
    """List the registered experiments: stage, exposed units, looks taken and to come, verdict."""
    from equipoise import settings
    from equipoise.cli.rollout_text import look_words
    from equipoise.conduct.survey import Unread, survey
    from equipoise.events.opening import open_log

    record = open_log(log or settings.default_log(), create=False)
    try:
        found = survey(record)
    finally:
        record.close()
    if as_json:
        emit([each.to_dict() for each in found])
        return
    for each in found:
        if isinstance(each, Unread):
            note(f"{each.name} cannot be read by this version: {clean(each.because)}")
    if not found:
        print("no experiment is registered in this log")
        return
    print(
        rows(
            ["experiment", "stage", "exposed", "looks", "verdict", "next look"],
            [
                [
                    each.identity,
                    each.stage if each.service == "open" else f"{each.stage}, {each.service}",
                    f"{each.exposed:,}",
                    f"{each.looks} of {each.planned_looks}",
                    each.verdict or "–",
                    look_words(each.next_look, long=False),
                ]
                for each in found
                if not isinstance(each, Unread)
            ],
        )
    )
