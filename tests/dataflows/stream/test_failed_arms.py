"""A real run with an experiment whose challenger fails: the champion serves within the same close, on record; no region is held."""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from dataflows.audit.replay_report import Verdict
from dataflows.jobs.experiments import Plan, start_experiment
from ledger.store.blobs import Retention
from ledger.views.append import append_shared
from ridecast.main import cli
from schemas.errors import StoreUnavailable
from schemas.records.record_codec import decode
from schemas.records.records import CONTROL_LOG, EndCause, ExperimentStopped, ForecastIssued, RegionHeld
from state.demand.tables import TABLES
from state.forecast.arms import ArmFailed, blaming
from state.forecast.forecast import Forecaster
from state.forecast.region import FOLD_VERSION
from state.models import chain
from tests.dataflows.audit.replays import replay
from tests.dataflows.stream.test_local import Killed, killed_after
from tests.faults.seen import Seen
from tests.simulation.homes import Learned
from tests.simulation.runs import Place, copied, payloads_at, run_here
from tests.state.forecast.test_arms import STARTED

Change = Callable[[bytes], bytes]
RAISED = "XGBoostError: Check failed: n_features_data == n_features_model"  # without the time of day and the stack


def other_trees(artefact: bytes) -> bytes:
    """The same model, with another digest."""
    about, version, links = chain.unpack(artefact)
    return chain.pack(dataclasses.replace(about, dispersion_milli=tuple(m + 1 for m in about.dispersion_milli)), TABLES[version], links)


def too_few_columns(artefact: bytes) -> bytes:
    """A model whose trees are given fewer columns than they were trained on: it loads, and raises when it forecasts."""
    about, version, links = chain.unpack(artefact)
    return chain.pack(about, TABLES[version], [dataclasses.replace(link, columns=link.columns[:-1]) for link in links])


def challenged(learned: Learned, folder: Path, change: Change) -> tuple[Place, str]:
    """(home in which an experiment is about to begin, digest of its challenger)."""
    place = copied(learned.place, folder, snapshot_every_s=99)
    stores = place.open()
    digest = stores.blobs.put(change(stores.blobs.get(learned.second.record.model)), Retention.MODEL)
    append_shared(stores.ledger, CONTROL_LOG, dataclasses.replace(learned.second.record, model=digest))
    start_experiment(stores, digest.hex(), Plan(block_min=5, name="trees"), author="tests", reason="a test")
    stores.close()
    return place, digest.hex()


def run_slots(place: Place, slots: int) -> None:
    """Close some slots, then end as a kill would."""
    with contextlib.suppress(Killed):
        run_here(place, killed_after(slots), batch_events=20)


def control_of(place: Place) -> tuple[list[ExperimentStopped], list[RegionHeld]]:
    """The stops and the holds on record."""
    stores = place.open()
    try:
        return list(stores.ledger.records(CONTROL_LOG, ExperimentStopped)), list(stores.ledger.records(CONTROL_LOG, RegionHeld))
    finally:
        stores.close()


def issues_of(place: Place, learned: Learned) -> list[ForecastIssued]:
    """The issues since the trainings."""
    return [record for record in map(decode, payloads_at(place)[learned.before :]) if isinstance(record, ForecastIssued)]


def assert_replays(place: Place) -> None:
    """Replaying the rides gives every recorded byte."""
    again = replay(place)
    assert {Verdict.IDENTICAL: len(again.slots)} == again.verdicts, again.first_bad


def test_a_challenger_that_raises_leaves_every_cell_to_the_champion(learned: Learned, tmp_path: Path, seen: Seen) -> None:
    """No slot is without its model: the experiment ends on record at the slot of the failure, and status says why."""
    place, digest = challenged(learned, tmp_path / "home", too_few_columns)
    alone = copied(learned.place, tmp_path / "alone")
    run_slots(alone, 4)
    run_slots(place, 4)
    [stopped], held = control_of(place)
    issues = issues_of(place, learned)
    assert [] == held
    assert (EndCause.FAILED, "trees", "ridecast") == (stopped.cause, stopped.experiment, stopped.author)
    assert stopped.reason.startswith(f"the challenger failed at slot {issues[0].slot}: {RAISED}")
    assert {((learned.second.record.model,), "")} == {(issued.models, issued.experiment) for issued in issues}
    seen.same([issued.blob for issued in issues_of(alone, learned)], [issued.blob for issued in issues], "forecasts of the champion alone")
    done = CliRunner().invoke(cli, ["experiment", "status", "--home", str(place.home)], env={"COLUMNS": "400"})
    seen.told(
        done.output,
        f"small requests: experiment trees ended: {stopped.reason}",
    )
    assert digest[:12] in done.output
    assert_replays(place)


@pytest.mark.parametrize("step", ["score", "learn"])
def test_a_challenger_that_raises_later_is_ended_at_that_slot(
    learned: Learned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whichever step of a close its forecaster fails in, the slot is folded again without it; a replay needs no failure."""
    place, digest = challenged(learned, tmp_path / "home", other_trees)
    [path] = (place.home / "blobs").glob(f"*/*/{digest}")
    challenger = path.read_bytes()
    twins: list[Forecaster] = []
    use, works, calls = Forecaster.use, getattr(Forecaster, step), 0

    def used(self: Forecaster, model: bytes | None, *more: object) -> None:
        use(self, model, *more)  # type: ignore[arg-type]
        if model == challenger:
            twins.append(self)

    def fails(self: Forecaster, *given: object) -> object:
        nonlocal calls
        calls += any(self is twin for twin in twins)
        if calls == 3 and any(self is twin for twin in twins):
            raise ZeroDivisionError("division by zero")
        return works(self, *given)

    monkeypatch.setattr(Forecaster, "use", used)
    monkeypatch.setattr(Forecaster, step, fails)
    run_slots(place, 6)
    monkeypatch.undo()
    [stopped], held = control_of(place)
    issues = issues_of(place, learned)
    first = next(issued.slot for issued in issues if not issued.experiment)
    assert [] == held
    assert f"the challenger failed at slot {first}: ZeroDivisionError: division by zero" == stopped.reason
    assert issues[0].experiment == "trees"
    assert not any(issued.experiment for issued in issues if issued.slot >= first)
    assert_replays(place)


def test_only_what_the_challenger_does_wrong_is_blamed_on_it() -> None:
    """An error that heals by itself, and any error under an older fold, stays what it is."""
    for error, version, found in (
        (KeyError("x"), FOLD_VERSION, ArmFailed),
        (KeyError("x"), 5, KeyError),
        (OSError("disk"), FOLD_VERSION, OSError),
        (StoreUnavailable("broker"), FOLD_VERSION, StoreUnavailable),
    ):
        with pytest.raises(found), blaming(STARTED, version):
            raise error
    with pytest.raises(KeyError), blaming(None, FOLD_VERSION):
        raise KeyError("x")
