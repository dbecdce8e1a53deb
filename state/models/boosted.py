"""Gradient boosted trees for the mean: Poisson loss, one booster per horizon, all in one artefact of bytes.

A booster starts from the log of the cell's smooth profile and learns deviations from it, so that a cell
twice as busy needs no other trees. The artefact also contains the dispersion of each horizon and the mix
of quiet forecasts. `state.forecast.training` fits it.
"""

import json
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from schemas.errors import ContractError, DamagedError
from schemas.events.rides import Bools, Float32s, Float64s, Int64s
from schemas.records.records import Fallback
from state.demand.features import FIRST_TABLE, NAMES, smooth_profile
from state.demand.windows import ahead_slots
from state.models.protocol import SlotView
from state.models.reasons import Contributions

if TYPE_CHECKING:
    import xgboost

Read = TypeVar("Read")

MAGIC = b"RCTREES1"
ALGORITHM = "xgboost-poisson"
LEAST_MEAN, MOST_MEAN = 1e-4, 1e5  # rides; bounds of a forecast
PARAMETERS: dict[str, str | float] = {
    # Chosen on New York, trained on April, evaluated on May 2014; depths 4 to 8 were all within 0.3 %.
    "objective": "count:poisson",
    "tree_method": "hist",
    "max_depth": 5,
    "eta": 0.1,
    "min_child_weight": 100,
    "max_delta_step": 0.7,
    "subsample": 0.8,
    "colsample_bytree": 0.6,
    "max_bin": 128,
    "seed": 1,
}
ROUNDS = 120


@dataclass(frozen=True, slots=True)
class Artefact:
    """The header of an artefact: everything besides its trees.

    Attributes:
        features: Names of the columns, in order.
        horizons: Slots.
        dispersion_milli, quiet_dispersion_milli: Per horizon, 1/1000.
        quiet_mix: Weights of the quiet parts, per horizon; see `state.models.quiet`.
    """

    features: tuple[str, ...]
    horizons: tuple[int, ...]
    dispersion_milli: tuple[int, ...]
    quiet_dispersion_milli: tuple[int, ...]
    quiet_mix: tuple[tuple[float, ...], ...]


class Boosted:
    """A trained artefact, ready to forecast on one thread. Serves the cells that are not quiet.

    Raises:
        DamagedError: the bytes are not an artefact.
        ContractError: it was trained for other features or horizons.
    """

    fallback = Fallback.NONE
    corrected = True
    table = FIRST_TABLE

    def __init__(self, artefact: bytes, horizons: tuple[int, ...]) -> None:
        about, trees = unpack(artefact)
        if about.features != NAMES:
            changed = sorted(set(about.features) ^ set(NAMES)) or ["their order"]
            raise ContractError(f"model: expected the features of this version, got others: {', '.join(changed[:5])}")
        if about.horizons != horizons:
            raise ContractError(f"model: expected horizons of {horizons} slots, got {about.horizons}")
        self.about = about
        self._boosters = [load_booster(tree) for tree in trees]

    @property
    def dispersion_milli(self) -> tuple[int, ...]:
        """Dispersion measured in training, per horizon, 1/1000."""
        return self.about.dispersion_milli

    def serves(self, view: SlotView) -> Bools:
        """The cells that are not quiet: bool[n]."""
        return ~view.quiet

    def forecast(self, view: SlotView, rows: Int64s) -> Float64s:
        """Means of the cells: float64[len(rows), n_horizons], rides > 0."""
        return self.means(view.features(rows, FIRST_TABLE))

    def means(self, features: Float32s) -> Float64s:
        """Mean rides of each cell for each horizon: float64[n, n_horizons].

        Args:
            features: float32[n, len(FEATURES)] of `state.demand.features.build`.
        """
        import xgboost

        out = np.empty((len(features), len(self._boosters)))
        if not len(features):
            return out
        data = xgboost.DMatrix(features, nthread=1)  # once for all horizons: it costs more than the trees do
        for i, booster in enumerate(self._boosters):
            data.set_base_margin(offset(features, self.about.horizons, i))
            out[:, i] = booster.predict(data, validate_features=False)
        return np.clip(out, LEAST_MEAN, MOST_MEAN)

    def contributions(self, features: Float32s, i: int) -> Contributions:
        """What each feature adds to the log of the means of horizon i, by TreeSHAP."""
        profile = offset(features, horizons=self.about.horizons, i=i).astype(np.float64)
        return Contributions(profile, *tree_contributions(self._boosters[i], features))


def tree_contributions(booster: "xgboost.Booster", inputs: Float32s) -> tuple[Float64s, Float64s]:
    """What trees add to the log of each mean: on average, float64[n], and by each of their inputs, float64[n, n_inputs].

    Source:
        S. M. Lundberg, G. G. Erion and S.-I. Lee (2018), Consistent individualized feature attribution for tree ensembles,
        arXiv:1802.03888: the path-dependent values, weighted by the rows of training.
    """
    import xgboost

    n, k = inputs.shape
    if not n:
        return np.empty(0), np.empty((0, k))
    data = xgboost.DMatrix(inputs, base_margin=np.zeros(n, np.float32), nthread=1)  # The profile is a term of its own.
    found = np.asarray(booster.predict(data, pred_contribs=True, validate_features=False), np.float64)
    return found[:, k], found[:, :k]


def offset(features: Float32s, horizons: tuple[int, ...], i: int) -> Float32s:
    """Base margin of the booster of horizon i: log of the smooth profile, float32[n]."""
    ahead = ahead_slots(horizons)
    nearest = min(range(len(ahead)), key=lambda place: abs(ahead[place] - horizons[i]))
    return np.log(smooth_profile(features, nearest) * (horizons[i] / ahead[nearest])).astype(np.float32)


def fit(features: Float32s, rides: Float64s, margin: Float32s, *, threads: int, rounds: int = ROUNDS) -> bytes:
    """Fit one horizon's booster; returns UBJSON bytes, the same for the same input and number of threads."""
    import xgboost

    data = xgboost.QuantileDMatrix(features, label=rides, base_margin=margin, nthread=threads, max_bin=int(PARAMETERS["max_bin"]))
    booster = xgboost.train({**PARAMETERS, "nthread": threads}, data, rounds)
    return bytes(booster.save_raw("ubj"))


def predict(tree: bytes, features: Float32s, margin: Float32s) -> Float64s:
    """Means predicted by one horizon's booster: float64[n]."""
    import xgboost

    data = xgboost.DMatrix(features, base_margin=margin, nthread=1)
    means = load_booster(tree).predict(data, validate_features=False)
    return np.clip(np.asarray(means, np.float64), LEAST_MEAN, MOST_MEAN)


def pack(about: Artefact, trees: list[bytes]) -> bytes:
    """An artefact as bytes: magic, length of the header, header (canonical JSON), then the boosters."""
    return pack_header(MAGIC, about, {"algorithm": ALGORITHM, "sizes": [len(tree) for tree in trees]}) + b"".join(trees)


def unpack(artefact: bytes) -> tuple[Artefact, list[bytes]]:
    """The inverse of `pack`.

    Raises:
        DamagedError: the bytes are not an artefact.
    """
    about, sizes, start = unpack_header(artefact, MAGIC, lambda header: [int(size) for size in header["sizes"]])
    if start + sum(sizes) != len(artefact) or len(sizes) != len(about.horizons):
        raise DamagedError(f"model: expected {start + sum(sizes)} bytes, got {len(artefact)}")
    return about, cut(artefact, start, sizes)


def pack_header(magic: bytes, about: Artefact, more: dict[str, Any]) -> bytes:
    """The beginning of an artefact: magic, length of the header, header (canonical JSON).

    Args:
        more: Fields besides those of `about`.
    """
    header = {name: getattr(about, name) for name in about.__slots__} | more
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    return magic + struct.pack("<I", len(text)) + text


def unpack_header(artefact: bytes, magic: bytes, read: Callable[[dict[str, Any]], Read]) -> tuple[Artefact, Read, int]:
    """The inverse of `pack_header`: the header, its other fields as `read` returns them, and where it ends.

    Raises:
        DamagedError: the bytes do not begin with such a header.
    """
    if artefact[: len(magic)] != magic:
        raise DamagedError(f"model: expected an artefact that starts with {magic!r}, got {artefact[: len(magic)]!r}")
    try:
        start = len(magic) + 4
        (length,) = struct.unpack_from("<I", artefact, len(magic))
        header = json.loads(artefact[start : start + length])
        about = Artefact(
            features=tuple(header["features"]),
            horizons=tuple(header["horizons"]),
            dispersion_milli=tuple(header["dispersion_milli"]),
            quiet_dispersion_milli=tuple(header["quiet_dispersion_milli"]),
            quiet_mix=tuple(tuple(row) for row in header["quiet_mix"]),
        )
        return about, read(header), start + length
    except (ValueError, KeyError, TypeError, struct.error) as cause:
        raise DamagedError(f"model: cannot read the artefact's header: {cause}") from cause


def cut(artefact: bytes, start: int, sizes: Iterable[int]) -> list[bytes]:
    """Consecutive parts of an artefact."""
    return [artefact[begin:end] for begin, end in pairwise(accumulate(sizes, initial=start))]


def load_booster(tree: bytes) -> "xgboost.Booster":
    """A booster on one thread from its UBJSON bytes.

    Raises:
        DamagedError: the bytes are not a booster.
    """
    import xgboost

    booster = xgboost.Booster({"nthread": 1})
    try:
        booster.load_model(bytearray(tree))
    except xgboost.core.XGBoostError as cause:
        raise DamagedError(f"model: cannot load the trees: {str(cause).splitlines()[0]}") from cause
    booster.set_param({"nthread": 1})
    return booster
