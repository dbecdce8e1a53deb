"""A network beside the trees of a chain: means by value, artefacts, its trial, and training with it."""

import dataclasses
import json
import struct
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from schemas.errors import ContractError, DamagedError
from schemas.events.rides import Float64s
from state.demand.tables import TABLES
from state.forecast.training import train_model
from state.models import chain_network
from state.models.boosted import LEAST_MEAN, MOST_MEAN, load_booster
from state.models.chain import HALF_RIDES, MAGIC, WHOLE, Chain, margin, pack, unpack
from state.models.chain_fitting import Lesson, Trial, try_link
from state.models.chain_network import MOST_ROUNDS_BESIDE, add_network, loss_of, try_network
from state.models.fit_parameters import AS_SHIPPED, FitParameters
from state.models.network import LoadedNetwork
from tests.state.model_city import FIRST_SLOT, HOURLY, town_chain, town_network_chain, town_slots
from tests.state.models.test_chain import town_matrix


def test_a_network_takes_a_part_of_the_share_of_the_trees() -> None:
    """The log of a mean is the linear model's, 0.4 of the trees' sum and 0.6 of the network's output, which fade alike."""
    features, chain = town_matrix(), Chain(town_network_chain(), HOURLY.horizons)
    means, (_, version, links) = chain.means(features), unpack(town_network_chain())
    assert links[0].network is not None
    output = LoadedNetwork(links[0].network).logs(features)
    assert np.abs(output).max() > 0.01
    for i, link in enumerate(links):
        assert (0.4, HALF_RIDES, links[0].network) == (link.share, link.half_rides, link.network)
        logs = link.glm.log_means(features, margin(features, TABLES[version], HOURLY.horizons, i))
        of_trees = chain._boosters[i].inplace_predict(
            features[:, list(link.columns)], predict_type="margin", base_margin=np.zeros(len(logs))
        )
        added = 0.4 * of_trees.astype(float) + 0.6 * output[:, i]
        expected = np.exp(logs + HALF_RIDES / (HALF_RIDES + np.exp(logs)) * added)
        assert np.clip(expected, LEAST_MEAN, MOST_MEAN) == pytest.approx(means[:, i], rel=1e-6)
    assert (0, 3) == chain.means(features[:0]).shape


def test_a_network_counts_alike_everywhere_where_trees_do() -> None:
    """Without rides at which the share halves, the whole share of the network is added in every cell."""
    about, version, links = unpack(town_network_chain())
    alike = [dataclasses.replace(link, half_rides=WHOLE, share=0.0) for link in links]
    features = town_matrix()
    logs = np.log(Chain(pack(about, TABLES[version], alike), HOURLY.horizons).means(features))
    without = [dataclasses.replace(link, network=None) for link in alike]
    linear = np.log(Chain(pack(about, TABLES[version], without), HOURLY.horizons).means(features))
    assert links[0].network is not None
    assert 0.6 * LoadedNetwork(links[0].network).logs(features) == pytest.approx(logs - linear, abs=1e-9)


def test_means_do_not_depend_on_the_batch() -> None:
    """Each row alone, and all of them in another order, have the bits that they have together."""
    features, chain = town_matrix(), Chain(town_network_chain(), HOURLY.horizons)
    means = chain.means(features)
    assert means.tobytes() == np.concatenate([chain.means(features[i : i + 1]) for i in range(len(features))]).tobytes()
    assert means[::-1].tobytes() == chain.means(features[::-1]).tobytes()


def test_an_artefact_names_a_network_only_if_it_has_one() -> None:
    """It unpacks to what was packed, and without the network the artefact is that of trees alone."""
    artefact = town_network_chain()
    about, version, links = unpack(artefact)
    assert artefact == pack(about, TABLES[version], links)
    assert b'"network"' in artefact
    own = unpack(town_chain().artefact)[2]
    without = [dataclasses.replace(link, network=None, share=of.share) for link, of in zip(links, own, strict=True)]
    assert town_chain().artefact == pack(about, TABLES[version], without)
    assert b'"network"' not in town_chain().artefact
    with pytest.raises(ContractError, match="expected one network for all horizons, got others"):
        pack(about, TABLES[version], [links[0], *without[1:]])


def changed(artefact: bytes, change: Callable[[dict[str, object]], object]) -> bytes:
    """An artefact whose header says something else of the network."""
    (length,) = struct.unpack_from("<I", artefact, len(MAGIC))
    start = len(MAGIC) + 4
    header = json.loads(artefact[start:][:length])
    change(header["network"])
    text = json.dumps(header).encode()
    return MAGIC + struct.pack("<I", len(text)) + text + artefact[start + length :]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda artefact: artefact[:-4], "bytes and 3 horizons, got"),
        (lambda artefact: artefact + bytes(4), "bytes and 3 horizons, got"),
        (lambda artefact: artefact[:-4] + b"\x00\x00\x00\x70", "sums of at most 16777216 in layer 2"),
        (lambda artefact: changed(artefact, lambda row: row.update(widths=[64, 16, 2])), "bytes and 3 horizons"),
        (lambda artefact: changed(artefact, lambda row: row.update(widths=[10**9, 16, 3])), "cannot read the artefact's header: network"),
        (lambda artefact: changed(artefact, lambda row: row.update(gates=[1])), "unknown gates; a newer Ridecast trained it"),
        (lambda artefact: changed(artefact, lambda row: row.pop("bits")), "cannot read the artefact's header"),
        (lambda artefact: changed(artefact, lambda row: row.update(share=-1.0)), "got a share of -1"),
    ],
)
def test_a_damaged_network_is_refused(spoil: Callable[[bytes], bytes], says: str) -> None:
    """Numbers that are missing, too many or too large, and a header that does not fit them, are damage, named."""
    with pytest.raises(DamagedError, match=says):
        Chain(spoil(town_network_chain()), HOURLY.horizons)


def crossed(n: int, seed: int, strength: float) -> list[Lesson]:
    """Rows of two horizons; with some strength, the rate has a product of two features."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, 5)).astype(np.float32)
    rate = np.exp(strength * np.clip(features[:, 0] * features[:, 1], -2.0, 2.0) + 0.1 * features[:, 2])
    rides: Float64s = random.poisson(rate[:, None] * (1.0, 2.0)).astype(np.float64)
    return [Lesson(features, rides[:, i], np.full(n, np.log(1.0 + i)), np.ones(n)) for i in range(2)]


def tried(strength: float, fit: FitParameters) -> tuple[list[Lesson], list[Trial], list[Trial]]:
    """Held-out rows, and the trials without and with a network, if there is to be one."""
    early, late = crossed(4_000, 1, strength), crossed(2_000, 2, strength)
    trials = [try_link(one, other, (2,), (2, 3), 1, fit) for one, other in zip(early, late, strict=True)]
    return late, trials, try_network(early, late, trials, (0, 1, 2, 3, 4), fit)


def test_a_network_is_kept_where_it_forecasts_better() -> None:
    """Where it learns what the others cannot, held-out rows are forecast better, and the means are those with it."""
    late, before, after = tried(0.5, AS_SHIPPED)
    assert all(trial.link.network is not None and trial.link.share == 0.4 for trial in after)
    assert [min(trial.rounds, MOST_ROUNDS_BESIDE) for trial in before] == [trial.rounds for trial in after]
    assert all(load_booster(trial.link.trees).num_boosted_rounds() <= MOST_ROUNDS_BESIDE for trial in after)
    assert loss_of(late, [trial.means for trial in after]) < 0.99 * loss_of(late, [trial.means for trial in before])


def test_a_network_that_is_of_no_use_is_left_out() -> None:
    """Where there is nothing to learn, and where no share is meant for it, the trials stay as they are."""
    _, before, after = tried(0.0, AS_SHIPPED)
    assert all(one is other for one, other in zip(before, after, strict=True))
    assert after[0].link.network is None
    _, before, after = tried(0.5, dataclasses.replace(AS_SHIPPED, network_share=0.0))
    assert all(one is other for one, other in zip(before, after, strict=True))


def test_its_parameters_reach_a_network() -> None:
    """The share is divided as they say, and another decay gives other numbers; without rows there is no network."""
    lessons = crossed(600, 1, 0.5)
    links = [try_link(of, of, (2,), (2, 3), 1, AS_SHIPPED).link for of in lessons]
    fit = dataclasses.replace(AS_SHIPPED, tree_share=0.8, network_share=0.25, network_decay=1.0)
    first, other = (add_network(lessons, links, (0, 1), of)[0].network for of in (fit, dataclasses.replace(fit, network_decay=0.1)))
    assert first is not None
    assert other is not None
    assert (0.2, 0.8 * 0.75) == pytest.approx((first.share, add_network(lessons, links, (0, 1), fit)[0].share))
    assert first.numbers != other.numbers
    assert links == add_network([of.where(of.rides < 0) for of in lessons], links, (0, 1), fit)
    assert links == add_network(lessons, links, (), fit)


def test_training_with_a_network_gives_the_same_bytes_on_any_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept, the network is in the artefact and in the record; its bytes do not depend on how many threads there are."""
    table = town_chain().table  # before the patch: it is kept for other tests
    losses: list[float] = []

    def falling(late: Sequence[Lesson], means: Sequence[Float64s]) -> float:
        losses.append(loss_of(late, means))
        return float(-len(losses))

    monkeypatch.setattr(chain_network, "loss_of", falling)
    one, three = (
        train_model(HOURLY, town_slots(400), FIRST_SLOT, FIRST_SLOT + 400, threads=threads, table=table, most_rows=2_500)
        for threads in (1, 3)
    )
    assert one.artefact == three.artefact
    network = unpack(one.artefact)[2][0].network
    assert network is not None
    assert (str(len(network.columns)), "0.6") == (one.parameters["network_inputs"], one.parameters["network_share"])
    assert losses[:2] == losses[2:]
    assert 0.9 < losses[1] / losses[0] < 1.1
    told = [table.names[column] for column in network.columns]
    assert not [name for name in told if name.startswith("weather_")]
    assert {"lag_15", "slot_of_day", "log_profile_first", "log_profile_last", "level_city_60"} <= set(told)
