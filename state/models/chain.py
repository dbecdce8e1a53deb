"""The chain of one region and measure: profile, linear model of the log rate, trees on it; one of each per horizon.

The margin of a horizon is the log of a profile that is a column of the feature table. A linear model
(`state.models.glm`) adds what follows from its log ratios, and boosted trees the rest. Horizons have models of
their own, on the columns that the table has for them. `state.forecast.training` fits a chain.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from schemas.errors import ContractError, DamagedError
from schemas.events.rides import Bools, Float32s, Float64s, Int64s
from schemas.records.records import Fallback
from state.demand.feature_table import FeatureTable
from state.demand.tables import TABLES
from state.demand.windows import ahead_slots
from state.models.boosted import LEAST_MEAN, MOST_MEAN, Artefact, cut, load_booster, pack_header, tree_contributions, unpack_header
from state.models.glm import Glm
from state.models.protocol import SlotView
from state.models.reasons import Contributions

MAGIC = b"RCMODEL2"
ALGORITHM = "glm-xgboost-poisson"
PARAMETERS: dict[str, str | float] = {
    "objective": "count:poisson",
    "tree_method": "hist",
    "max_depth": 6,
    "eta": 0.24,
    "subsample": 0.7,
    "colsample_bytree": 0.2,
    "max_bin": 128,
    "seed": 1,
}
# New York, folds of April 2014; docs/accuracy.md has the numbers.
LEAF_RIDES = 400.0  # a leaf has at least so many rides
HALF_RIDES = 24.0  # rides that the linear model expects where the trees count half: busy cells of a slot err together
WHOLE = math.inf  # instead of HALF_RIDES: the trees count alike everywhere
PENALTY_SHARE = 0.05  # of the rides: the penalty of the linear model. Levels say nearly the same; it spreads their effect.
# What trees do not see: with the weather of a month they would learn its single days.
NOT_FOR_TREES = ("weather_",)
LARGEST_LOG = 50.0  # before means are bounded
MOST_ROUNDS = 30
LEAST_ROUNDS = 10
TRIAL_PATIENCE = 5  # rounds of a trial without a better held-out likelihood


@dataclass(frozen=True, slots=True)
class Link:
    """The models of one horizon.

    Attributes:
        glm: Its linear model.
        columns: Indices of the trees' inputs in the feature matrix.
        trees: UBJSON of the booster.
        share: Of the trees' sum that is added to the log of the linear model's mean.
        half_rides: Where the linear model expects as many rides, only half of that share is; WHOLE if it is the same everywhere.
    """

    glm: Glm
    columns: tuple[int, ...]
    trees: bytes
    share: float = 1.0
    half_rides: float = WHOLE

    def shares(self, logs: Float64s) -> "float | Float64s":
        """What share of the trees' sum counts, from the linear model's log means: float64[n], or one number for all.

        >>> Link(Glm((), (), (), 0.0, ()), (), b"", half_rides=32.0).shares(np.log([32.0, 96.0])).round(3).tolist()
        [0.5, 0.25]
        """
        if self.half_rides == WHOLE:
            return self.share
        return np.asarray(self.share / (1.0 + np.exp(np.minimum(logs, LARGEST_LOG)) / self.half_rides), np.float64)


class Chain:
    """A trained artefact, ready to forecast on one thread. Serves the cells that are not quiet.

    Raises:
        DamagedError: the bytes are not an artefact.
        ContractError: it was trained for another feature table or for other horizons.
    """

    fallback = Fallback.NONE
    corrected = True

    def __init__(self, artefact: bytes, horizons: tuple[int, ...]) -> None:
        self.about, version, self._links = unpack(artefact)
        self.table = _table(version, self.about.features)
        if self.about.horizons != horizons:
            raise ContractError(f"model: expected horizons of {horizons} slots, got {self.about.horizons}")
        self._boosters = [load_booster(link.trees) for link in self._links]

    @property
    def dispersion_milli(self) -> tuple[int, ...]:
        """Dispersion measured in training, per horizon, 1/1000."""
        return self.about.dispersion_milli

    def serves(self, view: SlotView) -> Bools:
        """The cells that are not quiet: bool[n]."""
        return ~view.quiet

    def forecast(self, view: SlotView, rows: Int64s) -> Float64s:
        """Means of the cells: float64[len(rows), n_horizons], rides > 0."""
        return self.means(view.features(rows, self.table))

    def means(self, features: Float32s) -> Float64s:
        """Mean rides of each cell for each horizon: float64[n, n_horizons].

        Args:
            features: float32[n, len(table)], built for the chain's table.
        """
        out = np.empty((len(features), len(self._links)))
        if not len(features):
            return out
        for i, (link, booster) in enumerate(zip(self._links, self._boosters, strict=True)):
            logs = link.glm.log_means(features, margin(features, self.table, self.about.horizons, i))
            out[:, i] = tree_means(booster, link.columns, features, logs, link.shares(logs))
        return out

    def contributions(self, features: Float32s, i: int) -> Contributions:
        """What each feature adds to the log of the means of horizon i: its term of the linear model and, by TreeSHAP, of the trees."""
        link, profile = self._links[i], margin(features, self.table, self.about.horizons, i)
        share = np.broadcast_to(link.shares(link.glm.log_means(features, profile)), len(features))
        average, of_trees = tree_contributions(self._boosters[i], np.ascontiguousarray(features[:, list(link.columns)]))
        added = np.zeros(features.shape)
        added[:, list(link.glm.columns)] = link.glm.contributions(features)
        added[:, list(link.columns)] += share[:, None] * of_trees
        return Contributions(profile, link.glm.intercept + share * average, added)


def margin(features: Float32s, table: FeatureTable, horizons: tuple[int, ...], i: int) -> Float64s:
    """Log of the profile of horizon i, from the nearest of those that the table describes: float64[n]."""
    place, slots = nearest_ahead(horizons, i)
    logs = features[:, table.offset_column(place)].astype(np.float64)
    return np.asarray(logs + math.log(horizons[i] / slots), np.float64)


def nearest_ahead(horizons: tuple[int, ...], i: int) -> tuple[int, int]:
    """The horizon of the feature table that is nearest to horizon i: its index and its length in slots.

    >>> nearest_ahead((3, 6, 12), 2)
    (2, 12)
    """
    ahead = ahead_slots(horizons)
    place = min(range(len(ahead)), key=lambda at: abs(ahead[at] - horizons[i]))
    return place, ahead[place]


def tree_columns(table: FeatureTable, place: int) -> tuple[int, ...]:
    """Indices of the columns that the trees of one of the AHEAD horizons are fitted on."""
    columns = table.columns(place, linear=False)
    return tuple(column for column in columns if not table.features[column].name.startswith(NOT_FOR_TREES))


def tree_means(booster: Any, columns: tuple[int, ...], features: Float32s, logs: Float64s, share: "float | Float64s" = 1.0) -> Float64s:
    """What a share of the trees, one for all or float64[n], makes of the linear model's log means: float64[n], rides, bounded."""
    inputs = features.T.take(columns, axis=0).T  # columns of a built matrix are contiguous
    if isinstance(share, float) and share == 1.0:
        means = booster.inplace_predict(inputs, base_margin=logs.astype(np.float32), validate_features=False)
    else:
        none = np.zeros(len(features), np.float32)
        added = booster.inplace_predict(inputs, base_margin=none, predict_type="margin", validate_features=False)
        means = np.exp(np.minimum(logs + share * np.asarray(added, np.float64), LARGEST_LOG))
    return np.clip(np.asarray(means, np.float64), LEAST_MEAN, MOST_MEAN)


def pack(about: Artefact, table: FeatureTable, links: list[Link]) -> bytes:
    """An artefact as bytes: magic, length of the header, header (canonical JSON), then the boosters."""
    header = {
        "algorithm": ALGORITHM,
        "table": table.version,
        "linear": [asdict(link.glm) for link in links],
        "trees": [{"columns": link.columns, "size": len(link.trees)} | _share(link) for link in links],
    }
    return pack_header(MAGIC, about, header) + b"".join(link.trees for link in links)


def _share(link: Link) -> dict[str, float]:
    """Only of an artefact whose trees do not count whole: others keep their bytes."""
    whole = {"share": 1.0, "half_rides": WHOLE}
    return {name: value for name, of_all in whole.items() if (value := getattr(link, name)) != of_all}


def unpack(artefact: bytes) -> tuple[Artefact, int, list[Link]]:
    """The inverse of `pack`; the table by its version.

    Raises:
        DamagedError: the bytes are not an artefact.
    """
    about, (version, linear, columns, sizes, counts), start = unpack_header(artefact, MAGIC, _read)
    if start + sum(sizes) != len(artefact) or not len(sizes) == len(linear) == len(about.horizons):
        expected = f"{start + sum(sizes)} bytes and {len(about.horizons)} horizons"
        raise DamagedError(f"model: expected {expected}, got {len(artefact)}, {len(sizes)}")
    parts = zip(linear, columns, cut(artefact, start, sizes), counts, strict=True)
    return about, version, [Link(glm, of, trees, *count) for glm, of, trees, count in parts]


def _read(header: dict[str, Any]) -> tuple[int, list[Glm], list[tuple[int, ...]], list[int], list[tuple[float, float]]]:
    """Version of the table, linear models, and columns, size, share and half rides of the trees, from a header."""
    trees = header["trees"]
    if unknown := {name for row in trees for name in row} - {"columns", "size", "share", "half_rides"}:
        raise ValueError(f"trees: unknown {', '.join(sorted(unknown))}; a newer Ridecast trained it, use that")
    columns = [tuple(int(place) for place in row["columns"]) for row in trees]
    sizes = [int(row["size"]) for row in trees]
    counts = [(float(row.get("share", 1.0)), float(row.get("half_rides", WHOLE))) for row in trees]
    return int(header["table"]), [_glm(row) for row in header["linear"]], columns, sizes, counts


def _glm(row: dict[str, Any]) -> Glm:
    columns = tuple(int(place) for place in row["columns"])
    centres, scales, coefficients = (tuple(float(x) for x in row[name]) for name in ("centres", "scales", "coefficients"))
    if not len(columns) == len(centres) == len(scales) == len(coefficients):
        raise ValueError(f"linear: expected {len(columns)} of each, got {len(centres)}, {len(scales)}, {len(coefficients)}")
    return Glm(columns, centres, scales, float(row["intercept"]), coefficients)


def _table(version: int, names: tuple[str, ...]) -> FeatureTable:
    """The table that a chain was trained with.

    Raises:
        ContractError: this code does not have it, or has another one of that version.
    """
    table = TABLES.get(version)
    if table is None:
        known = ", ".join(str(number) for number in sorted(TABLES))
        raise ContractError(f"model: expected a feature table of version {known}, got {version}; a newer Ridecast trained it, use that")
    if table.names != names:
        changed = sorted(set(names) ^ set(table.names)) or ["their order"]
        raise ContractError(f"model: expected the features of table {version}, got others: {', '.join(changed[:5])}; train a new model")
    return table
