"""Issues of the simulated town with everything that an explanation needs: served numbers and the matrix of each issue."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from schemas.events.rides import Float32s
from schemas.forecasts.chunks import ForecastColumns
from schemas.records.records import FALLBACKS, Fallback
from state.demand.features import matrix_of
from state.demand.history import CountHistory
from state.forecast.explanation import mix_of_cells
from state.forecast.forecast import Forecaster
from state.forecast.mixing import Mix
from state.forecast.region import FOLD_VERSION
from state.models.boosted import Boosted
from state.models.reasons import Mixed
from state.models.table import Trained, load_trained
from tests.state.model_city import HOURLY, fold, town_chain, town_model, town_network_chain, town_slots

KNOWN_SLOTS = 29 * 24
ISSUES = 20
ARTEFACTS: dict[str, Callable[[], bytes]] = {
    "trees": lambda: town_model().artefact,
    "chain": lambda: town_chain().artefact,
    "network": town_network_chain,
}


@dataclass(frozen=True, slots=True)
class ExplainedIssue:
    """One issue: what was served, the matrix, the share of the online correction, 1/1000, and the ensemble."""

    columns: ForecastColumns
    matrix: Float32s
    weight_milli: int
    mix: Mix


@cache
def town_issues(kind: str = "trees") -> tuple[ExplainedIssue, ...]:
    """Issues after four weeks and a day, at the end of which corrections have been learned from errors."""
    slots = town_slots(KNOWN_SLOTS + ISSUES)
    history, forecaster = CountHistory(HOURLY, tracked=True), Forecaster(HOURLY, "pickups", version=FOLD_VERSION)
    forecaster.use(ARTEFACTS[kind]())
    issues = []
    for i, known in enumerate(slots):
        fold(history, known)
        if i >= KNOWN_SLOTS:
            forecaster.score(history, known.slot, 2)
            draft = forecaster.issue(history, known.slot)
            forecaster.learn(history, known.slot)
            issues.append(ExplainedIssue(draft.columns, matrix_of(draft.features), draft.weights_milli["online_weight_milli"], draft.mix))
    return tuple(issues)


@cache
def town_trained(kind: str = "trees") -> Trained:
    """The model that made them."""
    return load_trained(ARTEFACTS[kind](), HOURLY.horizons)


def mixed_cells(kind: str, issue: ExplainedIssue, i: int) -> list[Mixed]:
    """How the ensemble mixed every cell that the model served."""
    own = issue.columns.fallback == FALLBACKS.index(Fallback.NONE)
    return mix_of_cells(town_trained(kind), issue.matrix, i, issue.columns.baseline[own, i], issue.mix)


def town_trees() -> Boosted:
    """The one that is trees only."""
    found = town_trained("trees")
    assert isinstance(found, Boosted)
    return found
