"""Publishing a region's log: which issues, how often, and what happens to retired cells."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from dataflows.connectors.sinks import FileForecasts, KafkaForecasts
from dataflows.stream.publish import Backlog, Publisher
from ledger.store.blobs import Blobs, Retention, open_blobs
from ledger.store.continuing import continue_log
from ledger.store.log import Ledger, open_embedded
from schemas.errors import LedgerError, StoreUnavailable
from schemas.events.cells import cell_text
from schemas.forecasts.chunks import ForecastColumns
from schemas.forecasts.messages import decode_demand_forecast, forecast_key
from schemas.records.record_codec import encode
from schemas.records.records import ForecastIssued, Record, RegionBootstrapped, SlotScored, UniverseChanged
from schemas.regions import load_region
from tests.forecast_samples import FIRST_CELL, sample_blob, sample_columns, sample_issued
from tests.ledger.exports import SIGNER
from tests.ledger.places import Place
from tests.services.committed import committed

NYC = load_region("nyc")
LOG = "region/nyc"


@dataclass
class Recorded:
    """A sink that records its transactions; the real sinks are tested by their contract suite."""

    next_index: int = 0
    transactions: list[list[tuple[bytes, bytes | None]]] = field(default_factory=list)
    broken: bool = False
    log: str = LOG
    earlier: dict[str, int] = field(default_factory=dict)
    roots: dict[str, bytes] = field(default_factory=dict)
    place: str = "a list"

    def cursor(self, log: str) -> int:
        return self.next_index if log == self.log else self.earlier.get(log, 0)

    def root(self, log: str) -> bytes:
        return self.roots.get(log, b"")

    def publish(self, messages: Sequence[tuple[bytes, bytes | None]], log: str, next_index: int, root: bytes = b"") -> bool:
        if self.broken:
            raise StoreUnavailable("the sink is away")
        assert next_index > self.cursor(log)
        self.earlier[self.log] = self.next_index
        self.log, self.next_index, self.roots[log] = log, next_index, root
        self.transactions.append(list(messages))
        return True

    def close(self) -> None:
        pass

    def indexes(self) -> list[int]:
        """Log index of the issue in each transaction."""
        return [int(str(decode_demand_forecast(next(value for _, value in t if value))["log_index"])) for t in self.transactions]


class City:
    """A ledger that grows slot by slot."""

    def __init__(self, home: Path) -> None:
        self.ledger: Ledger = open_embedded(home, instance="test", clock=time.monotonic, signer=SIGNER)
        self.blobs: Blobs = open_blobs(home, "")
        self.slot = 4_660_000

    def append(self, *records: Record) -> int:
        """Append records; returns the index of the first."""
        size = self.ledger.head(LOG).size
        self.ledger.append(LOG, size, [encode(record) for record in records])
        return size

    def bootstrap(self) -> None:
        """Begin the region's log, as a process that finds its regions there needs it."""
        boot = RegionBootstrapped(
            region="nyc", definition=NYC.to_json(), until="2014-05-01", first_slot=0, start_slot=self.slot, rides=0, counts_blob=b""
        )
        self.append(boot)

    def issued(self, cells: int = 5) -> tuple[ForecastIssued, ForecastColumns]:
        """The next issue, its blob stored."""
        self.slot += 1
        columns = sample_columns(cells, seed=self.slot)
        return sample_issued(columns, self.slot, self.blobs.put(sample_blob(columns), Retention.FORECAST)), columns

    def close_slot(self, cells: int = 5, universe: UniverseChanged | None = None) -> int:
        """Append about what a close appends; returns the index of the issue."""
        issued, _ = self.issued(cells)
        records: list[Record] = [SlotScored(region="nyc", measure="pickups", slot=self.slot - 3, settled=False, rows=())]
        records += [universe] if universe is not None else []
        return self.append(*records, issued) + len(records)

    def retire(self, *cells: int) -> UniverseChanged:
        """Record that these cells are no longer forecast."""
        deltas = [cell - before for before, cell in zip((0, *cells), cells, strict=False)]
        return UniverseChanged(region="nyc", slot=self.slot, version=2, cells=5, added=(), retired=tuple(deltas))

    def publisher(self, sink: Recorded | FileForecasts | KafkaForecasts, backlog: Backlog = "latest") -> Publisher:
        return Publisher(self.ledger, self.blobs, sink, NYC, backlog)


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    """An empty ledger and its blobs."""
    made = City(tmp_path / "home")
    yield made
    made.ledger.close()
    made.blobs.close()


def test_nothing_is_published_of_an_empty_log(city: City) -> None:
    """A region that does not exist yet publishes nothing and raises no error."""
    sink = Recorded()
    assert city.publisher(sink).step() == 0
    assert sink.transactions == []


def test_an_issue_is_published_once_with_all_its_cells(city: City) -> None:
    """One message per cell, with the numbers and the index of the entry; a second step adds nothing."""
    index = city.close_slot(cells=5)
    sink = Recorded()
    publisher = city.publisher(sink)
    assert [publisher.step(), publisher.step()] == [1, 0]
    (messages,) = sink.transactions
    assert [key for key, _ in messages] == [forecast_key("nyc", cell_text(FIRST_CELL + 3 * i, 6)) for i in range(5)]
    assert [decode_demand_forecast(value or b"")["log_index"] for _, value in messages] == [index] * 5
    assert sink.next_index == index + 1


def test_latest_skips_what_is_superseded(city: City) -> None:
    """A publisher that is behind publishes the newest issue only."""
    indexes = [city.close_slot() for _ in range(4)]
    sink = Recorded()
    publisher = city.publisher(sink, "latest")
    assert publisher.step() == 1
    assert sink.indexes() == indexes[-1:]
    later = city.close_slot()
    assert publisher.step() == 1
    assert sink.indexes() == [indexes[-1], later]


def test_all_skips_nothing(city: City) -> None:
    """With the whole backlog each issue is its own transaction, in order."""
    indexes = [city.close_slot() for _ in range(40)]
    sink = Recorded()
    publisher = city.publisher(sink, "all")
    while publisher.step():
        pass
    assert sink.indexes() == indexes


def test_a_new_publisher_resumes_at_the_cursor(city: City) -> None:
    """A publisher is stateless: a new one publishes what the sink does not have."""
    city.close_slot()
    sink = Recorded()
    assert city.publisher(sink).step() == 1
    assert city.publisher(sink).step() == 0
    city.close_slot()
    assert city.publisher(sink).step() == 1


@pytest.mark.parametrize("backlog", ["latest", "all"])
def test_a_cell_that_retires_gets_a_tombstone(city: City, backlog: Backlog) -> None:
    """With the first issue after a cell has retired its message is deleted by one tombstone."""
    city.close_slot(cells=6)
    sink = Recorded()
    publisher = city.publisher(sink, backlog)
    publisher.step()
    gone = (FIRST_CELL + 15, FIRST_CELL + 300)
    city.close_slot(cells=5, universe=city.retire(*gone))
    city.close_slot(cells=5)
    while publisher.step():
        pass
    tombstones = [key for transaction in sink.transactions for key, value in transaction if value is None]
    assert tombstones == [forecast_key("nyc", cell_text(cell, 6)) for cell in gone]
    assert None not in [value for _, value in sink.transactions[0]]


def test_a_cell_that_came_back_gets_no_tombstone(city: City) -> None:
    """A cell that retired and returned between two published issues has a forecast, and only that."""
    city.close_slot(cells=5)
    sink = Recorded()
    publisher = city.publisher(sink)
    publisher.step()
    city.close_slot(cells=4, universe=city.retire(FIRST_CELL + 12))
    city.close_slot(cells=5)
    publisher.step()
    assert len(sink.transactions[-1]) == 5
    assert None not in [value for _, value in sink.transactions[-1]]


def test_an_issue_without_cells_sends_no_message(city: City) -> None:
    """A region without rides moves the cursor and sends no message."""
    city.append(sample_issued(sample_columns(0)))
    sink = Recorded()
    assert city.publisher(sink).step() == 1
    assert (sink.transactions, sink.next_index) == ([[]], 1)


def test_a_sink_that_is_ahead_of_the_ledger_is_refused(city: City) -> None:
    """Forecasts of another ledger at the same place are an error with a way out."""
    city.close_slot()
    expected = (
        r"its first 900 entries are published in a list, but the log has 2: another ledger has published there; "
        r"run the home that published there, or start a new home with another RIDECAST_INSTANCE, or delete a list"
    )
    with pytest.raises(LedgerError, match=expected):
        city.publisher(Recorded(next_index=900)).step()


def test_a_sink_of_another_ledger_is_refused_even_if_it_is_behind(city: City, tmp_path: Path) -> None:
    """A cursor that the log has reached is refused if its root is another ledger's; the ledger's own, and one without root, are not."""
    other = City(tmp_path / "other")
    other.slot += 7
    other.close_slot()
    sink, own = Recorded(), Recorded()
    assert [other.publisher(sink).step(), city.publisher(own).step()] == [1, 0]
    other.ledger.close()
    city.close_slot()
    assert city.publisher(own).step() == 1
    city.close_slot()
    with pytest.raises(LedgerError, match=r"its first 2 entries are published in a list, but the log has other entries there"):
        city.publisher(sink).step()
    assert len(sink.transactions) == 1
    assert city.publisher(own).step() == 1
    own.roots.clear()
    city.close_slot()
    assert city.publisher(own).step() == 1


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("backlog", ["latest", "all"])
def test_a_continued_log_is_published_from_where_it_was_cut(city: City, tmp_path: Path, backlog: Backlog, restarted: bool) -> None:
    """A publisher whose cursor is beyond the shrunken log resumes under the new origin, once, restarted or not."""
    kept = city.close_slot()
    lost = [city.close_slot() for _ in range(3)]
    sink = Recorded()
    publisher = Publisher(city.ledger, city.blobs, sink, NYC, backlog)
    while publisher.step():
        pass
    city.ledger.close()
    place = Place(tmp_path / "home")
    place.set_back(kept + 1)
    city.ledger = place.open(instance="test")
    assert continue_log(city.ledger, LOG, "restored from a copy").record.database_size == kept + 1
    if restarted:
        publisher = Publisher(city.ledger, city.blobs, sink, NYC, backlog)
    assert publisher.step() == 0
    again = city.close_slot()
    assert [publisher.step(), publisher.step()] == [1, 0]
    assert again < lost[-1]
    assert sink.indexes()[-2:] == [lost[-1], again]
    assert (sink.log, sink.next_index) == ("region/nyc@2", again + 1)


def test_a_publisher_before_the_cut_skips_nothing(city: City, tmp_path: Path) -> None:
    """Issues that were not published before the log was continued are published after it, with publish_backlog=all."""
    first, second = city.close_slot(), city.close_slot()
    sink = Recorded(next_index=first + 1)
    city.close_slot()
    city.ledger.close()
    place = Place(tmp_path / "home")
    place.set_back(second + 1)
    city.ledger = place.open(instance="test")
    continue_log(city.ledger, LOG, "restored from a copy")
    publisher = city.publisher(sink, "all")
    assert publisher.step() == 1
    assert sink.indexes() == [second]


def test_a_failed_publish_is_retried_by_the_next_step(city: City) -> None:
    """An issue that could not be published is published when the sink is back."""
    index = city.close_slot()
    sink = Recorded(broken=True)
    publisher = city.publisher(sink)
    with pytest.raises(StoreUnavailable):
        publisher.step()
    sink.broken = False
    assert publisher.step() == 1
    assert sink.indexes() == [index]


def test_a_running_publisher_stops_when_told(city: City) -> None:
    """A running publisher follows the log and stops within moments."""
    sink, stop = Recorded(), threading.Event()
    thread = threading.Thread(target=city.publisher(sink, "all").run, args=(stop, 0.01))
    thread.start()
    indexes = [city.close_slot() for _ in range(5)]
    give_up_at = time.monotonic() + 20
    while sink.next_index <= indexes[-1] and time.monotonic() < give_up_at:
        time.sleep(0.01)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert sink.indexes() == indexes


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(["close", "retire", "step", "restart"]), max_size=25), st.sampled_from(["latest", "all"]))
def test_readers_end_with_the_newest_issue(tmp_path_factory: pytest.TempPathFactory, steps: list[str], backlog: Backlog) -> None:
    """After any appends, steps and restarts, a compacted topic has exactly the cells of the newest issue."""
    city = City(tmp_path_factory.mktemp("home"))
    sink = Recorded()
    publisher, cells = city.publisher(sink, backlog), 8
    for step in [*steps, "close"]:
        if step == "close":
            city.close_slot(cells)
        elif step == "retire" and cells > 1:
            cells -= 1
            city.close_slot(cells, city.retire(FIRST_CELL + 3 * cells))
        elif step == "restart":
            publisher = city.publisher(sink, backlog)
        else:
            publisher.step()
    while publisher.step():
        pass
    table: dict[bytes, bytes | None] = {}
    for transaction in sink.transactions:
        table.update(transaction)
    assert [key for key, value in table.items() if value is not None] == [
        forecast_key("nyc", cell_text(FIRST_CELL + 3 * i, 6)) for i in range(cells)
    ]
    issued = [stored.index for stored in city.ledger.read(LOG, 0, kind=ForecastIssued)]
    indexes = sink.indexes()
    assert indexes == sorted(set(indexes))
    assert indexes[-1] == issued[-1]
    assert backlog == "latest" or indexes == issued
    city.ledger.close()


def test_from_the_ledger_to_a_reader_of_kafka(city: City, kafka: str, kafka_topic: object) -> None:
    """End to end: a Kafka consumer reads what the ledger has."""
    assert callable(kafka_topic)
    instance = kafka_topic(0)
    index = city.close_slot(cells=100)
    sink = KafkaForecasts(kafka, instance, "nyc")
    assert city.publisher(sink).step() == 1
    seen = [decode_demand_forecast(value or b"") for _, value in committed(kafka, f"{instance}.demand.forecasts")]
    assert {(fields["region"], fields["log_index"], fields["issued_slot"]) for fields in seen} == {("nyc", index, city.slot)}
    assert len(seen) == 100
    sink.close()


def test_from_the_ledger_to_files(city: City, tmp_path: Path) -> None:
    """With embedded stores, an issue is a file named by its index."""
    index = city.close_slot()
    assert city.publisher(FileForecasts(tmp_path / "out")).step() == 1
    assert [path.name for path in (tmp_path / "out" / "region__nyc").iterdir()] == [f"{index:020d}.avro"]


def test_two_measures_of_a_cell_do_not_replace_each_other(city: City) -> None:
    """A region's first measure is keyed by cell alone, a further one by its name too; a cell that retires takes back both."""
    region = replace(NYC, measures=("pickups", "requests"))
    pickups, _ = city.issued(cells=2)
    city.append(pickups, replace(pickups, measure="requests"), city.retire(FIRST_CELL + 300))
    sink = Recorded()
    publisher = Publisher(city.ledger, city.blobs, sink, region, "latest")
    publisher.step()
    later = replace(pickups, slot=pickups.slot + 1)
    city.append(later, replace(later, measure="requests"))
    publisher.step()
    cells = [cell_text(FIRST_CELL + 3 * i, 6) for i in range(2)]
    both = [forecast_key("nyc", cell) for cell in cells] + [forecast_key("nyc", cell, "requests") for cell in cells]
    assert both == [key for key, _ in sink.transactions[0]]
    gone = cell_text(FIRST_CELL + 300, 6)
    assert [forecast_key("nyc", gone), forecast_key("nyc", gone, "requests")] == [k for k, v in sink.transactions[1] if v is None]


def test_a_restart_between_two_measures_publishes_the_second_only(city: City) -> None:
    """A publisher that ended behind the first of a slot's two issues, and starts again, publishes the other one and not both."""
    region = replace(NYC, measures=("pickups", "requests"))
    pickups, _ = city.issued(cells=2)
    index = city.append(pickups, replace(pickups, measure="requests"))
    sink = Recorded(next_index=index + 1)
    assert 1 == Publisher(city.ledger, city.blobs, sink, region, "latest").step()
    cells = [cell_text(FIRST_CELL + 3 * i, 6) for i in range(2)]
    assert [[forecast_key("nyc", cell, "requests") for cell in cells]] == [[key for key, _ in sent] for sent in sink.transactions]
    assert index + 2 == sink.next_index
