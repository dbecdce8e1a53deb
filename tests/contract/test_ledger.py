"""The contract of every ledger, for SQLite and PostgreSQL."""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from ledger.formats import merkle
from ledger.store.log import LARGEST_ENTRY_BYTES, Head
from schemas.errors import ContractError, DamagedError, DivergenceError, ExpectedSizeError, NotFound
from schemas.records.record_codec import encode
from schemas.records.records import ModelPromoted, SlotClosed, SlotScored
from tests.ledger.places import LOG, Place, scored

LOG_NUMBERS = itertools.count()
on_one_database = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty ledger's place."""
    found = Place(tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else "")
    yield found
    found.close()


def plain_root(payloads: list[bytes]) -> bytes:
    """Root over payloads, computed without a store."""
    return merkle.root([merkle.leaf_hash(payload) for payload in payloads])


def test_empty_ledger(place: Place) -> None:
    """A ledger without entries has no logs, heads of size 0, and finds nothing."""
    ledger = place.open()
    assert ledger.logs() == ()
    assert ledger.head(LOG) == Head(0, merkle.EMPTY_ROOT)
    assert ledger.read(LOG, 0) == []
    assert ledger.find(LOG, SlotScored) is None
    assert ledger.root_at(LOG, 0) == merkle.EMPTY_ROOT
    with pytest.raises(NotFound, match="region nyc: no such log"):
        ledger.root_at(LOG, 1)


def test_append_and_read(place: Place) -> None:
    """Entries are returned with exact bytes, contiguous indexes, kind, slot and subject."""
    ledger = place.open()
    promoted = encode(ModelPromoted(region="nyc", measure="pickups", model=b"\x01" * 32, alias="champion", reason="first"))
    payloads = [scored(7), promoted, b"no record of ours", b""]
    head = ledger.append(LOG, 0, payloads)
    assert head == Head(4, plain_root(payloads)) == ledger.head(LOG)
    found = ledger.read(LOG, 0)
    assert [stored.payload for stored in found] == payloads
    assert [(stored.log, stored.index, stored.kind, stored.slot, stored.subject) for stored in found] == [
        (LOG, 0, "SlotScored", 7, "pickups"),
        (LOG, 1, "ModelPromoted", None, "pickups"),
        (LOG, 2, "unknown", None, ""),
        (LOG, 3, "unknown", None, ""),
    ]
    assert ledger.logs() == (LOG,)


def test_another_process_sees_it(place: Place) -> None:
    """A second ledger on the same data reads and continues what the first appended."""
    place.open().append(LOG, 0, [scored(1)])
    other = place.open()
    assert other.head(LOG).size == 1
    assert other.append(LOG, 1, [scored(2)]).size == 2
    assert [stored.slot for stored in place.open().read(LOG, 0)] == [1, 2]


@given(st.lists(st.lists(st.binary(max_size=8), max_size=5), max_size=6))
@on_one_database
def test_any_split_gives_the_same_root(place: Place, groups: list[list[bytes]]) -> None:
    """However entries are grouped into appends, the root is the same, now and at every earlier size."""
    ledger, log = place.open(), f"split{next(LOG_NUMBERS)}"
    size = 0
    for group in groups:
        size = ledger.append(log, size, group).size
    payloads = [payload for group in groups for payload in group]
    assert ledger.head(log) == Head(len(payloads), plain_root(payloads))
    assert [ledger.root_at(log, n) for n in range(size + 1)] == [plain_root(payloads[:n]) for n in range(size + 1)]
    ledger.close()


@given(st.lists(st.binary(max_size=3), min_size=1, max_size=8), st.data())
@on_one_database
def test_a_rerun_changes_nothing(place: Place, payloads: list[bytes], data: st.DataObject) -> None:
    """Appending any part of a log again at its own index returns the head after that part and changes nothing."""
    ledger, log = place.open(), f"rerun{next(LOG_NUMBERS)}"
    ledger.append(log, 0, payloads)
    start = data.draw(st.integers(0, len(payloads)))
    stop = data.draw(st.integers(start, len(payloads)))
    assert ledger.append(log, start, payloads[start:stop]) == Head(stop, plain_root(payloads[:stop]))
    assert ledger.head(log) == Head(len(payloads), plain_root(payloads))
    ledger.close()


def test_different_content_diverges(place: Place) -> None:
    """Other content at an existing index raises an error that names the index."""
    ledger = place.open()
    ledger.append(LOG, 0, [scored(slot) for slot in range(4)])
    with pytest.raises(DivergenceError, match="region nyc: expected size 1, got 4, with other content at index 2"):
        ledger.append(LOG, 1, [scored(1), scored(99)])
    assert ledger.head(LOG).size == 4


def test_wrong_size_is_refused(place: Place) -> None:
    """A log that is shorter than its writer expects, or ends within a rerun, is not appended to."""
    ledger = place.open()
    ledger.append(LOG, 0, [scored(0), scored(1)])
    with pytest.raises(ExpectedSizeError, match=r"region nyc: expected size 5, got 2\. "):
        ledger.append(LOG, 5, [scored(5)])
    with pytest.raises(ExpectedSizeError, match="expected size 1, got 2, with the first 1 of these 2 entries"):
        ledger.append(LOG, 1, [scored(1), scored(2)])
    with pytest.raises(ExpectedSizeError, match=r"region new: expected size 1, got 0\. "):
        ledger.append("region/new", 1, [scored(1)])
    assert ledger.head(LOG).size == 2
    assert ledger.logs() == (LOG,)


def test_second_writer_conflicts(place: Place) -> None:
    """Of two writers that know the same size one appends, and the other gets a conflict."""
    one, two = place.open(), place.open()
    size = one.append(LOG, 0, [scored(0)]).size
    one.append(LOG, size, [scored(1)])
    with pytest.raises(DivergenceError, match="expected size 1, got 2"):
        two.append(LOG, size, [scored(1, "requests")])


def test_many_writers_lose_nothing(place: Place) -> None:
    """Threads that append to one log and retry on conflict store each of their entries exactly once."""

    def write(name: str) -> None:
        ledger = ledgers[name]
        for number in range(10):
            payload = f"{name} {number}".encode()
            while True:
                try:
                    ledger.append("control", ledger.head("control").size, [payload])
                    break
                except (ExpectedSizeError, DivergenceError):
                    continue

    shared = place.open()
    ledgers = {"a": shared, "b": shared, "c": place.open(), "d": place.open()}
    threads = [threading.Thread(target=write, args=(name,)) for name in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [stored.payload.decode() for stored in shared.scan("control")]
    assert sorted(found) == sorted(f"{name} {number}" for name in ledgers for number in range(10))
    assert shared.head("control") == Head(40, plain_root([text.encode() for text in found]))


def test_readers_see_complete_appends(place: Place) -> None:
    """Concurrent readers see sizes, entries and roots that match."""
    writer, reader = place.open(), place.open()
    done, wrong = threading.Event(), []

    def read() -> None:
        while not done.is_set():
            head = reader.head(LOG)
            found = reader.read(LOG, 0, head.size)
            if len(found) != head.size or head.size % 3 or plain_root([stored.payload for stored in found]) != head.root:
                wrong.append(head)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for size in range(0, 60, 3):
        writer.append(LOG, size, [scored(size + step) for step in range(3)])
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_find(place: Place) -> None:
    """Entries are found by kind, slot and subject, the last or the first of them."""
    ledger = place.open()
    ledger.append(LOG, 0, [scored(slot, measure) for slot in range(5) for measure in ("pickups", "requests")])

    def index_of(slot: int | None = None, subject: str | None = None, last: bool = True) -> int | None:
        found = ledger.entry(LOG, SlotScored, slot, subject, last)
        return found.index if found else None

    assert index_of() == 9
    assert index_of(last=False) == 0
    assert index_of(subject="pickups") == 8
    assert index_of(slot=2) == 5
    assert index_of(slot=2, last=False) == 4
    assert index_of(slot=2, subject="requests") == 5
    assert index_of(slot=7) is None
    assert index_of(subject="nothing") is None
    assert ledger.find(LOG, SlotClosed) is None
    assert ledger.find("region/other", SlotScored) is None


def test_read_ranges(place: Place) -> None:
    """Ranges, kinds and limits select the right entries; scanning in pages gives the same."""
    ledger = place.open()
    promoted = encode(ModelPromoted(region="nyc", measure="pickups", model=b"\x01" * 32, alias="champion", reason="first"))
    ledger.append(LOG, 0, [promoted if number % 3 == 0 else scored(number) for number in range(2100)])
    assert [stored.index for stored in ledger.read(LOG, 3, 6)] == [3, 4, 5]
    assert [stored.index for stored in ledger.read(LOG, 3, 12, ModelPromoted)] == [3, 6, 9]
    assert [stored.index for stored in ledger.read(LOG, 2098)] == [2098, 2099]
    assert [stored.index for stored in ledger.read(LOG, 1, limit=2)] == [1, 2]
    assert ledger.read(LOG, 2100) == []
    assert list(range(2100)) == [stored.index for stored in ledger.scan(LOG)]
    assert list(range(3, 2100, 3)) == [stored.index for stored in ledger.scan(LOG, 1, kind=ModelPromoted)]


def test_large_trees(place: Place) -> None:
    """Beyond a tile's width, roots, nodes and proofs come from stored nodes and equal those of the whole tree."""
    ledger = place.open()
    payloads = [number.to_bytes(2, "big") for number in range(1100)]
    size = 0
    for count in (1, 254, 3, 700, 142):
        size = ledger.append(LOG, size, payloads[size : size + count]).size
    tree = merkle.Tree([merkle.leaf_hash(payload) for payload in payloads])
    assert ledger.head(LOG) == Head(1100, tree.root())
    for at in (1, 255, 256, 257, 511, 512, 1024, 1099, 1100):
        assert ledger.root_at(LOG, at) == plain_root(payloads[:at])
    for level, index in ((0, 1099), (3, 7), (8, 0), (8, 3), (9, 1), (10, 0)):
        assert ledger.node(LOG, level, index) == tree.node(level, index)
    path = merkle.inclusion_path(700, 1100, lambda level, index: ledger.node(LOG, level, index))
    merkle.verify_inclusion(700, 1100, merkle.leaf_hash(payloads[700]), path, tree.root())
    with pytest.raises(NotFound, match="region nyc: no complete subtree at level 8, index 4"):
        ledger.node(LOG, 8, 4)
    with pytest.raises(NotFound, match="region nyc: expected a size up to 1100, got 1101"):
        ledger.root_at(LOG, 1101)


def test_entry_size_is_bounded(place: Place) -> None:
    """The largest entry is stored; one more byte is refused, together with its whole append."""
    ledger = place.open()
    ledger.append(LOG, 0, [bytes(LARGEST_ENTRY_BYTES)])
    with pytest.raises(ContractError, match="region nyc: entry 2: expected at most 65535 bytes, got 65536"):
        ledger.append(LOG, 1, [b"fits", bytes(LARGEST_ENTRY_BYTES + 1)])
    assert ledger.head(LOG).size == 1


@pytest.mark.parametrize("name", ["", "Region/nyc", "../x", "region/nyc/x", "a b", "/nyc", "nyc/"])
def test_log_names(place: Place, name: str) -> None:
    """A name that is invalid as a file, an origin or a topic is refused."""
    with pytest.raises(ContractError, match="log name: expected lower-case letters"):
        place.open().append(name, 0, [b"x"])


def test_damaged_entry_is_not_served(place: Place) -> None:
    """An entry that was edited in the database raises an error and is never returned."""
    ledger = place.open()
    ledger.append(LOG, 0, [scored(0), scored(1)])
    ledger.flush()  # Its checkpoint is written before the edit, not concurrently.
    place.tamper('UPDATE entries SET payload = :forged WHERE "index" = 1', forged=scored(2))
    assert len(ledger.read(LOG, 0, 1)) == 1
    with pytest.raises(DamagedError, match="region nyc: entry 1 does not match its stored hash"):
        ledger.read(LOG, 0)


def test_appending_nothing(place: Place) -> None:
    """An append without entries checks the size and changes nothing."""
    ledger = place.open()
    ledger.append(LOG, 0, [scored(0)])
    assert ledger.append(LOG, 1, []) == ledger.head(LOG)
    with pytest.raises(ExpectedSizeError, match="expected size 2, got 1"):
        ledger.append(LOG, 2, [])
