"""A trained model that serves a region which is not the one that it was trained for, and says so."""

from dataclasses import dataclass

from schemas.events.rides import Bools, Float64s, Int64s
from schemas.records.records import Fallback
from state.models.protocol import MeanModel, SlotView


@dataclass(frozen=True, slots=True)
class StandIn:
    """Another region's model: the same numbers, labelled with the fallback that it is."""

    model: MeanModel
    fallback: Fallback

    @property
    def corrected(self) -> bool:
        """As its model."""
        return self.model.corrected

    @property
    def dispersion_milli(self) -> tuple[int, ...]:
        """As its model."""
        return self.model.dispersion_milli

    def serves(self, view: SlotView) -> Bools:
        """As its model: bool[n]."""
        return self.model.serves(view)

    def forecast(self, view: SlotView, rows: Int64s) -> Float64s:
        """As its model: float64[len(rows), n_horizons], rides."""
        return self.model.forecast(view, rows)


def labelled(model: MeanModel, fallback: Fallback) -> MeanModel:
    """A mean model, labelled with a fallback if it is a trained one; those that need no training keep their own label."""
    return StandIn(model, fallback) if fallback is not Fallback.NONE and model.fallback is Fallback.NONE else model
