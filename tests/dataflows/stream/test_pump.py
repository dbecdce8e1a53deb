"""One partition from its reader to partials: ends, silence, gaps, and rejects that are durable first."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from dataflows.connectors.files.ridelog import RideLogWriter
from dataflows.connectors.rejects import Choice
from dataflows.connectors.sources import FileReader, FileRides
from dataflows.stream.pump import PartitionPump, PumpLimits
from dataflows.stream.resume import FROM_LOWEST, ResumePlan
from schemas.errors import StoreUnavailable
from schemas.events.codec import Decoder
from schemas.events.rides import Reason, Rejected
from schemas.records.records import RegionBootstrapped
from state.counting.intake import IntakeRules
from state.counting.partials import Partial, ResumePoint, Standing
from tests.simulation.live import LiveFiles
from tests.simulation.world import START_SLOT, Entry, make_world

WORLD = make_world(7, hours=3)
HORIZON = 50


class RejectList:
    """Rejects in a list; may refuse."""

    def __init__(self) -> None:
        self.rejects: list[Rejected] = []
        self.refuses = False

    def write(self, rejects: Sequence[Rejected]) -> None:
        if self.refuses:
            raise StoreUnavailable("rejects: full")
        self.rejects += rejects

    def read(
        self, reason: Reason | None = None, partition: int | None = None, limit: int | None = None, *, sealed: bool = False
    ) -> list[Rejected]:
        return self.rejects

    def scan(self, choice: Choice) -> Iterator[Rejected]:
        return filter(choice.fits, self.rejects)

    def counts(self) -> dict[Reason, int]:
        return {}

    def close(self) -> None:
        pass


def plan_at(point: ResumePoint, **known: int) -> ResumePlan:
    """A plan that resumes there in partition 0."""
    boot = RegionBootstrapped(
        region="small", definition="", until="", first_slot=START_SLOT, start_slot=START_SLOT, rides=0, counts_blob=b""
    )
    return ResumePlan(WORLD.region, boot, point.closed_through + 1, {0: point}, {0: known["warmed_from"]} if known else {})


FRESH = ResumePoint(FROM_LOWEST, 0, START_SLOT - 1, -1, START_SLOT)


def pump_of(
    folder: Path,
    plan: ResumePlan,
    *,
    bounded: bool,
    batch_events: int = 30,
    clock: Callable[[], float] = lambda: 0.0,
    kept: RejectList | None = None,
    source: FileRides | None = None,
) -> PartitionPump:
    """A pump over partition 0 of a log in files."""
    limits = PumpLimits(batch_events, idle_after_s=5.0, progress_every_s=1.0, poll_s=0.0)
    rules = IntakeRules(dedup_horizon_events=HORIZON)
    source = source or FileRides(folder)
    return PartitionPump(source, 0, [plan], Decoder(("small",)), rules, kept or RejectList(), limits, clock, bounded=bounded)


def written(folder: Path, entries: Sequence[Entry]) -> LiveFiles:
    """A log of one partition with these entries, in small files."""
    log = LiveFiles(folder, 1)
    for start in range(0, len(entries), 10):
        log.write(0, entries[start : start + 10])
    return log


def drained(pump: PartitionPump) -> list[Partial]:
    """All partials of a bounded pump."""
    found: list[Partial] = []
    while not pump.ended:
        found += pump.step()
    pump.close()
    return found


def test_a_bounded_pump_stops_at_the_end_that_it_pinned(tmp_path: Path) -> None:
    """Events after its start are not read, and its last partial reports the end."""
    log = written(tmp_path, WORLD.logs[0][:45])
    pump = pump_of(tmp_path, plan_at(FRESH), bounded=True)
    log.write(0, WORLD.logs[0][45:60])
    log.close()
    partials = drained(pump)
    assert (0, 45) == (partials[0].from_offset, partials[-1].to_offset)
    assert [Standing.FLOWING, Standing.ENDED] == [partial.standing for partial in partials]
    assert pump.step() == []


def test_a_batch_that_reaches_the_pinned_end_is_cut_there(tmp_path: Path) -> None:
    """The event at the pinned end itself is left, where a batch ends with it."""
    log = written(tmp_path, WORLD.logs[0][:45])
    pump = pump_of(tmp_path, plan_at(FRESH), bounded=True, batch_events=23)  # the second batch is 23 to 45
    log.write(0, WORLD.logs[0][45:60])
    log.close()
    assert [(0, 23), (23, 45)] == [(partial.from_offset, partial.to_offset) for partial in drained(pump)]


def test_partials_continue_each_other(tmp_path: Path) -> None:
    """Ranges of offsets follow one another without a hole, and rejects carry their bytes."""
    written(tmp_path, WORLD.logs[0]).close()
    kept = RejectList()
    partials = drained(pump_of(tmp_path, plan_at(FRESH), bounded=True, batch_events=7, kept=kept))
    assert all(one.to_offset == other.from_offset for one, other in itertools.pairwise(partials))
    expected = {offset: entry.value for offset, entry in enumerate(WORLD.logs[0]) if entry.event.reason is not None}
    assert expected == {reject.offset: reject.value for reject in kept.rejects}


def test_an_idle_partition_is_reported_at_its_interval(tmp_path: Path) -> None:
    """A partition at its end for the set time is idle, reports it at the set interval, and is not idle when rides arrive."""
    log = written(tmp_path, WORLD.logs[0][:10])
    now = [0.0]
    pump = pump_of(tmp_path, plan_at(FRESH), bounded=False, clock=lambda: now[0])
    [first] = pump.step()
    assert first.standing is Standing.FLOWING
    standings = []
    for now[0] in (0.0, 4.9, 5.0, 5.5, 6.0):
        standings.append([partial.standing for partial in pump.step()])
    assert [[], [], [Standing.IDLE], [], [Standing.IDLE]] == standings
    assert pump.idle
    log.write(0, WORLD.logs[0][10:20])
    assert [Standing.FLOWING] == [partial.standing for partial in pump.step()]
    assert not pump.idle
    now[0] = 11.0
    assert [] == pump.step()  # The idle time starts again.
    pump.close()
    log.close()


class Farther(FileRides):
    """A log whose end lies farther than its readers get, as on a broker that answers slowly."""

    more = 0

    def open(self, partition: int, offset: int) -> FileReader:
        reader = super().open(partition, offset)
        end = reader.end
        reader.end = lambda: end() + self.more  # type: ignore[method-assign]
        return reader


def test_silence_counts_only_at_an_end_that_was_asked_for(tmp_path: Path) -> None:
    """A partition from which nothing comes is not idle while its end lies ahead; the time of silence begins when it was last there."""
    written(tmp_path, WORLD.logs[0][:10]).close()
    now = [0.0]
    source = Farther(tmp_path)
    pump = pump_of(tmp_path, plan_at(FRESH), bounded=False, clock=lambda: now[0], source=source)
    pump.step()
    said = []
    for now[0], source.more in ((0.0, 0), (6.0, 3), (7.0, 0), (10.9, 0), (11.0, 0)):
        said.append([partial.standing for partial in pump.step()])
    assert [[], [], [], [], [Standing.IDLE]] == said
    pump.close()


def test_a_gap_is_reported_with_the_first_partial(tmp_path: Path) -> None:
    """If the log no longer has what a region must read, its first partial covers the gap and reports its end."""
    log = written(tmp_path, WORLD.logs[0])
    log.forget(0, 100)
    log.close()
    low, _ = FileRides(tmp_path).bounds(0)
    assert low > 60
    point = ResumePoint(40, 60, START_SLOT, 0, START_SLOT)
    partials = drained(pump_of(tmp_path, plan_at(point), bounded=True))
    assert (40, low) == (partials[0].from_offset, partials[0].gap_until)
    assert (0, low) == (partials[0].wanted_from, partials[0].short_from)
    assert all((-1, -1, -1) == (p.gap_until, p.wanted_from, p.short_from) for p in partials[1:])


@pytest.mark.parametrize(
    ("open_from", "known", "told"),
    [
        (FROM_LOWEST, None, True),  # a first start, on a log that has lost its start
        (120, None, True),
        (120, -1, True),
        (120, 0, False),  # already recorded
        (150, None, False),  # its whole horizon is there
    ],
)
def test_a_short_horizon_is_reported_once(tmp_path: Path, open_from: int, known: int | None, told: bool) -> None:
    """Deduplication that cannot be fully warmed is reported, unless exactly that is already recorded."""
    log = written(tmp_path, WORLD.logs[0])
    log.forget(0, 100)
    log.close()
    low, end = FileRides(tmp_path).bounds(0)
    assert 60 < low <= 100 < end
    point = ResumePoint(open_from, open_from, START_SLOT, 0, START_SLOT) if open_from >= 0 else FRESH
    plan = plan_at(point) if known is None else plan_at(point, warmed_from=low + known)
    first, *rest = drained(pump_of(tmp_path, plan, bounded=True))
    assert told == (first.short_from == low)
    assert first.gap_until == -1
    assert all(partial.short_from == -1 for partial in rest)


def test_a_partial_waits_for_its_rejects(tmp_path: Path) -> None:
    """If rejects cannot be stored, no partial that counts them is passed on."""
    with RideLogWriter(tmp_path, 1) as log:
        log.append(0, np.array([1]), [b""], [b"no ride"])
    kept = RejectList()
    kept.refuses = True
    pump = pump_of(tmp_path, plan_at(FRESH), bounded=True, kept=kept)
    with pytest.raises(StoreUnavailable, match="full"):
        pump.step()
    pump.close()
