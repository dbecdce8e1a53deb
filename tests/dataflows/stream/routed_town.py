"""A town whose slots close one by one into a ledger with the models that a router chooses, as in a region's run."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dataflows.audit.replay import replay_region
from dataflows.audit.replay_report import Replay
from dataflows.stream.record import payloads_of
from dataflows.stream.routing import Router
from dataflows.stream.stores import Stores, open_stores
from ledger.store.blobs import Retention
from ledger.store.recording import Recorder
from ledger.views.append import append_shared
from ledger.views.control import ControlView
from schemas.configuration.settings import Settings
from schemas.forecasts.chunks import ForecastColumns, unpack_blob
from schemas.records.count_table import to_table
from schemas.records.record_codec import encode
from schemas.records.records import (
    CONTROL_LOG,
    FALLBACKS,
    Fallback,
    ForecastIssued,
    ModelPromoted,
    RegionBootstrapped,
    SlotCounts,
    region_log,
)
from schemas.regions import Region
from state.counting.slots import CountColumns
from state.forecast.region import FOLD_VERSION, RegionFold
from tests.state.forecast.test_region import closed, counted
from tests.state.model_city import FIRST_SLOT, HOURLY, town_slots

TOWN = dataclasses.replace(HOURLY, parent="elder")
LOG = region_log(TOWN.id)
HISTORY = 24 * 9
START = FIRST_SLOT + HISTORY


def boot_of(stores: Stores, region: Region, past: Sequence[CountColumns], version: int = FOLD_VERSION) -> RegionBootstrapped:
    """The record of a region with these counts, whose blob is stored."""
    slots, cells, counts = (np.concatenate([getattr(each, name) for each in past]) for name in ("slots", "cells", "counts"))
    body = SlotCounts(counts=(to_table("pickups", slots, cells, counts),), corrections=())
    return RegionBootstrapped(
        region=region.id,
        definition=region.to_json(),
        until="2014-04-15",
        first_slot=FIRST_SLOT,
        start_slot=FIRST_SLOT + len(past),
        rides=int(counts.sum()),
        counts_blob=stores.blobs.put(encode(body), Retention.PERMANENT),
        fold_version=version,
    )


class RoutedTown:
    """A home with nine days of history.

    Args:
        version: Of the fold.
    """

    def __init__(self, home: Path, version: int = FOLD_VERSION) -> None:
        self.stores: Stores = open_stores(Settings.from_env({}, {"home": home}))
        self.known = town_slots(HISTORY + 60)
        self.slot = START
        self._control, self._recorder = ControlView(self.stores.ledger), Recorder(self.stores.ledger, LOG)
        past = [counted(known) for known in self.known[:HISTORY]]
        self.fold = RegionFold(TOWN, START, version)
        self.fold.remember((FIRST_SLOT + i, (counts,)) for i, counts in enumerate(past))
        boot = boot_of(self.stores, TOWN, past, version)
        self._size = self._recorder.append(0, [encode(boot)]).size
        self._boot = boot
        self.forget()

    def forget(self) -> None:
        """Start again with a router that has nothing in memory."""
        self.router = Router(self.stores.ledger, self.stores.blobs, self._boot)

    def close(self, count: int = 1) -> list[ForecastIssued]:
        """Close some slots; returns what they issued."""
        for _ in range(count):
            control = self._control.latest()
            known = self.known[self.slot - FIRST_SLOT]
            self.fold.use(self.router.live(control, self.slot))
            outcome = self.fold.apply(closed(known))
            self._size = self._recorder.append(self._size, payloads_of(TOWN, outcome, control, self.stores.blobs)).size
            self.slot += 1
        return self.issues()[-count:]

    def issues(self) -> list[ForecastIssued]:
        """Every issue."""
        return list(self.stores.ledger.records(LOG, ForecastIssued))

    def columns(self, issued: ForecastIssued) -> ForecastColumns:
        """The numbers of an issue."""
        return unpack_blob(self.stores.blobs.get(issued.blob)).columns(issued.horizons_min)

    def served_by(self, issued: ForecastIssued) -> set[Fallback]:
        """The fallbacks in its column."""
        return {FALLBACKS[code] for code in self.columns(issued).fallback.tolist()}

    def promote(self, artefact: bytes, scope: str = TOWN.id, *, stored: bool = True) -> bytes:
        """Make an artefact the champion of a region or scope; returns its digest."""
        digest = self.stores.blobs.put(artefact, Retention.MODEL)
        if not stored:
            self.stores.blobs.remove(digest)
        append_shared(
            self.stores.ledger,
            CONTROL_LOG,
            ModelPromoted(region=scope, measure="pickups", model=digest, alias="champion", reason="a test"),
        )
        return digest

    def path_of(self, digest: bytes) -> Path:
        """The file of a blob."""
        [path] = (self.stores.settings.home / "blobs").glob(f"*/*/{digest.hex()}")
        return path

    def replay(self) -> Replay:
        """A replay of everything, with counts as recorded."""
        return replay_region(self.stores.ledger, self.stores.blobs, self.stores.environment, TOWN.id, None)
