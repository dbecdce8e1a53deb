"""A real run whose champion's artefact goes and comes back, between runs and while it runs, or whose forecast is slow."""

import contextlib
import itertools
from functools import partial
from pathlib import Path

import pytest

from dataflows.audit.replay_report import Verdict
from dataflows.stream.region_run import open_region_run
from dataflows.stream.routing import SLOW_SLOTS
from schemas.records.record_codec import decode
from schemas.records.records import ForecastIssued
from tests.dataflows.audit.replays import replay
from tests.dataflows.stream.test_local import Killed, killed_after
from tests.simulation.homes import Learned
from tests.simulation.runs import Place, copied, payloads_at, run_here


def issues_after(place: Place, before: int) -> list[ForecastIssued]:
    """The issues among the entries after an index."""
    return [record for record in map(decode, payloads_at(place)[before:]) if isinstance(record, ForecastIssued)]


def artefact_of(place: Place, digest: bytes) -> Path:
    """The file of a blob."""
    [path] = (place.home / "blobs").glob(f"*/*/{digest.hex()}")
    return path


def run_slots(place: Place, slots: int, **changes: object) -> None:
    """Close some slots, then end as a kill would."""
    with contextlib.suppress(Killed):
        run_here(place, killed_after(slots), batch_events=20, **changes)


@pytest.mark.parametrize("snapshot_every_s", [99, 0])
def test_a_resume_takes_what_was_found_from_the_record(learned: Learned, tmp_path: Path, snapshot_every_s: int) -> None:
    """Slots that closed without the artefact fold the same when it is back, and those with it do; nothing halts in between."""
    place, digest = copied(learned.place, tmp_path / "home"), learned.second.record.model
    path = artefact_of(place, digest)
    data = path.read_bytes()
    path.unlink()
    run_slots(place, 4, snapshot_every_s=snapshot_every_s)
    without = issues_after(place, learned.before)
    assert [((), {"champion": "missing"})] * len(without) == [(issued.models, issued.reasons) for issued in without]
    assert 4 <= len(without)
    path.write_bytes(data)
    run_slots(place, 4, snapshot_every_s=snapshot_every_s)
    with_it = issues_after(place, learned.before)[len(without) :]
    assert {((digest,), ())} == {(issued.models, tuple(issued.reasons)) for issued in with_it}
    if snapshot_every_s == 0:  # A restart needs no slot with the model: the snapshot names it, and the run goes on without.
        path.unlink()
        run_slots(place, 2, snapshot_every_s=snapshot_every_s)
        path.write_bytes(data)
        last = issues_after(place, learned.before)[len(without) + len(with_it) :]
        assert {((), ("champion",))} == {(issued.models, tuple(issued.reasons)) for issued in last}
    again = replay(place)
    assert {Verdict.IDENTICAL: len(again.slots)} == again.verdicts, again.first_bad


def test_a_slow_forecast_rests_its_model(learned: Learned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A close beyond its budget of processor time is served as computed; the slots after it say that the model is slow."""
    place, digest = copied(learned.place, tmp_path / "home"), learned.second.record.model
    calls = itertools.count()
    slow = partial(open_region_run, forecast_budget_s=5.0)

    def opened(*given: object, **named: object) -> object:
        times = itertools.accumulate(6.0 if next(calls) == 3 else 0.0 for _ in itertools.count())  # the second close takes 6 s
        return slow(*given, **{**named, "processor_s": lambda: next(times), "forecast_budget_s": 5.0})  # type: ignore[arg-type]

    monkeypatch.setattr("dataflows.stream.start.open_region_run", opened)
    run_slots(place, 3 + SLOW_SLOTS)
    found = issues_after(place, learned.before)
    assert [(digest,)] * 2 == [issued.models for issued in found[:2]]
    assert [((), {"champion": "slow"})] * SLOW_SLOTS == [(issued.models, issued.reasons) for issued in found[2 : 2 + SLOW_SLOTS]]
    assert {(digest,)} == {issued.models for issued in found[2 + SLOW_SLOTS :]}
    assert len(found) > 2 + SLOW_SLOTS
    again = replay(place)
    assert {Verdict.IDENTICAL: len(again.slots)} == again.verdicts, again.first_bad
