"""Slots that a fold fast-forwards through: later outcomes are the same as after full folding."""

import dataclasses

import pytest

from schemas.errors import ContractError
from state.forecast.region import RegionFold, SlotOutcome
from tests.state.forecast.test_region import WARM, champion, closed, said, warm
from tests.state.model_city import town_slots

SLOTS = town_slots(WARM + 60, late=True, outage=range(WARM + 20, WARM + 22))


def fresh(*, model: bool) -> RegionFold:
    """A fold just before the first live slot."""
    fold = warm(dataclasses.replace(known, late_slots=known.late_slots[:0]) for known in SLOTS[:WARM])
    fold.use(champion() if model else {})
    return fold


@pytest.mark.parametrize("model", [True, False])
def test_later_outcomes_are_bit_identical(model: bool) -> None:
    """After a fast-forward a fold forecasts the same at once, and scores and digests the same once its memory is full again."""
    whole, quick = fresh(model=model), fresh(model=model)
    start = WARM + 30 - whole.memory_slots
    full: list[SlotOutcome] = [whole.apply(closed(known)) for known in SLOTS[WARM:]]
    for known in SLOTS[WARM:start]:
        quick.fast_forward(closed(known))
    found = [quick.apply(closed(known)) for known in SLOTS[start:]]
    for mine, theirs in zip(found, full[start - WARM :], strict=True):
        assert said(theirs)[2:3] + said(theirs)[5:] == said(mine)[2:3] + said(mine)[5:]
        assert (theirs.status, theirs.universe) == (mine.status, mine.universe)
    assert [said(outcome) for outcome in full[30:]] == [said(outcome) for outcome in found[WARM + 30 - start :]]
    assert whole.digest(0) == quick.digest(0)


def test_single_slots_can_be_fast_forwarded() -> None:
    """Forecasts between fast-forwarded slots are the same as after full folding."""
    whole, quick = fresh(model=True), fresh(model=True)
    for number, known in enumerate(SLOTS[WARM:]):
        [theirs] = whole.apply(closed(known)).issues
        if number % 7 == 3:
            [mine] = quick.apply(closed(known)).issues
            assert theirs.draft.features_digest == mine.draft.features_digest
            assert theirs.draft.columns.mean.tobytes() == mine.draft.columns.mean.tobytes()
        else:
            assert () == quick.fast_forward(closed(known)).issues


def test_only_the_next_slot_can_be_fast_forwarded() -> None:
    """A slot out of order is refused, as in full folding."""
    with pytest.raises(ContractError, match="expected slot"):
        fresh(model=False).fast_forward(closed(SLOTS[WARM + 1]))
