"""Metrics are the ledger's own totals, per partition and reason, in a registry that nobody else sees."""

from pathlib import Path

import prometheus_client
from prometheus_client.parser import text_string_to_metric_families

from ledger.store.recording import Recorder
from ledger.store.tally_files import write_tally
from schemas.events.tally import IntakeTally, Totals
from schemas.records.record_codec import encode
from schemas.records.records import ALERTS_LOG, SlotClosed
from tests.api.client import Client
from tests.api.town import SCORED_PER_SLOT, Town
from tests.state.decide.incidents import Told, seen


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """(name, labels) -> value."""
    return {(s.name, frozenset(s.labels.items())): s.value for family in text_string_to_metric_families(text) for s in family.samples}


def test_totals_are_those_of_the_closed_slots(town: Town, client: Client) -> None:
    """Each partition's counters are the sums over every SlotClosed, and received = accepted + duplicate + rejected."""
    found = samples(client.get("/metrics").text)
    closed = list(town.ledger.records("region/nyc", SlotClosed))
    for partition in (0, 1):
        cuts = [record.partitions[partition] for record in closed]
        place = {("region", "nyc"), ("partition", str(partition))}
        for name in ("received", "accepted", "duplicate", "counted"):
            assert sum(getattr(cut, name) for cut in cuts) == found[f"ridecast_events_{name}_total", frozenset(place)]
        rejected = {
            dict(labels)["reason"]: v for (name, labels), v in found.items() if name == "ridecast_events_rejected_total" and place <= labels
        }
        assert sum(cut.rejected["bad_id"] for cut in cuts) == rejected["bad_id"]
        assert rejected["undecodable"] == 0
        got = [found[f"ridecast_events_{name}_total", frozenset(place)] for name in ("received", "accepted", "duplicate")]
        assert got[0] == got[1] + got[2] + sum(rejected.values())


def test_sizes_lag_and_scores(town: Town, client: Client) -> None:
    """Log sizes, slot lag and sums of scores are there."""
    found = samples(client.get("/metrics").text)
    assert town.ledger.head("region/nyc").size == found["ridecast_log_size_entries", frozenset({("log", "region/nyc")})]
    assert found["ridecast_slot_lag_seconds", frozenset({("region", "nyc")})] == 60
    place = {("region", "nyc"), ("measure", "pickups"), ("horizon_min", "15"), ("settled", "false")}
    assert town.slots * SCORED_PER_SLOT == found["ridecast_score_truth_rides_total", frozenset(place)]
    assert town.slots * 4.0 == found["ridecast_score_abs_error_rides_total", frozenset(place | {("model", "served")})]


def test_what_was_read_is_there_before_a_slot_closes(town: Town, tmp_path: Path) -> None:
    """The tallies of the home's forecasters are counters per partition and reason, for the regions that are served."""
    totals = Totals(360, rejected={"undecodable": 360})
    write_tally(tmp_path, IntakeTally(1, 1_000_000, 2_500_000, regions={"nyc": totals, "tehran": Totals(5)}))
    found = samples(town.client(home=str(tmp_path)).get("/metrics").text)
    place = {("region", "nyc"), ("partition", "1")}
    assert 360 == found["ridecast_intake_read_total", frozenset(place)]
    assert 2.5 == found["ridecast_intake_written_seconds", frozenset(place)]
    rejected = {name: found["ridecast_intake_rejected_total", frozenset(place | {("reason", name)})] for name in ("undecodable", "bad_id")}
    assert {"undecodable": 360, "bad_id": 0} == rejected
    assert not [labels for name, labels in found if name.startswith("ridecast_intake") and ("region", "tehran") in labels]


def test_nothing_reaches_the_global_registry(client: Client) -> None:
    """Two applications in one process do not meet: the default registry stays as it was."""
    client.get("/metrics")
    assert not [family.name for family in prometheus_client.REGISTRY.collect() if family.name.startswith("ridecast")]


def test_open_alerts_are_counted(growing_town: Town) -> None:
    """An alert is counted by region, severity and state while it is open."""
    client = growing_town.client()
    told = Told()
    told.tell([seen("surge", 1_400_000_000_000_000)])
    Recorder(growing_town.ledger, ALERTS_LOG).append(0, [encode(record) for record in told.log])
    found = samples(client.get("/metrics").text)
    assert 1 == found["ridecast_alerts", frozenset({("region", "nyc"), ("severity", "warning"), ("state", "open")})]
