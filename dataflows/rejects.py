"""Where rejected events go: a Kafka topic or a SQLite file, each event once, with its original bytes."""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from confluent_kafka import KafkaException, Producer

from dataflows import kafka
from dataflows.kafka_rides import read_all
from schemas.errors import StoreUnavailable
from schemas.messages import decode_reject, encode_reject
from schemas.rides import Reason, Rejected
from schemas.topics import REJECTED

PATIENCE_S = 60.0  # a rejected event may be lost no more than an accepted one, so this long a broker is waited for


class RejectSink(Protocol):
    """Keeps rejected events; the same event of the same place again changes nothing."""

    def write(self, rejects: Sequence[Rejected]) -> None:
        """Keep them; durable when it returns.

        Raises:
            StoreUnavailable: they are not kept.
        """
        ...

    def read(self, reason: Reason | None = None, partition: int | None = None, limit: int | None = None) -> list[Rejected]:
        """What is kept, by partition and offset."""
        ...

    def counts(self) -> dict[Reason, int]:
        """How many are kept, by reason."""
        ...

    def close(self) -> None:
        """Let go of connections and files."""
        ...


class FileRejects:
    """Rejected events in a SQLite file; several processes may write it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=FULL")
            self._base.execute(
                "CREATE TABLE IF NOT EXISTS rejects ("
                "partition INTEGER NOT NULL, place INTEGER NOT NULL, logged_at_us INTEGER NOT NULL, reason TEXT NOT NULL, "
                "detail TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (partition, place))"
            )
        except (sqlite3.Error, OSError) as cause:
            raise StoreUnavailable(f"rejects: {path}: {cause}") from cause

    def write(self, rejects: Sequence[Rejected]) -> None:
        rows = [(r.partition, r.offset, r.logged_at_us, r.reason.value, r.detail, r.value) for r in rejects]
        try:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                self._base.executemany("INSERT OR IGNORE INTO rejects VALUES (?, ?, ?, ?, ?, ?)", rows)
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise
        except sqlite3.Error as cause:
            raise StoreUnavailable(f"rejects: {self._path}: {cause}") from cause

    def read(self, reason: Reason | None = None, partition: int | None = None, limit: int | None = None) -> list[Rejected]:
        query = (
            "SELECT partition, place, logged_at_us, reason, value, detail FROM rejects "
            "WHERE (:reason IS NULL OR reason = :reason) AND (:partition IS NULL OR partition = :partition) "
            "ORDER BY partition, place LIMIT :limit"
        )
        chosen = {"reason": reason and reason.value, "partition": partition, "limit": -1 if limit is None else limit}
        rows = self._ask(query, chosen)
        return [Rejected(row[0], row[1], row[2], Reason(row[3]), row[4], row[5]) for row in rows]

    def counts(self) -> dict[Reason, int]:
        rows = self._ask("SELECT reason, count(*) FROM rejects GROUP BY reason ORDER BY reason", {})
        return {Reason(reason): number for reason, number in rows}

    def close(self) -> None:
        self._base.close()

    def _ask(self, query: str, chosen: Mapping[str, str | int | None]) -> list[Any]:
        try:
            return self._base.execute(query, chosen).fetchall()
        except sqlite3.Error as cause:
            raise StoreUnavailable(f"rejects: {self._path}: {cause}") from cause


class KafkaRejects:
    """Rejected events in a topic, keyed by partition and offset, so that compaction and readers keep one of each."""

    def __init__(self, bootstrap: str, instance: str = "local", patience_s: float = PATIENCE_S) -> None:
        self._bootstrap = bootstrap
        self._topic = REJECTED.name_of(instance)
        self._patience_s = patience_s
        self._producer: Producer | None = None

    def write(self, rejects: Sequence[Rejected]) -> None:
        producer = self._producer or self._start()
        reports = kafka.Reports()
        give_up_at = time.monotonic() + self._patience_s
        try:
            for reject in rejects:
                kafka.produce(producer, self._topic, *encode_reject(reject), reports, give_up_at)
            kafka.flush(producer, give_up_at)
            reports.check(len(rejects))
        except KafkaException as cause:
            raise kafka.unavailable(self._bootstrap, f"writing to {self._topic}", cause) from cause

    def read(self, reason: Reason | None = None, partition: int | None = None, limit: int | None = None) -> list[Rejected]:
        kafka.ensure_topic(self._bootstrap, self._topic, REJECTED.partitions, dict(REJECTED.config))
        kept = {(r.partition, r.offset): r for r in map(decode_reject, read_all(self._bootstrap, self._topic, self._patience_s))}
        chosen = [r for _, r in sorted(kept.items()) if reason in (None, r.reason) and partition in (None, r.partition)]
        return chosen[:limit]

    def counts(self) -> dict[Reason, int]:
        found: dict[Reason, int] = {}
        for reject in sorted(self.read(), key=lambda r: r.reason):
            found[reject.reason] = found.get(reject.reason, 0) + 1
        return found

    def close(self) -> None:
        if self._producer is not None:
            self._producer.flush(self._patience_s)

    def _start(self) -> Producer:
        kafka.ensure_topic(self._bootstrap, self._topic, REJECTED.partitions, dict(REJECTED.config))
        self._producer = Producer(
            kafka.client_config(self._bootstrap)
            | {"enable.idempotence": True, "linger.ms": 5, "message.timeout.ms": int(self._patience_s * 1000)}
        )
        return self._producer
