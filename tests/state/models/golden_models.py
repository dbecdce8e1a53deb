"""Small artefacts of every released format: their bytes must load and say the same for ever.

`python -m tests.state.models.golden_models --write` writes those that do not exist yet; a released one is never written again.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from schemas.events.rides import Float32s
from state.demand.features import FIRST_TABLE
from state.models import boosted, chain
from state.models.glm import Glm
from state.models.network import Network, n_bytes

GOLDEN = Path(__file__).parents[2] / "golden"
HORIZONS = (1, 2, 3)
ABOUT = boosted.Artefact(FIRST_TABLE.names, HORIZONS, (100, 150, 200), (900, 950, 1000), ((0.5, 0.25, 0.25),) * 3)


def rows(n: int, seed: int = 1) -> Float32s:
    """A matrix of the first table."""
    features = np.random.default_rng(seed).normal(size=(n, len(FIRST_TABLE))).astype(np.float32)
    features[::5, 3] = np.nan
    return features


def _tree(i: int) -> bytes:
    features = rows(2000)
    rides = np.random.default_rng(2).poisson(np.exp(0.3 * features[:, 0] + 0.1 * i)).astype(np.float64)
    return boosted.fit(features, rides, np.zeros(2000, np.float32), threads=1, rounds=2)


def _network() -> Network:
    """Weights by a rule instead of a fit, whose bytes may depend on the environment."""
    inputs, widths = 4, (3, 2, 3)
    numbers = (np.arange(n_bytes(inputs, widths) // 4) * 37 % 101 - 50).astype("<i4")
    return Network((0, 1, 3, 4), (0.5, 0.0, -1.25, 0.0), (2.0, 1.0, 1.0, 0.5), widths, (7, 6, 8), numbers.tobytes(), 0.6)


def artefacts() -> dict[str, bytes]:
    """Artefacts by the names of their files."""
    glm = Glm((0, 3), (0.5, 0.0), (2.0, 1.0), -0.125, (0.25, 0.5))
    links = [chain.Link(glm, tuple(range(len(FIRST_TABLE))), _tree(i)) for i in range(3)]
    return {
        "trees1.model": boosted.pack(ABOUT, [_tree(i) for i in range(3)]),
        "model2.model": chain.pack(ABOUT, FIRST_TABLE, links),
        "network1.model": chain.pack(ABOUT, FIRST_TABLE, [replace(link, share=0.4, half_rides=24.0, network=_network()) for link in links]),
    }


if __name__ == "__main__" and "--write" in sys.argv:
    for name, artefact in artefacts().items():
        if not (GOLDEN / name).exists():
            (GOLDEN / name).write_bytes(artefact)
