"""The record of an issue of forecasts, and what it is made of. `schemas.records.records` re-exports these."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class BandLevels:
    """Where the distributions of one horizon are read for their quantiles, if the mean is at least `from_milli`.

    With F the negative binomial of a cell's mean and dispersion, as in the chunk, and `lower_milli` = 92, the lower quantile
    is the least count with F >= 0.092. The served distribution function is F mapped piecewise linearly, with
    0, lower, median, upper, 1 of the band going to 0, lower of the horizon, 0.5, upper of the horizon, 1.
    """

    from_milli: int  # least mean of the band, 1/1000 ride; the next band's is the end
    lower_milli: int
    median_milli: int
    upper_milli: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonSpread:
    """The predictive distribution of one horizon: negative binomial, variance = mean + dispersion x mean^2."""

    horizon_min: int
    dispersion_milli: int  # of cells with a model or the baseline; with bands, what is assumed before errors are known
    quiet_dispersion_milli: int  # of cells too quiet for either
    lower_milli: int  # probability of the lower quantile, 1/1000
    upper_milli: int
    bands: tuple[BandLevels, ...] = ()  # by mean, ascending from 0; none: quantiles are those of the negative binomial


@dataclass(frozen=True, slots=True, kw_only=True)
class BandWeights:
    """Weights of the members of an ensemble for the cells of one horizon whose mean is at least `from_milli`."""

    from_milli: int  # least mean of the band, 1/1000 ride; the next band's is the end
    weights_milli: tuple[int, ...]  # one per member, in the order of `ForecastIssued.members`; they sum to 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonWeights:
    """Weights of the members of an ensemble for one horizon."""

    horizon_min: int
    bands: tuple[BandWeights, ...]  # by mean, ascending from 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastIssued:
    """Forecasts of one measure for every cell, issued at a slot's cut; the numbers are in a blob of chunks."""

    region: str
    measure: str
    slot: int  # the closed slot; target = its end
    target_us: int
    horizons_min: tuple[int, ...]
    models: tuple[bytes, ...]  # digests of the artefacts used, empty for baseline only
    features_digest: bytes  # SHA-256 of the float32 matrix, rows in cell order
    family: str  # "negative_binomial"
    spread: tuple[HorizonSpread, ...]
    cells: int
    chunks: int
    root: bytes  # RFC 6962 tree over the chunks
    blob: bytes  # SHA-256
    fallbacks: dict[str, int]  # number of cells per fallback
    universe_version: int
    slot_status: str
    online_weight_milli: int = 0  # share of the online correction in the mean, 1/1000
    roles: tuple[str, ...] = ()  # of each of `models`: champion, challenger, parent or global; none: all are champions
    reasons: dict[str, str] = field(default_factory=dict)  # per role asked before that of the model in use: why it does not serve
    members: tuple[str, ...] = ()  # of the ensemble whose mean was served; none without an ensemble
    weights: tuple[HorizonWeights, ...] = ()  # of the members, per horizon
    experiment: str = ""  # id of the experiment whose arms were served, empty for none
    arm_features_digest: bytes = b""  # as features_digest, of the challenger's model; empty if it saw the same matrix
