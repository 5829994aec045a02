"""What is said about a reply: by whom, of whom, how often, how late, and what of it is kept."""

from __future__ import annotations

import httpx2 as httpx
import openai
import pytest
from gateways import definition, gateway, until, upstream
from prometheus_client.parser import text_string_to_metric_families

from equipoise.conduct.move import pause
from equipoise.conduct.register import register
from equipoise.events.ids import new_id
from equipoise.events.log import MemoryLog
from equipoise.experiment.reading import read_canonical

ASK = {"model": "experiment/bot", "messages": [{"role": "user", "content": "Where is it?"}]}
KEY = "sk-gateway"


def client(url: str, key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=30)


def ask(url: str, unit: str = "c1", **head: str):
    head = {"x-conversation-id": unit} | {name.replace("_", "-"): value for name, value in head.items()}
    return client(url).chat.completions.with_raw_response.create(**ASK, extra_headers=head)


def say(url: str, path: str, body: object, key: str = KEY, **head: str):
    """Status, body and headers of a POST, whatever they are."""
    named = {name.replace("_", "-"): value for name, value in head.items()}
    return httpx.post(url + path, json=body, headers={"authorization": f"Bearer {key}"} | named, timeout=30)


def message(reply) -> str:
    return reply.json()["error"]["message"]


def test_a_trace_of_several_turns_is_one_unit_and_one_outcome_now_and_after_a_restart():
    """Three turns under one `traceparent`: feedback by it counts once, remembered or looked up in the record."""
    log, trace = MemoryLog(), "4bf92f3577b34da6a3ce929d0e0e4736"
    parent = f"00-{trace}-00f067aa0ba902b7-01"
    with upstream() as up:
        with gateway(definition(up.port), log=log, access_key=KEY) as at:
            for unit in ("c1", "c1", "c2", "c1"):
                assert ask(at.url, unit, traceparent=parent).headers["x-equipoise-trace"] == trace
            at.facts("turn", at_least=4)
            told = say(at.url, "/feedback", {"trace": trace, "thumbs": "up", "event_id": "now"})
            assert (told.status_code, told.json()) == (200, {"accepted": 2})
        with gateway(log=log, access_key=KEY) as at:
            told = say(at.url, "/feedback", {"turn": trace, "thumbs": "up", "event_id": "late"})
            assert (told.status_code, told.json()) == (200, {"accepted": 2})
            assert say(at.url, "/feedback", {"trace": "0" * 32, "thumbs": "up"}).status_code == 404
            outcomes = at.facts("outcome", at_least=4)
            assert sorted((each.unit, each.trace) for each in outcomes) == [
                ("c1", trace), ("c1", trace), ("c2", trace), ("c2", trace),
            ]  # fmt: skip


def test_an_event_id_is_the_units_own():
    """Sent twice it counts once; two units that happen to choose the same one both count."""
    with upstream() as up, gateway(definition(up.port), access_key=KEY) as at:
        tokens = {unit: ask(at.url, unit).headers["x-equipoise-feedback"] for unit in ("c1", "c2")}
        for _ in range(2):
            for token in tokens.values():
                told = say(
                    at.url, "/feedback", {"thumbs": "up", "event_id": "1"}, "none", x_equipoise_feedback=token
                )
                assert told.status_code == 200
        assert say(at.url, "/feedback", {"unit": "c1", "thumbs": "up", "event_id": "1"}).status_code == 200
        until(lambda: len(at.facts("outcome")) >= 2)
        assert sorted(each.unit for each in at.facts("outcome")) == ["c1", "c2"]


def test_a_token_speaks_of_its_own_reply_only():
    """Forged, of another purpose, cut or from another gateway: 401. Of another unit or trace: 403. All with CORS."""
    with upstream() as up, gateway(definition(up.port), access_key=KEY) as at:
        raw = ask(at.url)
        token, trace = raw.headers["x-equipoise-feedback"], raw.headers["x-equipoise-trace"]
        assignment = at.gateway.signer.sign("assignment", ["bot/1", "c1", 0])
        for bad in (
            token[:-1],
            "x" + token,
            token.upper(),
            assignment,
            "..",
            "feedback.e30.",
            "é",
            "a" * 9000,
        ):
            told = say(at.url, "/feedback", {"thumbs": "up", "token": bad}, "none")
            assert (told.status_code, told.headers["access-control-allow-origin"]) == (401, "*"), bad
        for body in (
            {"unit": "c2"},
            {"conversation": "c2"},
            {"trace": "0" * 32},
            {"unit": "c1", "turn": "x"},
        ):
            told = say(at.url, "/feedback", body | {"thumbs": "up"}, "none", x_equipoise_feedback=token)
            assert (told.status_code, message(told)) == (
                403, "this token speaks of the unit and the trace of its own reply, and of no other",
            )  # fmt: skip
            assert told.headers["access-control-allow-origin"] == "*"
        own = {"unit": "c1", "trace": trace, "thumbs": "down"}
        named = say(at.url, "/feedback", own | {"source": "shop"}, "none", x_equipoise_feedback=token)
        assert (named.status_code, message(named)) == (
            403, "a `source` is named with the gateway's key, not with a token",
        )  # fmt: skip
        assert say(at.url, "/feedback", own, "none", x_equipoise_feedback=token).json() == {"accepted": 1}
        for rubbish in ([], "text", 7, None):
            told = say(at.url, "/feedback", rubbish, "none", x_equipoise_feedback=token)
            assert (told.status_code, told.headers["access-control-allow-origin"]) == (400, "*")
        (outcome,) = at.facts("outcome", at_least=1)
        assert (outcome.unit, outcome.name, outcome.value, outcome.trace) == ("c1", "thumbs_up", False, trace)
        preflight = httpx.options(at.url + "/feedback", headers={"origin": "https://a.example"})
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == "*"
        assert "x-equipoise-feedback" in preflight.headers["access-control-allow-headers"]
        assert preflight.headers["access-control-allow-methods"] == "POST"


def test_one_reply_is_spoken_of_thirty_times_a_minute_and_others_do_not_suffer():
    """The limit is the token's own, by header or by body; the key knows none."""
    with upstream() as up, gateway(definition(up.port), access_key=KEY) as at:
        first, second = (ask(at.url, unit).headers["x-equipoise-feedback"] for unit in ("c1", "c2"))
        seen = [
            say(at.url, "/feedback", {"copied": True, "token": first}, "none").status_code for _ in range(29)
        ]
        seen += [
            say(at.url, "/feedback", {"copied": True}, "none", x_equipoise_feedback=first).status_code
            for _ in range(3)
        ]
        assert seen == [200] * 30 + [429] * 2
        told = say(at.url, "/feedback", {"copied": True, "token": first}, "none")
        assert (message(told), told.headers["retry-after"]) == (
            "at most 30 times a minute for one reply",
            "60",
        )
        assert say(at.url, "/feedback", {"copied": True, "token": second}, "none").status_code == 200
        assert say(at.url, "/feedback", {"copied": True, "unit": "c1"}).status_code == 200


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"thumbs": "sideways"}, "thumbs are up or down, and these are 'sideways'"),
        ({"grade": True}, "grade is a number, and this is True"),
        ({"grade": "5"}, "grade is a number, and this is '5'"),
        ({"grade": 1e300}, "grade is a number, and this is 1e+300"),
        ({"copied": 1}, "copied is true or false, and this is 1"),
        ({"comment": "a" * 4001}, "a comment is text of at most 4000 characters"),
        ({"comment": ["x"]}, "a comment is text of at most 4000 characters"),
        ({"outcome": ["x"]}, "an outcome is a mapping of names to values"),
        ({"outcome": {"a b": 1}}, "an outcome is named by at most 100 letters, digits and '_', and this is 'a b'"),
        ({"outcome": {"": 1}}, "an outcome is named by at most 100 letters, digits and '_', and this is ''"),
        ({"outcome": {"a" * 101: 1}}, f"an outcome is named by at most 100 letters, digits and '_', and this is '{'a' * 79}"),
        ({"outcome": {"x": "y"}}, "x is true, false or a number, and this is 'y'"),
        ({"source": ["x"]}, "a `source` is text of 1 to 100 printable characters, and this is ['x']"),
        ({"source": "a\nb"}, "a `source` is text of 1 to 100 printable characters, and this is 'a\\nb'"),
        ({"outcome": {f"o{n}": 1 for n in range(21)}}, "at most 20 outcomes at a time, and these are 21"),
        ({}, "what is said of it? accepted: one of trace, turn, conversation or unit; and thumbs (up, down), grade (a number), copied, regenerated (true, false), outcome ({NAME: value}) or comment (text)"),
    ],
)  # fmt: skip
def test_rubbish_is_refused_in_a_sentence_and_nothing_of_it_kept(body, sentence):
    """Each names what was wrong; a good value beside a bad one is not kept either."""
    with upstream() as up, gateway(definition(up.port)) as at:
        told = say(
            at.url, "/feedback", {"unit": "c1", "regenerated": True} | body if body else {"unit": "c1"}
        )
        assert (told.status_code, message(told)) == (400, sentence)
        assert at.facts("outcome") == []


def test_the_record_that_is_away_is_not_the_unit_that_is_unknown():
    """While the log answers nothing feedback is 503 and can be sent again; a look-up is not answered with 404."""

    class Broken(MemoryLog):
        down = False

        def append(self, facts):
            if self.down:
                from equipoise.errors import RecordError

                raise RecordError("the disk is full")
            return super().append(facts)

        def read_since(self, position=0, **more):
            if self.down and more.get("kinds") == ("turn",):
                from equipoise.errors import RecordError

                raise RecordError("the disk is gone")
            return super().read_since(position, **more)

    log = Broken()
    with upstream() as up, gateway(definition(up.port), log=log, access_key=KEY) as at:
        ask(at.url)
        at.facts("turn", at_least=1)
        log.down = True
        for body in ({"unit": "c1", "thumbs": "up", "event_id": "e"}, {"trace": "0" * 32, "thumbs": "up"}):
            told = say(at.url, "/feedback", body)
            assert (told.status_code, message(told), told.headers["retry-after"]) == (
                503, "the record is down; send it again later", "5",
            )  # fmt: skip
        events = {"events": [{"kind": "outcome", "experiment": "bot", "unit": "c1", "name": "n", "value": 1}]}
        assert say(at.url, "/events", events).status_code == 503
        log.down = False
        until(
            lambda: (
                say(at.url, "/feedback", {"unit": "c1", "thumbs": "up", "event_id": "e"}).status_code == 200
            ),
            "the recovery",
        )
        (outcome,) = at.facts("outcome", at_least=1)
        assert outcome.name == "thumbs_up"


def test_events_of_a_remote_process_are_kept_all_or_none_and_faults_are_named():
    """Exposures and outcomes go in; of a list with a fault nothing does, and the fault has an index."""
    with upstream() as up, gateway(definition(up.port)) as at:
        digest = at.gateway.routes.by_name["bot"].running.experiment.digest
        exposure = {
            "kind": "exposure", "experiment": "bot", "digest": digest, "unit": "u1", "unit_type": "conversation",
            "variant": "control", "probability": 0.5, "reason": "split", "epoch": 0, "hash_version": 1,
            "attributes": {},
        }  # fmt: skip
        outcome = {"kind": "outcome", "experiment": "bot", "unit": "u1", "name": "resolved", "value": True}
        faults = [
            ("not a mapping", "an event has a kind: exposure, impression, turn, outcome"),
            (outcome | {"kind": "transition"}, "an event has a kind: exposure, impression, turn, outcome"),
            (outcome | {"experiment": ""}, "an event names its experiment, in at most 100 characters"),
            (outcome | {"event_id": "a\0b"}, "an `event_id` is text of at most 100 characters"),
            (outcome | {"source": 7}, "a `source` is text of 1 to 100 printable characters, and this is 7"),
            (exposure | {"source": ""}, "a `source` is text of 1 to 100 printable characters, and this is ''"),
            (outcome | {"happened": "now"}, "`happened` is in seconds since 1970 UTC"),
            (outcome | {"unit": None}, "a unit is named by text, and this is None (NoneType); pass the id as a string, or serve the request unenrolled"),
            (outcome | {"unit": " "}, "a unit must have a name, and this one is empty; pass the id, or serve the request unenrolled"),
        ]  # fmt: skip
        shown = {
            "kind": "impression", "experiment": "bot", "digest": digest, "unit": "u1", "unit_type": "conversation",
            "query": "q", "scheme": "team_draft", "items": ["x", "y"], "teams": ["control", None], "event_id": "s",
        }  # fmt: skip
        lists = "the items of a list are different texts of 1 to 1,024 characters, at most 200"
        teams = "the teams of a list are the names of rankers or null, one for each item"
        faults += [
            (shown | odd, f"event s (impression) is damaged: {sentence}")
            for odd, sentence in [
                ({"query": ""}, "the query of a list is named by text of 1 to 1,024 characters"),
                ({"items": 7}, lists),
                ({"items": ["x", "x"]}, lists),
                ({"items": [["x"], "y"]}, lists),
                ({"items": [], "teams": []}, lists),
                ({"teams": ["control"]}, teams),
                ({"teams": [1, 2]}, teams),
                ({"shares": {"control": [1.5, 0]}}, "the shares of a list are chances from 0 to 1, by ranker one for each item"),
                ({"ranks": {"control": [0, None]}}, "the ranks of a list are places from 1 or null, by ranker one for each item"),
                ({"short": 1}, "`short` of a list is a list of names of rankers"),
            ]
        ]  # fmt: skip
        for fault, sentence in faults:
            told = say(at.url, "/events", {"events": [exposure, fault]})
            assert (told.status_code, message(told)) == (400, f"events[1]: {sentence}")
        told = say(
            at.url, "/events", {"events": [outcome, {"kind": "exposure", "experiment": "bot", "unit": "u"}]}
        )
        assert told.status_code == 400
        assert message(told).startswith("events[1]: ")
        for body in ({}, {"events": []}, {"events": {}}, {"events": [outcome] * 1001}):
            assert say(at.url, "/events", body).status_code == 400
        assert at.facts("exposure", "outcome") == []
        late = outcome | {"event_id": "o1", "happened": 12.5, "source": "shop"}
        twice = {"events": [exposure | {"event_id": "e1"}, late]}
        for _ in range(2):
            assert say(at.url, "/events", twice).json() == {"accepted": 2}
        first, second = at.facts("exposure", "outcome")
        assert (first.unit, first.variant, first.digest) == ("u1", "control", digest)
        assert (second.name, second.value, second.happened) == ("resolved", True, 12.5)
        assert (first.source, second.source) == (None, "shop")
        clicked = outcome | {"name": "click", "query": "q", "item": "x"}
        assert say(at.url, "/events", {"events": [shown, clicked]}).json() == {"accepted": 2}
        (list_,) = at.facts("impression")
        assert (list_.query, list(list_.items), list(list_.teams)) == ("q", ["x", "y"], ["control", None])
        assert [(each.query, each.item) for each in at.facts("outcome")][-1] == ("q", "x")
        many = {"events": [outcome] * 1000}
        assert say(at.url, "/events", many).json() == {"accepted": 1000}
        assert len(at.facts("outcome")) == 1002


def test_an_assignment_is_exposed_once_and_only_when_it_says_so():
    """`/v1/assign` agrees with what a turn is served, tells `config`, and exposes once however often it is asked."""
    with upstream() as up:
        config = {"control": {"config": {"steps": 1}}, "treatment": {"config": {"steps": 2}}}
        made = definition(
            up.port, variants=config, changes=["config"],
            attributes={"plan": {"type": "text"}}, target={"plan": ["pro"]},
        )  # fmt: skip
        with gateway(made) as at:
            body = {"experiment": "bot", "unit": "u1", "attributes": {"plan": "pro"}}
            silent = say(at.url, "/assign", body).json()
            assert silent["reason"] == "split"
            assert silent["config"] == {
                "config": {"steps": {"control": 1, "treatment": 2}[silent["variant"]]}
            }
            assert at.facts("exposure") == []
            for _ in range(5):
                assert say(at.url, "/assign", body | {"expose": True}).json()["variant"] == silent["variant"]
            (exposure,) = at.facts("exposure", at_least=1)
            assert (exposure.unit, exposure.variant, exposure.attributes) == (
                "u1",
                silent["variant"],
                {"plan": "pro"},
            )
            other = body | {"unit": "u2", "attributes": {"plan": "free"}}
            free = say(at.url, "/assign", other | {"expose": True}).json()
            assert (free["variant"], free["reason"], free["config"]) == (
                None,
                "not_targeted",
                {"config": {"steps": 1}},
            )
            # Whoever is in stays in, whatever became of the attributes.
            kept = say(at.url, "/assign", body | {"attributes": {"plan": "free"}}).json()
            assert (kept["variant"], kept["reason"]) == (silent["variant"], "split")
            for odd in (["pro"], {"a": 1}, None):
                told = say(at.url, "/assign", other | {"attributes": {"plan": odd}})
                assert (told.status_code, message(told)) == (
                    400, f"attributes are text, numbers, true or false, and 'plan' is {odd!r}",
                )  # fmt: skip
            for bad in (
                {},
                {"experiment": "bot"},
                {"experiment": "x", "unit": "u"},
                {"experiment": "bot", "unit": 3},
            ):
                told = say(at.url, "/assign", bad)
                assert (told.status_code, message(told)) == (
                    400, "accepted: experiment (registered: bot), unit (text), attributes (a mapping), expose",
                )  # fmt: skip
            assert say(at.url, "/assign", body | {"unit": " "}).status_code == 400
            assert say(at.url, "/assign", body | {"unit": "u" * 2000}).status_code == 400
            assert len(at.facts("exposure")) == 1


def test_the_numbers_are_read_by_prometheus_itself():
    """Every family parses, names its experiment however it is named, and adds up."""
    with upstream() as up, gateway(definition(up.port), access_key=KEY) as at:
        for n in range(6):
            ask(at.url, f"c{n}")
        client(at.url).chat.completions.create(**ASK)
        say(at.url, "/feedback", {"unit": "c1", "thumbs": "up"})
        base = at.url.removesuffix("/v1")
        page = httpx.get(base + "/metrics", headers={"authorization": f"Bearer {KEY}"})
        families = {family.name: family for family in text_string_to_metric_families(page.text)}
        turns = families["equipoise_turns"].samples
        assert sum(each.value for each in turns) == 7
        assert {each.labels["experiment"] for each in turns} == {"bot"}
        buckets = families["equipoise_turn_seconds"].samples
        for arm in ("control", "treatment"):
            counted = [
                each.value
                for each in buckets
                if each.name.endswith("_bucket") and each.labels["variant"] == arm
            ]
            assert counted == sorted(counted)
            (total,) = [
                each.value
                for each in buckets
                if each.name.endswith("_count") and each.labels["variant"] == arm
            ]
            assert counted[-1] == total
        plain = {
            name: families[f"equipoise_{name}"].samples[0].value
            for name in ("no_unit", "feedback", "record_down", "stale")
        }
        assert plain == {"no_unit": 1, "feedback": 1, "record_down": 0, "stale": 0}
        assert httpx.get(base + "/metrics").status_code == 401


def test_health_tells_the_network_no_more_than_whether_it_serves():
    """Without the key: the status. With it: what is served, and what is the matter."""
    with upstream() as up, gateway(definition(up.port), access_key=KEY) as at:
        base = at.url.removesuffix("/v1")
        assert httpx.get(base + "/healthz").json() == {"status": "ok"}
        whole = httpx.get(base + "/healthz", headers={"authorization": f"Bearer {KEY}"}).json()
        assert (whole["experiments"], whole["trouble"], whole["lost"]) == (["bot"], {}, 0)


def test_feedback_is_welcome_while_the_experiment_is_paused():
    """Whoever was served may still speak: by token, by unit and by trace."""
    with upstream() as up, gateway(definition(up.port), access_key=KEY) as at:
        raw = ask(at.url)
        pause(at.log, "bot", by="op")
        until(lambda: ask(at.url, new_id()).headers["x-equipoise-reason"] == "paused", "the pause")
        for body in (
            {"unit": "c1"}, {"trace": raw.headers["x-equipoise-trace"]}, {"token": raw.headers["x-equipoise-feedback"]},
        ):  # fmt: skip
            assert say(at.url, "/feedback", body | {"regenerated": True}).json() == {"accepted": 1}
        other = read_canonical(definition(up.port, name="other"))
        register(at.log, other, by="test", reason="a test")
        until(lambda: "other" in at.gateway.routes.by_name, "the second experiment")
        assert say(at.url, "/feedback", {"unit": "c1", "thumbs": "up"}).json() == {"accepted": 2}
        named = {"unit": "c1", "thumbs": "up", "experiment": "other"}
        assert say(at.url, "/feedback", named).json() == {"accepted": 1}
