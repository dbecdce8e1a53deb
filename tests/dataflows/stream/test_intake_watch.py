"""The tally of a partition while a pump runs: complete at its end, written now and then, and never in the way of the run."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dataflows.connectors.sources import FileRides
from dataflows.stream.intake_watch import WRITE_EVERY_S, IntakeWatch
from dataflows.stream.pump import PartitionPump, PumpLimits
from ledger.store.tally_files import read_tallies
from schemas.events.codec import Decoder
from schemas.events.rides import RawBatch, Reason, Rejected, no_rides
from state.counting.intake import IntakeRules
from state.counting.partials import Partial
from tests.dataflows.stream.test_pump import FRESH, HORIZON, WORLD, RejectList, plan_at, written


def watched(folder: Path, home: Path, kept: RejectList) -> tuple[PartitionPump, IntakeWatch]:
    """A pump over the small world's first partition, with a watch whose clock stands still."""
    watch = IntakeWatch(home, 0, [WORLD.region], 300, clock=lambda: 0.0, wall=lambda: 1_000.0)
    limits = PumpLimits(30, idle_after_s=5.0, progress_every_s=1.0, poll_s=0.0)
    rules, decoder = IntakeRules(dedup_horizon_events=HORIZON), Decoder(("small",))
    pump = PartitionPump(FileRides(folder), 0, [plan_at(FRESH)], decoder, rules, kept, limits, lambda: 0.0, bounded=True, watch=watch)
    return pump, watch


def test_the_tally_of_a_pump_is_complete_when_it_has_ended(tmp_path: Path) -> None:
    """It adds up to what the partials say, has an example per reason, and the rejects say what is wrong with them."""
    written(tmp_path / "rides", WORLD.logs[0]).close()
    kept = RejectList()
    pump, _ = watched(tmp_path / "rides", tmp_path, kept)
    partials: list[Partial] = []
    while not pump.ended:
        partials += pump.step()
    pump.close()
    [tally] = read_tallies(tmp_path)
    found = tally.regions["small"]
    expected: Counter[str] = Counter()
    for partial in partials:
        expected.update({name: int(pieces.sum()) for name, pieces in partial.totals.items()})
    assert (len(WORLD.logs[0]), len(WORLD.logs[0])) == (found.received, tally.position)
    assert (expected["accepted"], expected["duplicate"], expected["counted"]) == (found.accepted, found.duplicate, found.counted)
    reasons = Counter(str(reject.reason) for reject in kept.rejects)
    assert dict(reasons) == found.rejected
    assert set(reasons) == set(tally.examples)
    assert all(reject.detail.endswith("bytes)") for reject in kept.rejects)
    assert 1_000_000_000 == tally.started_at_us


def batch(n: int) -> RawBatch:
    """A batch of undecodable values."""
    return RawBatch(0, np.arange(n), np.full(n, 5), [b"{}"] * n)


def test_it_is_written_at_most_once_per_second(tmp_path: Path) -> None:
    """Within a second only the first change is written, the next write after it has all, and what did not change is not written."""
    now_s = 0.0
    watch = IntakeWatch(tmp_path, 0, [WORLD.region], 300, clock=lambda: now_s, wall=lambda: now_s)
    path = tmp_path / "intake" / "0.json"
    watch.add([], [Rejected(0, 1, 5, Reason.UNDECODABLE, b"{}", "no")], batch(2), no_rides(0))
    assert 1 == read_tallies(tmp_path)[0].examples["undecodable"].offset
    path.unlink()
    watch._changed = True
    now_s = WRITE_EVERY_S / 2
    watch.write()
    assert not path.exists()
    now_s = WRITE_EVERY_S
    watch.write()
    assert path.exists()
    path.unlink()
    now_s = 10.0
    watch.write(now=True)
    assert not path.exists()


def test_a_home_that_cannot_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A tally that cannot be written ends nothing: one warning, and the pump goes on."""
    (tmp_path / "intake").write_text("in the way")
    watch = IntakeWatch(tmp_path, 3, [WORLD.region], 300)
    for _ in range(3):
        watch._changed = True
        watch.write(now=True)
    assert ["partition 3: cannot write the tally of intake"] == [record.getMessage()[:45] for record in caplog.records]
