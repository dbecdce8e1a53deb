"""The models in use: one row each. To add one, write its file, and its row here.

A row changes what is forecast. A mean model comes with the artefact that holds it; a corrector comes into
force with a version of the fold (`state.forecast.region.FOLD_VERSIONS`), so that recorded slots fold as before.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from state.demand.features import NAMES
from state.models.baseline import DISPERSION_MILLI, Baseline
from state.models.boosted import Artefact, Boosted
from state.models.online import INPUTS, OnlineCorrection
from state.models.protocol import Corrector, MeanModel
from state.models.quiet import QUIET_DISPERSION_MILLI, Quiet, QuietMix


@dataclass(frozen=True, slots=True)
class MeanRow:
    """A mean model.

    Attributes:
        make: Gives the model from what was trained (see `untrained`) and its trees; None if it needs trees and has none.
    """

    name: str
    make: Callable[[Artefact, Boosted | None], MeanModel | None]


@dataclass(frozen=True, slots=True)
class CorrectorRow:
    """A corrector.

    Attributes:
        name: Names of its arrays in a snapshot start with it and "_".
        issued: Start of the names of the arrays that hold what it said in issues; no other row has it.
        inputs: How many numbers it sees of a cell and horizon.
        make: Gives a new one from the number of horizons and of slots per day.
        weight_field: Field of `ForecastIssued` that records its weight, if one does.
        since: Version of the fold from which on it is in force.
    """

    name: str
    issued: str
    inputs: int
    make: Callable[[int, int], Corrector]
    weight_field: str | None = None
    since: int = 1


@dataclass(frozen=True, slots=True)
class ModelTable:
    """What a `Forecaster` takes: mean models, of which each cell gets the first that serves it, and correctors in order."""

    means: tuple[MeanRow, ...]
    correctors: tuple[CorrectorRow, ...]


MODELS = ModelTable(
    means=(
        MeanRow("boosted", lambda about, boosted: boosted),
        MeanRow("quiet", lambda about, boosted: Quiet(QuietMix(np.array(about.quiet_mix)), about.quiet_dispersion_milli)),
        MeanRow("baseline", lambda about, boosted: Baseline(about.dispersion_milli)),
    ),
    correctors=(
        # Its issues are older than this table, so their arrays have no name of their own.
        CorrectorRow("online", "issued_", len(INPUTS), OnlineCorrection, weight_field="online_weight_milli"),
    ),
)


def untrained(horizons: tuple[int, ...]) -> Artefact:
    """What serves in place of what training fits, until it has."""
    return Artefact(
        features=NAMES,
        horizons=horizons,
        dispersion_milli=(DISPERSION_MILLI,) * len(horizons),
        quiet_dispersion_milli=(QUIET_DISPERSION_MILLI,) * len(horizons),
        quiet_mix=tuple(tuple(row) for row in QuietMix.default(len(horizons)).weights.tolist()),
    )
