"""Models in a forecaster: a row comes into force at its version, correctors meet only what came true, memory is bounded."""

import dataclasses

import pytest

from schemas.errors import ContractError
from state.demand.history import CountHistory
from state.forecast.forecast import Forecaster
from state.models.table import MODELS, ModelTable
from tests.state.model_city import HOURLY, fold, run_slot, town_model, town_slots
from tests.state.models.level import LEVEL

WITH_LEVEL = ModelTable(MODELS.means, (*MODELS.correctors, LEVEL))


def started(models: ModelTable, version: int, n: int = 300) -> tuple[CountHistory, Forecaster]:
    """A history of n slots, and a forecaster with the town's model that has issued nothing yet."""
    history, forecaster = CountHistory(HOURLY), Forecaster(HOURLY, "pickups", models, version)
    forecaster.use(town_model().artefact)
    for known in town_slots(n):
        fold(history, known)
    return history, forecaster


def restored(history: CountHistory, forecaster: Forecaster, models: ModelTable) -> tuple[CountHistory, Forecaster]:
    """Both from their arrays, at first by the oldest rules, as a resume does."""
    other, again = CountHistory(HOURLY), Forecaster(HOURLY, "pickups", models, 1)
    again.use(town_model().artefact)
    other.from_arrays(history.to_arrays())
    again.from_arrays(forecaster.to_arrays())
    return other, again


def test_a_row_changes_nothing_before_its_version() -> None:
    """Numbers, digests and arrays are those of a table without it; from its version on it corrects and is kept."""
    plain, level = started(MODELS, 2), started(WITH_LEVEL, 2)
    for known in town_slots(330)[300:]:
        assert run_slot(*plain, known) == run_slot(*level, known)
        assert plain[1].digest() == level[1].digest()
    assert list(plain[1].to_arrays()) == list(level[1].to_arrays())
    level[1].follow(3)
    moved = [run_slot(*plain, known) != run_slot(*level, known) for known in town_slots(340)[330:]]
    assert [False, True] == [moved[0], moved[-1]]
    assert {"level_cells", "level_sums", "issued_level_means"} <= level[1].to_arrays().keys()
    assert plain[1].digest() != level[1].digest()


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("cut", [305, 310, 311, 312, 318])
def test_a_snapshot_around_the_version_changes_nothing(cut: int, version: int) -> None:
    """Restored before, at or after the slot from which a row is in force, or no longer, the run goes on to the bit."""
    whole, other = started(WITH_LEVEL, version - 1), started(WITH_LEVEL, version - 1)
    for i, known in enumerate(town_slots(330)[300:], 300):
        if i == cut:
            other = restored(*other, WITH_LEVEL)
        for _, forecaster in (whole, other):
            forecaster.follow(version - (i < 310))
        assert run_slot(*whole, known) == run_slot(*other, known)
        assert whole[1].digest() == other[1].digest()
    assert [(name, array.tobytes()) for name, array in whole[1].to_arrays().items()] == [
        (name, array.tobytes()) for name, array in other[1].to_arrays().items()
    ]


def test_a_row_is_in_force_until_its_version() -> None:
    """From the fourth version on the recursive corrector has the place of the online one, with its field, and nothing is left of that."""
    history, forecaster = started(MODELS, 3)
    for known in town_slots(306)[300:]:
        run_slot(history, forecaster, known)
    assert {"online_weights", "issued_means"} <= forecaster.to_arrays().keys()
    forecaster.follow(4)
    weights = [run_slot(history, forecaster, known)[8] for known in town_slots(309)[306:]]
    assert [(("online_weight_milli", weight),) for weight in (0, 0, 1000)] == weights
    assert {"recursive_coefficients", "issued_recursive_means"} <= forecaster.to_arrays().keys()
    assert not {"online_weights", "issued_means"} & forecaster.to_arrays().keys()


def test_arrays_replace_all_that_was_known() -> None:
    """A forecaster that already learned becomes the one that the arrays are of, also where they hold nothing of a corrector."""
    fresh, used = started(WITH_LEVEL, 2), started(WITH_LEVEL, 3)
    for known in town_slots(306)[300:]:
        run_slot(*fresh, known)
        run_slot(*used, known)
    used[1].from_arrays(fresh[1].to_arrays())
    fresh[1].follow(3)
    assert fresh[1].digest() == used[1].digest()


def test_correctors_meet_only_what_came_true() -> None:
    """Each outcome is a window that ended with the slot that has its rides."""
    history, forecaster = started(WITH_LEVEL, 3)
    rides = {
        (known.slot, cell): n for known in town_slots(320) for cell, n in zip(known.cells.tolist(), known.counts.tolist(), strict=True)
    }
    met = 0
    for known in town_slots(320)[300:]:
        fold(history, known)
        forecaster.score(history, known.slot, 2)
        for outcomes in forecaster._outcomes.values():
            for outcome in outcomes:
                ended = range(known.slot - outcome.horizon, known.slot + 1)  # the town's horizons are 1, 2 and 3 slots
                for cell, truth in zip(outcome.cells.tolist(), outcome.truth.tolist(), strict=True):
                    assert sum(rides.get((slot, cell), 0) for slot in ended) == truth
                met += 1
        forecaster.issue(history, known.slot)
        forecaster.learn(history, known.slot)
    assert 2 * (19 + 18 + 17) == met


def test_what_a_forecaster_keeps_is_bounded() -> None:
    """Issues are kept until they settle and inputs until their last window ends, whatever the table holds."""
    history, forecaster = started(WITH_LEVEL, 3)
    sizes = []
    for known in town_slots(360)[300:]:
        run_slot(history, forecaster, known)
        arrays = forecaster.to_arrays()
        assert len(arrays["issued_slot"]) <= 2 + HOURLY.horizons[-1]
        cells = len(history.universe(known.slot))
        for row in (row for row in WITH_LEVEL.correctors if row.in_force(3)):
            assert len(arrays[f"{row.issued}means"]) <= HOURLY.horizons[-1] * cells
        sizes.append(sum(array.nbytes for array in arrays.values()) / cells)
    assert max(sizes[30:]) <= 1.1 * max(sizes[:30])


def test_a_cell_that_no_model_serves_raises() -> None:
    """A table without a model for every cell is an error of ours, never an issue with numbers of chance."""
    history, forecaster = started(dataclasses.replace(MODELS, means=MODELS.means[:1]), 2)
    with pytest.raises(ContractError, match="region town: expected a model for every cell, got none for"):
        forecaster.issue(history, history.next_slot - 1)
