"""A small network of one output per horizon, in whole numbers: its forecasts have the same bits on every machine.

Inputs, weights and hidden values are whole multiples of powers of two, so small that every product and every partial
sum of a layer is a whole number below 2^24, which float32 holds exactly. The order in which a matrix product adds does not matter
then: not the batch, nor the threads, nor the instructions of a CPU. `state.models.network_fitting` fits one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.errors import DamagedError
from schemas.events.rides import Float32s, Float64s

Int32s = npt.NDArray[np.int32]

CLIP = 6.0  # standardised inputs
INPUT_BITS = 5  # an input is a multiple of 2^-5 of its deviation
HIDDEN_BITS = 7  # a hidden value is a multiple of 2^-7
MOST_INPUT = int(CLIP * 2**INPUT_BITS)
MOST_HIDDEN = 2**11 - 1  # just below 16
EXACT = 2**24  # whole numbers up to here are exact in float32
MOST_BITS = 14  # of a weight, behind the point
SLOPE = 0.125  # of the activation below zero
LEAST_SCALE = 1e-6  # a constant input is not divided by its deviation
MOST_SCALE = 1e30  # of a scale, and of a centre
MOST_SHARE = 2.0
BLOCK_ROWS = 16_384
NAMES = ("columns", "centres", "scales", "widths", "bits", "share")  # in the header of an artefact
MOST_INPUTS, MOST_WIDTH, MOST_LAYERS = 1_000, 256, 4  # of a network that is loaded


@dataclass(frozen=True, slots=True)
class Network:
    """A fitted network; `load_network` makes it ready to forecast.

    Attributes:
        columns: Indices of its inputs in the feature matrix.
        centres, scales: Mean and deviation of each input in training.
        widths: Outputs of each layer; the last has one for each horizon.
        bits: Per layer, of the fraction of its weights.
        numbers: int32, little-endian: for each layer the weights of each output, then its constants.
        share: Of its output in the log of a mean, where trees count whole.
    """

    columns: tuple[int, ...]
    centres: tuple[float, ...]
    scales: tuple[float, ...]
    widths: tuple[int, ...]
    bits: tuple[int, ...]
    numbers: bytes
    share: float


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: weights float32[outputs, inputs] and constants float32[outputs, 1], whole numbers, with so many bits of fraction."""

    weights: Float32s
    constants: Float32s
    bits: int


class LoadedNetwork:
    """A network that is ready to forecast; `check_network` has accepted it."""

    def __init__(self, network: Network) -> None:
        self._columns = list(network.columns)
        both = zip(_numbers(network), network.bits, strict=True)
        self.layers = tuple(Layer(w.astype(np.float32), c.astype(np.float32)[:, None], bits) for (w, c), bits in both)
        self._centres = np.array(network.centres, np.float32)[:, None]
        self.n_inputs = len(self._columns)
        self._factors = np.array([2**INPUT_BITS / scale for scale in network.scales], np.float32)[:, None]

    def logs(self, features: Float32s) -> Float64s:
        """What the network adds to the log of each mean: float64[n, n_horizons].

        Args:
            features: float32[n, m]; an input that is NaN counts as average.
        """
        out = np.empty((len(features), len(self.layers[-1].weights)))
        for start in range(0, len(features), BLOCK_ROWS):
            block = features[start : start + BLOCK_ROWS]
            out[start : start + BLOCK_ROWS] = self._values(self.inputs(block))[-1].T
        return out

    def inputs(self, features: Float32s) -> Float32s:
        """Inputs as whole numbers: float32[k, n]."""
        values: Float32s = features.T.take(self._columns, axis=0)
        values -= self._centres
        values *= self._factors
        np.rint(values, out=values)
        np.clip(values, -MOST_INPUT, MOST_INPUT, out=values)
        values[np.isnan(values)] = 0.0
        return values

    def contributions(self, features: Float32s, output: int) -> tuple[float, Float64s]:
        """What the output is for average inputs, and what each input adds to it: float64[n, k].

        Source:
            A. Shrikumar, P. Greenside and A. Kundaje (2017), Learning important features through propagating activation differences,
            arXiv:1704.02685: the rescale rule, with the average inputs as the reference.
        """
        inputs = self.inputs(features)
        found, usual = self._values(inputs), self._values(np.zeros((len(self._columns), 1), np.float32))
        per_unit = self._real(-1)[output][:, None]
        for place in range(len(self.layers) - 2, -1, -1):
            before = 2.0**-INPUT_BITS * inputs if place == 0 else 2.0**-HIDDEN_BITS * found[place - 1]
            start = np.zeros((len(inputs), 1)) if place == 0 else 2.0**-HIDDEN_BITS * usual[place - 1]
            moved = self._real(place) @ (before - start)  # of what the activation sees; float64 is exact enough here
            risen = 2.0**-HIDDEN_BITS * (found[place].astype(np.float64) - usual[place])
            per_unit = self._real(place).T @ (per_unit * np.divide(risen, moved, out=np.zeros_like(moved), where=moved != 0.0))
        return float(usual[-1][output, 0]), np.asarray((np.broadcast_to(per_unit, inputs.shape) * inputs * 2.0**-INPUT_BITS).T, np.float64)

    def _values(self, inputs: Float32s) -> list[Float32s | Float64s]:
        """The hidden values of each layer as whole numbers, float32[outputs, n], and the output, float64[n_horizons, n]."""
        out: list[Float32s | Float64s] = []
        values, bits = inputs, INPUT_BITS
        for layer in self.layers[:-1]:
            total = layer.weights @ values
            total += layer.constants
            values = hidden(total, bits + layer.bits - HIDDEN_BITS)
            bits = HIDDEN_BITS
            out.append(values)
        last = self.layers[-1]
        return [*out, (last.weights @ values + last.constants) * 2.0 ** -float(bits + last.bits)]

    def _real(self, place: int) -> Float64s:
        """The weights of a layer as they count."""
        return np.asarray(self.layers[place].weights * 2.0 ** -float(self.layers[place].bits), np.float64)


def load_network(network: Network | None) -> LoadedNetwork | None:
    """The network ready to forecast, if there is one."""
    return LoadedNetwork(network) if network is not None else None


def hidden(total: Float32s, bits: int) -> Float32s:
    """The activation, a line that is flatter below zero, of whole numbers with some more bits of fraction: whole numbers again.

    >>> hidden(np.array([-64.0, 24.0, 40.0, 1e6], np.float32), 4).tolist()
    [-0.0, 2.0, 2.0, 2047.0]
    """
    values: Float32s = np.maximum(total, total * np.float32(SLOPE))
    values *= np.float32(2.0**-bits)
    np.rint(values, out=values)
    np.clip(values, -MOST_HIDDEN, MOST_HIDDEN, out=values)
    return values


def network_header(network: Network) -> dict[str, Any]:
    """What an artefact's header says of a network; `read_network` is the inverse but for the numbers."""
    return {name: getattr(network, name) for name in NAMES}


def read_network(row: dict[str, Any]) -> Network:
    """A network from an artefact's header, as many zeros for its numbers.

    Raises:
        ValueError, KeyError, TypeError: the header does not say what it must.
    """
    if unknown := set(row) - set(NAMES):
        raise ValueError(f"network: unknown {', '.join(sorted(unknown))}; a newer Ridecast trained it, use that")
    columns, widths, bits = (tuple(int(value) for value in row[name]) for name in ("columns", "widths", "bits"))
    centres, scales = (tuple(float(value) for value in row[name]) for name in ("centres", "scales"))
    if not 1 <= len(columns) <= MOST_INPUTS or not 1 <= len(widths) <= MOST_LAYERS or not all(1 <= width <= MOST_WIDTH for width in widths):
        raise ValueError(f"network: expected 1 to {MOST_LAYERS} layers of 1 to {MOST_WIDTH} outputs, got {len(columns)} inputs, {widths}")
    return Network(columns, centres, scales, widths, bits, bytes(n_bytes(len(columns), widths)), float(row["share"]))


def n_bytes(inputs: int, widths: tuple[int, ...]) -> int:
    """Length of a network's numbers.

    >>> n_bytes(10, (4, 3))
    236
    """
    return 4 * sum(width * (before + 1) for before, width in pairwise((inputs, *widths)))


def check_network(network: Network, n_features: int, n_horizons: int) -> None:
    """Refuse a network that no training makes.

    Raises:
        DamagedError: it does not fit the features or the horizons, or sums may exceed what is exact.
    """
    k, layers = len(network.columns), len(network.widths)
    if not all(0 <= column < n_features for column in network.columns) or network.widths[-1] != n_horizons:
        raise DamagedError(
            f"model: network: expected inputs of {n_features} features and {n_horizons} outputs, got columns up to {max(network.columns)} "
            f"and {network.widths[-1]} outputs"
        )
    if not len(network.centres) == len(network.scales) == k or len(network.bits) != layers:
        counts = f"{len(network.centres)}, {len(network.scales)}, {len(network.bits)}"
        raise DamagedError(f"model: network: expected {k} centres and scales, and bits of {layers} layers, got {counts}")
    if not all(0 <= bits <= MOST_BITS for bits in network.bits):
        raise DamagedError(f"model: network: expected 0 to {MOST_BITS} bits for each layer, got {network.bits}")
    usable = all(abs(centre) <= MOST_SCALE for centre in network.centres) and all(LEAST_SCALE <= s <= MOST_SCALE for s in network.scales)
    if not usable or not 0.0 < network.share <= MOST_SHARE:
        raise DamagedError(
            f"model: network: expected centres up to {MOST_SCALE:g}, scales from {LEAST_SCALE:g} to it and a share of 0 to {MOST_SHARE:g}, "
            f"got a share of {network.share:g}, scales of {min(network.scales):g} to {max(network.scales):g}"
        )
    for place, (weights, constants) in enumerate(_numbers(network)):
        largest = largest_sum(weights, constants, MOST_INPUT if place == 0 else MOST_HIDDEN)
        if largest > EXACT:
            raise DamagedError(f"model: network: expected sums of at most {EXACT} in layer {place}, got up to {largest}")


def _numbers(network: Network) -> Iterator[tuple[Int32s, Int32s]]:
    """Weights int32[outputs, inputs] and constants int32[outputs] of each layer."""
    numbers, at = np.frombuffer(network.numbers, "<i4"), 0
    for before, width in pairwise((len(network.columns), *network.widths)):
        yield numbers[at : at + width * before].reshape(width, before), numbers[at + width * before : at + width * (before + 1)]
        at += width * (before + 1)


def largest_sum(weights: Int32s, constants: Int32s, most: int) -> int:
    """What a sum of a layer may reach, whatever its inputs are.

    >>> largest_sum(np.array([[1, -2], [0, 4]], np.int32), np.array([5, -7], np.int32), 10)
    47
    """
    sums = most * np.abs(weights.astype(np.int64)).sum(axis=1) + np.abs(constants.astype(np.int64))
    return int(sums.max())
