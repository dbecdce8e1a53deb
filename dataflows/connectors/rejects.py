"""Stores rejected events for seven days in a Kafka topic or a SQLite file: each event once, its original bytes encrypted."""

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from confluent_kafka import KafkaException, Producer

from dataflows.connectors.kafka import confirmed, connection
from dataflows.connectors.kafka.cluster import Brokers
from dataflows.connectors.kafka.rides import read_all
from dataflows.connectors.sealing import Seals, is_sealed
from schemas.errors import NotFound, StoreUnavailable
from schemas.events.rides import NO_TIME, Reason, Rejected
from schemas.forecasts.messages import decode_reject, encode_reject
from schemas.topics import REJECTED

KEPT_S = 7 * 86_400  # same as the topic's retention (`schemas.topics`): an event may name a person
PURGE_EVERY_S = 3_600
LEAST_PRUNED = 1_000  # events of a topic that are held beyond what is asked for before the rest is dropped
UNKNOWN_SOURCE = 0  # id of the source of events that earlier releases stored
# An event that an earlier release stored without its source is the same if place, time and reason are.
INSERT = (
    "INSERT OR IGNORE INTO rejects SELECT :partition, :place, :source, :logged_at_us, :reason, '', :value, :kept_at_s "
    "WHERE NOT EXISTS (SELECT 1 FROM rejects WHERE partition = :partition AND place = :place "
    f"AND source = {UNKNOWN_SOURCE} AND logged_at_us = :logged_at_us AND reason = :reason)"
)
PATIENCE_S = 60.0  # how long to wait for a broker: a rejected event must not be lost, just like an accepted one


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rejected events are wanted; None for no limit.

    Attributes:
        since_us, until_us: Log times [since, until); an event without one is left out if either is given.
        keep: Decides last, on the opened event; what the other fields decide is cheaper.
        limit: The first so many by partition and offset.
    """

    reason: Reason | None = None
    partition: int | None = None
    since_us: int | None = None
    until_us: int | None = None
    keep: Callable[[Rejected], bool] | None = None
    limit: int | None = None

    def fits(self, reject: Rejected) -> bool:
        """Whether an event, sealed or not, is wanted as far as `keep` does not decide."""
        return (
            self.reason in (None, reject.reason)
            and self.partition in (None, reject.partition)
            and (self.since_us is None or self.since_us <= reject.logged_at_us)
            and (self.until_us is None or NO_TIME != reject.logged_at_us < self.until_us)
        )


class RejectSink(Protocol):
    """Stores rejected events; writing the same event of the same source and offset again changes nothing."""

    def write(self, rejects: Sequence[Rejected]) -> None:
        """Store them; durable when it returns.

        Raises:
            StoreUnavailable: they could not be stored.
        """
        ...

    def read(
        self, reason: Reason | None = None, partition: int | None = None, limit: int | None = None, *, sealed: bool = False
    ) -> list[Rejected]:
        """The stored events, by partition and offset, of several sources in the order in which these came.

        Args:
            sealed: Return encrypted bytes and an empty detail, so that no key is needed.
        Raises:
            NotFound: the key to decrypt them is missing.
        """
        ...

    def scan(self, choice: Choice) -> Iterator[Rejected]:
        """The chosen events one after another, by partition and offset; those whose key is missing stay sealed.

        Raises:
            StoreUnavailable: they cannot be read.
        """
        ...

    def counts(self) -> dict[Reason, int]:
        """Number of stored events, by reason."""
        ...

    def close(self) -> None:
        """Close connections and files."""
        ...


class FileRejects:
    """Rejected events in a SQLite file; several processes may write to it.

    Args:
        path: The file.
        seals: Encrypts them; by default with the key in `keys` beside the file.
        clock: Seconds since 1970; determines when events expire.
    """

    def __init__(self, path: Path, seals: Seals | None = None, clock: Callable[[], float] = time.time) -> None:
        self._path, self._clock = path, clock
        self._seals = seals or Seals(path.parent / "keys" / "rejects.key")
        self._purged_s = 0.0
        self._sources: dict[int, str] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=FULL")
            self._base.execute("PRAGMA secure_delete=ON")  # Overwrite purged rows instead of only unlinking them.
            self._base.execute("BEGIN IMMEDIATE")
            self._create()
            self._purge()
            self._base.execute("COMMIT")
        except (sqlite3.Error, OSError) as cause:
            raise StoreUnavailable(f"rejects: {path}: {cause}") from cause

    def write(self, rejects: Sequence[Rejected]) -> None:
        now_s = int(self._clock())
        values = [_sealed(self._seals, reject).value for reject in rejects]
        try:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                if not 0 <= now_s - self._purged_s < PURGE_EVERY_S:
                    self._purge()
                ids = {source: self._id_of(source) for source in {reject.source for reject in rejects}}
                rows = [
                    {
                        "partition": r.partition,
                        "place": r.offset,
                        "source": ids[r.source],
                        "logged_at_us": r.logged_at_us,
                        "reason": r.reason.value,
                        "value": value,
                        "kept_at_s": now_s,
                    }
                    for r, value in zip(rejects, values, strict=True)
                ]
                self._base.executemany(INSERT, rows)
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise
        except sqlite3.Error as cause:
            raise StoreUnavailable(f"rejects: {self._path}: {cause}") from cause

    def read(
        self, reason: Reason | None = None, partition: int | None = None, limit: int | None = None, *, sealed: bool = False
    ) -> list[Rejected]:
        found = list(self._rows(Choice(reason, partition, limit=limit)))
        return found if sealed else [_opened(self._seals, reject) for reject in found]

    def scan(self, choice: Choice) -> Iterator[Rejected]:
        return islice(_kept(self._seals, self._rows(replace(choice, limit=None)), choice), choice.limit)

    def _rows(self, choice: Choice) -> Iterator[Rejected]:
        """Sealed events, read as they are asked for."""
        terms = {
            "kept_at_s >= ?": self._since(),
            "reason = ?": choice.reason and choice.reason.value,
            "partition = ?": choice.partition,
            "logged_at_us >= ?": choice.since_us,
            f"logged_at_us <> {NO_TIME} AND logged_at_us < ?": choice.until_us,
        }
        chosen = {term: value for term, value in terms.items() if value is not None}
        query = (
            f"SELECT partition, place, logged_at_us, reason, value, detail, source FROM rejects WHERE {' AND '.join(chosen)} "
            "ORDER BY partition, place, source LIMIT ?"
        )
        try:
            for row in self._base.execute(query, [*chosen.values(), -1 if choice.limit is None else choice.limit]):
                if row[6] not in self._sources:
                    self._sources = dict(self._base.execute("SELECT id, identity FROM sources"))
                yield Rejected(row[0], row[1], row[2], Reason(row[3]), row[4], row[5], self._sources[row[6]])
        except sqlite3.Error as cause:
            raise StoreUnavailable(f"rejects: {self._path}: {cause}") from cause

    def counts(self) -> dict[Reason, int]:
        query = "SELECT reason, count(*) FROM rejects WHERE kept_at_s >= :since GROUP BY reason ORDER BY reason"
        rows = self._ask(query, {"since": self._since()})
        return {Reason(reason): number for reason, number in rows}

    def close(self) -> None:
        self._base.close()

    def _ask(self, query: str, chosen: Mapping[str, str | int | None]) -> list[Any]:
        try:
            return self._base.execute(query, chosen).fetchall()
        except sqlite3.Error as cause:
            raise StoreUnavailable(f"rejects: {self._path}: {cause}") from cause

    def _since(self) -> int:
        return int(self._clock()) - KEPT_S

    def _purge(self) -> None:
        self._base.execute("DELETE FROM rejects WHERE kept_at_s < ?", (self._since(),))
        self._purged_s = self._clock()

    def _id_of(self, source: str) -> int:
        self._base.execute("INSERT OR IGNORE INTO sources (identity) VALUES (?)", (source,))
        return int(self._base.execute("SELECT id FROM sources WHERE identity = ?", (source,)).fetchone()[0])

    def _create(self) -> None:
        """Create the tables, or bring those of an earlier release up to date."""
        self._base.execute("CREATE TABLE IF NOT EXISTS sources (id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE)")
        self._base.execute("INSERT OR IGNORE INTO sources VALUES (?, '')", (UNKNOWN_SOURCE,))
        columns = {column[1] for column in self._base.execute("PRAGMA table_info(rejects)")}
        older = bool(columns) and "source" not in columns
        if older:
            self._base.execute("ALTER TABLE rejects RENAME TO older")
            self._base.execute("DROP INDEX IF EXISTS rejects_by_reason")
        self._base.execute(
            "CREATE TABLE IF NOT EXISTS rejects ("
            "partition INTEGER NOT NULL, place INTEGER NOT NULL, source INTEGER NOT NULL, logged_at_us INTEGER NOT NULL, "
            "reason TEXT NOT NULL, detail TEXT NOT NULL, value BLOB NOT NULL, kept_at_s INTEGER NOT NULL, "
            "PRIMARY KEY (partition, place, source))"
        )
        # With every column that counts need, and in the order that readers want: neither touches the events themselves.
        self._base.execute("CREATE INDEX IF NOT EXISTS rejects_by_reason ON rejects (reason, partition, place, source, kept_at_s)")
        if older:
            # Rows of the first release have no time: they count as stored now.
            kept_at_s = "kept_at_s" if "kept_at_s" in columns else str(int(self._clock()))
            self._base.execute(
                "INSERT INTO rejects SELECT "
                f"partition, place, {UNKNOWN_SOURCE}, logged_at_us, reason, detail, value, {kept_at_s} FROM older"
            )
            self._base.execute("DROP TABLE older")


class KafkaRejects:
    """Rejected events in a topic, keyed by source, partition and offset, so that compaction and readers remove duplicates."""

    def __init__(self, brokers: Brokers, seals: Seals, instance: str = "local", patience_s: float = PATIENCE_S) -> None:
        self._brokers, self._seals = brokers, seals
        self._topic = REJECTED.name_of(instance)
        self._patience_s = patience_s
        self._producer: Producer | None = None

    def write(self, rejects: Sequence[Rejected]) -> None:
        producer = self._producer or self._start()
        reports = confirmed.Reports()
        give_up_at = time.monotonic() + self._patience_s
        try:
            for reject in rejects:
                confirmed.produce(producer, self._topic, *encode_reject(_sealed(self._seals, reject)), reports, give_up_at)
            confirmed.flush(producer, give_up_at)
            reports.check(len(rejects))
        except KafkaException as cause:
            needs = connection.Needs("Write", self._topic)
            raise connection.unavailable(self._brokers, f"writing to {self._topic}", cause, needs=needs, client=producer) from cause

    def read(
        self, reason: Reason | None = None, partition: int | None = None, limit: int | None = None, *, sealed: bool = False
    ) -> list[Rejected]:
        choice = Choice(reason, partition, limit=limit)
        chosen = _distinct(filter(choice.fits, self._stored()), limit)
        return chosen if sealed else [_opened(self._seals, reject) for reject in chosen]

    def scan(self, choice: Choice) -> Iterator[Rejected]:
        return iter(_distinct(_kept(self._seals, filter(choice.fits, self._stored()), choice), choice.limit))

    def _stored(self) -> Iterator[Rejected]:
        """Every message, sealed, as they lie in the topic: an event that was written again is there again."""
        connection.ensure_topic(self._brokers, self._topic, REJECTED.partitions, dict(REJECTED.config))
        return map(decode_reject, read_all(self._brokers, self._topic, self._patience_s))

    def counts(self) -> dict[Reason, int]:
        bare = (replace(reject, value=b"") for reject in self._stored())
        return dict(sorted(Counter(reject.reason for reject in _distinct(bare)).items()))

    def close(self) -> None:
        if self._producer is not None:
            self._producer.flush(self._patience_s)

    def _start(self) -> Producer:
        connection.ensure_topic(self._brokers, self._topic, REJECTED.partitions, dict(REJECTED.config))
        settings = {"enable.idempotence": True, "linger.ms": 5, "message.timeout.ms": int(self._patience_s * 1000)}
        self._producer = connection.open_client(Producer, self._brokers, connection.client_config(self._brokers, settings))
        return self._producer


def _distinct(stored: Iterable[Rejected], limit: int | None = None) -> list[Rejected]:
    """The first events by partition, offset and source, each once; memory is bounded by the limit."""
    found: dict[tuple[int, int, int], Rejected] = {}
    sources = {"": UNKNOWN_SOURCE}
    for reject in stored:
        found[reject.partition, reject.offset, sources.setdefault(reject.source, len(sources))] = reject
        if limit is not None and len(found) > 2 * limit + LEAST_PRUNED:
            found = dict(sorted(found.items())[: 2 * limit])
    # The same event may have been stored by an earlier release, without its source.
    known = {(one.partition, one.offset, one.logged_at_us, one.reason) for one in found.values() if one.source}
    chosen = [
        one for _, one in sorted(found.items()) if one.source or (one.partition, one.offset, one.logged_at_us, one.reason) not in known
    ]
    return chosen[:limit]


def _sealed(seals: Seals, reject: Rejected) -> Rejected:
    return replace(reject, detail="", value=seals.seal(reject.partition, reject.offset, reject.detail, reject.value))


def _kept(seals: Seals, stored: Iterable[Rejected], choice: Choice) -> Iterator[Rejected]:
    """The stored events that are to be kept, opened where their key is here."""
    for sealed in stored:
        try:
            reject = _opened(seals, sealed)
        except NotFound:
            reject = sealed
        if choice.keep is None or choice.keep(reject):
            yield reject


def _opened(seals: Seals, reject: Rejected) -> Rejected:
    if not is_sealed(reject.value):
        return reject
    detail, value = seals.open(reject.partition, reject.offset, reject.value)
    return replace(reject, detail=detail, value=value)
