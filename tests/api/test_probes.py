"""The state of a store is known without waiting for it, also while it hangs."""

import logging
import threading

import pytest

from api.probes import Probe, Probes
from schemas.errors import StoreUnavailable


def test_a_store_that_hangs_is_not_ok(caplog: pytest.LogCaptureFixture) -> None:
    """While a request hangs its age grows, and after a second the store counts as not answering; then it is ok again."""
    now, hanging, back = [100.0], threading.Event(), threading.Event()

    def ping() -> None:
        if now[0] >= 110:
            hanging.set()
            assert back.wait(10)

    probe = Probe("ledger", ping, needed=True, clock=lambda: now[0])
    assert (False, None) == (probe.state().ok, probe.state().age_s)
    probe.ask()
    assert (True, 0.0) == (probe.state().ok, probe.state().age_s)
    now[0] = 110
    thread = threading.Thread(target=probe.ask)
    thread.start()
    assert hanging.wait(10)
    assert probe.state().ok
    now[0] = 111.5
    assert (False, 11.5) == (probe.state().ok, probe.state().age_s)
    with caplog.at_level(logging.ERROR):
        probe.say_changes()
        probe.say_changes()
    assert ["ledger does not answer: last answer 11.5 s ago"] == [record.getMessage() for record in caplog.records]
    assert not probe.answered_since(105)
    back.set()
    thread.join()
    assert (True, 0.0) == (probe.state().ok, probe.state().age_s)
    assert probe.answered_since(105)


def test_only_a_change_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A store that is away for hours fills no log: one line when it goes, one when it comes back."""
    away = [False]

    def ping() -> None:
        if away[0]:
            raise StoreUnavailable("Redis refuses")

    probe = Probe("online_store", ping, needed=False)
    with caplog.at_level(logging.INFO):
        for state in (False, True, True, True, False, False):
            away[0] = state
            probe.say_changes()
            probe.ask()
            probe.say_changes()
    assert ["online_store does not answer: Redis refuses", "online_store answers again"] == [r.getMessage() for r in caplog.records]


def test_only_needed_stores_decide_whether_requests_wait() -> None:
    """Without the online store requests to the ledger are waited for; without the ledger they are not."""

    def refuse() -> None:
        raise StoreUnavailable("gone")

    for refusing, expected in (("online_store", True), ("ledger", False)):
        pings = {name: refuse if name == refusing else int for name in ("ledger", "online_store")}
        probes = Probes([Probe(name, ping, needed=name == "ledger", clock=lambda: 1.0) for name, ping in pings.items()])
        assert probes.answered_since(0.0)  # nobody asks yet
        probes.ask()
        probes.running = True
        assert expected is probes.answered_since(0.5)
