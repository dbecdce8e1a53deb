"""Runs shadows over a region's log: the state that they start from, the forecasts that were served, and what is kept of them."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from dataflows.stream.record import closed_of, history_by_slot
from dataflows.stream.routing import Router
from dataflows.stream.snapshots import load_snapshot
from dataflows.stream.stores import Stores
from ledger.store.files import write_whole
from ledger.views.closes import Close, closes
from ledger.views.control import ControlView
from schemas.errors import DamagedError, NotFound
from schemas.forecasts.chunks import ForecastColumns, chunks_in, decode_chunks
from schemas.records.records import ForecastIssued, RegionBootstrapped, region_log
from schemas.regions import Region
from state.counting.slots import ClosedSlot
from state.decide.shadow import Shadow
from state.demand.history import Arrays
from state.forecast.region import RegionFold, champions_of


class FoldAt:
    """The fold of a region after any entry of its log, for shadows to start from; it only reads.

    Later positions go on from the last one, so that a run in lock-step folds nothing twice.
    """

    def __init__(self, stores: Stores, region: Region, boot: RegionBootstrapped, beat: Callable[[], object] = lambda: None) -> None:
        self._beat = beat  # called often
        self._stores, self._region, self._boot = stores, region, boot
        self._control, self._router = ControlView(stores.ledger), Router(stores.ledger, stores.blobs, boot)
        self._size = -1
        self._fold = self._empty()

    def arrays(self, size: int) -> Arrays:
        """The state after the first `size` entries of the log, as in a snapshot."""
        start = self._size if 0 <= self._size <= size else self._begin(size)
        self._size = -1  # what fails from here on leaves the fold between two slots: the next call begins again
        for close in closes(self._stores.ledger, region_log(self._region.id), start, size):
            self._beat()
            record = close.record
            control = self._control.at(record.control_size, record.control_root)
            self._fold.follow(control.fold_version(self._boot, record.slot))
            self._fold.know(control.covariates_of(self._region.id))
            self._fold.use(self._router.recorded(control, close))
            self._fold.fast_forward(closed_of(self._region, record, close.before, self._stores.blobs))
        self._size = size
        return self._fold.to_arrays()

    def _begin(self, size: int) -> int:
        self._fold = self._empty()
        found = load_snapshot(self._stores.ledger, self._stores.blobs, self._region.id, self._stores.environment)
        if found is not None and found[0].size <= size:
            taken, arrays = found
            try:
                named = champions_of(arrays, self._region.measures)
                self._fold.from_arrays(arrays, self._router.kept(named))
                return taken.size
            except (KeyError, ValueError, DamagedError):
                self._fold = self._empty()  # a cache: the log has everything
        self._fold.remember(history_by_slot(self._region, self._boot, self._stores.blobs))
        return 0

    def _empty(self) -> RegionFold:
        return RegionFold(self._region, self._boot.start_slot, self._boot.fold_version)


def served_in(stores: Stores, close: Close, measure: str) -> ForecastColumns:
    """The forecasts that a close issued for a measure, from their blob.

    Raises:
        NotFound: it issued none, or their blob has expired.
    """
    for stored in close.after:
        record = stored.record
        if isinstance(record, ForecastIssued) and record.measure == measure:
            if not record.blob:
                return none_of(record.horizons_min)
            return decode_chunks(chunks_in(stores.blobs.get(record.blob)), record.horizons_min)
    raise NotFound(f"region {close.record.region}, slot {close.record.slot}: no forecast of {measure} was issued")


def none_of(horizons_min: tuple[int, ...]) -> ForecastColumns:
    """Forecasts of no cell."""
    none = np.empty((0, len(horizons_min)), np.int64)
    return ForecastColumns(np.empty(0, np.uint64), horizons_min, none, none, none, none, none, none, np.empty(0, np.uint8))


def slot_of(stores: Stores, region: Region, close: Close) -> ClosedSlot:
    """The closed slot of a close."""
    return closed_of(region, close.record, close.before, stores.blobs)


@dataclass(slots=True)
class Running:
    """A shadow in progress: of a model, against the champion that serves meanwhile; digests, empty for the baseline."""

    model: bytes
    against: bytes
    shadow: Shadow


class KeptShadows:
    """Shadows in files of a folder: caches, without which a trial starts again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, name: str, running: Running, size: int, root: bytes) -> None:
        """Keep a shadow under a name.

        Args:
            size, root: Of the region's log after the shadow's last slot, so that another log does not go on with it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        about = {"model": running.model, "against": running.against, "root": root}
        texts = {key: np.frombuffer(value, np.uint8) for key, value in about.items()}
        out = io.BytesIO()
        np.savez(out, allow_pickle=False, size=np.array([size]), **texts, **running.shadow.to_arrays())
        write_whole(self._folder / f"{name}.npz", out.getvalue())

    def load(self, name: str) -> Arrays | None:
        """What was kept, or None if there is no such file or it cannot be read."""
        try:
            data = (self._folder / f"{name}.npz").read_bytes()
            with np.load(io.BytesIO(data), allow_pickle=False) as found:
                return {key: found[key] for key in found.files}
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return None

    def mark(self, region: str, slot: int) -> None:
        """Note that everything was decided at a slot which ends a day."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._folder / f"{region}.decided", str(slot).encode())

    def marked(self, region: str) -> int:
        """The slot noted last; -1 if there is none, or it cannot be read."""
        try:
            return int((self._folder / f"{region}.decided").read_bytes())
        except (OSError, ValueError):
            return -1

    def drop(self, name: str) -> None:
        """Forget a shadow."""
        (self._folder / f"{name}.npz").unlink(missing_ok=True)
