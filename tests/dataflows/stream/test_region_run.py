"""A region's run: what it refuses, what it repeats, and what it records about its environment."""

import contextlib
import dataclasses
from pathlib import Path

import pytest

from dataflows.connectors.sources import open_rides
from dataflows.stream.start import run_embedded
from dataflows.stream.stopping import StopEvent
from schemas.errors import DivergenceError, NotFound, UsageError
from schemas.records.record_codec import decode, encode
from schemas.records.records import EnvironmentChanged, ForecastIssued, SlotClosed, SlotCounts
from state.counting.slots import ClosedSlot
from state.forecast.arms import ArmFailed
from state.forecast.region import RegionFold, SlotOutcome
from tests.dataflows.stream.test_local import Killed, killed_after
from tests.simulation.fixtures import Settled
from tests.simulation.runs import LOG, Place, closed_slots, copied, payloads, payloads_at, run_here
from tests.state.forecast.test_arms import STARTED


def interrupted(settled: Settled, folder: Path, slots: int = 10) -> Place:
    """A home whose run was killed after some slots, without a snapshot."""
    place = copied(settled.place, folder)
    with contextlib.suppress(Killed):
        run_here(place, killed_after(slots), batch_events=10)
    return place


def without_log(place: Place, folder: Path) -> Place:
    """A copy of a home without the region's log and its checkpoint."""
    copy = copied(place, folder)
    for path in [*(folder / "ledger").glob("region__*"), *(folder / "checkpoints").glob("region*")]:
        path.unlink()
    for path in (folder / "checkpoints").glob("**/small*"):
        path.unlink()
    return copy


def rewritten(place: Place, kind: type, change: dict[str, object], folder: Path) -> Place:
    """A home whose log has a changed last entry of a kind and still hashes correctly."""
    stores = place.open()
    entries = payloads(stores.ledger)
    stores.close()
    last = max(index for index, payload in enumerate(entries) if isinstance(decode(payload), kind))
    entries[last] = encode(dataclasses.replace(decode(entries[last], kind), **change))
    forged = without_log(place, folder)
    stores = forged.open()
    stores.ledger.append(LOG, 0, entries)
    stores.close()
    return forged


def test_a_region_that_was_not_bootstrapped_is_refused(settled: Settled, tmp_path: Path) -> None:
    """The message names the region and the command to run."""
    place = dataclasses.replace(
        settled.place, home=tmp_path, environment=dict(settled.place.environment) | {"RIDECAST_HOME": str(tmp_path)}
    )
    with pytest.raises(NotFound, match=r"region small: not bootstrapped in this home; run `ridecast bootstrap --region small"):
        run_here(place)


def test_another_number_of_partitions_is_refused(settled: Settled, tmp_path: Path) -> None:
    """A ride log with another number of partitions than the ledger's is not read."""
    place = interrupted(settled, tmp_path / "home")
    fewer = tmp_path / "rides"
    for partition in (0, 1):
        (fewer / str(partition)).mkdir(parents=True)
    with pytest.raises(UsageError, match=r"expected a source with partitions \[0, 1, 2\], as in the ledger, got \[0, 1\]"):
        run_here(copied(place, tmp_path / "other", rides=fewer))


def test_counts_that_do_not_match_are_a_divergence(settled: Settled, tmp_path: Path) -> None:
    """A recorded status that folding does not reproduce is refused with its entry."""
    place = interrupted(settled, tmp_path / "home")
    forged = rewritten(place, SlotClosed, {"status": "unobserved"}, tmp_path / "forged")
    with pytest.raises(DivergenceError, match=r"region/small entry \d+ \(SlotClosed, slot \d+\): folding it again gives other bytes"):
        run_here(forged)


def test_counts_that_do_not_follow_are_a_divergence_in_any_environment(settled: Settled, tmp_path: Path) -> None:
    """Another environment excuses floating point, but never what is counted."""
    place = interrupted(settled, tmp_path / "home")
    forged = rewritten(place, SlotClosed, {"status": "unobserved"}, tmp_path / "forged")
    stores = forged.open()
    stores.environment = b"another environment, 32 bytes..."
    source = open_rides(forged.rides)
    with pytest.raises(DivergenceError, match=r"region/small entry \d+ \(SlotClosed, slot \d+\): folding it again gives other bytes"):
        run_embedded(stores, source, ["small"], bounded=True)
    source.close()
    stores.close()


def test_another_forecast_in_the_same_environment_is_a_divergence(settled: Settled, tmp_path: Path) -> None:
    """In the same environment the last bit of a forecast must be reproduced."""
    place = interrupted(settled, tmp_path / "home")
    forged = rewritten(place, ForecastIssued, {"online_weight_milli": 999}, tmp_path / "forged")
    with pytest.raises(DivergenceError, match="ForecastIssued"):
        run_here(forged)


def test_another_forecast_in_another_environment_is_recorded(settled: Settled, tmp_path: Path) -> None:
    """In another environment the run records that once, continues, and counts the same."""
    place = interrupted(settled, tmp_path / "home")
    forged = rewritten(place, ForecastIssued, {"online_weight_milli": 999}, tmp_path / "forged")
    stores = forged.open()
    stores.environment = b"another environment, 32 bytes..."
    source = open_rides(forged.rides)
    told = StopEvent()
    told.set()
    for stop in (told, told, None, None):
        run_embedded(stores, source, ["small"], bounded=True, stop=stop)
    source.close()
    found = payloads(stores.ledger)
    stores.close()
    changed = [record for record in map(decode, found) if isinstance(record, EnvironmentChanged)]
    assert [stores.environment] == [record.environment for record in changed]
    assert closed_slots(settled.expected) == closed_slots(found)


def test_a_region_that_goes_back_records_its_environment_once(settled: Settled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A close that is folded again brings the state back from the log, and its other environment is on record already."""
    place = interrupted(settled, tmp_path / "home")
    last = closed_slots(payloads_at(place))[-1].slot
    forged = rewritten(place, ForecastIssued, {"online_weight_milli": 999}, tmp_path / "forged")
    apply, failed = RegionFold.apply, list[int]()

    def fails_once(fold: RegionFold, closed: ClosedSlot) -> SlotOutcome:
        if closed.slot > last and not failed:
            failed.append(closed.slot)
            raise ArmFailed(STARTED)
        return apply(fold, closed)

    monkeypatch.setattr(RegionFold, "apply", fails_once)
    monkeypatch.setattr("dataflows.stream.region_run.stop_failed", lambda *_: None)
    monkeypatch.setattr("dataflows.stream.stores.environment_digest", lambda: b"another environment, 32 bytes...")
    with contextlib.suppress(Killed):
        run_here(forged, killed_after(3), batch_events=10)
    assert failed == [last + 1]
    assert 1 == sum(isinstance(decode(payload), EnvironmentChanged) for payload in payloads_at(forged))


def test_large_counts_go_to_a_blob(settled: Settled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot whose counts are too large for an entry keeps them in a blob, and resumes from there."""
    monkeypatch.setattr("dataflows.stream.record.INLINE_LIMIT_BYTES", 20)
    whole = run_here(copied(settled.place, tmp_path / "whole"))
    assert any(record.counts_blob for record in closed_slots(whole))
    place = interrupted(settled, tmp_path / "home", slots=40)
    assert whole == run_here(place)
    stores = place.open()
    inline = {record.slot: (record.counts, record.corrections) for record in closed_slots(settled.expected)}
    for record in closed_slots(whole):
        body = (
            decode(stores.blobs.get(record.counts_blob), SlotCounts)
            if record.counts_blob
            else SlotCounts(counts=record.counts, corrections=record.corrections)
        )
        assert inline[record.slot] == (body.counts, body.corrections)
    stores.close()


def test_an_extra_record_is_a_divergence(settled: Settled, tmp_path: Path) -> None:
    """A close without its last record is refused in any environment."""
    place = interrupted(settled, tmp_path / "home")
    stores = place.open()
    entries = payloads(stores.ledger)
    stores.close()
    forged = without_log(place, tmp_path / "forged")
    stores = forged.open()
    stores.ledger.append(LOG, 0, entries[:-1])
    stores.close()
    with pytest.raises(DivergenceError, match=r"folding it again gives one more record"):
        run_here(forged)
