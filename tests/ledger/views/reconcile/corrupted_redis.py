"""A Redis filled from a small ledger, and every way in which a test corrupts it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from redis import Redis

from ledger.store.blobs import Blobs, Retention, open_blobs
from ledger.store.log import Ledger, open_embedded
from ledger.views.online.protocol import StoredIssue
from ledger.views.online.redis import RedisStore
from ledger.views.online.refresh import newest_issues, refresh
from ledger.views.reconcile.differences import Reason
from ledger.views.reconcile.issues import LedgerIssues
from ledger.views.reconcile.online import OnlinePlace
from ledger.views.reconcile.redis_hash import RedisHashes
from schemas.forecasts.chunks import ForecastColumns, decode_chunk, encode_chunks
from schemas.records.record_codec import encode
from schemas.records.records import ForecastIssued, Record
from schemas.regions import Region, load_region
from tests.forecast_samples import HORIZONS_MIN, sample_blob, sample_columns, sample_entry, sample_issued
from tests.ledger.exports import SIGNER

INSTANCE = "test"
CELLS = 1_200  # 75 chunks, two ranges
REGION = load_region("nyc")
KEY = f"{REGION.id}:{REGION.measures[0]}"
Dump = dict[bytes, tuple[bytes, bool]]


@dataclass
class FilledRedis:
    """A ledger of one region that grows issue by issue, and a Redis that has its newest issue."""

    home: Path
    url: str
    ledger: Ledger = field(init=False)
    blobs: Blobs = field(init=False)
    client: Any = field(init=False)
    store: RedisStore = field(init=False)
    place: OnlinePlace = field(init=False)
    slot: int = 4_660_000
    log: str = f"region/{REGION.id}"

    def __post_init__(self) -> None:
        self.ledger = open_embedded(self.home, instance=INSTANCE, clock=time.monotonic, signer=SIGNER)
        self.blobs = open_blobs(self.home, "")
        self.client = Redis.from_url(self.url)
        self.store = RedisStore(self.client, INSTANCE)
        self.place = place_of(self.ledger, self.blobs, self.client, [REGION])
        for _ in range(3):
            self.issue()
        self.fill()

    def issue(self, cells: int = CELLS) -> None:
        """One more slot."""
        self.slot += 1
        records: list[Record] = []
        for measure in REGION.measures:
            columns = sample_columns(cells, seed=self.slot)
            blob = self.blobs.put(sample_blob(columns), Retention.FORECAST)
            records.append(sample_issued(columns, self.slot, blob, REGION.id, measure))
        self.ledger.append(self.log, self.ledger.head(self.log).size, [encode(record) for record in records])

    def fill(self) -> None:
        """Bring Redis up to date, as the publisher does."""
        refresh(self.ledger, self.store, self.blobs, newest_issues(self.ledger, REGION), 1)

    def dump(self) -> Dump:
        """Everything that Redis holds: the content of each key, and whether it expires."""
        found = {}
        for key in self.client.keys("*"):
            kind = self.client.type(key)
            content = repr(sorted(self.client.hgetall(key).items())) if kind == b"hash" else repr(self.client.dump(key))
            found[key] = (kind + content.encode(), self.client.pttl(key) >= 0)
        return found

    def close(self) -> None:
        """Close everything."""
        self.client.close()
        self.ledger.close()
        self.blobs.close()


def place_of(ledger: Ledger, blobs: Blobs, client: Any, regions: list[Region]) -> OnlinePlace:
    """The place as the command opens it."""
    return OnlinePlace(LedgerIssues(ledger, blobs), RedisHashes(client, INSTANCE), regions, [region.id for region in regions])


def _stored(redis: FilledRedis) -> bytes:
    return f"ridecast:{INSTANCE}:{KEY}".encode()


def _a_chunk(redis: FilledRedis, random: Random) -> tuple[str, ForecastColumns]:
    name = str(random.randrange(-(-CELLS // 16)))
    return name, decode_chunk(redis.client.hget(_stored(redis), name), HORIZONS_MIN)


def _number(redis: FilledRedis, random: Random) -> tuple[str, Reason]:
    name, columns = _a_chunk(redis, random)
    mean = columns.mean.copy()
    mean[random.randrange(len(columns)), random.randrange(3)] += random.choice([-1, 1, 1_000])
    [chunk] = encode_chunks(_with(columns, mean=mean))
    redis.client.hset(_stored(redis), name, chunk)
    return f"{KEY} chunk {name}", Reason.CHANGED


def _with(columns: ForecastColumns, **changes: Any) -> ForecastColumns:
    return ForecastColumns(**{name: changes.get(name, getattr(columns, name)) for name in ForecastColumns.__slots__})


def _other_cell(redis: FilledRedis, random: Random) -> tuple[str, Reason]:
    name, columns = _a_chunk(redis, random)
    cells = columns.cells.copy()
    cells[-1] += np.uint64(1)
    [chunk] = encode_chunks(_with(columns, cells=cells))
    redis.client.hset(_stored(redis), name, chunk)
    return f"{KEY} chunk {name}", Reason.ADDED


def _chunk_deleted(redis: FilledRedis, random: Random) -> tuple[str, Reason]:
    name, _ = _a_chunk(redis, random)
    redis.client.hdel(_stored(redis), name)
    return f"{KEY} chunk {name}", Reason.MISSING


def _chunk_truncated(redis: FilledRedis, random: Random) -> tuple[str, Reason]:
    name, _ = _a_chunk(redis, random)
    data = redis.client.hget(_stored(redis), name)
    redis.client.hset(_stored(redis), name, data[: random.randrange(len(data))])
    return f"{KEY} chunk {name}", Reason.DAMAGED


def _bytes_of_a_chunk(redis: FilledRedis, random: Random) -> tuple[str, Reason]:
    name, _ = _a_chunk(redis, random)
    redis.client.hset(_stored(redis), name, random.randbytes(40))
    return f"{KEY} chunk {name}", Reason.DAMAGED


def _chunk_added(redis: FilledRedis, random: Random) -> tuple[str, Reason]:
    name = str(75 + random.randrange(9))
    [chunk] = encode_chunks(sample_columns(10, seed=random.randrange(1_000)))
    redis.client.hset(_stored(redis), name, chunk)
    return f"{KEY} field {name}", Reason.ADDED


def _field(redis: FilledRedis, random: Random) -> tuple[str, Reason]:
    name = random.choice(["head", "firsts"])
    redis.client.hset(_stored(redis), name, redis.client.hget(_stored(redis), name)[:-3])
    return f"{KEY} {name}", Reason.DAMAGED


def _field_deleted(redis: FilledRedis, random: Random) -> tuple[str, Reason]:
    name = random.choice(["number", "index", "head", "firsts"])
    redis.client.hdel(_stored(redis), name)
    return f"{KEY} {name}", Reason.MISSING


def _index(redis: FilledRedis, random: Random) -> tuple[str, Reason]:
    held = int(redis.client.hget(_stored(redis), "index"))
    redis.client.hset(_stored(redis), "index", held + random.choice([-1, 1, 1_000]))
    return f"{KEY} index", Reason.CHANGED


def _entry(redis: FilledRedis, random: Random) -> tuple[str, Reason]:
    data = bytearray(redis.client.hget(_stored(redis), "entry"))
    redis.client.hset(_stored(redis), "entry", bytes(data[: random.randrange(len(data))]))
    return f"{KEY} entry", Reason.DAMAGED


def _key_deleted(redis: FilledRedis, random: Random) -> tuple[str, Reason]:
    redis.client.delete(_stored(redis))
    return KEY, Reason.MISSING


def _type(redis: FilledRedis, random: Random) -> tuple[str, Reason]:
    redis.client.delete(_stored(redis))
    if random.random() < 0.5:
        redis.client.set(_stored(redis), b"text")
    else:
        redis.client.rpush(_stored(redis), b"a", b"b")
    return KEY, Reason.DAMAGED


def _ttl(redis: FilledRedis, random: Random) -> tuple[str, Reason]:
    redis.client.expire(_stored(redis), random.randrange(60, 9_000))
    return f"{KEY} ttl", Reason.EXPIRES


def _older(redis: FilledRedis, random: Random) -> tuple[str, Reason]:
    old = random.choice(redis.ledger.read(redis.log, 0, kind=ForecastIssued)[:2])
    redis.client.delete(_stored(redis))
    redis.store.put(StoredIssue(old.index, old.payload, redis.blobs.get(old.record.blob)))
    return KEY, Reason.STALE


def _foreign(redis: FilledRedis, random: Random) -> tuple[str, Reason]:
    columns = sample_columns(40, seed=random.randrange(1_000))
    ahead = random.random() < 0.5
    index = redis.ledger.head(redis.log).size + random.randrange(1_000) if ahead else random.randrange(redis.ledger.head(redis.log).size)
    redis.client.delete(_stored(redis))
    redis.store.put(StoredIssue(index, sample_entry(columns, region=REGION.id, measure=REGION.measures[0]), sample_blob(columns)))
    return KEY, Reason.AHEAD if ahead else Reason.OTHER_LEDGER


def _stray(redis: FilledRedis, random: Random) -> tuple[str, Reason]:
    name = f"{REGION.id}:measure {random.randrange(1_000)}"
    redis.client.set(f"ridecast:{INSTANCE}:{name}", b"stray")
    return name, Reason.ADDED


Corruption = Callable[[FilledRedis, Random], tuple[str, Reason]]
CORRUPTIONS: tuple[Corruption, ...] = (
    _number,
    _other_cell,
    _chunk_deleted,
    _chunk_truncated,
    _bytes_of_a_chunk,
    _chunk_added,
    _field,
    _field_deleted,
    _index,
    _entry,
    _key_deleted,
    _type,
    _ttl,
    _older,
    _foreign,
    _stray,
)
