"""Who of a cluster asks: every turn says it where the definition names members, through each door."""

from __future__ import annotations

from attacking import ASK, Process
from gateways import definition, gateway, upstream
from wrapped import ASK as CALL
from wrapped import plain

from equipoise.events.facts import Turn
from equipoise.events.log import MemoryLog
from equipoise.experiment.reading import read_canonical
from equipoise.sdk.router import Router
from equipoise.sdk.wrapping import wrap

TEAMS = {
    "unit": {"type": "cluster", "from": "header:x-team", "members": "user"},
    "attributes": {"user": {"from": "header:x-user"}},
}


def test_a_gateway_says_who_of_a_cluster_asked():
    """Two users of one team are one exposure and two members; a request without a user has none."""
    with upstream() as up, gateway(definition(up.port, **TEAMS)) as at:
        served = Process(None, at.url)
        for user in ("ann", "ben", None):
            head = {} if user is None else {"x_user": user}
            served.ask(None, ASK, x_team="team-1", **head)
        turns = at.facts("turn", at_least=3)
        assert [(each.unit, each.member) for each in turns] == [
            ("team-1", "ann"),
            ("team-1", "ben"),
            ("team-1", None),
        ]
        assert len(at.facts("exposure")) == 1


def test_a_router_and_a_wrapped_client_say_it_too():
    """From the attributes of an assignment, and from the headers of a call; it cannot be told by hand."""
    log = MemoryLog()
    variants = {"control": {"model": "model-a"}, "treatment": {"model": "model-b"}}
    with (
        upstream() as up,
        Router(read_canonical(definition(9, **TEAMS, variants=variants)), log=log) as router,
    ):
        router.assign("team-1", {"user": "ann"}).turn(latency_s=1.0, wait=True)
        client = wrap(plain(up), router)
        client.chat.completions.create(**CALL, extra_headers={"x-team": "team-1", "x-user": "ben"})
        client.close()
        router.flush()
    turns = [record.fact for record in log.read_since(0) if isinstance(record.fact, Turn)]
    assert [(each.unit, each.member) for each in turns] == [("team-1", "ann"), ("team-1", "ben")]
