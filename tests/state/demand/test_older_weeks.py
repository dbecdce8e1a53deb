"""Profiles over all weeks: by value, the same bits on every path, and what is kept of weeks that left the counts."""

import dataclasses
from datetime import date, timedelta

import numpy as np
import pytest

from schemas.regions import Region
from state.demand.calendar import Calendar
from state.demand.features import build, matrix_digest
from state.demand.history import CountHistory
from state.demand.older_weeks import OlderWeeks
from state.demand.profiles import CITY, OWN, PARENT, PRIOR_SLOTS, Profiles, Smoothing
from state.demand.tables import TABLES
from state.demand.tracked import VARIANTS, WIDE
from state.forecast.region import RegionFold
from tests.differences import assert_same
from tests.state.demand.plain_levels import PlainLevels
from tests.state.demand.small_city import CELLS, HOUR, QUARTER, city
from tests.state.model_city import CELLS as TOWN_CELLS, HOURLY, fold, town_slots

WEEKS = 24 * 7
TOWN = town_slots(8 * WEEKS, outage=range(40, 44))
CALENDAR = Calendar(HOURLY)
TABLE = TABLES[4]


def remembering(slots: int) -> CountHistory:
    """A history of the town after so many slots."""
    history = CountHistory(HOURLY, tracked=True, older=True)
    for known in TOWN[:slots]:
        fold(history, known)
    return history


def built(history: CountHistory) -> bytes:
    """Digest of the whole matrix after the last slot."""
    slot = history.next_slot - 1
    return matrix_digest(build(history, CALENDAR, slot, history.universe(slot), TABLE))


@pytest.mark.parametrize(
    ("region", "first_day", "slots", "outages", "holiday"),
    [
        pytest.param(HOUR, "2014-03-01", 24 * 46 + 9, (24 * 3 + 8, 24 * 10 + 9), "2014-03-03", id="hours, over a change of the clock"),
        pytest.param(HOUR, "2014-03-01", 24 * 48 + 11, (), "2014-04-18", id="into a holiday"),
        pytest.param(QUARTER, "2014-03-01", 96 * 37 + 33, (96 * 2 + 34,), "2014-03-08", id="quarter hours"),
    ],
)
def test_profiles_are_what_they_mean(region: Region, first_day: str, slots: int, outages: tuple[int, ...], holiday: str) -> None:
    """Profiles of cells, parent cells and the region equal their plain definitions, with weeks that left the counts."""
    region = dataclasses.replace(region, holidays=(holiday,))
    made = city(region, first_day, slots, outages=outages, late=False, tracked=True, older=True)
    start = made.history.next_slot
    windows = ((0, 1), (0, 3), (-2, 0), (1, 2))
    span = (-2, 3)
    profiles = Profiles(made.history, made.calendar, start, windows)
    plain = PlainLevels(made.counts, made.clock, PRIOR_SLOTS, older=True)
    assert any(plain.left(start, 0))
    smoothings = (OWN, WIDE, VARIANTS[1], VARIANTS[2], VARIANTS[3])
    own = {each: profiles.own(each)[0] for each in smoothings}
    cells = [cell for cell in CELLS if cell in made.counts.cells()]
    for i, (low, high) in enumerate(windows):
        for cell, column in zip(cells, made.columns(cells).tolist(), strict=True):
            for each in smoothings:
                assert plain.profile(("own", cell), start, low, high, numbers(each), span) == pytest.approx(own[each][i, column], rel=1e-5)
            parent = profiles.parent()[i, made.history.parent_of[column]]
            assert plain.profile(("parent", cell), start, low, high, numbers(PARENT), span) == pytest.approx(parent, rel=1e-5)
        assert plain.profile(("city", 0), start, low, high, numbers(CITY), span) == pytest.approx(profiles.city[i], rel=1e-5)


def numbers(smoothing: Smoothing) -> tuple[int, float, float]:
    """As the plain definitions take it."""
    return smoothing.reach_min, smoothing.week, smoothing.day


def test_a_fifth_week_counts_and_a_hasty_smoothing_ignores_it() -> None:
    """With rides in the oldest week alone, a profile over all weeks has some, and one over the counts none but its prior."""
    histories = [CountHistory(HOURLY, tracked=True, older=older) for older in (True, False)]
    for history in histories:
        for known in TOWN[: 5 * WEEKS]:
            counts = np.full(1, 50 if known.slot < TOWN[0].slot + WEEKS - 24 else 1, np.int64)
            history.close(known.slot, TOWN_CELLS[:1], counts, observed=True)
    start = histories[0].next_slot
    with_older, without = (Profiles(history, CALENDAR, start, ((0, 1),)) for history in histories)
    assert with_older.own(OWN)[0][0, 0] > 5 * without.own(OWN)[0][0, 0]
    hasty = Smoothing(40, week=0.6)
    assert hasty.older == 0.0
    assert with_older.own(hasty)[0][0, 0] < 0.2 * with_older.own(OWN)[0][0, 0]  # some: the region's shape is of all weeks


def test_stream_resume_and_replay_build_the_same_bits() -> None:
    """Features after snapshots, late rides included, equal those of an uninterrupted stream, and so do digests."""
    whole, resumed = remembering(5 * WEEKS), remembering(5 * WEEKS)
    late = town_slots(7 * WEEKS, late=True)
    for i, known in enumerate(late[5 * WEEKS : 6 * WEEKS]):
        fold(whole, known)
        fold(resumed, known)
        if i % 29 == 20:
            arrays = resumed.to_arrays()
            resumed = CountHistory(HOURLY)
            resumed.from_arrays(arrays)
            assert_same(whole.to_arrays(), resumed.to_arrays())
        if i % 5 == 0:
            assert built(whole) == built(resumed)
        assert whole.levels_digest() == resumed.levels_digest()


def test_nothing_after_the_cut_moves_a_feature() -> None:
    """Whatever comes within the next 16 hours, profiles of a slot that is over are found again with the same bits."""
    cut = 6 * WEEKS
    before, after = remembering(cut), remembering(cut)
    start = before.next_slot
    assert built(before) == built(after)

    def found(history: CountHistory) -> bytes:
        profiles = Profiles(history, CALENDAR, start, ((0, 1), (0, 3), (-1, 0)))
        arrays = [profiles.own(OWN)[0], *profiles.own(*VARIANTS[1:4]), profiles.city]
        return b"".join(np.ascontiguousarray(array[..., : len(before.cells)]).tobytes() for array in arrays)

    expected = found(before)
    rng = np.random.default_rng(2)
    for known in TOWN[cut : cut + 16]:
        fold(after, dataclasses.replace(known, counts=rng.integers(1, 90, len(known.cells))))
        assert expected == found(after)


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    """Built alone or with other cells, a cell's features have the same bits."""
    history = remembering(6 * WEEKS)
    slot = history.next_slot - 1
    columns = history.universe(slot)
    whole = build(history, CALENDAR, slot, columns, TABLE)
    for picked in (np.arange(len(columns))[::-1], np.arange(7), np.array([3])):
        assert whole[picked].tobytes() == build(history, CALENDAR, slot, columns[picked], TABLE).tobytes()


def test_weeks_stay_with_their_cells_when_columns_move() -> None:
    """After cells are dropped, those that are left keep their weeks, a new cell starts with none, and a snapshot restores both."""
    history, left = remembering(5 * WEEKS), TOWN_CELLS[[1, 4, 6]]
    for i in range(31 * 24):
        history.close(history.next_slot, left, np.array([3, 2, 1 + i % 2]), observed=True)
    assert len(history.cells) == 3
    assert history.generation > 0
    plain = CountHistory(HOURLY, tracked=True, older=True)
    for known in TOWN[: 5 * WEEKS]:
        mine = np.isin(known.cells, left)
        plain.close(known.slot, known.cells[mine], known.counts[mine], observed=known.observed)
    for i in range(31 * 24):
        plain.close(plain.next_slot, left, np.array([3, 2, 1 + i % 2]), observed=True)
    order = plain.columns_of(history.cells)
    older, apart = history.levels.older, plain.levels.older
    assert older is not None
    assert apart is not None
    mine_rides, plain_rides = (each.sums(history.next_slot, ((0, 2),), 3)[0] for each in (older, apart))
    assert plain_rides[:, order].tolist() == mine_rides.tolist()
    again = CountHistory(HOURLY)
    again.from_arrays(history.to_arrays())
    for one in (history, again):
        one.close(one.next_slot, np.union1d(left[:1], TOWN_CELLS[20:26]), np.arange(1, 8), observed=True)
        assert one.levels.older is not None
        rides = one.levels.older.sums(one.next_slot, ((0, 2),), 3)[0][0]
        assert rides[:3].min() > 0
        assert not rides[3:].any()
    assert history.levels_digest() == again.levels_digest()
    assert built(history) == built(again)


@pytest.mark.parametrize("windows", [((-1, 0), (0, 3)), ((0, WEEKS),)])
def test_rows_in_memory_follow_what_enters(windows: tuple[tuple[int, int], ...]) -> None:
    """After more than a day, what was smoothed before is smoothed again: the same as from a snapshot, which has none of it."""
    history = remembering(6 * WEEKS)
    start = history.next_slot
    for known in (None, *TOWN[6 * WEEKS : 6 * WEEKS + 30]):
        if known is not None:
            fold(history, known)
        older = history.levels.older
        assert older is not None
        rides = older.sums(start, windows, 2)[0]
    again = CountHistory(HOURLY)
    again.from_arrays(history.to_arrays())
    assert again.levels.older is not None
    assert again.levels.older.sums(start, windows, 2)[0].tobytes() == rides.tobytes()


def test_the_digest_notices_one_ride() -> None:
    """A ride more in a slot that has left the counts changes the digest of the levels; cells without rides do not."""
    calendar = Calendar(HOURLY)
    digests = []
    for cells, counts in (([5, 9], [1, 3]), ([5, 7, 9], [1, 0, 3]), ([5, 9], [1, 4]), ([5, 8], [1, 3])):
        older = OlderWeeks(calendar)
        older.widen(len(cells))
        older.push(100, np.array(cells, np.uint64), np.array(counts), observed=True)
        digests.append(older.digest())
    assert digests[0] == digests[1]
    assert len({*digests}) == 3


def test_an_old_fold_has_none_and_an_upgrade_starts_with_none() -> None:
    """Version 5 keeps no older weeks, in snapshots neither; from version 6 on they gather, and going back forgets them."""
    region_fold = RegionFold(HOURLY, TOWN[0].slot, 5)
    [history] = region_fold.histories
    for known in TOWN[: 5 * WEEKS]:
        fold(history, known)
    assert history.levels.older is None
    assert not [name for name in history.to_arrays() if "older" in name]
    region_fold.follow(6)
    older = history.levels.older
    assert older is not None
    assert older.empty
    fold(history, TOWN[5 * WEEKS])
    assert not older.empty
    assert history.levels.older is older
    region_fold.follow(5)
    assert history.levels.older is None


def test_forgetting_what_decayed_keeps_snapshots_small() -> None:
    """A ride of a year ago is no longer in the arrays, one of half a year ago is."""
    calendar = Calendar(dataclasses.replace(HOURLY, timezone="UTC"))
    older = OlderWeeks(calendar)
    older.widen(1)
    kept = []
    for week in range(53):
        older.push(week * WEEKS, np.array([7], np.uint64), np.array([1 if week == 0 else 0]), observed=True)
        kept.append(len(older.to_arrays()["rides"]))
    assert kept[26] == 1
    assert kept[52] == 0


def test_a_holiday_counts_as_much_as_another_kind_of_day() -> None:
    """A Monday that was free weighs a twentieth, and on such a Monday the older Mondays do."""
    monday = date(2014, 4, 7)
    region = dataclasses.replace(HOURLY, holidays=(monday.isoformat(), (monday + timedelta(days=35)).isoformat()))
    calendar = Calendar(region)
    older = OlderWeeks(calendar)
    noon = calendar.first_slot(monday.isoformat()) + 12
    assert [older.share(noon + 24 * days) for days in (-1, 0, 1, 35)] == [1.0, 0.05, 1.0, 0.05]
