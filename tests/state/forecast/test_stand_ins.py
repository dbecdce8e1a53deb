"""Another region's model in place of a region's own: the same numbers under another label, and none in the first hours."""

import numpy as np

from schemas.records.records import FALLBACKS, Fallback
from state.demand.features import matrix_of
from state.demand.history import CountHistory
from state.forecast.draft import Draft
from state.forecast.explanation import explain_modelled, explain_unmodelled, is_modelled, load_model
from state.forecast.forecast import Forecaster
from state.forecast.region import FOLD_VERSION
from state.models.level import STAND_IN_H
from tests.state.model_city import HOURLY, fold, town_chain, town_slots


def drafts(fallback: Fallback, slots: int, live: int) -> list[Draft]:
    """The last issues of a town that is served by a chain under a label from its first slot on."""
    history, forecaster = CountHistory(HOURLY, tracked=True), Forecaster(HOURLY, "pickups", version=FOLD_VERSION)
    forecaster.use(town_chain().artefact, fallback)
    found = []
    for number, known in enumerate(town_slots(slots)):
        fold(history, known)
        if number >= slots - live:
            forecaster.score(history, known.slot, 2)
            found.append(forecaster.issue(history, known.slot))
            forecaster.learn(history, known.slot)
    return found


def served_by(draft: Draft) -> set[Fallback]:
    """The fallbacks of an issue."""
    return {FALLBACKS[code] for code in draft.columns.fallback.tolist()}


def test_a_stand_in_forecasts_as_the_model_itself() -> None:
    """With a history, only the label differs: numbers, features and quiet cells are the same, and corrections are learned."""
    for own, other in zip(drafts(Fallback.NONE, 230, 6), drafts(Fallback.GLOBAL, 230, 6), strict=True):
        codes = np.where(own.columns.fallback == 0, FALLBACKS.index(Fallback.GLOBAL), own.columns.fallback)
        np.testing.assert_array_equal(codes, other.columns.fallback)
        assert {Fallback.GLOBAL, Fallback.QUIET} == served_by(other)
        for name in ("mean", "median", "lower", "upper", "dispersion", "baseline"):
            np.testing.assert_array_equal(getattr(own.columns, name), getattr(other.columns, name))
        assert (own.features_digest, own.weights_milli) == (other.features_digest, other.weights_milli)


def test_the_level_serves_the_first_hours() -> None:
    """Another region's model begins after three observed hours, when it knows more of the cells than their level does."""
    found = drafts(Fallback.PARENT, 8, 8)
    assert [{Fallback.LEVEL}] * (STAND_IN_H - 1) == [served_by(draft) for draft in found[: STAND_IN_H - 1]]
    assert all(Fallback.PARENT in served_by(draft) for draft in found[STAND_IN_H - 1 :])
    assert all(Fallback.LEVEL not in served_by(draft) for draft in found[STAND_IN_H - 1 :])


def test_a_stand_ins_forecast_is_explained() -> None:
    """Each cell that another region's model served has the terms of that model, which add up to the served mean."""
    draft = drafts(Fallback.PARENT, 230, 2)[-1]
    model, matrix, explained = load_model(town_chain().artefact, HOURLY.horizons), matrix_of(draft.features), 0
    for row in range(len(draft.columns)):
        by_model = FALLBACKS[int(draft.columns.fallback[row])] is Fallback.PARENT
        assert by_model is is_modelled(draft.columns, row)
        found = explain_modelled(draft.columns, row, 1, model, matrix) if by_model else explain_unmodelled(draft.columns, row, 1)
        assert abs(found.base + sum(term.rides for term in found.terms) - int(draft.columns.mean[row, 1]) / 1000) < 1e-6
        explained += by_model
    assert explained > 10
