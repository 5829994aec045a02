"""What must fit together where a bandit gives out the shares: who came when, what is played for, and what is believed."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from equipoise.errors import Fault
from equipoise.experiment.bandit import PRIORS, Model
from equipoise.experiment.bandit_form import USUAL_MODELS, BanditForm
from equipoise.experiment.catalogue import CATALOGUE
from equipoise.experiment.document import Document
from equipoise.experiment.document import Path as FieldPath
from equipoise.experiment.form import Form, MetricForm
from equipoise.experiment.unknown_names import unknown_metric

__all__ = ["bandit_faults"]

Found = Iterator[tuple[FieldPath, Fault]]
_SHORTEST_S = 60.0
_ACCEPTED = {
    "beta_bernoulli": "{alpha: 1, beta: 1}",
    "gaussian": "{mean: …, weight: 1, shape: 1, scale: …}, the scale being a variance",
    "gamma_poisson": "{shape: 1, rate: 1}",
}
_KINDS: dict[Model, tuple[str, ...]] = {
    "beta_bernoulli": ("proportion",),
    "gaussian": ("proportion", "mean", "count"),
    "gamma_poisson": ("count", "mean"),
}


def bandit_faults(form: Form, document: Document) -> Found:
    """Every contradiction in a bandit, with the path it belongs to."""
    if form.method != "bandit":
        if form.bandit is not None:
            path: FieldPath = ("bandit",)
            yield (
                path,
                document.fault(
                    path, f"this is no bandit but `method: {form.method}`", accepted="`method: bandit`"
                ),
            )
        return
    section = form.bandit or BanditForm()
    yield from _remembering(form, document)
    yield from _policy(section, document)
    yield from _numbers(form, section, document)
    yield from _reward(form, section, document)


def _remembering(form: Form, document: Document) -> Found:
    if form.source is None and form.unit.id == "any" and form.pins != "required":
        path: FieldPath = ("unit", "id")
        yield (
            path,
            document.fault(
                path,
                "a bandit changes its shares, and which of them a unit came in under cannot be told",
                accepted="`unit: {id: uuid7}`, `unit: {id: token}` or `pins: required`",
            ),
        )


def _policy(section: BanditForm, document: Document) -> Found:
    path: FieldPath = ("bandit", "policy")
    accepted = "thompson, top_two, epsilon_greedy, ucb, {top_two: 1/2} or {epsilon_greedy: 10%}"
    if not isinstance(section.policy, str):
        given = [share for _, share in section.policy if share is not None]
        if len(given) != 1:
            yield path, document.fault(path, "a policy is one of its kind", accepted=accepted)
        elif not 0 < given[0] < 1:
            problem = f"with a probability of {given[0]} there is no choice"
            yield path, document.fault(path, problem, accepted="more than 0 and less than 1")


def _numbers(form: Form, section: BanditForm, document: Document) -> Found:
    def fault(key: str, problem: str, accepted: str) -> tuple[FieldPath, Fault]:
        path = ("bandit", key)
        return path, document.fault(path, problem, accepted=accepted)

    if section.every < _SHORTEST_S:
        yield fault("every", f"shares cannot be made anew every {section.every:g} s", "1m or more")
    if section.half_life is not None and section.half_life <= 0:
        yield fault("half_life", "what is known has no half-life of nothing", "more than 0, such as 7d")
    for key, name, share in (
        ("drop", "below", None if section.drop is None else section.drop.below),
        ("stop", "error", section.stop.error),
    ):
        if share is not None and not 0 < share < Fraction(1, 2):
            path: FieldPath = ("bandit", key, name)
            problem = f"with a probability of {share} it would be right no more often than a coin"
            if share == 0:
                problem = "nobody is ever that sure"
            yield path, document.fault(path, problem, accepted="more than 0 and less than 1/2, such as 5%")
    arms = len(form.variants)
    if not 0 < section.explore < Fraction(1, arms):
        yield fault(
            "explore",
            f"{arms} arms cannot have at least {section.explore} each and anything left to give to the better ones",
            f"more than 0 and less than 1/{arms}",
        )


def _reward(form: Form, section: BanditForm, document: Document) -> Found:
    path: FieldPath = ("bandit", "reward")
    name = section.reward or next(
        (name for name, metric in form.metrics.items() if metric.priority == "primary"), None
    )
    if name is None:
        return
    metric = form.metrics.get(name)
    if metric is None:
        yield from unknown_metric(path, name, form.metrics, document)
        return
    kind = metric.kind or (CATALOGUE[name].kind if name in CATALOGUE else None)
    if kind is None:
        return
    if kind not in USUAL_MODELS:
        yield (
            path,
            document.fault(
                path,
                f"'{name}' is a {kind}, of which a unit alone has none, so that it is no reward",
                accepted="a proportion, mean or count",
            ),
        )
        return
    yield from _of_metric(form, name, metric, document)
    model = section.model or USUAL_MODELS[kind]
    if kind not in _KINDS[model]:
        fits = [each for each, kinds in _KINDS.items() if kind in kinds]
        path = ("bandit", "model")
        problem = f"'{name}' is a {kind}, and {model} is of {' or '.join(_KINDS[model])}s"
        yield path, document.fault(path, problem, accepted=" or ".join(fits))
        return
    if section.policy == "ucb" and model != "beta_bernoulli":
        path = ("bandit", "policy")
        problem = f"the bound of `ucb` is that of rewards between 0 and 1, and these are {model}"
        yield path, document.fault(path, problem, accepted="thompson, top_two or epsilon_greedy")
    yield from _prior(section, model, metric, document)


def _of_metric(form: Form, name: str, metric: MetricForm, document: Document) -> Found:
    if metric.window is None and form.source is None:
        path: FieldPath = ("metrics", name, "window")
        yield (
            path,
            document.fault(
                path,
                "a unit without a reward is pending, and for how long must be said",
                accepted="a duration such as 1d",
            ),
        )
    if metric.winsorise is not None:
        path = ("metrics", name, "winsorise")
        problem = "a reward counts as it comes, and not as much as those of others allow"
        yield path, document.fault(path, problem, next="leave it out, or play for another metric")


def _prior(section: BanditForm, model: Model, metric: MetricForm, document: Document) -> Found:
    path: FieldPath = ("bandit", "prior")
    if section.prior is None:
        if model == "gaussian" and (metric.baseline is None or metric.spread is None):
            yield (
                path,
                document.fault(
                    path,
                    "nothing says where a mean may lie and how much units differ",
                    accepted="the metric's `baseline` and `spread`, or " + _ACCEPTED[model],
                ),
            )
    elif set(section.prior.given) != set(PRIORS[model]):
        said = ", ".join(section.prior.given) or "nothing"
        problem = f"the prior of {model} is made of {', '.join(PRIORS[model])}, and this one of {said}"
        yield path, document.fault(path, problem, accepted=_ACCEPTED[model])
