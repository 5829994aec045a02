"""The section `switchback:` of the file, and the value it makes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from equipoise.experiment.fields import DurationField, Name, Section, Words
from equipoise.experiment.switchback import BALANCES, Balance, Switchback

__all__ = ["SwitchbackForm", "switchback_of"]


class SwitchbackForm(Section):
    """Which slots are drawn together, what goes with a slot, and how long it takes to settle."""

    balance: Annotated[list[Balance], Field(max_length=len(BALANCES))] = list(BALANCES)
    by: Name | None = None
    begins: Words | None = None
    wash_out: DurationField = 0.0
    expected_correlation: Annotated[float, Field(ge=0, lt=1)] = 0.0


def switchback_of(form: SwitchbackForm | None) -> Switchback:
    """The value of a section that passed the checks; of one that is not there, the usual one."""
    form = form or SwitchbackForm()
    return Switchback(
        # One set, in one order, whatever order it was written in.
        balance=tuple(each for each in BALANCES if each in form.balance),
        by=form.by,
        begins=form.begins,
        wash_out=form.wash_out,
        expected_correlation=float(form.expected_correlation),
    )
