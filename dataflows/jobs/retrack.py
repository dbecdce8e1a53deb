"""Writes into MLflow what it lacks of the ledger: runs, versions and aliases, for instance after its store was deleted."""

from collections.abc import Mapping
from dataclasses import dataclass

from dataflows.connectors.tracking import track_aliases, track_training, tracked_models
from dataflows.jobs.promoting import all_stories
from dataflows.jobs.study import recorded_results
from dataflows.stream.stores import Stores
from ledger.store.log import Stored
from schemas.errors import StoreUnavailable, UsageError
from schemas.records.records import CONTROL_LOG, ModelTrained
from state.forecast.search import TrialResult


@dataclass(frozen=True, slots=True)
class RecordedTraining:
    """A training as the ledger has it: its errors have six digits, and its artefact may be lost."""

    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    rows: int
    artefact: bytes | None


def retrack(stores: Stores) -> int:
    """Log each recorded training whose model has no version in MLflow, and set all aliases; returns how many were logged.

    The trials of a search are logged too if its study is still in the home.

    Raises:
        LedgerError: another ledger has registered a model of the same name.
        StoreUnavailable: MLflow does not answer.
    """
    settings, ledger = stores.settings, stores.ledger
    stories = all_stories(stores)
    known = {place: tracked_models(settings, *place, ledger=ledger) for place in stories}
    logged = 0
    for entry in ledger.scan(CONTROL_LOG, kind=ModelTrained):
        record = entry.record
        place, digest = (record.region, record.measure), record.model
        if place not in known or digest.hex() in known[place]:
            continue
        log_training(stores, entry)
        logged += 1
    for (region, measure), story in stories.items():
        track_aliases(settings, region, measure, {"champion": story.champion, "challenger": story.challenger}, ledger=ledger)
    return logged


def log_training(stores: Stores, entry: Stored[ModelTrained]) -> None:
    """Log a recorded training, with a new version of its model."""
    record = entry.record
    digest = record.model
    artefact = stores.blobs.get(digest) if stores.blobs.has(digest) else None
    training = RecordedTraining(record.parameters, {name: float(text) for name, text in record.metrics.items()}, record.rows, artefact)
    place, size = (record.region, record.measure), log_size_of(entry)
    track_training(stores.settings, *place, training, digest, ledger=stores.ledger, log_size=size, trials=_trials(stores, record))


def log_size_of(entry: Stored[ModelTrained]) -> int:
    """Size of the log by which a training's model is known; a model of several regions is known by the control log."""
    return int(entry.record.parameters.get("log_size", entry.index))


def _trials(stores: Stores, record: ModelTrained) -> list[TrialResult]:
    """The trials of the search that found a model's parameters, as many as there were then; none if they cannot be read."""
    study = record.parameters.get("search_study")
    if study is None:
        return []
    try:
        found = recorded_results(stores.settings.home, record.region, record.measure, study)
    except (StoreUnavailable, UsageError):
        return []
    return found[: int(record.parameters["search_trials"])]
