"""A chain's artefact: what it holds, what it refuses, and means that are margin, linear model and trees."""

import dataclasses
import json
import struct
from collections.abc import Callable

import numpy as np
import pytest
import xgboost

from schemas.errors import ContractError, DamagedError
from state.demand.calendar import Calendar
from state.demand.features import build
from state.demand.history import CountHistory
from state.demand.tables import TABLES
from state.models.boosted import Boosted
from state.models.chain import ALGORITHM, HALF_RIDES, MAGIC, WHOLE, Chain, Link, margin, pack, tree_columns, unpack
from state.models.table import load_trained
from tests.state.model_city import HOURLY, fold, town_chain, town_model, town_slots


def town_matrix(n: int = 700) -> np.ndarray:
    """Features of the town's cells for the chain's table."""
    history = CountHistory(HOURLY, tracked=True)
    for known in town_slots(n):
        fold(history, known)
    slot = history.next_slot - 1
    return build(history, Calendar(HOURLY), slot, history.universe(slot), town_chain().table)


def test_means_are_trees_on_the_linear_model_on_the_profile() -> None:
    """For each horizon the booster starts from the log mean of the linear model, which starts from its profile."""
    features, chain = town_matrix(), Chain(town_chain().artefact, HOURLY.horizons)
    means = chain.means(features)
    about, version, links = unpack(town_chain().artefact)
    assert (town_chain().table.names, town_chain().table.version) == (about.features, version)
    empty = np.flatnonzero(np.isnan(features).all(axis=0)).tolist()  # of events that the town does not have
    for i, link in enumerate(links):
        logs = link.glm.log_means(features, margin(features, TABLES[version], HOURLY.horizons, i))
        data = xgboost.DMatrix(features[:, list(link.columns)], base_margin=logs.astype(np.float32))
        whole = np.log(xgboost.Booster(model_file=bytearray(link.trees)).predict(data).astype(float))
        expected = np.clip(np.exp(logs + HALF_RIDES / (HALF_RIDES + np.exp(logs)) * (whole - logs)), 1e-4, 1e5)
        assert expected == pytest.approx(means[:, i], rel=1e-5)
        assert [c for c in TABLES[version].columns(i, linear=True) if c not in empty] == list(link.glm.columns)
        assert [c for c in tree_columns(TABLES[version], i) if c not in empty] == list(link.columns)
    assert (0, 3) == chain.means(features[:0]).shape


def test_trees_see_no_weather() -> None:
    """Weather would name single days of a training, so it is for the linear model; each horizon keeps its own of the others."""
    table = TABLES[4]
    for i, name in enumerate(("first", "middle", "last")):
        offered = {table.names[column] for column in table.columns(i, linear=False)}
        kept = {table.names[column] for column in tree_columns(table, i)}
        assert {n for n in offered if n.startswith("weather_")} == offered - kept != set()
        assert {"lag_15", "level_own_60", "level_parent_60", f"log_profile_{name}", f"wide_{name}"} <= kept


def test_trees_that_count_whole_keep_the_bytes_of_earlier_artefacts() -> None:
    """What counts whole writes no share, and an artefact without one has it; means are then those of the booster."""
    about, version, links = unpack(town_chain().artefact)
    whole = [dataclasses.replace(link, half_rides=WHOLE) for link in links]
    artefact = pack(about, TABLES[version], whole)
    assert b'"share"' not in artefact
    assert b'"half_rides"' not in artefact
    assert whole == unpack(artefact)[2]
    features = town_matrix()
    for i, link in enumerate(whole):
        logs = link.glm.log_means(features, margin(features, TABLES[version], HOURLY.horizons, i))
        data = xgboost.DMatrix(features[:, list(link.columns)], base_margin=logs.astype(np.float32))
        expected = xgboost.Booster(model_file=bytearray(link.trees)).predict(data)
        assert expected == pytest.approx(Chain(artefact, HOURLY.horizons).means(features)[:, i], rel=1e-6)


def test_a_share_may_be_the_same_for_all_cells() -> None:
    """An artefact with a share and without the rides where it halves counts that share of the trees everywhere."""
    about, version, links = unpack(town_chain().artefact)
    table, features = TABLES[version], town_matrix()
    alike, none = ([dataclasses.replace(link, share=share, half_rides=WHOLE) for link in links] for share in (0.6, 0.0))
    whole, some, linear = (
        np.log(Chain(pack(about, table, of), HOURLY.horizons).means(features))
        for of in ([dataclasses.replace(link, half_rides=WHOLE) for link in links], alike, none)
    )
    assert linear + 0.6 * (whole - linear) == pytest.approx(some, abs=1e-5)
    assert alike == unpack(pack(about, table, alike))[2]


def test_what_a_newer_artefact_says_of_its_trees_is_not_ignored() -> None:
    """An unknown name beside the trees is refused, since the means would be others."""
    artefact = town_chain().artefact
    (length,) = struct.unpack_from("<I", artefact, len(MAGIC))
    start = len(MAGIC) + 4
    header = artefact[start:][:length].replace(b'"half_rides"', b'"third_rides"')
    with pytest.raises(DamagedError, match="unknown third_rides; a newer Ridecast trained it"):
        unpack(MAGIC + struct.pack("<I", len(header)) + header + artefact[start + length :])


def test_an_artefact_unpacks_to_what_was_packed() -> None:
    """Header, coefficients and trees survive the bytes exactly, and the header names table, features and algorithm."""
    artefact = town_chain().artefact
    about, version, links = unpack(artefact)
    assert artefact == pack(about, TABLES[version], links)
    (length,) = struct.unpack_from("<I", artefact, len(MAGIC))
    header = json.loads(artefact[len(MAGIC) + 4 :][:length])
    assert (ALGORITHM, version, list(about.features)) == (header["algorithm"], header["table"], header["features"])


def test_the_first_bytes_decide_which_model_is_loaded() -> None:
    """Artefacts of trees alone still load, as what they are."""
    assert isinstance(load_trained(town_model().artefact, HOURLY.horizons), Boosted)
    assert isinstance(load_trained(town_chain().artefact, HOURLY.horizons), Chain)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda artefact: artefact[:-1], "bytes and 3 horizons, got"),
        (lambda artefact: artefact[:40], "cannot read the artefact's header"),
        (lambda artefact: artefact.replace(b'"centres":[', b'"centres":[1.5,', 1), "cannot read the artefact's header"),
        (lambda artefact: artefact[:-2000] + bytes(2000), "cannot load the trees"),
    ],
)
def test_damaged_bytes_are_refused_by_name(spoil: Callable[[bytes], bytes], says: str) -> None:
    """For every kind of damage to an artefact, the error names what was expected."""
    with pytest.raises(DamagedError, match=says):
        load_trained(spoil(town_chain().artefact), HOURLY.horizons)


def test_bytes_of_another_kind_are_refused() -> None:
    """Trees alone are no chain."""
    with pytest.raises(DamagedError, match="expected an artefact that starts with b'RCMODEL2', got b'RCTREES1'"):
        unpack(town_model().artefact)


def test_a_chain_for_other_features_or_horizons_is_refused() -> None:
    """An unknown table, changed columns and other horizons are refused, and the message says what was expected."""
    artefact = town_chain().artefact
    with pytest.raises(ContractError, match="expected horizons of"):
        Chain(artefact, (1, 2, 4))
    about, version, links = unpack(artefact)
    table = TABLES[version]
    unknown, known = pack(about, dataclasses.replace(table, version=9), links), ", ".join(map(str, TABLES))
    with pytest.raises(ContractError, match=rf"expected a feature table of version {known}, got 9; a newer Ridecast trained it"):
        Chain(unknown, HOURLY.horizons)
    other = dataclasses.replace(about, features=("lag_7", *about.features[1:]))
    with pytest.raises(ContractError, match=rf"expected the features of table {version}, got others: {about.features[0]}, lag_7; train"):
        Chain(pack(other, table, links), HOURLY.horizons)
    order = dataclasses.replace(about, features=about.features[::-1])
    with pytest.raises(ContractError, match="got others: their order"):
        Chain(pack(order, table, links), HOURLY.horizons)


def test_means_are_bounded() -> None:
    """Whatever profile and linear model say, a mean is at least 1/10,000 ride and at most 100,000."""
    about, version, links = unpack(town_chain().artefact)
    features = town_matrix()[:2]
    for low, high in ((-40.0, 1e-4), (40.0, 1e5)):
        for share in (1.0, 0.7):
            moved = [Link(dataclasses.replace(link.glm, intercept=low), link.columns, link.trees, share) for link in links]
            means = Chain(pack(about, TABLES[version], moved), HOURLY.horizons).means(features)
            assert [[high] * 3] * 2 == means.tolist()
