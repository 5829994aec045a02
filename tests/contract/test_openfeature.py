"""The OpenFeature provider and its hook with the real OpenFeature API: values, reasons, what is kept."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from openfeature.track import TrackingEventDetails

from equipoise.errors import RecordError, UsageError
from equipoise.events.facts import Exposure, Outcome
from equipoise.events.log import MemoryLog
from equipoise.experiment.reading import read_canonical
from equipoise.integrations.openfeature import ExposureHook, OpenFeatureProvider
from equipoise.sdk.router import Router

CONFIG = {
    "flag": True,
    "count": 1,
    "ratio": 0.5,
    "name": "x",
    "deep": {"list": [1, {"a": 2}]},
    "only": "here",
}
DEMO: dict[str, Any] = {
    "name": "demo",
    "hypothesis": "A newer model resolves more.",
    "unit": "conversation",
    "changes": ["model", "config"],
    "variants": {
        "control": {"model": "a", "config": CONFIG},
        "treatment": {"model": "b", "config": {name: CONFIG[name] for name in CONFIG if name != "only"}},
    },
    "metrics": {"resolution_rate": {"priority": "primary"}},
}
CONTROL, TREATMENT = "conversation-1", "conversation-2"


class Down(MemoryLog):
    """A log that takes in nothing."""

    def append(self, facts: Any) -> Any:
        raise RecordError("the disk is full")


def experiment(**more: Any) -> Any:
    return read_canonical(DEMO | more)


def context(unit: str | None = CONTROL, **attributes: Any) -> EvaluationContext:
    return EvaluationContext(unit, attributes)


def kept(log: MemoryLog, kind: Any) -> list[Any]:
    return [record.fact for record in log.read_since(0) if isinstance(record.fact, kind)]


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def router(log: MemoryLog) -> Iterator[Router]:
    with Router(experiment(), log=log) as made:
        yield made


@pytest.fixture
def provider(router: Router) -> Iterator[OpenFeatureProvider]:
    made = OpenFeatureProvider(router)
    yield from serving(made)


def serving(provider: OpenFeatureProvider) -> Iterator[OpenFeatureProvider]:
    api.set_provider_and_wait(provider, "test")
    yield provider
    api.clear_providers()


@pytest.fixture
def flags(provider: OpenFeatureProvider) -> Any:
    return api.get_client("test")


def test_each_type_is_served_exactly(flags: Any) -> None:
    """The five types give the variant's setting; a path leads into nested settings and the name alone is the variant."""
    assert flags.get_boolean_value("demo.config.flag", False, context()) is True
    assert flags.get_string_value("demo.model", "c", context()) == "a"
    assert flags.get_string_value("demo.model", "c", context(TREATMENT)) == "b"
    assert flags.get_integer_value("demo.config.count", 9, context()) == 1
    assert flags.get_float_value("demo.config.ratio", 9.0, context()) == 0.5
    assert flags.get_object_value("demo.config.deep", {}, context()) == {"list": [1, {"a": 2}]}
    assert flags.get_object_value("demo.config.deep.list", [], context()) == [1, {"a": 2}]
    assert flags.get_string_value("demo", "none", context(TREATMENT)) == "treatment"
    assert flags.get_object_value("demo", {}, context()) == {"model": "a", "config": CONFIG}
    whole = flags.get_float_value("demo.config.count", 9.0, context())
    assert (whole, type(whole)) == (1.0, float)


def test_what_is_given_out_is_the_callers_own(flags: Any) -> None:
    """Changing an object that was served changes nothing for the next caller."""
    flags.get_object_value("demo.config.deep", {}, context())["list"].append("mine")
    assert flags.get_object_value("demo.config.deep", {}, context()) == {"list": [1, {"a": 2}]}


@pytest.mark.parametrize(
    ("kind", "flag", "default", "message"),
    [
        ("integer", "demo.config.flag", 9, "'demo.config.flag' is True, and INTEGER was asked for"),
        ("float", "demo.config.flag", 9.0, "'demo.config.flag' is True, and FLOAT was asked for"),
        ("boolean", "demo.config.count", True, "'demo.config.count' is 1, and BOOLEAN was asked for"),
        ("integer", "demo.config.ratio", 9, "'demo.config.ratio' is 0.5, and INTEGER was asked for"),
        (
            "string",
            "demo.config.deep.list",
            "d",
            "'demo.config.deep.list' is [1, {'a': 2}], and STRING was asked for",
        ),
        ("object", "demo.model", {}, "'demo.model' is 'a', and OBJECT was asked for"),
        (
            "integer",
            "demo",
            9,
            (
                "'demo' is a variant's name (STRING) or all its settings (OBJECT), and INTEGER was asked for; "
                "name a setting, such as demo.config.KEY"
            ),
        ),
    ],
)
def test_another_type_is_the_callers_default_with_a_sentence(
    flags: Any, kind: str, flag: str, default: Any, message: str
) -> None:
    """A truth value is no number and a number no truth value; nothing is converted but whole numbers to floats."""
    found = getattr(flags, f"get_{kind}_details")(flag, default, context())
    assert (found.value, found.reason, found.error_code) == (default, Reason.ERROR, ErrorCode.TYPE_MISMATCH)
    assert found.error_message == message


def test_details_hold_the_variant_the_reason_and_what_the_analysis_needs(flags: Any) -> None:
    """Experiment with digest, our reason, epoch and probability."""
    found = flags.get_string_details("demo.model", "c", context(TREATMENT))
    assert (found.value, found.variant, found.reason) == ("b", "treatment", Reason.SPLIT)
    assert found.flag_metadata == {
        "experiment": experiment().identity,
        "reason": "split",
        "epoch": 0,
        "probability": 0.5,
    }


def test_a_setting_that_the_variant_leaves_alone_is_the_callers_default(flags: Any) -> None:
    """It is served, not in error: the variant is told, so that both arms can be exposed alike."""
    found = flags.get_string_details("demo.config.only", "mine", context(TREATMENT))
    assert (found.value, found.variant, found.reason) == ("mine", "treatment", Reason.SPLIT)
    assert flags.get_string_value("demo.config.only", "mine", context(CONTROL)) == "here"


def test_who_is_not_enrolled_gets_controls_settings_and_no_variant(log: MemoryLog) -> None:
    """Not covered is DEFAULT, a forced variant is TARGETING_MATCH; neither is exposed by the hook."""
    with Router(experiment(), log=log, coverage=0, forced={"tester": "treatment"}) as router:
        for provider in serving(OpenFeatureProvider(router)):
            flags = api.get_client("test")
            flags.add_hooks([ExposureHook(provider)])
            found = flags.get_string_details("demo.model", "c", context(TREATMENT))
            assert (found.value, found.variant, found.reason) == ("a", None, Reason.DEFAULT)
            assert found.flag_metadata["reason"] == "not_covered"
            found = flags.get_string_details("demo.model", "c", context("tester"))
            assert (found.value, found.variant, found.reason) == ("b", "treatment", Reason.TARGETING_MATCH)
            router.flush()
            assert log.head() == 0


@pytest.mark.parametrize(
    ("flag", "unit", "code", "message"),
    [
        (
            "demmo.model",
            CONTROL,
            ErrorCode.FLAG_NOT_FOUND,
            "no experiment called 'demmo.model' is served here; there are: demo; did you mean 'demo'?",
        ),
        (
            "demo.params.temperature",
            CONTROL,
            ErrorCode.FLAG_NOT_FOUND,
            (
                f"no variant of {read_canonical(DEMO).identity} sets 'params.temperature'; they set config, model, of "
                "model, system, template, params, retrieval, endpoint, serving, config"
            ),
        ),
        (
            "demo.model",
            None,
            ErrorCode.TARGETING_KEY_MISSING,
            (
                f"the targeting key is the unit of {read_canonical(DEMO).identity} (a conversation), and the context has "
                "none; give EvaluationContext(targeting_key=…)"
            ),
        ),
        ("demo.model", " ", ErrorCode.INVALID_CONTEXT, None),
    ],
)
def test_trouble_is_the_callers_default_with_a_code(
    flags: Any, flag: str, unit: str | None, code: ErrorCode, message: str | None
) -> None:
    """Unknown flags and settings, a missing key and one that cannot name a unit; nothing is raised."""
    found = flags.get_string_details(flag, "mine", context(unit))
    assert (found.value, found.reason, found.error_code) == ("mine", Reason.ERROR, code)
    assert message is None or found.error_message == message
    assert found.error_message


def test_evaluating_exposes_nobody_and_the_hook_once(
    flags: Any, router: Router, provider: Any, log: MemoryLog
) -> None:
    """Opt in by the hook: repeated evaluations, of several settings, leave one exposure of the unit."""
    flags.get_string_value("demo.model", "c", context())
    router.flush()
    assert kept(log, Exposure) == []
    flags.add_hooks([ExposureHook(provider)])
    for _ in range(3):
        flags.get_string_value("demo.model", "c", context())
        flags.get_boolean_value("demo.config.flag", False, context())
    # An error serves the caller's default: that is no exposure.
    flags.get_integer_value("demo.model", 9, context(TREATMENT))
    router.flush()
    assert [(fact.unit, fact.variant, fact.probability) for fact in kept(log, Exposure)] == [
        (CONTROL, "control", 0.5)
    ]


def test_a_hook_exposes_only_where_it_was_added(
    flags: Any, router: Router, provider: Any, log: MemoryLog
) -> None:
    """To one evaluation, for instance."""
    from openfeature.flag_evaluation import FlagEvaluationOptions

    opted = FlagEvaluationOptions(hooks=[ExposureHook(provider)])
    flags.get_string_value("demo.model", "c", context(TREATMENT), opted)
    flags.get_string_value("demo.model", "c", context(CONTROL))
    router.flush()
    assert [fact.unit for fact in kept(log, Exposure)] == [TREATMENT]


def test_the_hook_takes_no_value_from_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    """Without a log, and with one that is down, the variant's value is served; what is wrong is logged."""
    for log, said in ((None, 1), (Down(), 0)):
        caplog.clear()
        router = Router(experiment(), log=log)
        for provider in serving(OpenFeatureProvider(router)):
            flags = api.get_client("test")
            flags.add_hooks([ExposureHook(provider)])
            with caplog.at_level(logging.WARNING, "equipoise.openfeature"):
                found = flags.get_string_details("demo.model", "c", context(TREATMENT))
            assert (found.value, found.reason) == ("b", Reason.SPLIT)
            assert len(caplog.messages) == said
            if said:
                assert caplog.messages == [
                    (
                        "serving 'demo.model' was not recorded: this router has no log to write to; make it with "
                        "Router(experiment, log=open_log('equipoise.db'))"
                    )
                ]
        if log is not None:
            with pytest.warns(RuntimeWarning, match="1 facts could not be written"):
                router.close()


def test_tracking_keeps_outcomes_of_enrolled_units(flags: Any, router: Router, log: MemoryLog) -> None:
    """The event's value, or true without one; an outcome that cannot be kept is no error of the caller."""
    flags.track("resolved", context())
    flags.track("csat", context(), TrackingEventDetails(value=4))
    flags.track("not a name", context())
    flags.track("csat", context(), TrackingEventDetails(value=float("nan")))
    flags.track("resolved", context(None))
    flags.track("resolved")
    router.flush()
    assert [(fact.unit, fact.name, fact.value) for fact in kept(log, Outcome)] == [
        (CONTROL, "resolved", True),
        (CONTROL, "csat", 4),
    ]


def test_several_experiments_are_served_and_tracked_by_one_provider(router: Router, log: MemoryLog) -> None:
    """Each flag is its own experiment's; an outcome goes to each; two routers of one experiment are refused."""
    with Router(experiment(name="other"), log=log) as second:
        for provider in serving(OpenFeatureProvider(router, second)):
            flags = api.get_client("test")
            flags.add_hooks([ExposureHook(provider)])
            assert flags.get_string_details("other.model", "c", context()).flag_metadata["experiment"] == (
                second.experiment.identity
            )
            flags.track("resolved", context())
            router.flush()
            second.flush()
            assert [fact.experiment for fact in kept(log, Exposure)] == ["other"]
            assert sorted(fact.experiment for fact in kept(log, Outcome)) == ["demo", "other"]
    with pytest.raises(UsageError) as raised:
        OpenFeatureProvider(router, router)
    assert str(raised.value) == "two routers serve one experiment; give the provider one of them"


def test_attributes_that_the_definition_speaks_of_are_kept_and_no_others(log: MemoryLog) -> None:
    """Segments go with the exposure; what else the context holds of a person stays where it is."""
    with Router(experiment(segments=["tier"]), log=log) as router:
        for provider in serving(OpenFeatureProvider(router)):
            flags = api.get_client("test")
            flags.add_hooks([ExposureHook(provider)])
            flags.get_string_value("demo.model", "c", context(CONTROL, tier="pro", email="a@b.example"))
            router.flush()
            assert [dict(fact.attributes) for fact in kept(log, Exposure)] == [{"tier": "pro"}]


def test_shutting_down_writes_what_was_given_and_leaves_the_routers_open(
    flags: Any, router: Router, provider: Any, log: MemoryLog
) -> None:
    """The exposure and the outcome are durable after `api.shutdown`, and the router still serves."""
    flags.add_hooks([ExposureHook(provider)])
    flags.get_string_value("demo.model", "c", context())
    flags.track("resolved", context())
    api.shutdown()
    assert (len(kept(log, Exposure)), len(kept(log, Outcome))) == (1, 1)
    assert router.assign(TREATMENT).expose(wait=True)
