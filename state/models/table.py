"""The table of models, one row each. To add a model, write its file and its row here.

A row changes forecasts. A mean model becomes active with the artefact that contains it or with a version of the fold, a
corrector with a version of the fold (`state.forecast.region.FOLD_VERSIONS`), so that recorded slots fold as before.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from state.demand.features import NAMES
from state.models.baseline import DISPERSION_MILLI, Baseline
from state.models.boosted import Artefact, Boosted
from state.models.chain import MAGIC as CHAIN_MAGIC, Chain
from state.models.current import Current
from state.models.ensemble import INPUTS as ENSEMBLE_INPUTS, Ensemble
from state.models.level import Level
from state.models.local import INPUTS as LOCAL_INPUTS, LocalCorrection
from state.models.online import INPUTS, OnlineCorrection
from state.models.protocol import Corrector, MeanModel
from state.models.quiet import QUIET_DISPERSION_MILLI, Quiet, QuietMix
from state.models.recursive import INPUTS as RECURSIVE_INPUTS, RecursiveCorrection

Trained = Boosted | Chain


@dataclass(frozen=True, slots=True)
class MeanRow:
    """A mean model.

    Attributes:
        make: Creates the model from an artefact's header (see `untrained`) and the trained model; returns None if it needs one of
            another kind, or is only for regions without one.
        since: First version of the fold in which it is active.
    """

    name: str
    make: Callable[[Artefact, Trained | None], MeanModel | None]
    since: int = 1


@dataclass(frozen=True, slots=True)
class CorrectorRow:
    """A corrector.

    Attributes:
        name: Names of its arrays in a snapshot start with it and "_".
        issued: Prefix of the names of the arrays with its corrections in issues; unique in the table.
        inputs: Number of inputs per cell and horizon.
        make: Creates a corrector from the number of horizons and of slots per day.
        weight_field: Field of `ForecastIssued` that records its weight, if there is one. Rows that are never in force together
            may share a field.
        since: First version of the fold in which it is active.
        until: First version in which it no longer is; None if there is none yet.
    """

    name: str
    issued: str
    inputs: int
    make: Callable[[int, int], Corrector]
    weight_field: str | None = None
    since: int = 1
    until: int | None = None

    def in_force(self, version: int) -> bool:
        """Whether it corrects by a version of the fold."""
        return self.since <= version and (self.until is None or version < self.until)


@dataclass(frozen=True, slots=True)
class ModelTable:
    """The models of a `Forecaster`: each cell gets the first mean model that serves it; correctors are applied in order."""

    means: tuple[MeanRow, ...]
    correctors: tuple[CorrectorRow, ...]


def _regional(horizons: int, day_slots: int) -> RecursiveCorrection:
    return RecursiveCorrection(horizons, day_slots, "regional", cells=False)


MODELS = ModelTable(
    means=(
        MeanRow("chain", lambda about, trained: trained if isinstance(trained, Chain) else None),
        MeanRow("boosted", lambda about, trained: trained if isinstance(trained, Boosted) else None),
        MeanRow("current", lambda about, trained: Current(len(about.horizons)) if trained is None else None, since=6),
        MeanRow("level", lambda about, trained: Level(len(about.horizons)) if trained is None else None, since=3),
        MeanRow("quiet", lambda about, trained: Quiet(QuietMix(np.array(about.quiet_mix)), about.quiet_dispersion_milli)),
        MeanRow("baseline", lambda about, trained: Baseline(about.dispersion_milli)),
    ),
    correctors=(
        # Its issues are older than this table, so the names of their arrays do not contain its name.
        CorrectorRow("online", "issued_", len(INPUTS), OnlineCorrection, weight_field="online_weight_milli", until=4),
        CorrectorRow("local", "issued_local_", len(LOCAL_INPUTS), LocalCorrection, since=5),
        CorrectorRow(
            "recursive",
            "issued_recursive_",
            len(RECURSIVE_INPUTS),
            RecursiveCorrection,
            weight_field="online_weight_milli",
            since=4,
            until=5,
        ),
        CorrectorRow("regional", "issued_regional_", len(RECURSIVE_INPUTS), _regional, weight_field="online_weight_milli", since=5),
        CorrectorRow("ensemble", "issued_ensemble_", len(ENSEMBLE_INPUTS), Ensemble, since=5),
    ),
)


def load_trained(artefact: bytes, horizons: tuple[int, ...]) -> Trained:
    """The model in an artefact; its first bytes say of which kind.

    Raises:
        DamagedError: the bytes are not an artefact.
        ContractError: it was trained for other features or horizons.
    """
    return Chain(artefact, horizons) if artefact.startswith(CHAIN_MAGIC) else Boosted(artefact, horizons)


def untrained(horizons: tuple[int, ...]) -> Artefact:
    """Header with default values, used before the first training."""
    return Artefact(
        features=NAMES,
        horizons=horizons,
        dispersion_milli=(DISPERSION_MILLI,) * len(horizons),
        quiet_dispersion_milli=(QUIET_DISPERSION_MILLI,) * len(horizons),
        quiet_mix=tuple(tuple(row) for row in QuietMix.default(len(horizons)).weights.tolist()),
    )
