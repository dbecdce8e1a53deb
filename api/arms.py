"""Which forecasts of an issue the challenger of an experiment made, and how an answer says so."""

from ledger.store.log import Ledger
from ledger.views.experiments import experiment_of
from schemas.events.rides import Bools
from schemas.forecasts.chunks import ForecastColumns
from schemas.records.records import ExperimentStarted, ForecastIssued
from state.forecast.arms import Arm, challenged_rows

MOST_KEPT = 64  # experiments


class Experiments:
    """The experiments that issues of a ledger name, each read once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[tuple[str, str, str], ExperimentStarted] = {}

    def challenged(self, record: ForecastIssued, columns: ForecastColumns) -> Bools | None:
        """Which rows the challenger made: bool[n]; None if the issue served no experiment.

        Raises:
            NotFound: the control log does not have the experiment.
        """
        if not record.experiment:
            return None
        key = record.region, record.measure, record.experiment
        started = self._known.get(key) or experiment_of(self._ledger, record)
        assert started is not None
        if len(self._known) >= MOST_KEPT:
            self._known = {}
        self._known[key] = started
        return challenged_rows(started, columns, record.slot)


def model_of(record: ForecastIssued, *, challenged: bool) -> str | None:
    """Digest of the model that made a row, if a model did."""
    which = 1 if challenged else 0
    return record.models[which].hex() if which < len(record.models) else None


def said_of_arm(record: ForecastIssued, *, own: bool, challenged: bool) -> dict[str, str] | None:
    """The member `experiment` of a row; None where neither arm made it.

    Args:
        own: Whether the cell's own model made it.
    """
    if not record.experiment or not own:
        return None
    return {"id": record.experiment, "arm": (Arm.CHALLENGER if challenged else Arm.CHAMPION).value}
