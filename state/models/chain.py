"""The chain of one region and measure: profile, linear model of the log rate, trees and a network on it.

The margin of a horizon is the log of a profile that is a column of the feature table. A linear model
(`state.models.glm`) adds what follows from its log ratios, and boosted trees the rest, each horizon with models of its own, on
the columns that the table has for it. Trees may share the rest with a network (`state.models.network`), which is one for all
horizons. `state.forecast.training` fits a chain.
"""

import math
from dataclasses import asdict, dataclass, replace
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
from state.models.network import Network, check_network, load_network, network_header, read_network
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
        network: The one of all horizons, whose output is added in the same way; None if there is none.
    """

    glm: Glm
    columns: tuple[int, ...]
    trees: bytes
    share: float = 1.0
    half_rides: float = WHOLE
    network: Network | None = None

    def shares(self, logs: Float64s) -> "float | Float64s":
        """What share of the trees' sum counts, from the linear model's log means: float64[n], or one number for all.

        >>> Link(Glm((), (), (), 0.0, ()), (), b"", half_rides=32.0).shares(np.log([32.0, 96.0])).round(3).tolist()
        [0.5, 0.25]
        """
        return self._shares(self.share, logs)

    def network_shares(self, logs: Float64s) -> "float | Float64s":
        """The same for the network's output; 0 without one."""
        return self._shares(self.network.share, logs) if self.network is not None else 0.0

    def _shares(self, share: float, logs: Float64s) -> "float | Float64s":
        if self.half_rides == WHOLE:
            return share
        return np.asarray(share / (1.0 + np.exp(np.minimum(logs, LARGEST_LOG)) / self.half_rides), np.float64)


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
        self._network = load_network(self._links[0].network)

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
        of_network = self._network.logs(features) if self._network is not None else None
        for i, (link, booster) in enumerate(zip(self._links, self._boosters, strict=True)):
            logs = link.glm.log_means(features, margin(features, self.table, self.about.horizons, i))
            beside = link.network_shares(logs) * of_network[:, i] if of_network is not None else None
            out[:, i] = tree_means(booster, link.columns, features, logs, link.shares(logs), beside)
        return out

    def contributions(self, features: Float32s, i: int) -> Contributions:
        """What each feature adds to the log of the means of horizon i: its terms of linear model, trees (TreeSHAP) and network."""
        link, profile = self._links[i], margin(features, self.table, self.about.horizons, i)
        logs = link.glm.log_means(features, profile)
        share = np.broadcast_to(link.shares(logs), len(features))
        average, of_trees = tree_contributions(self._boosters[i], np.ascontiguousarray(features[:, list(link.columns)]))
        added = np.zeros(features.shape)
        added[:, list(link.glm.columns)] = link.glm.contributions(features)
        added[:, list(link.columns)] += share[:, None] * of_trees
        usual = link.glm.intercept + share * average
        if link.network is not None and self._network is not None:
            share = np.broadcast_to(link.network_shares(logs), len(features))
            average_output, of_network = self._network.contributions(features, i)
            added[:, list(link.network.columns)] += share[:, None] * of_network
            usual = usual + share * average_output
        return Contributions(profile, usual, added)


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


def tree_means(
    booster: Any,
    columns: tuple[int, ...],
    features: Float32s,
    logs: Float64s,
    share: "float | Float64s" = 1.0,
    beside: Float64s | None = None,
) -> Float64s:
    """What a share of the trees, one for all or float64[n], makes of the linear model's log means: float64[n], rides, bounded.

    Args:
        beside: float64[n], what else is added to the log of each mean.
    """
    inputs = features.T.take(columns, axis=0).T  # columns of a built matrix are contiguous
    if isinstance(share, float) and share == 1.0 and beside is None:
        means = booster.inplace_predict(inputs, base_margin=logs.astype(np.float32), validate_features=False)
    else:
        none = np.zeros(len(features), np.float32)
        added = booster.inplace_predict(inputs, base_margin=none, predict_type="margin", validate_features=False)
        total = logs + share * np.asarray(added, np.float64)
        means = np.exp(np.minimum(total if beside is None else total + beside, LARGEST_LOG))
    return np.clip(np.asarray(means, np.float64), LEAST_MEAN, MOST_MEAN)


def pack(about: Artefact, table: FeatureTable, links: list[Link]) -> bytes:
    """An artefact as bytes: magic, length of the header, header (canonical JSON), then the boosters, then the network's numbers."""
    network = _network_of(links)
    header = {
        "algorithm": ALGORITHM,
        "table": table.version,
        "linear": [asdict(link.glm) for link in links],
        "trees": [{"columns": link.columns, "size": len(link.trees)} | _share(link) for link in links],
    } | ({"network": network_header(network)} if network is not None else {})
    return pack_header(MAGIC, about, header) + b"".join(link.trees for link in links) + (network.numbers if network is not None else b"")


def _network_of(links: list[Link]) -> Network | None:
    network = links[0].network if links else None
    if any(link.network != network for link in links):
        raise ContractError("model: expected one network for all horizons, got others")
    return network


def _share(link: Link) -> dict[str, float]:
    """Only of an artefact whose trees do not count whole: others keep their bytes."""
    whole = {"share": 1.0, "half_rides": WHOLE}
    return {name: value for name, of_all in whole.items() if (value := getattr(link, name)) != of_all}


def unpack(artefact: bytes) -> tuple[Artefact, int, list[Link]]:
    """The inverse of `pack`; the table by its version.

    Raises:
        DamagedError: the bytes are not an artefact.
    """
    about, header, start = unpack_header(artefact, MAGIC, _read)
    sizes = [*header.sizes, len(header.network.numbers)] if header.network is not None else header.sizes
    if start + sum(sizes) != len(artefact) or not len(header.sizes) == len(header.linear) == len(about.horizons):
        expected = f"{start + sum(sizes)} bytes and {len(about.horizons)} horizons"
        raise DamagedError(f"model: expected {expected}, got {len(artefact)}, {len(header.sizes)}")
    parts, network = cut(artefact, start, sizes), header.network
    if network is not None:
        network = replace(network, numbers=parts.pop())
        check_network(network, len(about.features), len(about.horizons))
    rows = zip(header.linear, header.columns, parts, header.counts, strict=True)
    return about, header.table, [Link(glm, of, trees, *count, network) for glm, of, trees, count in rows]


@dataclass(frozen=True, slots=True)
class _Header:
    """What the header of an artefact says of its models.

    Attributes:
        columns, sizes, counts: Per horizon, of the trees: inputs, bytes, share and half rides.
        network: Its numbers are zeros yet.
    """

    table: int
    linear: list[Glm]
    columns: list[tuple[int, ...]]
    sizes: list[int]
    counts: list[tuple[float, float]]
    network: Network | None


def _read(header: dict[str, Any]) -> _Header:
    trees = header["trees"]
    if unknown := {name for row in trees for name in row} - {"columns", "size", "share", "half_rides"}:
        raise ValueError(f"trees: unknown {', '.join(sorted(unknown))}; a newer Ridecast trained it, use that")
    return _Header(
        int(header["table"]),
        [_glm(row) for row in header["linear"]],
        [tuple(int(place) for place in row["columns"]) for row in trees],
        [int(row["size"]) for row in trees],
        [(float(row.get("share", 1.0)), float(row.get("half_rides", WHOLE))) for row in trees],
        read_network(header["network"]) if "network" in header else None,
    )


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
