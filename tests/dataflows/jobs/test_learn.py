"""Training: what it records, where the artefact and the run are stored, and when a model starts to serve."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dataflows.jobs.learn import champions, known_slots, next_slot, only_region, train_region
from dataflows.stream.record import history_by_slot
from dataflows.stream.region_run import open_region_run
from dataflows.stream.stores import Stores, open_stores
from ledger.store.blobs import Retention
from ledger.views.append import append_shared
from ledger.views.control import ControlView
from ledger.views.regions import bootstrap_of
from schemas.configuration.settings import Settings
from schemas.errors import NotFound, UsageError
from schemas.records.record_codec import decode, encode
from schemas.records.records import CONTROL_LOG, ForecastIssued, ModelPromoted, ModelTrained, RegionBootstrapped, SlotClosed, SlotStatus
from schemas.regions import RegionId, region_from_json
from state.counting.slots import NO_COUNTS, CountColumns
from state.demand.history import CountHistory
from state.demand.tables import newest_table
from state.forecast.region import FOLD_VERSION, RegionFold
from state.models.chain import ALGORITHM, PARAMETERS, Chain
from tests.simulation.fixtures import Settled
from tests.simulation.homes import LIVE_SLOTS, MOST_ROWS, Learned
from tests.simulation.runs import LOG, copied, run_here
from tests.simulation.world import HISTORY_DAYS, START_SLOT

TABLE = newest_table(FOLD_VERSION)


@pytest.fixture
def stores(learned: Learned) -> Iterator[Stores]:
    """The home with the models, to read."""
    opened = learned.place.open()
    yield opened
    opened.close()


def promoted(number: int) -> ModelPromoted:
    """A promotion that differs from every other number's."""
    return ModelPromoted(region=f"region{number}", measure="requests", model=bytes([number]) * 32, alias="champion", reason="a test")


# --- what is recorded --------------------------------------------------------------------------------------


def test_the_record_describes_model_and_data(learned: Learned, stores: Stores) -> None:
    """Data range, digest of the data, features, parameters and errors are in `ModelTrained`, as training returned them."""
    stored = list(stores.ledger.records(CONTROL_LOG, ModelTrained))
    assert [learned.first.record, learned.second.record] == stored
    record, model = learned.second.record, learned.second.model
    root = stores.ledger.root_at(LOG, learned.before)
    assert ("small", "requests", ALGORITHM, TABLE.names) == (record.region, record.measure, record.algorithm, record.features)
    assert (START_SLOT - HISTORY_DAYS * 288, START_SLOT + LIVE_SLOTS) == (record.first_slot, record.until_slot)
    assert hashlib.sha256(root + learned.before.to_bytes(8, "big")).digest() == record.data_digest
    assert (root,) == record.trained_on
    assert str(learned.before) == record.parameters["log_size"]
    assert {name: str(value) for name, value in PARAMETERS.items()}.items() <= record.parameters.items()
    assert {
        "threads": "1",
        "sample_seed": "0",
        "most_rows": str(MOST_ROWS),
        "feature_table": str(TABLE.version),
    }.items() <= record.parameters.items()
    assert str(TABLE.version) == record.parameters["feature_table"]
    assert 2_000 <= record.rows <= 1.25 * MOST_ROWS
    names = {f"{prefix}{error}_{h}" for prefix in ("", "baseline_") for error in ("rmse", "wape") for h in (15, 30, 60)}
    assert names == set(record.metrics)
    assert {name: pytest.approx(value, rel=1e-5) for name, value in model.metrics.items()} == {
        name: float(text) for name, text in record.metrics.items()
    }


def test_the_same_data_give_the_same_record(learned: Learned) -> None:
    """Trained again on the same log, bytes and record are the same, though runs and times differ."""
    assert learned.first.model.artefact == learned.second.model.artefact
    assert learned.first.record == learned.second.record


def test_the_artefact_is_the_blob_that_the_record_names(learned: Learned, stores: Stores) -> None:
    """The digest in the record is the artefact's, and the blob has the retention of models and can forecast."""
    digest = learned.second.record.model
    assert hashlib.sha256(learned.second.model.artefact).digest() == digest
    assert learned.second.model.artefact == stores.blobs.get(digest)
    assert stores.blobs.retention(digest) is Retention.MODEL
    assert TABLE.names == Chain(stores.blobs.get(digest), learned.place.world.region.horizons).about.features


def test_too_little_history_records_nothing(tmp_path: Path, settled: Settled) -> None:
    """With too little data training raises an error, and neither control log nor blobs change."""
    place = copied(settled.place, tmp_path / "home")
    opened = place.open()
    try:
        boot = bootstrap_of(opened.ledger, "small")
        short = RegionBootstrapped(
            region="tiny",
            definition=boot.definition.replace('"small"', '"tiny"'),
            until=boot.until,
            first_slot=boot.start_slot - 5,
            start_slot=boot.start_slot,
            rides=0,
            counts_blob=b"",
        )
        opened.ledger.append("region/tiny", 0, [encode(short)])
        with pytest.raises(UsageError, match=r"train: expected at least 2000 rows .* got 0 from 5 slots; give it more history"):
            train_region(opened, replace(place.world.region, id=RegionId("tiny")), promote=True)
        assert 0 == opened.ledger.head(CONTROL_LOG).size
        assert [] == list(opened.blobs.digests(Retention.MODEL))
    finally:
        opened.close()


# --- what is in force --------------------------------------------------------------------------------------


def test_a_promotion_is_in_force_from_the_next_close(learned: Learned, tmp_path: Path) -> None:
    """Closes before it cite a control log without it and name no model; the first one after it does both."""
    place = copied(learned.place, tmp_path / "home")
    found = [decode(payload) for payload in run_here(place)]
    digest = learned.second.record.model
    issued = {record.slot: record for record in found if isinstance(record, ForecastIssued)}
    closes = [record for record in found if isinstance(record, SlotClosed)]
    assert len(closes) > LIVE_SLOTS
    opened = place.open()
    head = opened.ledger.head(CONTROL_LOG)
    opened.close()
    for record in closes:
        after = record.slot >= START_SLOT + LIVE_SLOTS
        assert ((digest,) if after else ()) == issued[record.slot].models
        assert (head.size if after else 0) == record.control_size
        assert "none" in issued[record.slot].fallbacks or not after
    assert head.root == closes[-1].control_root


def test_trained_is_not_promoted(learned: Learned, stores: Stores) -> None:
    """The first training did not change the model in force; the second records which model serves, and why."""
    view = ControlView(stores.ledger)
    at = [found.index for found in stores.ledger.scan(CONTROL_LOG, kind=ModelPromoted)]
    [promotion] = list(stores.ledger.records(CONTROL_LOG, ModelPromoted))
    assert (
        ModelPromoted(
            region="small",
            measure="requests",
            model=learned.second.record.model,
            alias="champion",
            reason="a test",
            author="operator",
            cause="command",
        )
        == promotion
    )
    assert {} == view.at(at[0], stores.ledger.root_at(CONTROL_LOG, at[0])).champions
    assert {("small", "requests"): learned.second.record.model} == champions(stores)


def test_two_writers_of_control_both_succeed(tmp_path: Path) -> None:
    """Processes that append to the control log at once retry on conflict: every record is there, once."""
    homes = [open_stores(Settings.from_env({"RIDECAST_HOME": str(tmp_path / "home")})) for _ in range(2)]
    start, failed = threading.Barrier(2), list[BaseException]()

    def write(number: int) -> None:
        try:
            start.wait()
            for i in range(15):
                append_shared(homes[number].ledger, CONTROL_LOG, promoted(100 * number + i))
        except BaseException as error:
            failed.append(error)
            raise

    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [] == failed
    found = [stored.record.region for stored in homes[0].ledger.scan(CONTROL_LOG, kind=ModelPromoted)]
    for stores in homes:
        stores.close()
    assert [f"region{i}" for i in range(15)] == [name for name in found if int(name[6:]) < 100]
    assert [f"region{100 + i}" for i in range(15)] == [name for name in found if int(name[6:]) >= 100]
    assert 30 == len(found)


# --- what it learns from -----------------------------------------------------------------------------------


def test_training_sees_what_the_stream_saw(finished: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slot by slot, corrections and outages included, the counts of training are those of the live fold."""
    monkeypatch.setattr("ledger.store.log.PAGE_ENTRIES", 7)
    run = open_region_run(finished.ledger, finished.blobs, "small", (0, 1, 2), finished.environment, lambda: 0.0)
    history = CountHistory(run.region)
    outage = 0
    for known in known_slots(finished, run.region, bootstrap_of(finished.ledger, "small"), 0, finished.ledger.head(LOG).size):
        if len(known.late_slots):
            history.correct(known.late_slots, known.late_cells, known.late_counts)
        history.close(known.slot, known.cells, known.counts, observed=known.observed, whole=known.whole)
        outage += not known.observed
    closes = list(finished.ledger.records(LOG, SlotClosed))
    assert sum(record.status == SlotStatus.UNOBSERVED for record in closes) == outage > 0
    assert run.fold.histories[0].digest() == history.digest()


def test_the_region_is_required_if_it_is_ambiguous(tmp_path: Path) -> None:
    """The only region of a home is the default; with none or two the message lists them."""
    stores = open_stores(Settings.from_env({"RIDECAST_HOME": str(tmp_path / "home")}))
    with pytest.raises(NotFound, match=r"--region: expected one bootstrapped region in this home, found none"):
        only_region(stores)
    stores.ledger.append("region/nyc", 0, [b""])
    assert "nyc" == only_region(stores)
    stores.ledger.append("region/chi", 0, [b""])
    with pytest.raises(NotFound, match="found chi, nyc"):
        only_region(stores)
    stores.close()


def test_an_outage_in_history_is_not_learned_as_no_demand(finished: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent slots of history that the serving fold treats as outages are unobserved in training too, and no others."""
    boot = bootstrap_of(finished.ledger, "small")
    region = region_from_json(boot.definition, where="small")
    silent = range(boot.start_slot - 40, boot.start_slot - 28)

    def history(*_: object) -> Iterator[tuple[int, tuple[CountColumns, ...]]]:
        for slot, counts in history_by_slot(region, boot, finished.blobs):
            yield slot, tuple(NO_COUNTS for _ in counts) if slot in silent else counts

    monkeypatch.setattr("dataflows.jobs.learn.history_by_slot", history)
    monkeypatch.setattr("state.forecast.region.UNOBSERVED_FROM", 1.0)  # the small world has few rides in a slot
    serving = RegionFold(region, boot.start_slot)
    serving.remember(history())
    slots = list(known_slots(finished, region, boot, 0, 0))
    unobserved = [known.slot for known in slots if not known.observed]
    assert set(silent) & set(unobserved)
    assert [known.slot for known in slots if not serving.histories[0].complete(known.slot, known.slot + 1)] == unobserved


def test_the_other_measures_stand_beside_each_slot(finished: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training on one measure sees the same slot of the others, by name, as the fold counted it, and not its own twice."""
    boot = bootstrap_of(finished.ledger, "small")
    region = replace(region_from_json(boot.definition, where="small"), measures=("requests", "dropoffs", "unserved"))

    def history(*_: object) -> Iterator[tuple[int, tuple[CountColumns, ...]]]:
        for slot, (counts,) in history_by_slot(replace(region, measures=("requests",)), boot, finished.blobs):
            yield slot, tuple(replace(counts, counts=counts.counts * factor) for factor in (1, 2, 3))

    monkeypatch.setattr("dataflows.jobs.learn.history_by_slot", history)
    for number, measure in enumerate(region.measures):
        slots = list(known_slots(finished, region, boot, number, 0))
        assert {frozenset({*region.measures} - {measure})} == {frozenset(known.beside) for known in slots}
        for known in slots:
            for other, name in enumerate(region.measures):
                seen = known.beside[name] if name != measure else known
                assert (known.slot, known.observed) == (seen.slot, seen.observed)
                assert (known.counts * (other + 1)).tolist() == (seen.counts * (number + 1)).tolist()
        assert sum(int(known.counts.sum()) for known in slots) > 0


def test_a_log_that_grows_meanwhile_is_not_trained_on(finished: Stores) -> None:
    """Training ends at the last slot of the log that it read, however many have closed since."""
    boot = bootstrap_of(finished.ledger, "small")
    closes = list(finished.ledger.scan(LOG, kind=SlotClosed))
    expected = {0: boot.start_slot, closes[0].index + 1: boot.start_slot + 1, closes[-1].index + 1: START_SLOT + len(closes)}
    assert expected == {size: next_slot(finished, boot, size) for size in expected}
