"""Stores that belong to another home: nothing of them is served, published or overwritten, and the remedy that is named works."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dataflows.connectors.sources import open_rides
from dataflows.jobs.bootstrap import bootstrap_region
from dataflows.stream import stores as opening
from dataflows.stream.publish_process import open_online_store, run_publisher
from dataflows.stream.start import start_region
from dataflows.stream.stopping import StopEvent
from ledger.check.verify import verify_log
from schemas.errors import BootRefused, LedgerError
from schemas.forecasts.messages import decode_demand_forecast
from tests.dataflows.stream.test_local import Killed, killed_after
from tests.faults.seen import Seen
from tests.services.committed import committed
from tests.services.postgres import PostgresServer
from tests.simulation.fixtures import Settled
from tests.simulation.runs import LOG, Place, copied, payloads_at, run_here
from tests.simulation.world import UNTIL

EARLY_SLOTS = 4  # so that the new home's log is much shorter than the old one's


def place_on(place: Place, home: Path, **settings: object) -> Place:
    """An empty home for the same rides."""
    given = {name: value for name, value in place.environment.items() if name != "RIDECAST_HOME"}
    given |= {"RIDECAST_HOME": str(home)} | {f"RIDECAST_{name.upper()}": str(value) for name, value in settings.items()}
    return replace(place, home=home, environment=given)


def bootstrap(place: Place) -> None:
    """As `ridecast bootstrap` with the world's history."""
    stores = place.open()
    try:
        bootstrap_region(stores, place.world.region, open_rides(str(place.region.parent / "history")), UNTIL)
    finally:
        stores.close()


def stopped_early(place: Place) -> None:
    """Run a few slots."""
    with pytest.raises(Killed):
        run_here(place, killed_after(EARLY_SLOTS), batch_events=20)


def test_two_homes_on_one_database(settled: Settled, tmp_path: Path, postgres_server: PostgresServer, seen: Seen) -> None:
    """The second home is refused before it counts a ride; with a database of its own, as it is told, it records the same."""
    url, own = postgres_server.fresh_database(), postgres_server.fresh_database()
    first = place_on(settled.place, tmp_path / "first", database=url)
    bootstrap(first)
    second = place_on(settled.place, tmp_path / "second", database=url)
    with pytest.raises(
        BootRefused, match=r"its database is signed with the key ridecast/local\+.*set RIDECAST_DATABASE of this home to another"
    ) as refused:
        bootstrap(second)
    seen.told(refused.value, "set RIDECAST_DATABASE of this home to another")
    seen.same(settled.expected, run_here(first), "entries")
    moved = place_on(settled.place, tmp_path / "second", database=own)
    bootstrap(moved)
    seen.same(settled.expected, run_here(moved), "entries with a database of its own")
    for place in (first, moved):
        stores = place.open()
        assert verify_log(stores.ledger, LOG).problems == ()
        stores.close()
    for address in (url, own):
        postgres_server.drop_database(address)


def test_one_key_in_two_running_homes(
    settled: Settled, tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    """A copy of a home may not forecast while the original does, and is told where that runs; afterwards it continues."""
    monkeypatch.setattr(opening, "HOLD_PATIENCE_S", 0.3)
    url = postgres_server.fresh_database()
    first = place_on(settled.place, tmp_path / "first", database=url)
    bootstrap(first)
    second = copied(first, tmp_path / "copy")
    running, source = first.open(), open_rides(first.rides)
    start_region(running, "small", source)
    other = second.open()
    with pytest.raises(
        BootRefused, match=r"region small: another process already forecasts it: ridecast .* process \d+, connected since"
    ) as refused:
        start_region(other, "small", source)
    other.close()
    source.close()
    running.close()
    seen.told(refused.value, "region small: another process already forecasts it")
    seen.same(settled.expected, run_here(second), "entries")
    postgres_server.drop_database(url)


def test_a_new_home_on_an_older_home_s_redis(
    settled: Settled, tmp_path: Path, redis_url: str, caplog: pytest.LogCaptureFixture, seen: Seen
) -> None:
    """What the older home stored is replaced by the new one's newest issue, whose index its log has."""
    old, new = (copied(settled.place, tmp_path / name, redis=redis_url) for name in ("old", "new"))
    run_here(old)
    run_publisher(old.settings(), ["small"], StopEvent(), drain=True)
    stopped_early(new)
    store = open_online_store(new.settings())
    assert store is not None
    size = len(payloads_at(new))
    assert store.newest("small", "requests")[1] > size
    run_publisher(new.settings(), ["small"], StopEvent(), drain=True)
    held = store.held("small", "requests")
    assert held is not None
    assert held.index < size
    seen.same([payloads_at(new)[held.index]], [held.entry], "newest issue")
    seen.told(caplog.text, " of another ledger; replaced by entry ")


def test_a_new_home_on_an_older_home_s_topics(
    settled: Settled, tmp_path: Path, kafka: str, kafka_topic: Callable[[int], str], seen: Seen
) -> None:
    """It publishes nothing, whether its log is shorter or other; in a new home under another instance, as it is told, it does."""
    instance, further = kafka_topic(0), kafka_topic(0)
    old = place_on(settled.place, tmp_path / "old", kafka=kafka, instance=instance)
    bootstrap(old)
    run_here(old)
    run_publisher(old.settings(), ["small"], StopEvent(), drain=True)
    published = committed(kafka, f"{instance}.demand.forecasts")
    new = place_on(settled.place, tmp_path / "new", kafka=kafka, instance=instance)
    bootstrap(new)
    stopped_early(new)
    with pytest.raises(
        LedgerError, match=rf"another ledger has published there; .* another RIDECAST_INSTANCE, or delete the topics {instance}"
    ) as refused:
        run_publisher(new.settings(), ["small"], StopEvent(), drain=True)
    seen.told(refused.value, "another ledger has published there")
    seen.same(published, committed(kafka, f"{instance}.demand.forecasts"), "messages")
    told = place_on(settled.place, tmp_path / "told", kafka=kafka, instance=further)
    bootstrap(told)
    stopped_early(told)
    run_publisher(told.settings(), ["small"], StopEvent(), drain=True)
    [index] = {decode_demand_forecast(value or b"")["log_index"] for _, value in committed(kafka, f"{further}.demand.forecasts")}
    assert isinstance(index, int)
    assert index < len(payloads_at(told))
