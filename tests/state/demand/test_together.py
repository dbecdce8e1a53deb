"""What is computed for several windows or horizons at once has the bits of each computed alone."""

import numpy as np

from schemas.events.rides import Float64s
from state.demand.around import KERNELS_KM, Around
from state.demand.features import build, matrix_bytes
from state.demand.tables import TABLES
from state.demand.tracked import BACK_15, BACK_30, BACK_60, VARIANTS
from state.demand.windows import AHEAD, BACK, DAYS, PAD, PRIOR_RIDES, START, SlotWindows
from tests.state.demand.small_city import CELLS, FIVE, City, city
from tests.state.model_city import CELLS as TOWN, HOURLY


def made_windows() -> tuple[City, SlotWindows]:
    """A city with outages, and the windows of its newest slot."""
    made = city(FIVE, "2014-03-08", 9 * 288 + 100, outages=range(3 * 288, 4 * 288), tracked=True)
    return made, SlotWindows(made.history, made.calendar, made.history.next_slot - 1, made.columns(CELLS))


def plain_rides(made: City, w: SlotWindows, days: int, low: int, high: int) -> Float64s:
    """Rides of an earlier day between two bounds, read from the history alone."""
    last, short, pad = w.last, w.short, w.pad
    offsets = (-last, -short, -pad, 0, *w.ahead, *(slots + pad for slots in w.ahead))
    day = made.calendar.seasonal(w.start, days)
    return made.history.window(day + offsets[low], day + offsets[high], w.columns).astype(np.float64)


def plain_mean(made: City, w: SlotWindows, weights: list[float], low: int, high: int) -> Float64s:
    """Weighted mean over the earlier days, one after the other."""
    total = np.zeros(len(w.columns))
    for days, weight in zip(DAYS, weights, strict=True):
        if weight:
            total += weight * plain_rides(made, w, days, low, high)
    return total / sum(weights)


def test_means_of_several_horizons_have_the_bits_of_each() -> None:
    """Days, weeks and days of the same kind: each horizon as its own sum over the earlier days."""
    made, w = made_windows()
    assert 0.0 in w.daily[:7]  # a day with an outage
    for weights, found in ((w.daily, w.daily_ahead), (w.weekly, w.weekly_ahead), (w.same_kind, w.same_kind_ahead)):
        for ahead in AHEAD:
            assert plain_mean(made, w, weights, START, ahead.end).tobytes() == found[ahead.place].tobytes()
    assert plain_rides(made, w, 1, START, AHEAD[2].end).tobytes() == w.past.day(1, START, AHEAD[2].end).tobytes()
    missing = w.past.day(6, START, AHEAD[2].end)
    assert np.isnan(missing).all()
    assert missing.shape == w.columns.shape


def test_smooth_profiles_of_several_horizons_have_the_bits_of_each() -> None:
    """Each is the posterior mean of its own window."""
    made, w = made_windows()
    weight = sum(w.mixed)

    def plain_smooth(low: int, high: int, slots: int, scale: float) -> Float64s:
        before, after = made.history.city_cumulative((w.start - 28 * 288, w.start)).tolist()
        rate = max(float(after - before) / w.seen(28 * 288), 1e-9)
        shape = float(w.city_past.mean(w.mixed, low, high)[0]) / (slots * rate)
        prior = np.maximum(w.month_rate * (slots * shape), 1e-9)
        rides = plain_mean(made, w, w.mixed, low, high) * weight
        return np.asarray((rides + PRIOR_RIDES) / (weight + PRIOR_RIDES / prior) * scale, np.float64)

    for ahead in AHEAD:
        slots = w.ahead[ahead.place]
        wide = slots + 2 * w.pad
        assert np.log(plain_smooth(PAD, ahead.padded, wide, slots / wide)).tobytes() == w.log_smooth[ahead.place].tobytes()
    assert plain_smooth(BACK, START, w.last, 1.0).tobytes() == w.smooth(BACK, START, w.last).tobytes()


def test_changes_of_several_horizons_have_the_bits_of_each() -> None:
    """Trends, variants and the wider profile: each horizon as its own log ratio."""
    _, w = made_windows()
    t = w.tracked
    own = t.profiles["own"]

    def plain(values: Float64s, reference: Float64s) -> bytes:
        return np.log((values + 1e-6) / (reference + 1e-6)).tobytes()

    for i in range(3):
        for source in t.profiles:
            for back in (BACK_30,) if source.startswith(("near", "parent")) else (BACK_30, BACK_15, BACK_60):
                assert plain(t.profiles[source][i], t.profiles[source][back]) == t.trend(source, back)[i].tobytes()
        assert plain(t.wide[i], own[i]) == t.to_wide[i].tobytes()
        for number in range(len(VARIANTS)):
            assert plain(t.variants[number][i], own[i]) == t.to_variant(number)[i].tobytes()
        assert np.log(np.maximum(own[i], 1e-9) * w.ahead[i]).tobytes() == t.log_profiles[i].tobytes()


def test_a_matrix_has_the_bytes_of_its_columns_side_by_side() -> None:
    """The values are those of each feature alone, and the bytes those of the rows, however the matrix lies in memory."""
    made, w = made_windows()
    matrix = build(made.history, made.calendar, made.history.next_slot - 1, w.columns, TABLES[3])
    plain = np.empty((len(w.columns), len(TABLES[3])), np.float32)
    for i, feature in enumerate(TABLES[3].features):
        plain[:, i] = feature.fill(w)
    assert plain.tobytes() == matrix.tobytes()
    assert matrix_bytes(plain) == matrix_bytes(matrix)


def test_sums_of_other_cells_than_before_are_computed_anew() -> None:
    """Whichever cells were asked for before, and whichever were known, a sum is that of a fresh start."""
    values = np.random.default_rng(4).random((len(TOWN), 3))
    kept, some = Around(HOURLY), np.arange(0, len(TOWN), 2)
    for cells in (TOWN, TOWN[::-1].copy()):
        for columns in (some, some, some[::-1], np.arange(len(TOWN)), some + 1):
            for kernel in range(len(KERNELS_KM)):
                fresh = Around(HOURLY).sums(kernel, cells, columns, values)
                assert fresh.tobytes() == kept.sums(kernel, cells, columns, values).tobytes()
