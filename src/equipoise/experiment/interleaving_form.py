"""The section `interleaving` as it is written in a file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from equipoise.experiment.fields import Section
from equipoise.experiment.interleaving import Agreed, Coin, Interleaving, Scheme

__all__ = ["InterleavingForm"]


class InterleavingForm(Section):
    """How rankers' lists become one list."""

    scheme: Scheme = "team_draft"
    length: Annotated[int, Field(ge=1, le=200)] = 10
    coin: Coin | None = None
    agreed: Agreed | None = None
    tau: Annotated[float, Field(gt=0, le=10)] | None = None
    ties: Annotated[float, Field(ge=0, lt=1)] | None = None

    @property
    def value(self) -> Interleaving:
        """The section as a value."""
        usual = Interleaving()
        return Interleaving(
            scheme=self.scheme,
            length=self.length,
            coin=self.coin or usual.coin,
            agreed=self.agreed or usual.agreed,
            tau=usual.tau if self.tau is None else float(self.tau),
            ties=None if self.ties is None else float(self.ties),
        )
