"""A ride log that is replaced less than two `hold_s` before a resume: which rides were too far ahead is found from its own cuts only."""

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from dataflows.connectors.sources import ORIGIN_FILE, open_rides
from dataflows.stream.start import run_embedded
from schemas.records.records import SlotClosed, SourceChanged
from tests.dataflows.audit.test_recount import with_strays
from tests.dataflows.stream.test_local import Killed, killed_after
from tests.simulation.live import LiveFiles
from tests.simulation.moved import assert_audited, records_at
from tests.simulation.runs import Place, copied, payloads_at, run_here, settle
from tests.simulation.world import World, make_world

HOLD_S = 3_600  # 12 slots: the world is five of them


def write(folder: Path, world: World, origin: str) -> None:
    """Write a world as the ride log of that origin."""
    shutil.rmtree(folder, ignore_errors=True)
    log = LiveFiles(folder, len(world.logs))
    for partition, entries in enumerate(world.logs):
        log.write(partition, entries)
    log.close()
    (folder / ORIGIN_FILE).write_text(origin, "utf-8")


def part(world: World, begin: float, end: float) -> World:
    """A share of every partition, with strays in it that are dated hours ahead."""
    logs = tuple(
        tuple(
            replace(entry, event=replace(entry.event, offset=at))
            for at, entry in enumerate(log[int(begin * len(log)) : int(end * len(log))])
        )
        for log in world.logs
    )
    return with_strays(replace(world, logs=logs), 4)


@pytest.fixture(scope="module")
def replaced(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A home that has counted the first part of a world, whose ride log was then replaced by one with the rest."""
    folder, world = tmp_path_factory.mktemp("held"), make_world(17, hours=5.0)
    write(folder / "rides", part(world, 0.0, 0.3), "first")
    place = settle(world, folder / "place", rides=str(folder / "rides"), hold_s=HOLD_S, evidence_events=4, evidence_window_events=16)
    run_here(place)
    write(folder / "rides", part(world, 0.3, 1.0), "second")
    return place


@pytest.fixture(scope="module")
def whole(replaced: Place, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """What an uninterrupted run records after the change."""
    place = copied(replaced, tmp_path_factory.mktemp("whole") / "home")
    found = run_here(place)
    records = records_at(place)
    at = next(at for at, record in enumerate(records) if isinstance(record, SourceChanged))
    closed = [record for record in records[at:] if isinstance(record, SlotClosed)]
    far = [sum(cut.uncounted.get("too_far_ahead", 0) for cut in record.partitions) for record in closed]
    assert len(closed) > 2 * HOLD_S // 300, "the run goes on for more than two hold_s"
    assert sum(far[: HOLD_S // 300]) > 0, "some are too far ahead soon after the change"
    assert sum(far[HOLD_S // 300 :]) > 0, "and later"
    assert_audited(place)
    return found


@pytest.mark.parametrize("slots", [1, 2, 6, 11, 12, 13, 18])
def test_a_resume_after_a_change_counts_the_same(replaced: Place, whole: list[bytes], tmp_path: Path, slots: int) -> None:
    """Killed so many slots after the ride log was replaced, a run ends as an uninterrupted one."""
    place = copied(replaced, tmp_path / "home")
    stores, source = place.open(batch_events=10), open_rides(place.rides)
    with contextlib.suppress(Killed):
        run_embedded(stores, source, ["small"], bounded=True, on_slot=killed_after(slots))
    source.close()
    stores.close()
    assert len(payloads_at(place)) < len(whole)
    assert whole == run_here(place)
