"""A network in Python's whole numbers, one row after the other: what `state.models.network` must give, to the bit."""

import math
import struct
from fractions import Fraction

import numpy as np

from schemas.events.rides import Float32s
from state.models.network import Network


def plain_output(network: Network, row: Float32s) -> list[float]:
    """Outputs for one row of features."""
    numbers = list(struct.unpack(f"<{len(network.numbers) // 4}i", network.numbers))
    values = [_input(network, row, k) for k in range(len(network.columns))]
    bits = 5
    for place, width in enumerate(network.widths):
        k = len(values)
        weights, constants = [numbers[k * j : k * (j + 1)] for j in range(width)], numbers[k * width : (k + 1) * width]
        numbers = numbers[(k + 1) * width :]
        totals = [sum(w * v for w, v in zip(of, values, strict=True)) + c for of, c in zip(weights, constants, strict=True)]
        bits += network.bits[place]
        if place == len(network.widths) - 1:
            return [total / 2**bits for total in totals]
        values = [_hidden(total, bits) for total in totals]
        bits = 7
    raise AssertionError("a network has a layer")


def _input(network: Network, row: Float32s, k: int) -> int:
    value, centre, factor = row[network.columns[k]], np.float32(network.centres[k]), np.float32(32 / network.scales[k])
    scaled = (value - centre) * factor
    return 0 if math.isnan(scaled) else max(-192, min(192, round(float(scaled))))


def _hidden(total: int, bits: int) -> int:
    value = Fraction(total) if total > 0 else Fraction(total, 8)
    return max(-2047, min(2047, round(value / Fraction(2) ** (bits - 7))))  # halves to the even number
