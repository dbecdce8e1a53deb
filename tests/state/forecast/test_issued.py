"""Forecasts that wait for their truth: what is kept, what is forgotten, and a queue that comes back from arrays exactly."""

import dataclasses

import numpy as np
import pytest

from schemas.events.rides import Int64s
from schemas.forecasts.chunks import NUMBERS, ForecastColumns
from state.demand.history import CountHistory
from state.forecast.issued import Issued, IssuedQueue
from state.models.protocol import Correction
from state.models.table import MODELS
from tests.differences import assert_same
from tests.state.model_city import CELLS, HOURLY

HORIZONS_MIN = HOURLY.horizons_min
ONLINE = MODELS.correctors[0]
LEVEL = dataclasses.replace(ONLINE, name="level", issued="issued_level_", inputs=2, since=3)


def issue(slot: int, cells: int, seed: int = 0) -> Issued:
    """An issue of the town's first cells, every second with its own model."""
    rng = np.random.default_rng(1_000 * seed + slot)
    numbers = {name: rng.integers(0, 9_000, (cells, 3)) for name in NUMBERS}
    own = np.arange(0, cells, 2)
    columns = ForecastColumns(cells=CELLS[:cells], horizons_min=HORIZONS_MIN, fallback=(np.arange(cells) % 5).astype(np.uint8), **numbers)
    said = {
        row.name: Correction(rng.random((len(own), 3)), rng.random((len(own), 3, row.inputs)), rng.random((len(own), 3)))
        for row in (ONLINE, LEVEL)
    }
    return Issued(slot, columns, own, said if len(own) else {})


def queue(*issues: Issued) -> tuple[IssuedQueue, CountHistory]:
    """A queue of these, with the history of a town where every cell has had a ride, in reverse order of first rides."""
    history, held = CountHistory(HOURLY), IssuedQueue(HORIZONS_MIN, (ONLINE, LEVEL))
    for slot, cell in enumerate(CELLS[::-1].tolist()):
        history.close(slot, np.array([cell], np.uint64), np.array([1]), observed=True)
    for one in issues:
        held.push(one, history, history.columns_of(one.columns.cells))
    return held, history


def content(one: Issued | None) -> list[bytes]:
    """Every array of an issue."""
    assert one is not None
    columns = [getattr(one.columns, name) for name in ("cells", *NUMBERS, "fallback")]
    said = [
        array
        for name in one.corrections
        for array in (one.corrections[name].means, one.corrections[name].inputs, one.corrections[name].predicted)
    ]
    return [np.ascontiguousarray(array).tobytes() for array in (*columns, one.own, *said)]


def again(held: IssuedQueue) -> IssuedQueue:
    """The queue that its arrays give."""
    restored = IssuedQueue(HORIZONS_MIN, (ONLINE, LEVEL))
    restored.from_arrays(held.to_arrays())
    return restored


@pytest.mark.parametrize("sizes", [(), (0,), (7,), (36, 1, 0, 20)])
def test_a_queue_comes_back_from_arrays(sizes: tuple[int, ...]) -> None:
    """Every array of every issue is bit-identical, and so are digests and later operations."""
    issues = [issue(100 + i, cells) for i, cells in enumerate(sizes)]
    held, history = queue(*issues)
    held.forget_inputs(100)
    restored = again(held)
    for one in issues:
        assert_same(content(held.at(one.slot)), content(restored.at(one.slot)), f"issue of slot {one.slot}")
        assert held.columns(one.slot, history).tolist() == restored.columns(one.slot, history).tolist()
    assert held.digest() == restored.digest()
    for each in (held, restored):
        each.push(issue(200, 3), history, history.columns_of(CELLS[:3]))
    assert held.digest() == restored.digest()


def test_arrays_of_issues_have_the_names_that_old_snapshots_have() -> None:
    """Arrays of the first corrector have no prefix, those of others have one, and types and shapes do not change."""
    held, _ = queue(issue(100, 7), issue(101, 1))
    arrays = {name: (array.dtype.str, array.shape) for name, array in held.to_arrays().items()}
    numbers = {f"issued_{name}": ("<i4", (8, 3)) for name in NUMBERS}
    first = {
        "issued_own": ("<i8", (5,)),
        "issued_means": ("<f8", (5, 3)),
        "issued_inputs": ("<f8", (5, 3, 8)),
        "issued_predicted": ("<f8", (5, 3)),
    }
    sizes = {"issued_slot": ("<i8", (2,)), "issued_size": ("<i8", (2,)), "issued_owns": ("<i8", (2,))}
    second = {"issued_level_means": ("<f8", (5, 3)), "issued_level_inputs": ("<f8", (5, 3, 2)), "issued_level_predicted": ("<f8", (5, 3))}
    cells = {"issued_cell": ("<u8", (8,)), "issued_fallback": ("|u1", (8,))}
    assert sizes | cells | numbers | first | second | {"issued_level_owns": ("<i8", (2,))} == arrays


def test_a_corrector_that_came_later_has_said_nothing_before() -> None:
    """A queue from before a corrector was active restores without it; issues from before and after restore together."""
    old, new = issue(100, 7), issue(101, 5)
    before = Issued(old.slot, old.columns, old.own, {"online": old.corrections["online"]})
    held, history = queue(before)
    held.rows = (ONLINE,)
    restored = again(held)
    assert content(before) == content(restored.at(100))
    restored.push(new, history, history.columns_of(CELLS[:5]))
    both = again(restored)
    assert content(before) == content(both.at(100))
    assert content(new) == content(both.at(101))


def test_columns_follow_a_history_that_moved() -> None:
    """After cells were dropped the columns are looked up again, and -1 marks the dropped cells."""
    held, history = queue(issue(100, 4))
    assert [35, 34, 33, 32] == held.columns(100, history).tolist()
    generation = history.generation
    for slot in range(history.next_slot, 31 * 24 + 40):
        history.close(slot, CELLS[1:3], np.array([1, 1]), observed=True)
    assert history.generation > generation
    expected: Int64s = history.columns_of(CELLS[:4])
    assert [-1, -1] == [expected[0], expected[3]]
    assert expected.tolist() == held.columns(100, history).tolist() == again(held).columns(100, history).tolist()


def test_without_its_inputs_an_issue_keeps_its_numbers() -> None:
    """Corrector data is dropped after learning; served numbers are kept until they settle."""
    held, _ = queue(issue(100, 6), issue(101, 6))
    held.forget_inputs(100)
    held.forget_inputs(99)  # no error for a missing slot
    found = held.at(100)
    assert found is not None
    assert (0, {}) == (len(found.own), found.corrections)
    assert content(issue(100, 6))[: len(NUMBERS) + 2] == content(found)[:-1]
    assert content(issue(101, 6)) == content(held.at(101))


def test_old_issues_are_dropped() -> None:
    """Nothing before the given slot is kept, and everything from it on."""
    held, _ = queue(*(issue(slot, 3) for slot in range(100, 106)))
    held.drop_before(103)
    assert [False] * 3 + [True] * 3 == [held.at(slot) is not None for slot in range(100, 106)]
    same, _ = queue(*(issue(slot, 3) for slot in range(103, 106)))
    assert same.digest() == held.digest()


def test_the_digest_is_that_of_what_is_kept() -> None:
    """A different number, cell, slot or fallback gives another digest; a different order of issues does not."""
    first, second = issue(100, 5), issue(101, 5)
    held, _ = queue(first, second)
    assert held.digest() == queue(second, first)[0].digest()
    assert held.digest() != queue(first)[0].digest()
    assert held.digest() != queue(first, issue(101, 4))[0].digest()
    assert held.digest() != queue(first, issue(101, 5, seed=1))[0].digest()
    assert held.digest() != queue(first, issue(102, 5))[0].digest()
    replaced, history = queue(first, issue(101, 5, seed=1))
    replaced.digest()
    replaced.push(second, history, history.columns_of(CELLS[:5]))
    assert held.digest() == replaced.digest()
