"""Kafka's own partitioner, so that files and topics put the same rides in the same partitions."""

import numpy as np

from schemas.events.rides import Int64s

U32 = np.uint32
_SEED = 0x9747B28C
_MIX = 0x5BD1E995
_LOW_31_BITS = 0x7FFFFFFF


def partition_of(keys: list[bytes], partitions: int) -> Int64s:
    """The partition of each key, as Kafka's Java client (and librdkafka's `murmur2`) chooses it.

    Args:
        keys: n keys; none may be null, for which Kafka chooses any partition.
        partitions: Number of partitions, at least 1.
    Returns:
        int64[n]
    Source:
        Apache Kafka, `BuiltInPartitioner.partitionForKey`: toPositive(murmur2(key)) % partitions.

    >>> partition_of([b"a", b"ride-1", b""], 4).tolist()
    [0, 0, 1]
    """
    hashes = np.zeros(len(keys), U32)
    sizes = np.fromiter(map(len, keys), np.int64, len(keys))
    for size in np.unique(sizes).tolist():  # Keys of one length form a matrix; ids have few lengths.
        rows = np.flatnonzero(sizes == size)
        chosen = keys if len(rows) == len(keys) else [keys[row] for row in rows.tolist()]
        hashes[rows] = _murmur2(np.frombuffer(b"".join(chosen), np.uint8).reshape(len(rows), size))
    return (hashes & U32(_LOW_31_BITS)).astype(np.int64) % partitions


def _murmur2(keys: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """MurmurHash2 of keys of one length: uint8[n, size] to uint32[n].

    Source:
        A. Appleby (2008), MurmurHash2; the seed is Kafka's.
    """
    n, size = keys.shape
    mix = U32(_MIX)
    mixed = np.full(n, _SEED ^ size, U32)
    words = np.ascontiguousarray(keys[:, : size // 4 * 4]).view("<u4").reshape(n, size // 4)
    for place in range(size // 4):
        word = words[:, place] * mix
        word ^= word >> U32(24)
        mixed = mixed * mix ^ word * mix
    tail = keys[:, size // 4 * 4 :]
    if tail.shape[1]:
        for place in range(tail.shape[1]):
            mixed ^= tail[:, place].astype(U32) << U32(8 * place)
        mixed *= mix
    mixed ^= mixed >> U32(13)
    mixed *= mix
    return mixed ^ mixed >> U32(15)
