"""The secrets of a router: tokens outlive a change of secret for as long as the former one is given."""

from __future__ import annotations

import pytest
from demo import DEMO

from equipoise.conduct.register import register
from equipoise.errors import UsageError
from equipoise.events.log import MemoryLog
from equipoise.experiment.reading import read_canonical
from equipoise.sdk.router import Router

EXPERIMENT = read_canonical(DEMO)
OLD, NEW = "the secret of last month", "the secret of this month"


def test_tokens_of_a_former_secret_are_still_read() -> None:
    """The epoch they hold is the unit's, new ones are signed with the new secret, and without the former they end."""
    token = Router(EXPERIMENT, secret=OLD).assign("u").token
    assert token is not None
    both = Router(EXPERIMENT, secret=NEW, former_secrets=[OLD])
    alone = Router(EXPERIMENT, secret=NEW)
    assert both._entered("u", token, both._assigner) == 0
    assert alone._entered("u", token, alone._assigner) is None
    assert both.assign("u").token == alone.assign("u").token != token


def test_a_router_that_follows_takes_former_secrets_too() -> None:
    """As one of a definition does."""
    log = MemoryLog()
    register(log, EXPERIMENT, by="test", reason="a test")
    token = Router(EXPERIMENT, secret=OLD).assign("u").token
    router = Router.follow("demo", log, secret=NEW, former_secrets=[OLD])
    assert router._entered("u", token, router._assigner) == 0
    router.close()


def test_former_secrets_alone_are_refused() -> None:
    """They could read tokens and sign none; a text is not a list of them."""
    with pytest.raises(UsageError) as raised:
        Router(EXPERIMENT, former_secrets=[OLD])
    assert str(raised.value) == "former secrets only read tokens; give the secret that signs them now, too"
    with pytest.raises(UsageError, match="at least 16 bytes"):
        Router(EXPERIMENT, secret=NEW, former_secrets=OLD)
