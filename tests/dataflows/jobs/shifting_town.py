"""A town whose day shifts, run close by close into a ledger as a region's run does, with a learner that takes its turns."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from dataflows.jobs.learner import Learner
from dataflows.stream.record import payloads_of
from dataflows.stream.routing import Router
from dataflows.stream.stores import Stores, open_stores
from ledger.store.blobs import Retention
from ledger.store.recording import Recorder
from ledger.views.control import ControlView
from schemas.configuration.settings import Settings
from schemas.records.count_table import to_table
from schemas.records.record_codec import encode
from schemas.records.records import RegionBootstrapped, SlotCounts, region_log
from state.counting.slots import NO_COUNTS, ClosedSlot, CountColumns
from state.forecast.region import RegionFold
from state.models import boosted
from tests.state.forecast.test_region import cut
from tests.state.model_city import CELLS, HOURLY

TOWN = dataclasses.replace(HOURLY, slot_min=120, horizons_min=(120, 240))  # few slots make a short test
LOG = region_log(TOWN.id)
DAY = 12
FIRST_SLOT = 16_166 * DAY  # two-hour slots since 1970: 6 April 2014
START = FIRST_SLOT + 14 * DAY
# From version 4 on, corrections follow the town's shift by themselves within a day, and leave a challenger little to win.
FOLD_VERSION = 3


def rides(slot: int, *, shifted: bool) -> CountColumns:
    """Rides of a slot; shifted, the day begins six hours earlier, as after a holiday season."""
    rates = 40.0 * np.exp(-0.1 * np.arange(len(CELLS))) * (1.1 + np.sin(2 * np.pi * (slot % DAY + (3 if shifted else 0)) / DAY))
    counts = np.random.default_rng(slot).poisson(rates)
    some = counts > 0
    return CountColumns(np.full(int(some.sum()), slot), CELLS[some], counts[some].astype(np.int64))


class Town:
    """A home with the town's history, whose slots close one by one."""

    def __init__(self, home: Path, fold_version: int = FOLD_VERSION) -> None:
        self.stores: Stores = open_stores(Settings.from_env({}, {"home": home}))
        self.slot = START
        self.fold = RegionFold(TOWN, START, fold_version)
        self._control = ControlView(self.stores.ledger)
        self._recorder = Recorder(self.stores.ledger, LOG)
        past = [rides(slot, shifted=False) for slot in range(FIRST_SLOT, START)]
        self.fold.remember((FIRST_SLOT + i, (counts,)) for i, counts in enumerate(past))
        columns = [np.concatenate(parts) for parts in zip(*((c.slots, c.cells, c.counts) for c in past), strict=True)]
        body = encode(SlotCounts(counts=(to_table("pickups", *columns),), corrections=()))
        boot = RegionBootstrapped(
            region=TOWN.id,
            definition=TOWN.to_json(),
            until="2014-04-20",
            first_slot=FIRST_SLOT,
            start_slot=START,
            rides=int(columns[2].sum()),
            counts_blob=self.stores.blobs.put(body, Retention.PERMANENT),
            fold_version=fold_version,
        )
        self._size = self._recorder.append(0, [encode(boot)]).size
        self._router = Router(self.stores.ledger, self.stores.blobs, boot)

    def close_days(self, days: int, *, shifted: bool, after: Callable[[], object] = lambda: None) -> None:
        """Close the slots of some days, and call a function after each."""
        self.close_slots(days * DAY, shifted=shifted, after=after)

    def close_slots(self, count: int, *, shifted: bool, after: Callable[[], object] = lambda: None) -> None:
        """Close some slots, and call a function after each."""
        for _ in range(count):
            control = self._control.latest()
            self.fold.know(control.covariates_of(TOWN.id))
            self.fold.use(self._router.live(control, self.slot))
            closed = ClosedSlot(self.slot, (cut(),), (rides(self.slot, shifted=shifted),), (NO_COUNTS,))
            outcome = self.fold.apply(closed)
            self._size = self._recorder.append(self._size, payloads_of(TOWN, outcome, control, self.stores.blobs)).size
            self.slot += 1
            after()

    def restart(self, router: Router) -> None:
        """Choose models as a run that starts now."""
        self._router = router

    def learner(self, **changes: object) -> Learner:
        """A learner that trains on few rows."""
        return Learner(self.stores, TOWN.id, most_rows=10_000, **changes)  # type: ignore[arg-type]


@contextmanager
def quick_training(rounds: int) -> Iterator[None]:
    """So many trees on one thread, and no MLflow, which has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dataflows.jobs.learn.track_training", lambda *_, **__: "")
        patch.setattr("dataflows.jobs.promoting.track_aliases", lambda *_, **__: None)
        patch.setattr("dataflows.jobs.learn.os.cpu_count", lambda: 1)
        patch.setattr("state.models.boosted.fit", partial(boosted.fit, rounds=rounds))
        yield
