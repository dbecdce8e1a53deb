"""A shadow forecasts what the fold would serve with its model, and its losses are those of both forecasts."""

import dataclasses

import numpy as np
import pytest

from schemas.errors import ContractError
from state.decide.paired import CHALLENGER, CHAMPION, SQUARE
from state.decide.shadow import Shadow
from state.forecast.region import FOLD_VERSION, Champion, RegionFold, SlotOutcome
from tests.state.demand.test_other_features import BOTH, beside, closed as both_closed, two_measure_chain
from tests.state.forecast.test_region import WARM, champion, closed, counted, kept, warm
from tests.state.model_city import town_slots

SLOTS = town_slots(WARM + 40, late=True, outage=range(WARM + 20, WARM + 22))
BLOCK = 12


def served() -> tuple[RegionFold, Shadow, list[SlotOutcome]]:
    """A fold that serves the baseline, with a model in its shadow, after all slots."""
    fold = warm(dataclasses.replace(known, late_slots=known.late_slots[:0]) for known in SLOTS[:WARM])
    shadow = Shadow(fold.region, 0, model().artefact, fold.to_arrays(), FOLD_VERSION, BLOCK)
    outcomes = []
    for known in SLOTS[WARM:]:
        outcomes.append(fold.apply(closed(known)))
        shadow.take(closed(known), outcomes[-1].status, FOLD_VERSION, outcomes[-1].issues[0].draft.columns)
    return fold, shadow, outcomes


def model() -> Champion:
    """The model of the town."""
    [found] = champion().values()
    return found


def challenged() -> list[SlotOutcome]:
    """The same slots, with the model promoted before the first."""
    fold = warm(dataclasses.replace(known, late_slots=known.late_slots[:0]) for known in SLOTS[:WARM])
    fold.use(champion())
    return [fold.apply(closed(known)) for known in SLOTS[WARM:]]


def test_its_losses_are_those_of_two_folds() -> None:
    """Squared errors per block, added up from what two folds scored as their windows ended, one of them with the model."""
    fold, shadow, outcomes = served()
    expected: dict[tuple[int, int, int], int] = {}
    for which, folded in ((CHAMPION, outcomes), (CHALLENGER, challenged())):
        for scored in (scored for outcome in folded for scored in outcome.scores if not scored.settled):
            for row in scored.rows:
                issued = scored.slot - row.horizon_min // fold.region.slot_min
                if issued >= shadow.next_slot - len(outcomes):
                    place = (issued // BLOCK, which, fold.region.horizons_min.index(row.horizon_min))
                    expected[place] = expected.get(place, 0) + row.square_error_micro
    found = {
        (block, which, i): round(float(shadow.losses.losses[at, which, SQUARE, i].sum()) * 1e6)
        for at, block in enumerate(shadow.losses.blocks.tolist())
        for which in (CHAMPION, CHALLENGER)
        for i in range(3)
        if shadow.losses.issues[at, i]
    }
    assert expected == found
    assert {CHAMPION, CHALLENGER} == {which for _, which, _ in found}
    assert sum(found[place] for place in found if place[1] == CHAMPION) != sum(found[place] for place in found if place[1] == CHALLENGER)


def test_windows_with_an_outage_are_not_scored() -> None:
    """Two unobserved slots take every window that contains one of them out of the sums."""
    fold, shadow, outcomes = served()
    assert [len(outcomes) - h - (h + 1) for h in fold.region.horizons] == shadow.losses.issues.sum(axis=0).tolist()


def test_a_slot_out_of_order_is_refused() -> None:
    """A shadow that misses a slot says which it expected."""
    _, shadow, outcomes = served()
    with pytest.raises(ContractError, match=f"expected slot {shadow.next_slot}, got {shadow.next_slot - 1}"):
        shadow.take(outcomes[-1].closed, outcomes[-1].status, FOLD_VERSION, outcomes[-1].issues[0].draft.columns)


def test_a_kept_shadow_goes_on() -> None:
    """Kept and made again after 25 slots, it forecasts and sums as one that was not."""
    whole = served()[1]
    fold = warm(dataclasses.replace(known, late_slots=known.late_slots[:0]) for known in SLOTS[:WARM])
    shadow = Shadow(fold.region, 0, model().artefact, fold.to_arrays(), FOLD_VERSION, BLOCK)
    for number, known in enumerate(SLOTS[WARM:]):
        if number == 25:
            arrays = kept(shadow.to_arrays())
            shadow = Shadow(fold.region, 0, model().artefact, arrays, FOLD_VERSION, BLOCK)
            shadow.resume(arrays)
        outcome = fold.apply(closed(known))
        shadow.take(closed(known), outcome.status, FOLD_VERSION, outcome.issues[0].draft.columns)
    mine, theirs = shadow.to_arrays(), whole.to_arrays()
    assert {name: array.tobytes() for name, array in theirs.items()} == {name: array.tobytes() for name, array in mine.items()}


def test_a_shadow_follows_an_upgrade_of_the_fold() -> None:
    """From the slot of an upgrade on it has the levels that the fold has, which newer models need."""
    fold = warm(dataclasses.replace(known, late_slots=known.late_slots[:0]) for known in SLOTS[:WARM])
    fold.follow(3)
    shadow = Shadow(fold.region, 0, model().artefact, fold.to_arrays(), 3, BLOCK)
    for number, known in enumerate(SLOTS[WARM : WARM + 10]):
        fold.follow(3 if number < 5 else 4)
        outcome = fold.apply(closed(known))
        shadow.take(closed(known), outcome.status, fold.version, outcome.issues[0].draft.columns)
    levels = {name: array for name, array in fold.to_arrays().items() if name.startswith("history0.level_")}
    assert levels
    assert {name: array.tobytes() for name, array in levels.items()} == {name: shadow.to_arrays()[name].tobytes() for name in levels}


def test_timing_an_issue_changes_nothing() -> None:
    """The median of nine issues by the clock that is given, and the shadow's state stays as it was."""
    _, shadow, _ = served()
    before = {name: array.tobytes() for name, array in shadow.to_arrays().items()}
    ticks = iter(np.cumsum([0.0, 0.002] * 4 + [0.0, 0.005] * 10).tolist())
    assert 5.0 == pytest.approx(shadow.issue_ms(model().artefact, lambda: next(ticks)))
    assert before == {name: array.tobytes() for name, array in shadow.to_arrays().items()}


def test_a_shadow_sees_the_other_measures() -> None:
    """A challenger whose features see the other measure forecasts what the fold would serve with it, also kept and made again."""
    slots = beside(WARM + 12)
    past = ((known.slot, tuple(counted(one) for one in (known, known.beside["unserved"]))) for known in slots[:WARM])
    fold = RegionFold(BOTH, slots[WARM].slot)
    fold.remember(past)
    challenger = two_measure_chain()
    shadow = Shadow(BOTH, 0, challenger, fold.to_arrays(), FOLD_VERSION, BLOCK)
    fold.use({"requests": Champion(bytes(32), challenger)})
    for number, known in enumerate(slots[WARM:]):
        if number == 6:
            arrays = kept(shadow.to_arrays())
            shadow = Shadow(BOTH, 0, challenger, arrays, FOLD_VERSION, BLOCK)
            shadow.resume(arrays)
        outcome = fold.apply(both_closed(known))
        shadow.take(both_closed(known), outcome.status, FOLD_VERSION, outcome.issues[0].draft.columns)
    assert int(shadow.losses.issues.sum()) > 0
    assert (shadow.losses.losses[:, CHAMPION] == shadow.losses.losses[:, CHALLENGER]).all()
    assert fold.histories[1].digest() == shadow.histories[1].digest()
