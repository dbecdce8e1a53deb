"""Checks the proof of a forecast that Ridecast served, without Ridecast: one short script to read, audit and copy.

    python check_proof.py FILE.tlog-proof LOG_KEY [WITNESS_KEY ...]

Keys are C2SP signed-note verifier keys from a source that you trust: the operator's, then those of witnesses, all
of whom must have cosigned. Needs Python 3.11 and the package `cryptography`, no database and no network. The proof is a
C2SP tlog-proof; its extra line is Avro, as are the chunk and the entry within it. Prints what was proved,
or which check failed (exit status 1); status 2: the arguments are wrong.
"""

import base64
import hashlib
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

PROOF = bytes.fromhex("c30136e3ec85c0976dd4")  # Avro single-object encoding: marker and fingerprint of each schema
CHUNK = bytes.fromhex("c3014fa3d93ea178ee8f")
ENTRY = bytes.fromhex("c301279d5d880639c745")
COLUMNS = ("mean", "median", "lower", "upper", "dispersion", "baseline")


def require(fact: bool, what: str) -> None:
    """Raise ValueError unless a condition holds."""
    if not fact:
        raise ValueError(what)


class Avro:
    """Reads consecutive Avro values."""

    def __init__(self, data: bytes, head: bytes) -> None:
        require(data.startswith(head), f"expected a value of schema {head.hex()}, got {data[:10].hex()}")
        self.data, self.at = data, len(head)

    def long(self) -> int:
        """A variable-length zigzag integer."""
        value = shift = 0
        while True:
            require(self.at < len(self.data) and shift < 64, "a number is truncated")
            byte, self.at = self.data[self.at], self.at + 1
            value, shift = value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value >> 1 ^ -(value & 1)

    def field(self) -> bytes:
        """Bytes, or the UTF-8 of a string, after their length."""
        size = self.long()
        self.at += size
        require(0 <= size and self.at <= len(self.data), "a field is truncated")
        return self.data[self.at - size : self.at]

    def longs(self, each: int = 1) -> list[int]:
        """An array of records of `each` integers, flattened."""
        found: list[int] = []
        while count := self.long():
            require(0 < count <= len(self.data), "an array is truncated")
            found += [self.long() for _ in range(count * each)]
        return found


def plain(text: str) -> bytes:
    """Decode base64 in its canonical form only."""
    data = base64.b64decode(text, validate=True)
    require(base64.b64encode(data).decode() == text, "base64 is not canonical")
    return data


def parse_key(key: str) -> tuple[str, str, bytes, bytes]:
    """Name, id, kind and public key; raises ValueError if the text is not one verifier key."""
    name, key_id, encoded = key.split("+", 2)
    kind, public = plain(encoded)[:1], plain(encoded)[1:]
    require(hashlib.sha256(name.encode() + b"\n" + kind + public).hexdigest()[:8] == key_id and kind in b"\1\4", "its id does not match")
    return name, key_id, kind, public


def verify(key: str, body: str, lines: list[str]) -> int | None:
    """Check a key's signature of a note; returns the time of a witness's cosignature (C2SP signed-note, tlog-cosignature)."""
    name, key_id, kind, public = parse_key(key)
    mine = [data for data in (plain(line.split(" ")[2]) for line in lines if line.split(" ")[1] == name) if data[:4].hex() == key_id]
    require(len(mine) == 1, f"expected one signature of {name}, got {len(mine)}")
    signature, time_s = mine[0][4:], None
    if kind == b"\4":
        time_s, signature = int.from_bytes(signature[:8]), signature[8:]
        body = f"cosignature/v1\ntime {time_s}\n{body}"
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, body.encode())
    except InvalidSignature as cause:
        raise ValueError(f"the signature of {name} does not match") from cause
    return time_s


def root_of(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """Root computed from an RFC 6962 audit path (RFC 9162 2.1.3.2)."""
    require(0 <= index < size, f"entry {index} of {size}")
    node, last = hashlib.sha256(b"\0" + leaf).digest(), size - 1
    for sibling in path:
        require(last > 0 and len(sibling) == 32, "the path is too long or malformed")
        if index & 1 or index == last:
            node = hashlib.sha256(b"\1" + sibling + node).digest()
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\1" + node + sibling).digest()
        index, last = index >> 1, last >> 1
    require(last == 0, "the path is too short")
    return node


def check(text: str, log_key: str, *witness_keys: str) -> dict[str, object]:
    """What a proof proves; raises ValueError if it proves nothing. Numbers are in 1/1000 ride."""
    above, _, note = text.partition("\n\n")
    header, extra, place, *path = above.split("\n")
    require(header == "c2sp.org/tlog-proof@v1" and extra.startswith("extra ") and place.startswith("index "), "not a proof of a forecast")
    index = int(place[6:])
    require(place == f"index {index}", "the index is not canonical")

    body, separator, signed = note.rpartition("\n\n")
    body, lines = body + "\n", signed.split("\n")
    require(
        separator == "\n\n" and lines.pop() == "" and all(line.startswith("— ") and line.count(" ") == 2 for line in lines), "not a note"
    )
    require(plain(log_key.split("+", 2)[-1])[:1] == b"\1", f"{log_key} is not the key of a log")
    times = [verify(key, body, lines) for key in (log_key, *witness_keys)]
    origin, size, root, *_ = body.split("\n")

    proof = Avro(plain(extra[6:]), PROOF)
    cell, horizon_min, chunk_index = proof.long(), proof.long(), proof.long()
    chunk_path, chunk, entry = proof.field(), proof.field(), proof.field()
    require(proof.at == len(proof.data), "bytes after the proof")
    require(root_of(entry, index, int(size), [plain(line) for line in path]) == plain(root), "the entry is not in the log")

    fields = Avro(entry, ENTRY)
    region, measure, slot, target_us = fields.field().decode(), fields.field().decode(), fields.long(), fields.long()
    horizons_min = fields.longs()
    models: list[str] = []
    while count := fields.long():
        models += [fields.field().hex() for _ in range(count)]
    features, family = fields.field(), fields.field().decode()
    fields.longs(each=5)
    cells, chunks, chunks_root = fields.long(), fields.long(), fields.field()
    require(origin.startswith("ridecast/") and origin.endswith(f"/region/{region}"), f"{origin} is not a log of region {region}")
    siblings = [chunk_path[at : at + 32] for at in range(0, len(chunk_path), 32)]
    require(root_of(chunk, chunk_index, chunks, siblings) == chunks_root, "the chunk is not in the entry")

    values = Avro(chunk, CHUNK)
    codes, code = [], 0
    for step in values.longs():
        code += step
        codes.append(code)
    columns = {name: values.longs() for name in COLUMNS}
    require(cell in codes and horizon_min in horizons_min, "the chunk does not hold that number")
    at = codes.index(cell) * len(horizons_min) + horizons_min.index(horizon_min)
    return {
        "origin": origin,
        "index": index,
        "size": int(size),
        "cosigned_s": [time_s for time_s in times if time_s is not None],
        "region": region,
        "measure": measure,
        "slot": slot,
        "target_us": target_us,
        "cell": cell,
        "horizon_min": horizon_min,
        **{f"{name}_milli": columns[name][at] for name in COLUMNS},
        "family": family,
        "models": models,
        "features": features.hex(),
        "cells": cells,
    }


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    for argument in sys.argv[2:]:
        try:
            parse_key(argument)
        except ValueError as failure:
            print(f"expected one verifier key, name+id+key, got {argument!r}: {failure}", file=sys.stderr)
            raise SystemExit(2) from failure
    try:
        for name, value in check(Path(sys.argv[1]).read_text("utf-8"), *sys.argv[2:]).items():
            print(f"{name:<16} {value}")
    except (ValueError, IndexError) as failure:
        raise SystemExit(f"NOT PROVED: {failure}") from failure
