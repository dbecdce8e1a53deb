"""Levels and the second table: nothing of the future, the same bits on every path, and what is kept."""

import dataclasses
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from schemas.errors import ContractError
from state.counting.slots import NO_COUNTS, ClosedSlot, CountColumns
from state.demand.calendar import Calendar
from state.demand.features import build, matrix_digest
from state.demand.history import CountHistory
from state.demand.profiles import OWN, Profiles
from state.demand.tables import TABLES
from state.demand.tracked import VARIANTS
from state.forecast.region import RegionFold
from state.forecast.sampling import KnownSlot
from tests.differences import assert_same
from tests.state.model_city import CELLS, FIRST_SLOT, HOURLY, fold, town_slots

CALENDAR = Calendar(HOURLY)
TABLE = TABLES[2]


def tracked(slots: Iterable[KnownSlot] = ()) -> CountHistory:
    """A history that tracks levels."""
    history = CountHistory(HOURLY, tracked=True)
    for known in slots:
        fold(history, known)
    return history


def built(history: CountHistory) -> bytes:
    """Digest of the whole matrix after the last slot."""
    slot = history.next_slot - 1
    return matrix_digest(build(history, CALENDAR, slot, history.universe(slot), TABLE))


def other(known: KnownSlot, seed: int) -> KnownSlot:
    """Another course of a slot, with late rides of slots that are not before it."""
    counts = np.random.default_rng([seed, known.slot]).integers(1, 50, len(known.cells))
    return dataclasses.replace(known, counts=counts, observed=bool(seed % 2))


@given(st.integers(180, 300), st.integers(0, 10**6))
@settings(max_examples=8, deadline=None)
def test_nothing_after_the_cut_moves_a_feature(cut: int, seed: int) -> None:
    """Whatever comes after a slot, its levels are rebuilt, and its profiles found again, with the same bits."""
    slots = town_slots(cut + 40)
    before = tracked(slots[:cut])
    matrix, start = built(before), FIRST_SLOT + cut
    windows = ((0, 1), (0, 30), (-3, 0))  # the second is longer than a day
    profiles = Profiles(before, CALENDAR, start, windows)
    expected = [profiles.own(OWN)[0], profiles.parent(), profiles.city, *profiles.own(*VARIANTS[1:4])]
    after = tracked(slots[:cut])
    assert matrix == built(after)
    for known in slots[cut:]:
        fold(after, other(known, seed))
    profiles = Profiles(after, CALENDAR, start, windows)
    found = [profiles.own(OWN)[0], profiles.parent(), profiles.city, *profiles.own(*VARIANTS[1:4])]
    n = len(before.cells), before.levels.parents
    for one, two in zip(expected, found, strict=True):
        columns = min(one.shape[-1], two.shape[-1])
        assert one[..., :columns].tobytes() == np.ascontiguousarray(two[..., :columns]).tobytes(), n


def test_stream_resume_and_replay_build_the_same_bits() -> None:
    """Features after snapshots, and those of a training replay, equal those of an uninterrupted stream, with late rides and an outage."""
    slots = town_slots(260, late=True, outage=range(100, 104))
    whole, resumed = tracked(), tracked()
    for i, known in enumerate(slots):
        fold(whole, known)
        fold(resumed, known)
        if i % 43 == 20:
            arrays = resumed.to_arrays()
            resumed = CountHistory(HOURLY)
            resumed.from_arrays(arrays)
            assert_same(whole.to_arrays(), resumed.to_arrays())
        if i % 5 == 0:
            assert built(whole) == built(resumed)
            assert whole.levels_digest() == resumed.levels_digest()


def test_backfill_live_closes_and_training_build_the_same_bits() -> None:
    """Slots that a fold remembered, those that it closed live, and those that a training run replays leave the same levels."""
    slots = town_slots(230, outage=range(195, 199))
    trained = CountHistory(HOURLY, tracked=True, older=True)
    for known in slots:
        fold(trained, known)
    remembered, closed = RegionFold(HOURLY, FIRST_SLOT + 230), RegionFold(HOURLY, FIRST_SLOT + 120)
    counts = [CountColumns(np.full(len(known.cells), known.slot), known.cells, known.counts) for known in slots]
    remembered.remember((known.slot, (counted,)) for known, counted in zip(slots, counts, strict=True))
    closed.remember((known.slot, (counted,)) for known, counted in zip(slots[:120], counts[:120], strict=True))
    for known, counted in zip(slots[120:], counts[120:], strict=True):
        (closed.apply if known.slot % 2 else closed.fast_forward)(ClosedSlot(known.slot, (), (counted,), (NO_COUNTS,)))
    for fold_ in (remembered, closed):
        [history] = fold_.histories
        assert trained.levels_digest() == history.levels_digest()
        assert built(trained) == built(history)


def test_an_empty_history_comes_back_as_it_was() -> None:
    """Before the first slot too, a snapshot says whether levels are tracked."""
    for history in (CountHistory(HOURLY), tracked()):
        again = CountHistory(HOURLY)
        again.from_arrays(history.to_arrays())
        assert history.tracked == again.tracked
    fold(again, town_slots(1)[0])
    assert again.levels_digest() == tracked(town_slots(1)).levels_digest()


def test_tracking_that_begins_later_takes_the_kept_slots() -> None:
    """Where nothing came late and nothing is forgotten, it gives the bits of tracking from the start; once on, it stays as it is."""
    slots = town_slots(300, outage=range(200, 203))
    late = CountHistory(HOURLY)
    for known in slots[:250]:
        fold(late, known)
    late.track()
    early = tracked(slots[:250])
    assert early.levels_digest() == late.levels_digest()
    for known in slots[250:]:
        fold(early, known)
        fold(late, known)
        late.track()
    assert early.levels_digest() == late.levels_digest()
    assert built(early) == built(late)


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    """Built alone, in another order, or with other cells, a cell's features have the same bits."""
    history = tracked(town_slots(500))
    slot = history.next_slot - 1
    columns = history.universe(slot)
    whole = build(history, CALENDAR, slot, columns, TABLE)
    order = np.random.default_rng(3).permutation(len(columns))
    for picked in (order, order[:5], order[7:20], order[:1]):
        assert whole[picked].tobytes() == build(history, CALENDAR, slot, columns[picked], TABLE).tobytes()


def test_levels_stay_with_their_cells_when_columns_move() -> None:
    """After columns are dropped, each cell and parent that is left has the levels it had, and goes on."""
    history = tracked()
    history.close(0, CELLS[:20], np.ones(20, np.int64), observed=True)
    plain = tracked()
    for slot in range(31 * 24):
        if slot:
            history.close(slot, CELLS[18:22], np.array([1, 2, 3, 4]), observed=True)
        # The others never existed here: what they had long ago is in no profile and in no level but the parents' and the region's.
        plain.close(slot, CELLS[18:22], np.array([1, 2, 3, 4]) if slot else np.array([1, 1, 1, 1]), observed=True)
    assert history.generation > 0
    assert plain.cells.tolist() == history.cells.tolist()
    assert plain.levels.parents == history.levels.parents
    own, expected = history.levels.own, plain.levels.own
    assert expected[0, :5].tolist() == [pytest.approx(row) for row in own[0, :5].tolist()]
    assert plain.levels.parent[0, :5].tolist() == [pytest.approx(row) for row in history.levels.parent[0, :5].tolist()]
    again = CountHistory(HOURLY)
    again.from_arrays(history.to_arrays())
    for one in (history, again):
        one.close(31 * 24, CELLS[:3], np.array([1, 2, 3]), observed=True)
    assert history.levels_digest() == again.levels_digest()


def test_an_outage_only_decays_levels() -> None:
    """A slot that was not observed adds neither rides nor profile."""
    history = tracked(town_slots(100))
    before = history.levels.own.copy()
    history.close(history.next_slot, CELLS[:1], np.array([9]), observed=False)
    factors = 0.5 ** (1 / np.maximum(np.array([7.5, 20, 60, 180, 720, 2880, 10080]) / 60, 0.5))
    assert (before * factors[:, None]).tolist() == history.levels.own.tolist()
    history.correct(np.array([history.next_slot - 1]), CELLS[:1], np.array([9]))
    assert (before * factors[:, None]).tolist() == history.levels.own.tolist()


def test_the_second_table_needs_levels() -> None:
    """Without tracking, its build says so; the first table does not mind."""
    history = CountHistory(HOURLY)
    for known in town_slots(30):
        fold(history, known)
    with pytest.raises(ContractError, match="tracks levels"):
        built(history)
    assert len(TABLES[1]) == build(history, CALENDAR, history.next_slot - 1, np.arange(3)).shape[1]


def test_the_first_slots_of_a_history_build_too() -> None:
    """With no past at all every value is a number or missing, never infinite."""
    history = tracked()
    for known in town_slots(30):
        fold(history, known)
        matrix = build(history, CALENDAR, known.slot, history.universe(known.slot), TABLE)
        assert not np.isinf(matrix).any()


def test_every_feature_is_declared_once_and_names_its_horizon() -> None:
    """Names are unique, each has a meaning, and a model of one horizon gets the profile of that horizon only."""
    assert len(set(TABLE.names)) == len(TABLE)
    assert all(feature.meaning for feature in TABLE.features)
    for ahead, name in enumerate(("first", "middle", "last")):
        used = [TABLE.names[i] for i in TABLE.columns(ahead, linear=False)]
        assert f"log_profile_{name}" == TABLE.names[TABLE.offset_column(ahead)]
        assert [f"log_profile_{name}"] == [column for column in used if column.startswith("log_profile")]
