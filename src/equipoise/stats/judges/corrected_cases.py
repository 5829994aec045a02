"""The judge's mean corrected by labels where cases belong together, or do not all count alike.

The same estimate as `prediction_powered.corrected_mean`, made from the cases themselves: within a cluster labelled
and other cases move together, which no two sets of moments can say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from equipoise.stats.cases.case_means import Clusters, case_weights, cases_of, cluster_codes
from equipoise.stats.domain import finite, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.judges.prediction_powered import LABELS, LABELS_TUNED, STRANGE
from equipoise.stats.moments import Values
from equipoise.stats.student import t_estimate

__all__ = ["corrected_mean_over_cases"]


def corrected_mean_over_cases(
    labels: Sequence[float | None],
    judge: Values,
    *,
    clusters: Clusters | None = None,
    weights: Values | None = None,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The mean label over all judged cases, some of which belong together: prediction-powered, clustered.

    One entry a case: what people said (None where they were not asked), and the judge's score. The labelled
    cases are a random sample of the cases, or all cases of a random sample of clusters. Scale: that of the labels.
    θ = mean(label) + λ·(mean judge elsewhere − mean judge on the labelled), all means weighted. Its error is
    a sum over clusters, a(g) + λ·b(g), where a is a cluster's share of the labels' error and b of the
    judge's: λ is the slope −Σab / Σb² that makes it least, from labels in 50 clusters on, and 1 below. The
    variance is Σ(a + λb)² · G / (G − 1 − tuned), and t has G − 1 − tuned degrees of freedom, with G the
    effective number of clusters with labels, (Σm)² / Σm² over their sums of weights. Where nothing is left
    without a label, λ is 0, and it is the mean of the labels.

    Degenerate cases: not estimable with labels in clusters worth fewer than 20, where the labelled and the other
    cases get judge's scores that are five standard errors apart (the labels are then no random sample), or where
    the error is 0, since a judge without a fault on these labels has faults that they do not show.
    Errors: UsageError for values that are not finite, or clusters or weights that do not match the cases.
    Source: Angelopoulos, Duchi & Zrnic (2023), PPI++ (arXiv 2311.01453), sections 2 and 6; Liang & Zeger (1986),
    Biometrika 73, 13, for the sum over clusters.

    >>> judge, said = [1, 0, 1, 1, 0, 1, 1, 0] * 40, [1, 0, 1, 0, 0, 1, 1, 1] * 10 + [None] * 240
    >>> e = corrected_mean_over_cases(said, judge, clusters=[case // 2 for case in range(320)])
    >>> round(e.value, 3), round(e.standard_error, 3), round(e.degrees_of_freedom)
    (0.625, 0.06, 39)
    """
    level, null = inside("level", level), finite("null", null)
    scores = cases_of("judge's scores", judge)
    said = cases_of("labels", [0.0 if label is None else label for label in labels])
    on = np.array([label is not None for label in labels], dtype=bool)
    codes, weight = cluster_codes(clusters, scores.size), case_weights(weights, scores.size)
    sizes = np.bincount(codes[on], weights=weight[on])
    effective = float(sizes.sum() ** 2 / (sizes @ sizes)) if sizes.size else 0.0
    if effective < LABELS:
        return NotEstimable(
            f"the labels lie in clusters worth {effective:.3g} of equal size, and a corrected estimate needs {LABELS}"
        )
    rest = bool((~on).sum() >= 2)
    here, there = weight * on / weight[on].sum(), weight * ~on / max(float(weight[~on].sum()), 1e-300)
    mean, judged, elsewhere = float(here @ said), float(here @ scores), float(there @ scores)

    def by_cluster(pieces: np.ndarray) -> np.ndarray:
        return np.bincount(codes, weights=pieces)

    a = by_cluster(here * (said - mean))
    b = by_cluster(there * (scores - elsewhere) - here * (scores - judged))
    error = math.sqrt(float(b @ b))
    if rest and abs(elsewhere - judged) > STRANGE * error + 1e-9 * (abs(elsewhere) + abs(judged)):
        return NotEstimable(
            f"the judge gives the labelled cases {judged:.3g} and the others {elsewhere:.3g} on average: "
            "the labels are not a random sample"
        )
    useful = rest and error > 1e-12
    tuned = 1 if useful and effective >= LABELS_TUNED else 0
    factor = (-float(a @ b) / float(b @ b) if tuned else 1.0) if useful else 0.0
    parts = a + factor * b
    df = effective - 1.0 - tuned
    variance = float(parts @ parts) * effective / df
    if variance <= 1e-24 * max(1.0, float(said @ said)):
        return NotEstimable(
            f"no label differs from what the judge's score says, and {int(on.sum())} labels cannot show "
            "how often one would"
        )
    kind = "PPI++" if tuned else "PPI"
    return t_estimate(
        mean + factor * (elsewhere - judged),
        math.sqrt(variance),
        df,
        level=level,
        null=null,
        method=f"mean, {f'prediction-powered ({kind})' if useful else 'labels alone'}, clustered t interval",
    )
