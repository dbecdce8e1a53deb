"""The features of the model, with one vectorised build for stream, backfill and training.

Every feature is computed from windows of counts known when a slot closed, and from the calendar. Each
value is computed element by element for its own cell, so that it does not depend on the other cells in
the build: the stream and a training replay give the same bits.
"""

import hashlib
from collections.abc import Callable

import numpy as np

from schemas.errors import ContractError, DamagedError
from schemas.events.rides import Float32s, Float64s, Int64s
from state.demand.calendar import Calendar
from state.demand.covariates import NONE_KNOWN, Covariates
from state.demand.feature_table import Feature, FeatureTable, Fill
from state.demand.history import CountHistory
from state.demand.windows import AHEAD, BACK, BACK_SHORT, LAGS_MIN, START, Ahead, SlotWindows

HEAD_BYTES = 16  # of a matrix as bytes
SMALL = 0.5  # rides added to both sides of a ratio, so that the log of zero rides is finite


def _lag(minutes: int) -> Fill:
    return lambda w: w.observed(w.slots(minutes), w.own(w.slots(minutes)))


def _smooth(ahead: Ahead) -> Fill:
    return lambda w: w.log_smooth[ahead.place]


def _day_level(w: SlotWindows) -> Float64s:
    return _log_ratio(w.own(w.day), w.own(7 * w.day) * (w.seen(w.day) / w.seen(7 * w.day)))


def _city_day_level(w: SlotWindows) -> float:
    whole = w.history.complete(w.start - w.day, w.start) and w.history.complete(w.start - 8 * w.day, w.start - 7 * w.day)
    return _one(_log_ratio(w.city(w.day), w.city(8 * w.day, 7 * w.day))) if whole else np.nan


def _city_trend(ahead: Ahead) -> Fill:
    def fill(w: SlotWindows) -> float:
        rides = w.city_past.mean(w.mixed, START, ahead.end)
        return _one(_log_ratio(rides * (w.last / w.ahead[ahead.place]), w.city_back))

    return fill


def _for_each_ahead(name: str, meaning: str, filling: Callable[[Ahead], Fill]) -> tuple[Feature, ...]:
    """Three features: for the first, the middle and the last horizon."""
    return tuple(Feature(name.format(ahead.name), meaning.format(ahead.name), filling(ahead)) for ahead in AHEAD)


FEATURES: tuple[Feature, ...] = (
    *(Feature(f"lag_{m}", f"rides of the cell in the last {m} min", _lag(m)) for m in LAGS_MIN),
    Feature(
        "rate_week",
        "mean rides per hour over the last 7 days",
        lambda w: w.own(7 * w.day) * (w.slots(60) / w.seen(7 * w.day)),
    ),
    Feature("rate_month", "mean rides per hour over the last 28 days", lambda w: w.month_rate * w.slots(60)),
    Feature("log_since_ride", "log of slots since the cell's last ride", lambda w: np.log(w.since_ride)),
    *_for_each_ahead("day_{}", "rides of the {} horizon one day before", lambda a: lambda w: w.past.day(1, START, a.end)),
    *_for_each_ahead("week_{}", "rides of the {} horizon one week before", lambda a: lambda w: w.past.day(7, START, a.end)),
    *_for_each_ahead("days_{}", "mean rides of the {} horizon over the last 7 days", lambda a: lambda w: w.daily_ahead[a.place]),
    *_for_each_ahead(
        "weeks_{}",
        "mean rides of the {} horizon over the last 4 weeks, recency weighted",
        lambda a: lambda w: w.weekly_ahead[a.place],
    ),
    *_for_each_ahead("kind_{}", "mean rides of the {} horizon over days of the same kind", lambda a: lambda w: w.same_kind_ahead[a.place]),
    *_for_each_ahead("log_smooth_{}", "log of the smooth profile of the {} horizon", _smooth),
    Feature(
        "level_short",
        "log ratio of the cell's last 15 min to its smooth profile",
        lambda w: _log_ratio(w.observed(w.short, w.own(w.short)), w.smooth(BACK_SHORT, START, w.short)),
    ),
    Feature(
        "level_long",
        "log ratio of the cell's last horizon to its smooth profile",
        lambda w: _log_ratio(w.own_last, w.smooth(BACK, START, w.last)),
    ),
    Feature("level_day", "log ratio of the cell's last day to its last week", _day_level),
    Feature("around_short", "rides of the neighbouring cells in the last 15 min", lambda w: w.around.short),
    Feature("around_long", "rides of the neighbouring cells in the last horizon", lambda w: w.around.last),
    Feature(
        "around_level",
        "log ratio of the neighbours' last horizon to a week before",
        lambda w: _log_ratio(w.around.last, w.around.back),
    ),
    Feature(
        "around_trend",
        "log ratio, a week before, of the neighbours' next horizon to their last",
        lambda w: _log_ratio(w.around.ahead, w.around.back),
    ),
    Feature("parent_long", "rides of the parent cell in the last horizon", lambda w: w.parent.last),
    Feature(
        "parent_level",
        "log ratio of the parent's last horizon to its profile",
        lambda w: _log_ratio(w.parent.last, w.parent.back),
    ),
    Feature(
        "parent_trend",
        "log ratio of the parent's profile of the next horizon to the last",
        lambda w: _log_ratio(w.parent.ahead, w.parent.back),
    ),
    Feature("city_short", "rides of the region in the last 15 min", lambda w: _one(w.city_short)),
    Feature("city_long", "rides of the region in the last horizon", lambda w: _one(w.city_last)),
    Feature(
        "city_level_short",
        "log ratio of the region's last 15 min to its profile",
        lambda w: _one(_log_ratio(w.city_short, w.city_past.mean(w.mixed, BACK_SHORT, START))),
    ),
    Feature(
        "city_level_long",
        "log ratio of the region's last horizon to its profile",
        lambda w: _one(_log_ratio(w.city_last, w.city_back)),
    ),
    Feature("city_level_day", "log ratio of the region's last day to the same day a week before", _city_day_level),
    Feature(
        "city_trend_first",
        "log ratio of the region's profile of the first horizon to the last hour's, per slot",
        _city_trend(AHEAD[0]),
    ),
    Feature(
        "city_trend_last",
        "log ratio of the region's profile of the last horizon to the last hour's, per slot",
        _city_trend(AHEAD[2]),
    ),
    Feature(
        "share_hour",
        "share of the cell in the region's rides of the last horizon",
        lambda w: w.own_last / np.maximum(w.city_last, 1.0),
    ),
    Feature("slot_of_day", "slots since local midnight", lambda w: w.local.slot_of_day),
    Feature("weekday", "0 = Monday", lambda w: w.local.weekday),
    Feature("weekend", "Saturday, Sunday or holiday", lambda w: w.local.weekend),
    Feature("holiday", "the local date is a holiday", lambda w: w.local.holiday),
    Feature("holiday_eve", "the next local date is a holiday", lambda w: w.local.holiday_eve),
    Feature("weeks_known", "weeks in the weekly profile", lambda w: sum(1 for weight in w.weekly if weight)),
)
FIRST_TABLE = FeatureTable(1, FEATURES)
NAMES: tuple[str, ...] = FIRST_TABLE.names


def build(
    history: CountHistory,
    calendar: Calendar,
    slot: int,
    columns: Int64s,
    table: FeatureTable = FIRST_TABLE,
    covariates: Covariates = NONE_KNOWN,
) -> Float32s:
    """The feature matrix of some cells after a closed slot.

    Args:
        slot: The last closed slot.
        columns: int64[n], columns of the history.
        table: The columns of the matrix.
        covariates: Of the region.
    Returns:
        float32[n, len(table)], columns in the order of the table, each contiguous: models read columns.
    Raises:
        ContractError: a feature's function did not return a full column.
    """
    windows, shape = SlotWindows(history, calendar, slot, columns, covariates), columns.shape
    out = np.empty((len(table), len(columns)), np.float32)
    for i, feature in enumerate(table.features):
        values = feature.fill(windows)
        # NumPy would convert None to NaN and broadcast an array of one value over all cells, which would hide the bug.
        filled = values.shape == shape if isinstance(values, np.ndarray) else isinstance(values, float | int)
        if not filled:
            got = f"an array {values.shape}" if isinstance(values, np.ndarray) else f"{values!r}"
            raise ContractError(f"feature {feature.name}: expected a number or an array {shape}, got {got}")
        out[i] = values
    return out.T


def smooth_profile(features: Float32s, ahead: int) -> Float64s:
    """The smooth profile of one of the AHEAD horizons, from a built matrix: float64[n], rides."""
    return np.exp(features[:, FIRST_TABLE.offset_column(ahead)].astype(np.float64))


def matrix_digest(features: Float32s) -> bytes:
    """SHA-256 of `matrix_bytes`."""
    return hashlib.sha256(matrix_bytes(features)).digest()


def matrix_bytes(features: Float32s) -> bytes:
    """A matrix as bytes: its shape, two 64-bit integers, then its values by rows, all little-endian."""
    return b"".join((np.array(features.shape, "<i8").tobytes(), np.ascontiguousarray(features, "<f4").reshape(-1).view(np.uint8).data))


def matrix_of(data: bytes) -> Float32s:
    """The inverse of `matrix_bytes`.

    Raises:
        DamagedError: the bytes are not a matrix.

    >>> matrix_of(matrix_bytes(np.array([[1.0, 2.0]], np.float32)))
    array([[1., 2.]], dtype=float32)
    """
    head = np.frombuffer(data[:HEAD_BYTES], "<i8").tolist() if len(data) >= HEAD_BYTES else [0, 0]
    if min(head) < 0 or HEAD_BYTES + 4 * head[0] * head[1] != len(data):
        raise DamagedError(f"features: expected {HEAD_BYTES} bytes with rows and columns, then their values, got {len(data)} bytes")
    return np.frombuffer(data, "<f4", offset=HEAD_BYTES).reshape(head).astype(np.float32, copy=False)


def _one(values: Float64s) -> float:
    """The single value of a window of the region."""
    return float(values[0])


def _log_ratio(value: Float64s, reference: Float64s) -> Float64s:
    return np.asarray(np.log((value + SMALL) / (reference + SMALL)), np.float64)
