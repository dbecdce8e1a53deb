"""Decodes ride events to columns: one cursor per event, moved over a whole batch field by field.

This reads only the usual form: each length in one byte, each time in eight, UTF-8 texts of at most 63 bytes,
union and enum indexes in range, the last field ending exactly at the event's end. Such bytes are canonical:
encoding them again gives the same bytes. Everything else is left to `schemas.events.codec.decode_slow`,
which decides. Personal texts are skipped and never kept.
"""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.events.measures import KINDS
from schemas.events.rides import NO_REGION, NO_TIME, OTHER_REGION, Bools, Float64s, Int16s, Int64s, UInt8s, UInt64s

PAD = b"\x00" * 2048  # on invalid data, a cursor runs past the end by at most 6 texts of 129 bytes, 120 more, and one load
ASCII_BYTES = 57  # number of flags that one load of 64 bits holds from any bit of its first byte
MAX_ID_BYTES = 64
MAX_REGION_BYTES = 32
REGION_ID = re.compile(rb"[a-z][a-z0-9_-]{0,31}")  # as `schemas.regions` demands of a region's id

U8, U64 = np.uint8, np.uint64
_GOLDEN, _MIX, _LAST = U64(0x9E3779B97F4A7C15), U64(0xBF58476D1CE4E5B9), U64(0x94D049BB133111EB)  # splitmix64's constants
_MASK = (1 << 64) - 1
_IN_REGION_ID = np.array([REGION_ID.fullmatch(b"a" + bytes([byte])) is not None for byte in range(256)])
_LOW_BYTES = np.array([(1 << 8 * k) - 1 for k in range(9)], U64)  # k -> the k low bytes
_LOW_BITS = np.array([(1 << k) - 1 for k in range(64)] + [_MASK] * 192, U64)  # k -> the k low bits


@dataclass(frozen=True, slots=True)
class FastColumns:
    """The result of one pass over a batch; n rows, of which only those with `ok` are valid.

    Attributes:
        ok: bool[n], decoded and canonical.
        event_hash, kind, occurred_at_us, region, lat, lon, end_lat, end_lon, bad_id, bad_fare: as in `schemas.events.rides.RideBatch`.
        event_logged_at_us: int64[n], the event's own field, NO_TIME for null.
    """

    ok: Bools
    event_hash: UInt64s
    kind: UInt8s
    occurred_at_us: Int64s
    event_logged_at_us: Int64s
    region: Int16s
    lat: Float64s
    lon: Float64s
    end_lat: Float64s
    end_lon: Float64s
    bad_id: Bools
    bad_fare: Bools


def hash_id(data: bytes) -> int:
    """64-bit hash of an event id, the simple version; not keyed, so no protection against deliberate collisions.

    With a million ids remembered, a new id collides with one of them once in 2e13 events.

    >>> hex(hash_id(b"ride-1"))
    '0x2bc0c0622c8637b0'
    """
    mixed = len(data) * int(_GOLDEN) & _MASK
    for start in range(0, len(data), 8):
        mixed = (mixed ^ int.from_bytes(data[start : start + 8], "little")) * int(_MIX) & _MASK
        mixed ^= mixed >> 32
    mixed = mixed * int(_LAST) & _MASK
    return mixed ^ mixed >> 29


def read_columns(values: list[bytes], heads: tuple[bytes, ...], regions: tuple[bytes, ...]) -> FastColumns:
    """Read a batch of events.

    Args:
        values: n events, framed.
        heads: Possible headers of an event, at most 16 bytes each.
        regions: Known region names; a row's region is the index here, OTHER_REGION or NO_REGION.
    Returns:
        Columns of n rows, in order.
    """
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    cursor = _Cursor(b"".join([*values, PAD]), np.cumsum(lengths) - lengths)
    ends = cursor.at + lengths
    cursor.skip_head(heads)
    id_at, id_bytes = cursor.text()
    cursor.text()  # ride_id
    kind = cursor.enum(len(KINDS))
    occurred_at = cursor.time()
    logged_at = cursor.maybe_time()
    region_at, region_bytes = cursor.text()
    lat, lon = cursor.doubles(2)
    (has_lat, end_lat), (has_lon, end_lon) = cursor.maybe_double(), cursor.maybe_double()
    for _ in ("rider_id", "driver_id", "vehicle_class"):
        cursor.maybe_text()
    has_fare, fare = cursor.maybe_double()
    ok = cursor.ok & (cursor.at == ends)
    return FastColumns(
        ok=ok,
        event_hash=_hash_ids(cursor, id_at, id_bytes, ok),
        kind=kind,
        occurred_at_us=occurred_at,
        event_logged_at_us=logged_at,
        region=_region_index(cursor, region_at, region_bytes, regions),
        lat=lat,
        lon=lon,
        end_lat=np.where(has_lat, end_lat, np.nan),
        end_lon=np.where(has_lon, end_lon, np.nan),
        bad_id=(id_bytes == 0) | (id_bytes > MAX_ID_BYTES),
        bad_fare=has_fare & ~((fare >= 0) & (fare < np.inf)),
    )


def _hash_ids(cursor: "_Cursor", at: Int64s, sizes: Int64s, ok: Bools) -> UInt64s:
    """`hash_id` of every row's text, eight bytes of all rows per step."""
    mixed = sizes.astype(U64) * _GOLDEN
    longest = int(sizes[ok].max(initial=0))
    shortest = int(sizes[ok].min(initial=longest))
    words = cursor.words(at, -(-longest // 8)) if longest else np.empty((len(at), 0), U64)
    for place in range(words.shape[1]):
        word = words[:, place]
        if shortest < 8 * (place + 1):
            word = word & _LOW_BYTES[np.clip(sizes - 8 * place, 0, 8)]
        step = (mixed ^ word) * _MIX
        step ^= step >> U64(32)
        mixed = step if shortest > 8 * place else np.where(sizes > 8 * place, step, mixed)
    mixed *= _LAST
    return mixed ^ mixed >> U64(29)


def _region_index(cursor: "_Cursor", at: Int64s, sizes: Int64s, regions: tuple[bytes, ...]) -> Int16s:
    found = np.full(len(at), OTHER_REGION, np.int16)
    words = cursor.words(at, max(1, -(-max(map(len, regions), default=1) // 8)))
    for index, name in enumerate(regions):
        same = sizes == len(name)
        for place in range(-(-len(name) // 8)):
            part = name[8 * place : 8 * place + 8]
            same &= words[:, place] & _LOW_BYTES[len(part)] == U64(int.from_bytes(part, "little"))
        found[same] = index
    rows = np.flatnonzero(found == OTHER_REGION)
    if len(rows):
        found[rows[~_region_ids(cursor, at[rows], sizes[rows])]] = NO_REGION
    return found


def _region_ids(cursor: "_Cursor", at: Int64s, sizes: Int64s) -> Bools:
    """Which texts are ids of regions, as `REGION_ID` says."""
    letters = _load(cursor.data, at, MAX_REGION_BYTES).reshape(len(at), MAX_REGION_BYTES)
    inside = _IN_REGION_ID[letters] | (np.arange(MAX_REGION_BYTES) >= sizes[:, None])
    first = letters[:, 0]
    return inside.all(axis=1) & (sizes >= 1) & (sizes <= MAX_REGION_BYTES) & (first >= ord("a")) & (first <= ord("z"))


class _Cursor:
    """A position in each event of a batch, and whether everything read so far was as expected.

    A load gathers a few bytes per row from any position: a view of the buffer with overlapping elements,
    one starting at every byte.
    """

    def __init__(self, data: bytes, starts: Int64s) -> None:
        self._bytes = data
        self.data = np.frombuffer(data, U8)
        self.at = starts
        self.ok = np.ones(len(starts), np.bool_)
        self._high = np.packbits(self.data & U8(128), bitorder="little")  # one flag per byte: not ASCII

    def words(self, at: Int64s, count: int) -> UInt64s:
        """uint64[n, count]: 8 x count bytes from each position, little-endian."""
        return _load(self.data, at, 8 * count).view("<u8").reshape(len(at), count)

    def skip_head(self, heads: tuple[bytes, ...]) -> None:
        words = self.words(self.at, 2)
        size = np.zeros(len(self.at), np.int64)
        for head in heads:
            first, second = (int.from_bytes(head[k : k + 8], "little") for k in (0, 8))
            low, high = _LOW_BYTES[min(len(head), 8)], _LOW_BYTES[max(len(head) - 8, 0)]
            size[(words[:, 0] & low == U64(first)) & (words[:, 1] & high == U64(second))] = len(head)
        self.ok &= size > 0
        self.at = self.at + size

    def text(self) -> tuple[Int64s, Int64s]:
        """(position, length) of a text of at most 63 bytes; longer ones are left to the slow path."""
        before = self.data[self.at]
        at, size = self.at + 1, (before >> U8(1)).astype(np.int64)
        self._check_text(before, at, size)
        self.at = at + size
        return at, size

    def maybe_text(self) -> None:
        present = self._branch()
        if not present.any():
            return
        before = self.data[self.at]
        at, size = self.at + present, (before >> U8(1)) * present
        self._check_text(before * present, at, size)
        self.at = at + size

    def enum(self, symbols: int) -> UInt8s:
        value = self.data[self.at]
        self.ok &= (value & U8(1) == 0) & (value < 2 * symbols)
        self.at = self.at + 1
        return value >> U8(1)

    def time(self) -> Int64s:
        value, fits = _time_of(self.words(self.at, 1)[:, 0])
        self.ok &= fits
        self.at = self.at + 8
        return value

    def maybe_time(self) -> Int64s:
        present = self._branch()
        if not present.any():
            return np.full(len(self.at), NO_TIME, np.int64)
        value, fits = _time_of(self.words(self.at, 1)[:, 0])
        self.ok &= fits | (present == 0)
        self.at = self.at + 8 * present
        return np.where(present == 1, value, NO_TIME)

    def doubles(self, count: int) -> list[Float64s]:
        block = self.words(self.at, count).view("<f8")
        self.at = self.at + 8 * count
        return [np.ascontiguousarray(block[:, place]) for place in range(count)]

    def maybe_double(self) -> tuple[Bools, Float64s]:
        present = self._branch()
        if not present.any():
            return np.zeros(len(self.at), np.bool_), np.zeros(len(self.at))
        value = self.words(self.at, 1).view("<f8")[:, 0]
        self.at = self.at + 8 * present
        return present == 1, value

    def _branch(self) -> Int64s:
        """1 where a union with null holds a value, else 0; advances past its index."""
        index = self.data[self.at]
        self.ok &= index & U8(0xFD) == 0
        self.at = self.at + 1
        return (index >> U8(1) & U8(1)).astype(np.int64)

    def _check_text(self, before: npt.NDArray[np.integer], at: Int64s, size: Int64s) -> None:
        flags = _load(self._high, at >> 3, 8).view("<u8") >> (at & 7).astype(U64)
        self.ok &= before & 0x81 == 0
        # Texts that are not ASCII, or longer than one load of flags: checking in Python costs a fiftieth of the slow path.
        rows = np.flatnonzero(self.ok & ((size > ASCII_BYTES) | (flags & _LOW_BITS[size] != 0)))
        if len(rows):
            starts = at[rows]
            spans = zip(starts.tolist(), (starts + size[rows]).tolist(), strict=True)
            texts = [self._bytes[start:stop] for start, stop in spans]
            if not _is_utf8(b"\x00".join(texts)):  # One invalid text makes the join invalid, because no sequence crosses a zero.
                self.ok[rows] = [_is_utf8(text) for text in texts]


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _load(data: UInt8s, at: Int64s, width: int) -> UInt8s:
    overlapping = np.ndarray((len(data) - width + 1,), f"V{width}", data, strides=(1,))
    return overlapping[at].view(U8)


def _time_of(word: UInt64s) -> tuple[Int64s, Bools]:
    """Eight loaded bytes as one varint of exactly eight bytes: the years 1978 to 3111.

    Source:
        Seven-bit groups are joined pairwise, as in D. Lemire's masked varint decoding.
    """
    fits = word & U64(0x8080808080808080) == U64(0x0080808080808080)
    fits &= (word >> U64(56) != 0) & (word & U64(1) == 0)  # shortest form, and not negative
    x = word & U64(0x7F7F7F7F7F7F7F7F)
    x = x & U64(0x007F007F007F007F) | (x & U64(0x7F007F007F007F00)) >> U64(1)
    x = x & U64(0x00003FFF00003FFF) | (x & U64(0x3FFF00003FFF0000)) >> U64(2)
    x = x & U64(0x000000000FFFFFFF) | (x & U64(0x0FFFFFFF00000000)) >> U64(4)
    return (x >> U64(1)).view(np.int64), fits
