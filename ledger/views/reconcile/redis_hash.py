"""One hash of the online store in Redis, seen by digests that Redis computes, and changed only if it is as it was seen.

A script reads a hash at one moment, so that a publisher never mixes two issues into what is seen. SHA-1 is what Redis offers to
scripts; both sides hash what the ledger wrote, and what is written is compared byte for byte with the ledger afterwards.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from ledger.formats.ranges import framed
from schemas.errors import AccessRefused, StoreUnavailable

CHUNKS_PER_RANGE = 64  # 16 cells each
PLAIN = ("number", "index", "entry", "head", "firsts")  # fields beside the chunks
SCANNED = 1_000  # keys or fields per request
MOST_LISTED = 10_000  # of what a store holds beside what it should

# What identifies the held issue: of a hash its first fields, of anything else its bytes.
_SEEN = """
local function framed(value) if value then return #value .. ':' .. value end return '-' end
local function joined(values, count)
  local parts = {}
  for i = 1, count do parts[i] = framed(values[i]) end
  return redis.sha1hex(table.concat(parts))
end
local function seen(key)
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then return kind end
  if kind ~= 'hash' then return kind .. ' ' .. redis.sha1hex(redis.call('DUMP', key)) end
  return kind .. ' ' .. joined(redis.call('HMGET', key, 'number', 'index', 'entry'), 3)
end
"""
# ARGV[1] number of chunks, ARGV[2] chunks per range.
_LOOK = (
    _SEEN
    + """
local held = seen(KEYS[1])
local ttl = redis.call('PTTL', KEYS[1])
if string.sub(held, 1, 4) ~= 'hash' then return {held, ttl} end
local chunks, per = tonumber(ARGV[1]), tonumber(ARGV[2])
local plain = redis.call('HMGET', KEYS[1], 'number', 'index', 'entry', 'head', 'firsts')
local digests = {}
for i = 1, 5 do digests[i] = joined({plain[i]}, 1) end
local ranges = {}
for from = 0, chunks - 1, per do
  local names = {}
  for i = from, math.min(from + per, chunks) - 1 do names[#names + 1] = tostring(i) end
  ranges[#ranges + 1] = joined(redis.call('HMGET', KEYS[1], unpack(names)), #names)
end
return {held, ttl, redis.call('HLEN', KEYS[1]), plain[1] or '', plain[2] or '', digests, ranges}
"""
)
# ARGV[1] what was seen, ARGV[2] '1' to let it stay for ever, then triples: field, digest that was seen, value after a '+' or '-'.
_MEND = (
    _SEEN
    + """
if seen(KEYS[1]) ~= ARGV[1] then return -1 end
local written = 0
for i = 3, #ARGV, 3 do
  if joined({redis.call('HGET', KEYS[1], ARGV[i])}, 1) == ARGV[i + 1] then
    if string.sub(ARGV[i + 2], 1, 1) == '+' then redis.call('HSET', KEYS[1], ARGV[i], string.sub(ARGV[i + 2], 2))
    else redis.call('HDEL', KEYS[1], ARGV[i]) end
    written = written + 1
  end
end
if ARGV[2] == '1' then written = written + redis.call('PERSIST', KEYS[1]) end
return written
"""
)
# ARGV[1] what was seen, then pairs of field and value; none removes the key.
_REPLACE = (
    _SEEN
    + """
if seen(KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
"""
)


class Look(NamedTuple):
    """A key at one moment.

    Attributes:
        seen: What identifies it for a change; `none` if there is no such key, and its type first.
        ttl_ms: Until Redis removes it; -1 for never.
        fields: Number of its fields.
        number, at: Number of the origin and index, as stored; empty if missing.
        plain: Digest of each field of PLAIN.
        ranges: Digest of each range of chunks.
    """

    seen: str
    ttl_ms: int
    fields: int = 0
    number: bytes = b""
    at: bytes = b""
    plain: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Its type: none, hash, string, ..."""
        return self.seen.partition(" ")[0]


class Write(NamedTuple):
    """One field to write: the digest of what it held when it was seen, and its new value; None removes it."""

    field: str
    seen: str
    value: bytes | None


def digest_of(*values: bytes | None) -> str:
    """The digest of some values, as the scripts compute it.

    >>> digest_of(b"abc") == hashlib.sha1(b"3:abc").hexdigest()
    True
    """
    return hashlib.sha1(b"".join(map(framed, values)), usedforsecurity=False).hexdigest()


class RedisHashes:
    """The keys of one instance.

    Args:
        client: Open `redis.Redis` that returns bytes; untyped, see `ledger.views.online.redis`.
        instance: Name of this installation.
    """

    def __init__(self, client: Any, instance: str) -> None:
        self._client, self.prefix = client, f"ridecast:{instance}:"
        self._look, self._mend, self._replace = (client.register_script(text) for text in (_LOOK, _MEND, _REPLACE))

    def keys(self) -> Iterator[str]:
        """Names of all keys of the instance, without the prefix; each at least once."""
        cursor: int | None = None
        while cursor != 0:
            cursor, found = self._asked(self._client.scan, cursor or 0, match=f"{self.prefix}*", count=SCANNED)
            yield from (key.decode("utf-8", "surrogateescape").removeprefix(self.prefix) for key in found)

    def look(self, key: str, chunks: int) -> Look:
        """A key as it is now, with digests of the ranges of so many chunks."""
        found = self._asked(self._look, keys=[self._named(key)], args=[chunks, CHUNKS_PER_RANGE])
        seen, ttl_ms, *rest = found
        if not rest:
            return Look(seen.decode(), int(ttl_ms))
        fields, number, index, plain, ranges = rest
        return Look(seen.decode(), int(ttl_ms), int(fields), number, index, _texts(plain), _texts(ranges))

    def values(self, key: str, fields: Sequence[str]) -> list[bytes | None]:
        """The values of some fields; None for each that is missing."""
        found: list[bytes | None] = self._asked(self._client.hmget, self._named(key), [_bytes(field) for field in fields])
        return found

    def others(self, key: str, known: frozenset[str]) -> list[str]:
        """Names of fields that are not known, at most MOST_LISTED."""
        found: set[str] = set()
        cursor: int | None = None
        while cursor != 0 and len(found) < MOST_LISTED:
            cursor, page = self._asked(self._client.hscan, self._named(key), cursor or 0, count=SCANNED)
            found.update(name for name in (raw.decode("utf-8", "surrogateescape") for raw in page) if name not in known)
        return sorted(found)

    def mend(self, key: str, seen: str, writes: Sequence[Write], *, persist: bool) -> int:
        """Write some fields if the key still holds the issue that was seen, and each only if it is as it was seen.

        Returns:
            How many were written; -1 if it holds another issue now.
        """
        words: list[str | bytes] = [seen, "1" if persist else "0"]
        for write in writes:
            words += [_bytes(write.field), write.seen, b"-" if write.value is None else b"+" + write.value]
        return int(self._asked(self._mend, keys=[self._named(key)], args=words))

    def replace(self, key: str, seen: str, fields: Sequence[str | bytes]) -> bool:
        """Replace a key by these fields and values, or remove it, if it is as it was seen; returns whether it was."""
        return bool(self._asked(self._replace, keys=[self._named(key)], args=[seen, *fields]))

    def _named(self, key: str) -> bytes:
        return _bytes(self.prefix + key)

    def _asked(self, command: Any, *args: Any, **named: Any) -> Any:
        try:
            return command(*args, **named)
        except RedisError as cause:
            options = self._client.connection_pool.connection_kwargs
            kind = AccessRefused if isinstance(cause, AuthenticationError | NoPermissionError) else StoreUnavailable
            raise kind(f"Redis at {options.get('host', 'its socket')}:{options.get('port', '')}: {cause}") from cause


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _texts(found: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(digest.decode() for digest in found)
