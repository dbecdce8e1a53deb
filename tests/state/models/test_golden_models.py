"""Released artefacts load and forecast as they did when they were written."""

import numpy as np
import pytest

from state.demand.tables import TABLES
from state.models import boosted, chain
from state.models.table import load_trained
from tests.state.models.golden_models import ABOUT, GOLDEN, HORIZONS, rows

MEANS = {
    "trees1.model": [[0.86853105, 1.12184763, 0.29523736], [0.42716897, 4.58295441, 1.72794271]],
    "model2.model": [[0.47623587, 0.61513519, 0.16188554], [0.35565105, 3.81566262, 1.43864536]],
    "network1.model": [[0.47908263, 0.60513496, 0.16164137], [0.36366037, 3.72829417, 1.43188561]],
}


@pytest.mark.parametrize("name", list(MEANS))
def test_a_released_artefact_says_what_it_said(name: str) -> None:
    """Its header is read as it was written, and its means are those of its release."""
    model = load_trained((GOLDEN / name).read_bytes(), HORIZONS)
    assert ABOUT == model.about
    assert np.array(MEANS[name]) == pytest.approx(model.means(rows(6, seed=3))[4:], rel=1e-6)


def test_released_artefacts_are_packed_to_the_same_bytes() -> None:
    """What was read packs to the bytes of the file."""
    first, *chains = ((GOLDEN / name).read_bytes() for name in MEANS)
    assert first == boosted.pack(*boosted.unpack(first))
    for artefact in chains:
        about, version, links = chain.unpack(artefact)
        assert artefact == chain.pack(about, TABLES[version], links)
