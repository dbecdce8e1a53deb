"""A network in whole numbers: the bits of a plain reference, whatever the order; what explains it; what is refused."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from schemas.errors import DamagedError
from schemas.events.rides import Float32s
from state.models.network import (
    EXACT,
    MOST_HIDDEN,
    MOST_INPUT,
    LoadedNetwork,
    Network,
    check_network,
    n_bytes,
    network_header,
    read_network,
)
from tests.state.models.plain_network import plain_output

FEATURES = 12


def a_network(seed: int, widths: tuple[int, ...] = (5, 4, 3), k: int = 7) -> Network:
    """A network of random numbers; now and then its sums reach the largest whole number that is exact."""
    random = np.random.default_rng(seed)
    parts, before = [], k
    for place, width in enumerate(widths):
        most = int((EXACT - 2**12) / (before * (MOST_INPUT if place == 0 else MOST_HIDDEN)))
        parts += [random.integers(-most, most + 1, (width, before)), random.integers(-(2**12), 2**12, width)]
        before = width
    numbers = b"".join(part.astype("<i4").tobytes() for part in parts)
    columns = tuple(int(column) for column in random.permutation(FEATURES)[:k])
    centres, scales = (tuple(float(x) for x in values) for values in (random.normal(size=k), random.uniform(0.05, 3.0, k)))
    bits = tuple(int(x) for x in random.integers(4, 13, len(widths)))
    network = Network(columns, centres, scales, widths, bits, numbers, 0.5)
    check_network(network, FEATURES, widths[-1])
    return network


def a_matrix(seed: int, n: int) -> Float32s:
    """Features, some of them unknown and some extreme."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, FEATURES)).astype(np.float32) * np.float32(2.0)
    features[random.random(features.shape) < 0.1] = np.nan
    features[random.random(features.shape) < 0.02] = 1e7
    return features


@given(st.integers(0, 10_000), st.sampled_from([(3,), (5, 3), (5, 4, 3), (8, 6, 5, 2)]))
@settings(max_examples=60, deadline=None)
def test_outputs_are_those_of_whole_numbers(seed: int, widths: tuple[int, ...]) -> None:
    """A plain computation with Python's whole numbers, which know no rounding, gives the same bits."""
    network, features = a_network(seed, widths), a_matrix(seed, 9)
    assert [plain_output(network, row) for row in features] == LoadedNetwork(network).logs(features).tolist()


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_no_order_changes_a_bit(seed: int) -> None:
    """Rows in another order or in batches of any size, a matrix by rows or by columns, inputs in another order: the same bits."""
    network, features, random = a_network(seed, (32, 16, 3)), a_matrix(seed, 300), np.random.default_rng(seed)
    logs = LoadedNetwork(network).logs(features)
    order = random.permutation(300)
    assert logs[order].tobytes() == LoadedNetwork(network).logs(features[order]).tobytes()
    cut = int(random.integers(1, 299))
    halves = [LoadedNetwork(network).logs(part) for part in (features[:cut], features[cut:])]
    assert logs.tobytes() == np.concatenate(halves).tobytes()
    assert logs.tobytes() == LoadedNetwork(network).logs(np.asfortranarray(features)).tobytes()
    inputs = random.permutation(7)
    first = np.frombuffer(network.numbers, "<i4")[: 32 * 7].reshape(32, 7)[:, inputs].astype("<i4").tobytes()
    moved: dict[str, Any] = {name: tuple(getattr(network, name)[place] for place in inputs) for name in ("columns", "centres", "scales")}
    other = dataclasses.replace(network, numbers=first + network.numbers[len(first) :], **moved)
    assert logs.tobytes() == LoadedNetwork(other).logs(features).tobytes()


def test_long_matrices_are_cut_into_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows a block has, the outputs are the same."""
    features = a_matrix(3, 50)
    logs = LoadedNetwork(a_network(3)).logs(features)
    monkeypatch.setattr("state.models.network.BLOCK_ROWS", 7)
    assert logs.tobytes() == LoadedNetwork(a_network(3)).logs(features).tobytes()
    assert (0, 3) == LoadedNetwork(a_network(3)).logs(features[:0]).shape


@given(st.integers(0, 10_000), st.integers(0, 2))
@settings(max_examples=40, deadline=None)
def test_contributions_add_up_to_the_output(seed: int, output: int) -> None:
    """What the inputs add, and the output for average inputs, sum to the output of every row; an unknown input adds nothing."""
    network, features = a_network(seed), a_matrix(seed, 40)
    loaded = LoadedNetwork(network)
    logs = loaded.logs(features)[:, output]
    usual, added = loaded.contributions(features, output)
    assert usual == loaded.logs(np.full((1, FEATURES), np.nan, np.float32))[0, output]
    assert np.abs(usual + added.sum(axis=1) - logs).max() <= 1e-9 * max(1.0, np.abs(added).max())
    assert not added[np.isnan(features[:, list(network.columns)])].any()


def test_a_straight_network_is_explained_by_its_weights() -> None:
    """Of one layer, each input adds its weight times its deviation from the average."""
    network = dataclasses.replace(a_network(2, (2,), 3), bits=(4,))
    features = a_matrix(5, 6)
    weights = np.frombuffer(network.numbers, "<i4")[3:6] / 16
    _, added = LoadedNetwork(network).contributions(features, 1)
    assert (LoadedNetwork(network).inputs(features).T / 32 * weights).tolist() == added.tolist()


def test_a_header_says_all_but_the_numbers() -> None:
    """What is read from the header is the network, with as many bytes of zeros as it has numbers."""
    network = a_network(1)
    read = read_network({name: list(value) if isinstance(value, tuple) else value for name, value in network_header(network).items()})
    assert dataclasses.replace(network, numbers=bytes(n_bytes(7, (5, 4, 3)))) == read
    assert len(network.numbers) == len(read.numbers)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"columns": (0, 1, 2, 3, 4, 5, FEATURES)}, "inputs of 12 features and 3 outputs, got columns up to 12"),
        ({"columns": (-1, 1, 2, 3, 4, 5, 6)}, "inputs of 12 features"),
        ({"centres": (0.0,) * 6}, "expected 7 centres and scales, and bits of 3 layers, got 6, 7, 3"),
        ({"scales": (1.0,) * 6}, "got 7, 6, 3"),
        ({"bits": (3, 3)}, "got 7, 7, 2"),
        ({"bits": (3, 3, 15)}, r"expected 0 to 14 bits for each layer, got \(3, 3, 15\)"),
        ({"bits": (3, -1, 3)}, "expected 0 to 14 bits"),
        ({"centres": (float("nan"),) * 7}, "expected centres up to 1e"),
        ({"centres": (1e38,) * 7}, "expected centres up to 1e"),
        ({"scales": (0.0,) * 7}, "scales of 0 to 0"),
        ({"scales": (1.0,) * 6 + (float("inf"),)}, "scales of 1 to inf"),
        ({"share": 0.0}, "got a share of 0"),
        ({"share": float("nan")}, "got a share of nan"),
        ({"share": 2.5}, "got a share of 2.5"),
        ({"numbers": a_network(1).numbers[:-4] + b"\x00\x00\x00\x7f"}, r"sums of at most 16777216 in layer 2, got up to 21"),
        ({"numbers": b"\x00\x00\x00\x80" + a_network(1).numbers[4:]}, "in layer 0, got up to 412"),
    ],
)
def test_a_network_that_no_training_makes_is_refused(change: dict[str, Any], says: str) -> None:
    """Numbers that do not fit, and numbers whose sums might not be exact, are damage, and the message says which."""
    with pytest.raises(DamagedError, match=f"^model: network: .*{says}"):
        check_network(dataclasses.replace(a_network(1), **change), FEATURES, 3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"widths": ()}, "expected 1 to 4 layers"),
        ({"widths": (257, 3)}, "of 1 to 256 outputs, got 7 inputs"),
        ({"widths": (0, 3)}, "expected 1 to 4 layers"),
        ({"widths": (1,) * 5}, "expected 1 to 4 layers"),
        ({"columns": ()}, "got 0 inputs"),
        ({"activation": "swish"}, "unknown activation; a newer Ridecast trained it, use that"),
    ],
)
def test_a_header_without_bounds_is_refused(change: dict[str, Any], says: str) -> None:
    """Layers beyond the bounds are refused before memory is taken for them, and so is what this code does not know."""
    with pytest.raises(ValueError, match=f"network: .*{says}"):
        read_network(network_header(a_network(1)) | change)
