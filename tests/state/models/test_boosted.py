"""The artefact: its bytes load or raise a clear error, and means depend only on their own row."""

import pytest

from schemas.errors import ContractError, DamagedError
from state.demand.calendar import Calendar
from state.demand.features import NAMES, build
from state.models.boosted import LEAST_MEAN, Boosted, pack, unpack
from tests.state.demand.test_features import history_of
from tests.state.model_city import HOURLY, town_model


def test_means_of_a_row_do_not_depend_on_the_rows_beside_it() -> None:
    """A cell gets the same bits alone and with other cells, for every horizon, and more rides for longer windows."""
    history = history_of(700)
    slot = history.next_slot - 1
    features = build(history, Calendar(HOURLY), slot, history.universe(slot))
    model = Boosted(town_model().artefact, HOURLY.horizons)
    means = model.means(features)
    assert means[3:9].tobytes() == model.means(features[3:9]).tobytes()
    assert (means >= LEAST_MEAN).all()
    assert (means.sum(axis=0)[1:] > means.sum(axis=0)[:-1]).all()
    assert (0, 3) == model.means(features[:0]).shape


def test_an_artefact_unpacks_to_what_was_packed() -> None:
    """Header and trees survive the bytes exactly."""
    artefact = town_model().artefact
    about, trees = unpack(artefact)
    assert NAMES == about.features
    assert artefact == pack(about, trees)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda artefact: b"PK" + artefact[2:], "expected an artefact that starts with"),
        (lambda artefact: artefact[:-1], "bytes, got"),
        (lambda artefact: artefact[:40], "cannot read the artefact's header"),
        (lambda artefact: artefact[:-2000] + bytes(2000), "cannot load the trees"),
    ],
)
def test_damaged_bytes_are_refused_by_name(spoil: object, says: str) -> None:
    """For every kind of damage to an artefact, the error names what was expected."""
    with pytest.raises(DamagedError, match=says):
        Boosted(spoil(town_model().artefact), HOURLY.horizons)  # type: ignore[operator]


def test_a_model_for_other_horizons_or_features_is_refused() -> None:
    """An artefact trained for other features or horizons is refused."""
    with pytest.raises(ContractError, match="expected horizons"):
        Boosted(town_model().artefact, (1, 2, 4))
    about, trees = unpack(town_model().artefact)
    other = type(about)(
        ("lag_7", *about.features[1:]), about.horizons, about.dispersion_milli, about.quiet_dispersion_milli, about.quiet_mix
    )
    with pytest.raises(ContractError, match="got others: "):
        Boosted(pack(other, trees), HOURLY.horizons)
