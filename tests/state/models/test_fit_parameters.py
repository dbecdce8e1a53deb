"""The parameters of a fit: their defaults, their texts in a record, and what they change in a model."""

import math
from dataclasses import replace

import numpy as np
import pytest

from schemas.errors import UsageError
from state.forecast.training import TrainedModel, train_model
from state.models.chain import HALF_RIDES, LEAF_RIDES, PARAMETERS, PENALTY_SHARE
from state.models.chain_fitting import Lesson, fit_link, try_link
from state.models.fit_parameters import AS_SHIPPED, NAMES, FitParameters
from state.models.network_fitting import NETWORK_DECAY, NETWORK_SHARE
from tests.state.model_city import FIRST_SLOT, HOURLY, town_chain, town_slots

OTHER = FitParameters(2, 0.2, 0.5, 0.35, 31.5, 0.8, 10.0, 0.5, 14.0, 0.25, 1.5)
NOT_OF_A_LINK = ("half_life_days", "network_share", "network_decay")  # tests of the network have theirs


def test_the_defaults_are_those_of_the_chain() -> None:
    """Unless told otherwise, a fit uses the constants of the chain, and records them as before."""
    assert PARAMETERS == AS_SHIPPED.booster()
    shipped = {name: str(value) for name, value in PARAMETERS.items()}
    more = {"tree_share": "1", "tree_half_rides": f"{HALF_RIDES:g}", "penalty_share": str(PENALTY_SHARE), "half_life_days": "28"}
    more |= {"network_share": f"{NETWORK_SHARE:g}", "network_decay": f"{NETWORK_DECAY:g}"}
    assert shipped | {"leaf_rides": f"{LEAF_RIDES:g}"} | more == AS_SHIPPED.texts()


def test_what_is_recorded_can_be_read_again() -> None:
    """Every parameter survives its text; one that a record does not name has its default, and one of a network means that there is none."""
    assert OTHER == FitParameters.recorded(OTHER.texts() | {"rounds": "7,8,9", "threads": "2"})
    assert replace(AS_SHIPPED, network_share=0.0) == FitParameters.recorded({"rounds": "120"})
    assert AS_SHIPPED == FitParameters.recorded(AS_SHIPPED.texts())
    before = FitParameters.recorded({"tree_share": "0.6"})  # by a version that counted trees alike everywhere
    assert (0.6, math.inf) == (before.tree_share, before.tree_half_rides)
    assert before == FitParameters.recorded(before.texts())
    with pytest.raises(UsageError, match="parameters of the model: eta: expected a number, got 'fast'"):
        FitParameters.recorded({"eta": "fast"})


def trained(fit: FitParameters) -> TrainedModel:
    """A small model of the town."""
    table = town_chain().table
    return train_model(HOURLY, town_slots(400), FIRST_SLOT, FIRST_SLOT + 400, threads=1, table=table, most_rows=2_500, fit=fit)


def test_each_parameter_reaches_the_fit() -> None:
    """Another value of any parameter of a link gives other bytes, and other errors in a trial."""
    random = np.random.default_rng(5)
    features = random.normal(size=(900, 6)).astype(np.float32)
    rides = random.poisson(np.exp(1.0 + 0.4 * features[:, 0] * features[:, 1] + 0.2 * features[:, 2])).astype(np.float64)
    lesson = Lesson(features, rides, np.ones(900), np.ones(900))
    early = np.arange(900) < 600
    fits = (AS_SHIPPED, *(replace(AS_SHIPPED, **{name: getattr(OTHER, name)}) for name in NAMES if name not in NOT_OF_A_LINK))
    links = {repr(fit_link(lesson, (0, 2), (0, 1, 2, 3, 4, 5), 30, 1, fit)) for fit in fits}
    trials = {try_link(lesson.where(early), lesson.where(~early), (0, 2), (0, 1, 2, 3, 4, 5), 1, fit).means.tobytes() for fit in fits}
    assert (9, 9) == (len(links), len(trials))


def test_training_uses_and_records_them() -> None:
    """A model of other parameters names them in its record; the age of rows counts as one of them says."""
    found, aged = trained(OTHER), trained(replace(OTHER, half_life_days=2.0))
    assert OTHER == FitParameters.recorded(found.parameters)
    assert aged.artefact != found.artefact
