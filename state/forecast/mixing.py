"""Which ensemble an issue served: its members, their weights, and the weights of one cell."""

from collections.abc import Iterable
from dataclasses import dataclass

from schemas.records.records import HorizonWeights
from state.models.ensemble import Ensemble
from state.models.protocol import Corrector


@dataclass(frozen=True, slots=True)
class Mix:
    """Members and weights as `ForecastIssued` records them; none without an ensemble."""

    members: tuple[str, ...] = ()
    weights: tuple[HorizonWeights, ...] = ()

    def of(self, i: int, model_milli: int) -> dict[str, float]:
        """Weight of each member at horizon i, for a cell with this mean of the first member; empty without an ensemble."""
        if not self.members:
            return {}
        band = [band for band in self.weights[i].bands if band.from_milli <= model_milli][-1]
        return {name: milli / 1000 for name, milli in zip(self.members, band.weights_milli, strict=True)}


NO_MIX = Mix()


def mix_of(correctors: Iterable[Corrector], horizons_min: tuple[int, ...]) -> Mix:
    """The mix of the current issue."""
    for corrector in correctors:
        if isinstance(corrector, Ensemble):
            return Mix(corrector.members, corrector.weights(horizons_min))
    return NO_MIX
