"""The section `plan.clusters` of the file: what is expected of clusters that are randomised."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from equipoise.experiment.fields import Section

__all__ = ["ClustersForm"]


class ClustersForm(Section):
    """How alike the readings of a cluster are expected to be, and how many it has."""

    icc: Annotated[float, Field(ge=0, le=1)]
    size: Annotated[float, Field(ge=1, allow_inf_nan=False)]
    size_cv: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
