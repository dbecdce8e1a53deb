"""The online store in Redis: one hash per region and measure, one field per chunk, so that a cell takes one request.

Hash `ridecast:<instance>:<region>:<measure>` has the fields `number` (of the log's origin), `index` (in the log),
`entry` (the issue's payload), `head` (the blob up to its first chunk), `firsts` (first cell of each chunk, uint64
little-endian) and `0`, `1`, ... (the chunks). A write replaces the hash in one script, which compares number and
index, so that a slow publisher never overwrites a newer issue; unless the caller names the stored entry as one that is
not of its ledger.
"""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from ledger.views.online.protocol import HeldIssue, StoredCell, StoredIssue, chunks_of, place_of
from schemas.errors import AccessRefused, StoreUnavailable
from schemas.events.rides import UInt64s
from schemas.forecasts.chunks import Blob

# KEYS[1] the hash; ARGV[1] number, ARGV[2] index, ARGV[3] an entry that is replaced whatever its place, or nothing, then
# pairs of field and value. Indexes are exact as doubles up to 2^53.
PUT = """
local held = redis.call('HMGET', KEYS[1], 'number', 'index', 'entry')
if held[2] and (ARGV[3] == '' or held[3] ~= ARGV[3]) then
  local number, index = tonumber(held[1] or '1'), tonumber(held[2])
  if number > tonumber(ARGV[1]) or (number == tonumber(ARGV[1]) and index >= tonumber(ARGV[2])) then return 0 end
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'number', ARGV[1], 'index', ARGV[2])
for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
"""
TRIES = 2  # reads of one chunk that a writer may overtake before the whole issue is read


@dataclass(frozen=True, slots=True)
class _Contents:
    """First cell of each chunk of an issue; cached, because it changes only with the issue."""

    place: tuple[int, int]
    firsts: UInt64s


def fields_of(issue: StoredIssue) -> dict[str, bytes]:
    """The fields of the hash that holds an issue.

    Raises:
        DamagedError: its blob does not hold chunks.
    """
    blob = chunks_of(issue)
    fields = {
        "number": str(issue.number).encode(),
        "index": str(issue.index).encode(),
        "entry": issue.entry,
        "head": issue.blob[: len(issue.blob) - sum(map(len, blob.chunks))],
        "firsts": blob.first_cells.astype("<u8").tobytes(),
    }
    return fields | {str(number): chunk for number, chunk in enumerate(blob.chunks)}


class RedisStore:
    """Newest issues in Redis.

    Args:
        client: Open `redis.Redis` that returns bytes (`decode_responses` off). Untyped: its own types give a value or
            an awaitable for every response, and differ between releases.
        instance: Name of this installation.
    """

    def __init__(self, client: Any, instance: str = "local") -> None:
        self._client = client
        self._prefix = f"ridecast:{instance}:"
        self._contents: dict[str, _Contents] = {}
        self._put = self._client.register_script(PUT)

    def put(self, issue: StoredIssue, instead_of: HeldIssue | None = None) -> bool:
        key = self._key(*place_of(issue))
        values: list[bytes | str] = [str(issue.number), str(issue.index), instead_of.entry if instead_of else b""]
        for name, value in fields_of(issue).items():
            if name not in ("number", "index"):
                values += [name, value]
        try:
            return bool(self._put(keys=[key], args=values))
        except RedisError as cause:
            raise self._unavailable(cause) from cause

    def get(self, region: str, measure: str) -> StoredIssue | None:
        try:
            fields: dict[bytes, bytes] = self._client.hgetall(self._key(region, measure))
        except RedisError as cause:
            raise self._unavailable(cause) from cause
        if not fields:
            return None
        chunks = [fields[b"%d" % number] for number in range(len(fields[b"firsts"]) // 8)]
        blob = b"".join([fields[b"head"], *chunks])
        return StoredIssue(int(fields[b"index"]), fields[b"entry"], blob, int(fields.get(b"number", 1)))

    def cell(self, region: str, measure: str, cell: int) -> StoredCell | None:
        key = self._key(region, measure)
        for _ in range(TRIES):
            contents = self._contents.get(key) or self._read_contents(key)
            if contents is None:
                return None
            number = int(np.searchsorted(contents.firsts, np.uint64(cell), side="right")) - 1
            place, (entry, chunk) = self._ask(key, "entry", str(max(number, 0)))
            if place == contents.place:
                held = number >= 0 and chunk is not None and Blob((chunk,), contents.firsts[number : number + 1]).chunk_of(cell)
                return StoredCell(cast(bytes, entry), place[1], cast(bytes, chunk)) if held else None
            self._contents.pop(key, None)  # a newer issue has come, or Redis was emptied
        # Writers are faster than two requests: read the whole issue in one.
        issue = self.get(region, measure)
        chunk_of_cell = chunks_of(issue).chunk_of(cell) if issue is not None else None
        return StoredCell(issue.entry, issue.index, chunk_of_cell[1]) if issue is not None and chunk_of_cell else None

    def newest(self, region: str, measure: str) -> tuple[int, int]:
        place, _ = self._ask(self._key(region, measure))
        return place or (0, -1)

    def held(self, region: str, measure: str) -> HeldIssue | None:
        place, (entry,) = self._ask(self._key(region, measure), "entry")
        return HeldIssue(*place, entry or b"") if place is not None else None

    def ping(self) -> None:
        """Raise StoreUnavailable unless Redis answers."""
        try:
            self._client.ping()
        except RedisError as cause:
            raise self._unavailable(cause) from cause

    def _key(self, region: str, measure: str) -> str:
        return f"{self._prefix}{region}:{measure}"

    def _ask(self, key: str, *fields: str) -> tuple[tuple[int, int] | None, list[bytes | None]]:
        """(number, index) of the stored issue, and some of its fields, read atomically."""
        try:
            number, index, *values = self._client.hmget(key, ("number", "index", *fields))
        except RedisError as cause:
            raise self._unavailable(cause) from cause
        return None if index is None else (int(number or 1), int(index)), values

    def _read_contents(self, key: str) -> _Contents | None:
        place, (firsts,) = self._ask(key, "firsts")
        if place is None or firsts is None:
            return None
        self._contents[key] = _Contents(place, np.frombuffer(firsts, "<u8").astype(np.uint64))
        return self._contents[key]

    def _unavailable(self, cause: RedisError) -> StoreUnavailable:
        options = self._client.connection_pool.connection_kwargs
        kind = AccessRefused if isinstance(cause, (AuthenticationError, NoPermissionError)) else StoreUnavailable
        return kind(f"Redis at {options.get('host', 'its socket')}:{options.get('port', '')}: {cause}")
