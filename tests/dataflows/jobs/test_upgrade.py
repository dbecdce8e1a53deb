"""A change of the fold takes effect at a recorded slot: old logs fold as before, and the new rules apply from there."""

import contextlib
import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from dataflows.audit.replay import replay_region
from dataflows.audit.replay_report import Verdict
from dataflows.jobs.learn import known_slots
from dataflows.jobs.upgrade import upgrade_fold
from ledger.store.log import open_embedded
from ledger.views.append import append_shared
from ledger.views.control import ControlView
from ledger.views.regions import bootstrap_of
from ridecast.main import cli
from schemas.errors import BootRefused, UsageError
from schemas.records.record_codec import VERSIONS, decode
from schemas.records.records import CONTROL_LOG, FoldChanged, RegionBootstrapped, SlotScored, SlotStatus, StateDigested
from state.forecast.region import FOLD_VERSION, FOLD_VERSIONS
from tests.dataflows.stream.test_local import Killed, killed_after
from tests.schemas.record_golden import encoded, released_records
from tests.simulation.fixtures import Settled
from tests.simulation.runs import LOG, Place, closed_slots, copied, payloads, payloads_at, run_here

# Of the small world under the only fold there was before folds had versions, recorded with that code.
FIRST_DIGESTS = "235ae514a3ed8e9c924cbeefa2ea8da6e18aecc83e38b123e2b7f1e1d114054d"
FIRST_SCORES = "e366de12cf0a286fecb2ddfaa5de3314f8c6023dc70ffb509cef32a30a53f5ca"


def as_it_was(settled: Settled, folder: Path) -> Place:
    """The small world's home as the first release left it: a log whose only entry is a bootstrap of version 1."""
    place = copied(settled.place, folder)
    stores = place.open()
    boot = bootstrap_of(stores.ledger, "small")
    stores.close()
    shutil.rmtree(folder / "ledger")
    shutil.rmtree(folder / "checkpoints")
    fields = dataclasses.asdict(boot)
    del fields["fold_version"]
    ledger = place.open().ledger
    ledger.append(LOG, 0, [encoded(released_records()["RegionBootstrapped.v1"], fields)])
    ledger.close()
    return place


def run_until(place: Place, slots: int) -> None:
    """Run until that many slots are closed, then die."""
    with contextlib.suppress(Killed):
        run_here(place, killed_after(slots), batch_events=10, snapshot_every_s=0.0)


def digests(found: Sequence[bytes]) -> str:
    """One digest over those of the integer state."""
    integers = [record.integers for record in map(decode, found) if isinstance(record, StateDigested)]
    assert len(integers) == 6
    return hashlib.sha256(b"".join(integers)).hexdigest()


def scores(found: Sequence[bytes]) -> list[tuple[int, bool, list[tuple[int, int, int]]]]:
    """(slot, settled, (horizon, cells, truth) of each row) of every score."""
    records = [record for record in map(decode, found) if isinstance(record, SlotScored)]
    return [(r.slot, r.settled, [(row.horizon_min, row.cells, row.truth) for row in r.rows]) for r in records]


def scored_windows(found: Sequence[bytes]) -> set[tuple[int, int, bool]]:
    """(slot, horizon, settled) of what was scored."""
    return {(slot, horizon_min, settled) for slot, settled, rows in scores(found) for horizon_min, _, _ in rows}


def expected_windows(found: Sequence[bytes], first_of_two: int) -> set[tuple[int, int, bool]]:
    """What must be scored if version 2 of the fold holds from a slot on, straight from the recorded statuses."""
    statuses = {record.slot: record.status for record in closed_slots(found)}

    def whole(slot: int) -> bool:
        status = statuses[slot]
        return status == SlotStatus.OBSERVED or (status == SlotStatus.PARTIAL and slot < first_of_two)

    windows = set()
    for now in statuses:
        for settled, ended in ((False, now), (True, now - 12)):
            for horizon_min in (15, 30, 60):
                window = range(ended - horizon_min // 5 + 1, ended + 1)
                if window[0] - 1 in statuses and all(map(whole, window)):
                    windows.add((ended, horizon_min, settled))
    return windows


def test_an_old_log_folds_as_before(settled: Settled, tmp_path: Path) -> None:
    """A log from before folds had versions gives the digests and scores of that time's code, killed or not."""
    place = as_it_was(settled, tmp_path / "whole")
    whole = run_here(place)
    assert (FIRST_DIGESTS, FIRST_SCORES) == (digests(whole), hashlib.sha256(repr(scores(whole)).encode()).hexdigest())
    killed = as_it_was(settled, tmp_path / "killed")
    run_until(killed, 50)
    shutil.rmtree(tmp_path / "killed" / "blobs" / "snapshot")
    assert whole == run_here(killed)


def test_a_new_region_neither_scores_nor_learns_undercounts(settled: Settled) -> None:
    """Under version 2 exactly the windows of observed slots are scored; version 1 scored the partial ones too."""
    boot = next(record for record in map(decode, settled.expected) if isinstance(record, RegionBootstrapped))
    assert (FOLD_VERSION, 3) == (boot.fold_version, VERSIONS["RegionBootstrapped"])
    assert expected_windows(settled.expected, 0) == scored_windows(settled.expected)
    assert expected_windows(settled.expected, 1 << 62) > scored_windows(settled.expected)


def test_the_new_rule_applies_from_exactly_the_recorded_slot(settled: Settled, tmp_path: Path) -> None:
    """After FoldChanged closes before its slot keep the old rule; a resume and a refold from the start record the same."""
    place = as_it_was(settled, tmp_path / "home")
    run_until(place, 40)
    stores = place.open()
    changed = upgrade_fold(stores, "small")
    assert changed is not None
    assert closed_slots(payloads(stores.ledger))[-1].slot + 13 == changed.slot  # An hour ahead of the next one.
    assert upgrade_fold(stores, "small") is None
    stores.close()
    run_until(place, 12)
    found = run_here(copied(place, tmp_path / "resumed"))
    assert expected_windows(found, changed.slot) == scored_windows(found)
    assert scored_windows(found) not in (expected_windows(found, 0), expected_windows(found, 1 << 62))
    shutil.rmtree(tmp_path / "home" / "blobs" / "snapshot")
    assert found == run_here(place)
    statuses = {record.slot: record.status for record in closed_slots(found)}
    partial = [slot for slot, status in statuses.items() if status == SlotStatus.PARTIAL]
    assert min(partial) < changed.slot < max(partial)
    assert {slot: slot < changed.slot for slot in partial} == learned_slots(place, partial)
    stores = place.open()
    replay = replay_region(stores.ledger, stores.blobs, stores.environment, "small", None)
    stores.close()
    assert {Verdict.IDENTICAL: len(statuses)} == replay.verdicts, replay.first_bad


def learned_slots(place: Place, slots: Sequence[int]) -> dict[int, bool]:
    """Whether training treats each slot as completely counted."""
    stores = place.open()
    try:
        boot = bootstrap_of(stores.ledger, "small")
        known = known_slots(stores, place.world.region, boot, 0, stores.ledger.head(LOG).size)
        return {slot.slot: bool(slot.whole) for slot in known if slot.slot in slots}
    finally:
        stores.close()


def test_an_early_record_waits_for_its_slot_and_a_late_one_for_a_close(settled: Settled, tmp_path: Path) -> None:
    """A close uses what it cites: the last version recorded for its slot or an earlier one, of this region only."""
    stores = as_it_was(settled, tmp_path / "home").open()
    boot = bootstrap_of(stores.ledger, "small")
    first = ControlView(stores.ledger).latest()
    for changed in (
        FoldChanged(region="other", slot=5, version=2),
        FoldChanged(region="small", slot=100, version=2),
        FoldChanged(region="small", slot=200, version=1),
    ):
        append_shared(stores.ledger, CONTROL_LOG, changed)
    view = ControlView(stores.ledger)
    now = view.latest()
    assert [1, 1, 2, 2, 1] == [now.fold_version(boot, slot) for slot in (0, 99, 100, 199, 200)]
    assert [1, 1] == [view.at(first.size, first.root).fold_version(boot, slot) for slot in (99, 100)]
    assert now == view.at(now.size, now.root)
    stores.close()


def test_an_unknown_fold_version_is_refused(settled: Settled, tmp_path: Path) -> None:
    """A ledger of a newer release is neither folded nor upgraded, and the message tells what to do."""
    place = as_it_was(settled, tmp_path / "home")
    stores = place.open()
    append_shared(stores.ledger, CONTROL_LOG, FoldChanged(region="small", slot=0, version=FOLD_VERSION + 1))
    with pytest.raises(
        UsageError, match=rf"expected a fold up to version {FOLD_VERSION}, the ledger is at {FOLD_VERSION + 1}: run a newer Ridecast"
    ):
        upgrade_fold(stores, "small")
    stores.close()
    with pytest.raises(UsageError, match=rf"region small: expected version 1 to {FOLD_VERSION} of the fold, got {FOLD_VERSION + 1}"):
        run_here(place)


@pytest.mark.parametrize(("old", "expected"), [(True, "from slot 5706144 (2024-03-31"), (False, "nothing to do")])
def test_the_command_prints_the_first_slot(settled: Settled, tmp_path: Path, old: bool, expected: str) -> None:
    """`ridecast ledger upgrade` names the slot, its local time and the rule; a region that already uses it is not changed."""
    begin: Callable[[Settled, Path], Place] = as_it_was if old else lambda settled, folder: copied(settled.place, folder)
    place = begin(settled, tmp_path / "home")
    before = payloads_at(place)
    done = CliRunner().invoke(cli, ["ledger", "upgrade", "--home", str(place.home)])
    assert (0, True) == (done.exit_code, expected in done.output), done.output
    assert f"version {FOLD_VERSION} of the fold: {FOLD_VERSIONS[FOLD_VERSION]}" in " ".join(done.output.split())
    assert before == payloads_at(place)
    ledger = open_embedded(place.home, instance="local", clock=lambda: 0.0, signer=lambda: None)
    assert old == bool(ledger.entry(CONTROL_LOG, FoldChanged))
    ledger.close()


def test_a_rolled_back_region_is_not_upgraded(settled: Settled, tmp_path: Path) -> None:
    """A log that does not match its checkpoint cannot tell the first slot of the new rules."""
    place = as_it_was(settled, tmp_path / "old")
    earlier = tmp_path / "earlier"
    shutil.copytree(tmp_path / "old" / "ledger", earlier)
    run_until(place, 5)
    shutil.rmtree(tmp_path / "old" / "ledger")
    shutil.copytree(earlier, tmp_path / "old" / "ledger")
    stores = place.open()
    with pytest.raises(BootRefused, match="the checkpoint is ahead of the database"):
        upgrade_fold(stores, "small")
    stores.close()
