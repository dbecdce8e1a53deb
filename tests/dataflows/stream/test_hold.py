"""A region whose fold fails is held and served by the baseline, or halted; on record, and without any effect on other regions."""

import contextlib
import dataclasses
import json
import signal
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from dataflows.audit.replay_report import Verdict
from dataflows.connectors.sources import open_rides
from dataflows.jobs.bootstrap import bootstrap_region
from dataflows.jobs.release import release_region
from dataflows.stream.start import run_embedded
from ledger.store.blobs import Retention
from ledger.views.append import append_shared
from ledger.views.champions import champions_at
from ledger.views.regions import halt_of
from ridecast.endings import HALTED_STATUS
from ridecast.main import cli
from ridecast.team import HALTED_EXIT
from schemas.records.record_codec import decode, encode
from schemas.records.records import (
    CONTROL_LOG,
    RUNS_LOG,
    FoldChanged,
    ForecastIssued,
    ModelPromoted,
    RegionHalted,
    RegionHeld,
    SlotClosed,
    SlotStatus,
    region_log,
)
from schemas.regions import RegionId
from state.counting.slots import ClosedSlot
from state.forecast.region import RegionFold, SlotOutcome
from tests.dataflows.audit.replays import replay
from tests.dataflows.stream.test_local import Killed, killed_after
from tests.differences import assert_same_payloads
from tests.faults.seen import Seen
from tests.services.process import free_port
from tests.simulation.fixtures import Settled
from tests.simulation.homes import Learned
from tests.simulation.runs import (
    LOG,
    Place,
    closed_slots,
    copied,
    kill,
    last_words,
    payloads,
    run_here,
    start_cluster,
    start_run,
    wait_until,
)
from tests.simulation.world import DEDUP_TOTAL_EVENTS, UNTIL

OTHER = "other"


def promote(place: Place, artefact: bytes) -> None:
    """Make some bytes the champion of the region."""
    stores = place.open()
    model = stores.blobs.put(artefact, Retention.MODEL)
    record = ModelPromoted(region="small", measure="requests", model=model, alias="champion", reason="a test")
    append_shared(stores.ledger, CONTROL_LOG, record)
    stores.close()


def held_at(place: Place) -> list[RegionHeld]:
    """The holds on record."""
    stores = place.open()
    try:
        return list(stores.ledger.records(CONTROL_LOG, RegionHeld))
    finally:
        stores.close()


def models_by_slot(found: list[bytes]) -> dict[int, bool]:
    """Slot -> whether its forecast was served by a model."""
    return {record.slot: bool(record.models) for record in map(decode, found) if isinstance(record, ForecastIssued)}


def counts_of(found: list[bytes]) -> list[SlotClosed]:
    """Closed slots without their citation of the control log."""
    return [dataclasses.replace(record, control_size=0, control_root=b"") for record in closed_slots(found)]


def test_a_model_that_cannot_be_used_is_left_out(settled: Settled, tmp_path: Path, seen: Seen) -> None:
    """A damaged champion costs the region its model and nothing else: every slot closes by the baseline, with the reason on record."""
    place = copied(settled.place, tmp_path / "home")
    promote(place, b"no model")
    found = run_here(place)
    assert [] == held_at(place)
    assert counts_of(settled.expected) == counts_of(found)
    assert set(models_by_slot(found).values()) == {False}
    issues = [record for record in map(decode, found) if isinstance(record, ForecastIssued)]
    assert [{"champion": "damaged"}] * len(issues) == [issued.reasons for issued in issues]
    again = replay(place)
    assert {Verdict.IDENTICAL: len(again.slots)} == again.verdicts, again.first_bad
    done = CliRunner().invoke(cli, ["status", "--home", str(place.home)], env={"COLUMNS": "400"})
    seen.told(done.output, "no trained model serves requests: the region's own model is damaged")
    seen.checked(len(counts_of(found)), "slots with the same counts")


def test_an_older_fold_holds_a_region_whose_model_cannot_be_used(settled: Settled, tmp_path: Path, seen: Seen) -> None:
    """Version 4 knows no stand-in: the region is held, and every slot closes by the baseline, with the reason on record."""
    place = copied(settled.place, tmp_path / "home")
    stores = place.open()
    append_shared(stores.ledger, CONTROL_LOG, FoldChanged(region="small", slot=closed_slots(settled.expected)[0].slot, version=4))
    stores.close()
    promote(place, b"no model")
    found = run_here(place)
    [held] = held_at(place)
    assert ("small", closed_slots(found)[0].slot) == (held.region, held.slot)
    assert held.reason.startswith("DamagedError: ")
    assert counts_of(settled.expected) == counts_of(found)
    assert set(models_by_slot(found).values()) == {False}
    stores = place.open()
    assert champions_at(stores.ledger, stores.ledger.head(CONTROL_LOG).size) == {}
    stores.close()
    again = replay(place)
    assert {Verdict.IDENTICAL: len(again.slots)} == again.verdicts, again.first_bad
    done = CliRunner().invoke(cli, ["status", "--home", str(place.home)], env={"COLUMNS": "400"})
    seen.told(done.output, f"held since slot {held.slot}: DamagedError")
    seen.checked(len(counts_of(found)), "slots with the same counts")


@pytest.fixture
def failing(learned: Learned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Place, int]:
    """(home with a champion, slot whose fold fails half-way as long as a model serves)."""
    place = copied(learned.place, tmp_path / "home", snapshot_every_s=99)
    stores = place.open()
    slot = max(record.slot for record in closed_slots(payloads(stores.ledger))) + 8
    stores.close()
    apply = RegionFold.apply

    def fails(self: RegionFold, closed: ClosedSlot) -> SlotOutcome:
        outcome = apply(self, closed)
        if closed.slot == slot and any(issue.model for issue in outcome.issues):
            raise ZeroDivisionError("division by zero")
        return outcome

    monkeypatch.setattr(RegionFold, "apply", fails)
    return place, slot


def test_a_fold_that_fails_half_way_is_repeated_without_models(failing: tuple[Place, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The state goes back to before the slot, which then closes without models, as a replay confirms; so do all that follow."""
    place, slot = failing
    found = run_here(place)
    assert [RegionHeld(region="small", slot=slot, reason="ZeroDivisionError: division by zero")] == held_at(place)
    served = models_by_slot(found)
    assert (True, False) == (served[slot - 1], served[slot])
    assert not any(by_model for at, by_model in served.items() if at >= slot)
    monkeypatch.undo()
    again = replay(place)
    assert {Verdict.IDENTICAL: len(again.slots)} == again.verdicts, again.first_bad


def test_a_released_region_uses_its_models_again(failing: tuple[Place, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """After the release the champion serves from the next close on; a region that is not held is left alone."""
    place, slot = failing
    with contextlib.suppress(Killed):
        run_here(place, killed_after(12), batch_events=20)
    monkeypatch.undo()
    stores = place.open()
    before = closed_slots(payloads(stores.ledger))[-1].slot
    assert before >= slot
    held = release_region(stores, "small")
    assert held is not None
    assert held.slot == slot
    assert release_region(stores, "small") is None
    stores.close()
    served = models_by_slot(run_here(place))
    assert (False, True) == (served[before], served[before + 1])
    done = CliRunner().invoke(cli, ["ledger", "release", "--home", str(place.home)])
    assert done.output == "region small is not held; nothing to do\n"


def test_a_fold_that_fails_without_models_raises(settled: Settled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a champion there is nothing to hold: the error is not hidden, and no record is written."""

    def fails(self: RegionFold, closed: ClosedSlot) -> SlotOutcome:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(RegionFold, "apply", fails)
    place = copied(settled.place, tmp_path / "home")
    with pytest.raises(ZeroDivisionError):
        run_here(place)
    assert held_at(place) == []


def with_two_regions(settled: Settled, tmp_path: Path) -> Place:
    """A home in which two regions have closed some slots."""
    place = copied(settled.place, tmp_path / "home", snapshot_every_s=99)
    world = place.world
    # Without rides the bootstrap assumes four partitions, and both regions must have the same horizon in each.
    stores, source = place.open(dedup_horizon_events=4 * (DEDUP_TOTAL_EVENTS // 3), batch_events=10), open_rides(place.rides)
    bootstrap_region(stores, dataclasses.replace(world.region, id=RegionId(OTHER)), None, UNTIL)
    with contextlib.suppress(Killed):
        run_embedded(stores, source, ["small", OTHER], bounded=True, on_slot=killed_after(30))
    source.close()
    stores.close()
    return place


def break_log(place: Place, region: str) -> None:
    """Change the last close of a region, so that its fold does not follow from its rides."""
    stores = place.open()
    entries = [stored.payload for stored in stores.ledger.scan(region_log(region))]
    stores.close()
    last = max(index for index, payload in enumerate(entries) if isinstance(decode(payload), SlotClosed))
    entries[last] = encode(dataclasses.replace(decode(entries[last], SlotClosed), status=SlotStatus.PARTIAL))
    for path in [*(place.home / "ledger").glob(f"region__{region}*"), *(place.home / "checkpoints").glob(f"region__{region}*")]:
        path.unlink()
    stores = place.open()
    stores.ledger.append(region_log(region), 0, entries)
    stores.close()


def test_one_region_halts_and_the_other_goes_on(settled: Settled, tmp_path: Path, seen: Seen) -> None:
    """A region whose log does not follow from its rides halts on record; the other one of the run closes every slot, unchanged."""
    place = with_two_regions(settled, tmp_path)
    break_log(place, OTHER)
    [process] = start_cluster(place, 1, 64, regions=f"small,{OTHER}")
    assert process.wait(120) == HALTED_STATUS, last_words(place)
    seen.told(last_words(place), f"ridecast: halted: region {OTHER}: DivergenceError: region/{OTHER} entry ")
    stores = place.open()
    assert_same_payloads(settled.expected, [stored.payload for stored in stores.ledger.scan(LOG)])
    seen.same(settled.expected, payloads(stores.ledger), "entries of the other region")
    [halted] = stores.ledger.records(RUNS_LOG, RegionHalted)
    assert (OTHER, halted) == (halted.region, halt_of(stores.ledger, OTHER))
    assert halt_of(stores.ledger, "small") is None
    stores.close()


@pytest.mark.parametrize("processes", [1, 2])
def test_forecasters_end_when_every_region_has_halted(settled: Settled, tmp_path: Path, processes: int) -> None:
    """The last region to halt, in whichever process, ends the live forecasters with the reasons of all."""
    place = with_two_regions(settled, tmp_path)
    break_log(place, "small")
    break_log(place, OTHER)
    cluster = start_cluster(place, processes, 64, bounded=False, regions=f"small,{OTHER}")
    try:
        statuses = [process.wait(120) for process in cluster]
    finally:
        kill(cluster)
    assert HALTED_STATUS in statuses, last_words(place)
    [last] = [line for line in last_words(place).splitlines() if line.startswith("ridecast: halted: ")]
    assert f"region {OTHER}: DivergenceError" in last
    assert "region small: DivergenceError" in last
    stores = place.open()
    assert {"small", OTHER} == {record.region for record in stores.ledger.records(RUNS_LOG, RegionHalted)}
    stores.close()


def test_a_bounded_run_with_a_halted_region_publishes_first(settled: Settled, tmp_path: Path) -> None:
    """What is recorded is published before the run ends with exit code 3 and the reason, and a second time changes nothing."""
    place = with_two_regions(settled, tmp_path)
    break_log(place, "small")
    stores = place.open()
    newest = stores.ledger.find(LOG, ForecastIssued)
    size = stores.ledger.head(LOG).size
    stores.close()
    assert newest is not None
    for _ in range(2):
        assert start_run(place, 1, "--until-end").wait(120) == HALTED_EXIT, last_words(place)
        assert "run: forecaster ended with status 7: halted: region small: DivergenceError: " in last_words(place)
        published = sorted(path.name for path in (place.home / "forecasts" / "region__small").iterdir())
        assert [name for name in published if int(name.split(".")[0]) < size] == published
        assert len(published) == 1


def test_a_live_run_whose_regions_have_halted_goes_on_serving(settled: Settled, tmp_path: Path) -> None:
    """The API answers with the last forecasts and says halted and why; the run says when it tries again, and ends when it is told."""
    place = with_two_regions(settled, tmp_path)
    break_log(place, "small")
    port = free_port()
    run = start_run(place, 1, "--port", str(port))
    address = f"http://127.0.0.1:{port}/v1/regions/small"
    try:
        wait_until(
            lambda: run.poll() is not None or "restarting in 300.0 s, try 2; the rest of the run goes on" in last_words(place),
            what="the halt",
        )

        def halted() -> bool:
            with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=10) as answer:
                return bool(json.load(answer)["standing"] == "halted")
            return False

        wait_until(lambda: run.poll() is not None or halted(), what="the API to say so")
        assert run.poll() is None, last_words(place)
        with urllib.request.urlopen(f"{address}/forecasts?top=1", timeout=10) as answer:
            assert json.load(answer)["forecasts"]
        run.send_signal(signal.SIGTERM)
        assert run.wait(30) == 0, last_words(place)
    finally:
        kill([run])
