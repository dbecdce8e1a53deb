"""What may vary between two fits of a chain on the same rows; the defaults are the constants of its modules.

The record of a model names them, so that a model can be fitted again with the parameters of another one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from schemas.errors import UsageError
from state.models.chain import HALF_RIDES, LEAF_RIDES, PARAMETERS, PENALTY_SHARE, WHOLE
from state.models.network_fitting import NETWORK_DECAY, NETWORK_SHARE

HALF_LIFE_DAYS = 28.0  # of the weight of a row


@dataclass(frozen=True, slots=True)
class FitParameters:
    """The parameters of one fit.

    Attributes:
        max_depth: Of a tree.
        eta: What a tree adds of what it found.
        subsample: Share of the rows that a tree sees.
        colsample_bytree: Share of its inputs that a tree sees.
        leaf_rides: Rides that a leaf has at least.
        tree_share: Of the trees' sum, in the log of the mean.
        tree_half_rides: Where the linear model expects as many rides, half of that share; infinite if it is the same everywhere.
        penalty_share: L2 of the linear model's standardised coefficients, as a share of the rides.
        half_life_days: Age at which a row counts half.
        network_share: What the network gets of the share of the trees, if it is of use; 0 for no network.
        network_decay: Of its weights, as a share of its learning rate.

    >>> FitParameters.recorded({"max_depth": "5"}).max_depth
    5
    """

    max_depth: int = int(PARAMETERS["max_depth"])
    eta: float = float(PARAMETERS["eta"])
    subsample: float = float(PARAMETERS["subsample"])
    colsample_bytree: float = float(PARAMETERS["colsample_bytree"])
    leaf_rides: float = LEAF_RIDES
    tree_share: float = 1.0
    tree_half_rides: float = HALF_RIDES
    penalty_share: float = PENALTY_SHARE
    half_life_days: float = HALF_LIFE_DAYS
    network_share: float = NETWORK_SHARE
    network_decay: float = NETWORK_DECAY

    def booster(self) -> dict[str, str | float]:
        """The parameters of XGBoost that do not depend on the rows."""
        own = ("max_depth", "eta", "subsample", "colsample_bytree")
        return {**PARAMETERS, **{name: getattr(self, name) for name in own}}

    def texts(self) -> dict[str, str]:
        """All of them as a record keeps them; `recorded` is the inverse."""
        return {**{name: str(value) for name, value in self.booster().items()}, **{name: _text(getattr(self, name)) for name in NAMES}}

    @classmethod
    def recorded(cls, parameters: Mapping[str, str]) -> "FitParameters":
        """Those that a record names, and the default of each that it does not; without a word on a network, there is none.

        Raises:
            UsageError: one is not a number.
        """
        found: dict[str, float] = {"network_share": 0.0}  # as it was without this name
        if "tree_share" in parameters:
            found["tree_half_rides"] = WHOLE  # too
        for name in NAMES:
            if name in parameters:
                try:
                    found[name] = int(parameters[name]) if name == "max_depth" else float(parameters[name])
                except ValueError as cause:
                    raise UsageError(f"parameters of the model: {name}: expected a number, got {parameters[name]!r}") from cause
        return cls(**found)  # type: ignore[arg-type]  # the only whole number is converted above


NAMES = tuple(field.name for field in fields(FitParameters))
AS_SHIPPED = FitParameters()


def _text(value: float) -> str:
    """A number without a needless fraction: 28, not 28.0.

    >>> _text(28.0), _text(0.06), _text(float("inf"))
    ('28', '0.06', 'inf')
    """
    return str(int(value)) if float(value).is_integer() else repr(value)
