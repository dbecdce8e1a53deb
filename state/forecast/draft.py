"""What a forecaster issues for one measure at one slot's cut, before it is recorded."""

import hashlib
from dataclasses import dataclass

from schemas.forecasts.chunks import ForecastColumns
from schemas.records.records import ExperimentStarted, HorizonSpread
from state.forecast.mixing import NO_MIX, Mix


@dataclass(frozen=True, slots=True)
class Draft:
    """Forecasts of one measure at one slot's cut, before they are recorded.

    Attributes:
        columns: The numbers served.
        features: Bytes of the float32 matrix that the models saw, rows in cell order; see `state.demand.features.matrix_bytes`.
        spread: The predictive distribution of each horizon.
        fallbacks: How many cells each fallback served.
        weights_milli: Share of each corrector in the mean, 1/1000, by the field of `ForecastIssued` that records it.
        experiment: Whose arms are served; None for none.
        mix: The ensemble whose means were served.
        arm_features: As `features`, of the challenger's model of the experiment; empty if it saw the same matrix, or before
            version 6 of the fold.
    """

    columns: ForecastColumns
    features: bytes
    spread: tuple[HorizonSpread, ...]
    fallbacks: dict[str, int]
    weights_milli: dict[str, int]
    experiment: ExperimentStarted | None = None
    mix: Mix = NO_MIX
    arm_features: bytes = b""

    @property
    def features_digest(self) -> bytes:
        """SHA-256 of the matrix, which the issue records."""
        return hashlib.sha256(self.features).digest()

    @property
    def arm_features_digest(self) -> bytes:
        """SHA-256 of the challenger's matrix; empty if there is none of its own."""
        return hashlib.sha256(self.arm_features).digest() if self.arm_features else b""
