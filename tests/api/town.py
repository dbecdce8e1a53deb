"""A small recorded town: a ledger with history, closed slots, forecasts, scores and models, made without the fold."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from api.app import create_app
from ledger.formats.merkle import leaf_hash, root
from ledger.store.blobs import Blobs, Retention, open_blobs
from ledger.store.log import Ledger, open_embedded
from ledger.views.online.follow_store import StoreFollower
from ledger.views.online.memory import MemoryStore
from schemas.configuration.settings import Settings
from schemas.events.cells import encode as encode_cells
from schemas.forecasts.chunks import ForecastColumns, encode_chunks, pack_blob
from schemas.records.count_table import to_table
from schemas.records.record_codec import encode
from schemas.records.records import (
    CONTROL_LOG,
    FALLBACKS,
    CountTable,
    ForecastIssued,
    HorizonSpread,
    ModelPromoted,
    ModelTrained,
    PartitionCut,
    Record,
    RegionBootstrapped,
    ScoreRow,
    SlotClosed,
    SlotCounts,
    SlotScored,
    region_log,
)
from schemas.regions import US_PER_S, Region, load_region
from tests.api.client import Client
from tests.ledger.exports import SIGNER

MEASURE = "pickups"
SLOT_S = 300
START_SLOT = 1_399_348_800 // SLOT_S  # 2014-05-06 00:00 in New York
HISTORY_SLOTS = 288
MODEL = bytes(range(32))
PARTITIONS = 2
SCORED_PER_SLOT = 10  # rides of truth in each score row


@dataclass(slots=True)
class Town:
    """Open stores with `slots` closed slots, and an API whose clock stands `age_s` after the last one.

    Attributes:
        counts: int64[history and slots, cells], rides as counted at the cut.
        late: (slot, cell number) -> rides that came one slot later.
    """

    ledger: Ledger
    blobs: Blobs
    store: MemoryStore
    region: Region
    cells: np.ndarray
    counts: np.ndarray
    slots: int
    now_s: float
    late: dict[tuple[int, int], int] = field(default_factory=dict)

    def client(self, regions: tuple[str, ...] = ("nyc",), home: str = "home") -> Client:
        """A client of a fresh application."""
        settings = Settings.from_env({}, {"home": home})
        app = create_app(self.ledger, self.blobs, self.store, regions, settings, lambda: self.now_s)
        return Client(app)

    @property
    def newest(self) -> int:
        """The slot that closed last."""
        return START_SLOT + self.slots - 1

    def rides(self, slot: int, number: int) -> int:
        """Rides of a cell as known now."""
        return int(self.counts[slot - START_SLOT + HISTORY_SLOTS, number]) + self.late.get((slot, number), 0)

    def close(self, count: int = 1) -> None:
        """Close more slots."""
        for _ in range(count):
            slot = START_SLOT + self.slots
            self.slots += 1
            self.ledger.append(region_log("nyc"), self.ledger.head(region_log("nyc")).size, [encode(r) for r in self._records(slot)])
            self.now_s += SLOT_S
        self.ledger.flush()  # The clock of the checkpoints stands still here.

    def publish(self) -> None:
        """Make the online store as new as the ledger."""
        StoreFollower(self.ledger, self.blobs, self.store, ("nyc",)).step()

    def _records(self, slot: int) -> list[Record]:
        return [self._closed(slot), self._scored(slot), self._issued(slot)]

    def _closed(self, slot: int) -> SlotClosed:
        row = self.counts[slot - START_SLOT + HISTORY_SLOTS]
        held = np.flatnonzero(row)
        counts: tuple[CountTable, ...] = (to_table(MEASURE, np.full(len(held), slot), self.cells[held], row[held]),)
        corrections: tuple[CountTable, ...] = ()
        if slot > START_SLOT and slot % 3 == 0:  # one ride of cell 1 came late
            self.late[slot - 1, 1] = 1
            corrections = (to_table(MEASURE, [slot - 1], self.cells[1:2], [1]),)
        rides = int(row.sum())
        cuts = tuple(
            PartitionCut(
                partition=p,
                cut=100 * (slot - START_SLOT + 1),
                largest_us=slot * SLOT_S * US_PER_S,
                open_from=0,
                excused=False,
                received=rides + 5,
                accepted=rides + 1,
                duplicate=1,
                counted=rides,
                rejected={"bad_id": 3},
                uncounted={"other_kind": 1},
            )
            for p in range(PARTITIONS)
        )
        blob = b""
        if slot % 5 == 0:  # as if it were too large for an entry
            blob = self.blobs.put(encode(SlotCounts(counts=counts, corrections=corrections)), Retention.PERMANENT)
            counts, corrections = (), ()
        return SlotClosed(
            region="nyc",
            slot=slot,
            status=status_of(slot),
            partitions=cuts,
            counts=counts,
            corrections=corrections,
            counts_blob=blob,
            control_size=2,
            control_root=bytes(32),
        )

    def _scored(self, slot: int) -> SlotScored:
        rows = tuple(
            ScoreRow(
                horizon_min=h,
                cells=30,
                truth=SCORED_PER_SLOT,
                forecast_mean_milli=9_000,
                abs_error_milli=4_000,
                square_error_micro=90_000_000,
                baseline_abs_error_milli=5_000,
                baseline_square_error_micro=120_000_000,
                covered=24,
            )
            for h in self.region.horizons_min
        )
        return SlotScored(region="nyc", measure=MEASURE, slot=slot, settled=False, rows=rows)

    def _issued(self, slot: int) -> ForecastIssued:
        columns = self.columns(slot)
        chunks = encode_chunks(columns)
        spread = tuple(
            HorizonSpread(horizon_min=h, dispersion_milli=20, quiet_dispersion_milli=30, lower_milli=100, upper_milli=900)
            for h in self.region.horizons_min
        )
        blob = self.blobs.put(pack_blob(chunks), Retention.FORECAST)
        fallbacks = {fallback.value: int((columns.fallback == code).sum()) for code, fallback in enumerate(FALLBACKS)}
        return ForecastIssued(
            region="nyc",
            measure=MEASURE,
            slot=slot,
            target_us=(slot + 1) * SLOT_S * US_PER_S,
            horizons_min=self.region.horizons_min,
            models=(MODEL,),
            features_digest=bytes(32),
            family="negative_binomial",
            spread=spread,
            cells=len(columns),
            chunks=len(chunks),
            root=root([leaf_hash(chunk) for chunk in chunks]),
            blob=blob,
            fallbacks=fallbacks,
            universe_version=1,
            slot_status=status_of(slot),
            online_weight_milli=250,
        )

    def columns(self, slot: int) -> ForecastColumns:
        """What the town forecasts at a slot: the mean of the last hour, spread out."""
        at = slot - START_SLOT + HISTORY_SLOTS
        rate = self.counts[at - 11 : at + 1].mean(axis=0)
        mean = np.rint(1000 * rate[:, None] * np.array(self.region.horizons)).astype(np.int64)
        spread = np.rint(1280 * np.sqrt(np.maximum(mean, 1) / 1000)).astype(np.int64)
        fallback = np.where(rate > 0.02, 0, 3).astype(np.uint8)
        return ForecastColumns(
            self.cells,
            self.region.horizons_min,
            mean,
            mean // 1000 * 1000,
            np.maximum(0, mean - spread),
            mean + spread,
            np.full_like(mean, 20),
            mean * 9 // 10,
            fallback,
        )


def status_of(slot: int) -> str:
    """Every seventh slot is partial."""
    return "partial" if slot % 7 == 0 else "observed"


def build_town(home: Path, *, slots: int = 40, rows: int = 5, columns: int = 6, busy: float = 3.0, seed: int = 1) -> Town:
    """Bootstrap a day, train and promote a model, close some slots.

    Args:
        home: Folder of the stores.
        slots: How many to close.
        rows, columns: The town's cells, around lower Manhattan.
        busy: Rides per slot of the busiest cell.
        seed: Of the counts.
    """
    random = np.random.default_rng(seed)
    lat, lon = np.meshgrid(40.70 + 0.0055 * np.arange(rows), -74.02 + 0.011 * np.arange(columns), indexing="ij")
    cells = np.unique(encode_cells(lat.ravel(), lon.ravel(), 30))
    total = HISTORY_SLOTS + max(slots, 2_000)
    of_day = 1 + 0.9 * np.sin(2 * np.pi * (np.arange(total) / 288 - 0.35))
    share = random.permutation(busy * np.exp(-6 * np.arange(len(cells)) / len(cells)))
    counts = random.poisson(of_day[:, None] * share)
    ledger = open_embedded(home, instance="local", clock=lambda: 0.0, signer=SIGNER)
    blobs = open_blobs(home, "")
    region = load_region("nyc")
    slot_of, cell_of = np.nonzero(counts[:HISTORY_SLOTS])
    history = to_table(MEASURE, slot_of + START_SLOT - HISTORY_SLOTS, cells[cell_of], counts[slot_of, cell_of])
    blob = blobs.put(encode(SlotCounts(counts=(history,), corrections=())), Retention.PERMANENT)
    rides = int(counts[:HISTORY_SLOTS].sum())
    boot = RegionBootstrapped(
        region="nyc",
        definition=region.to_json(),
        until="2014-05-06",
        first_slot=START_SLOT - HISTORY_SLOTS,
        start_slot=START_SLOT,
        rides=rides,
        counts_blob=blob,
    )
    ledger.append(region_log("nyc"), 0, [encode(boot)])
    first, until = START_SLOT - HISTORY_SLOTS, START_SLOT
    trained = ModelTrained(
        region="nyc",
        measure=MEASURE,
        model=MODEL,
        algorithm="xgboost_poisson",
        features=("lag_5", "lag_15"),
        first_slot=first,
        until_slot=until,
        rows=8_640,
        data_digest=bytes(32),
        parameters={"trees": "300"},
        metrics={"wape": "0.43"},
    )
    ledger.append(
        CONTROL_LOG,
        0,
        [encode(trained), encode(ModelPromoted(region="nyc", measure=MEASURE, model=MODEL, alias="champion", reason="first model"))],
    )
    town = Town(ledger, blobs, MemoryStore(), region, cells, counts, 0, float(START_SLOT * SLOT_S + 60))
    town.close(slots)
    town.publish()
    return town
