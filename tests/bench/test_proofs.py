"""How large a proof of one number is, how fast proofs are made, and how fast one is checked, in a log of ten million entries."""

import hashlib
import statistics
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import pytest

from ledger.formats.checkpoint import Checkpoint
from ledger.formats.keys import ID_SIZE_BYTES
from ledger.formats.merkle import HASH_SIZE_BYTES, leaf_hash, node_hash, range_root
from ledger.formats.note import cosign_note, parse_note, sign_note
from ledger.formats.proof import IssueProver, check_proof, parse_log_proof
from ledger.store.stored_tiles import stored_nodes
from tests.ledger.exports import ORIGIN, SIGNER
from tests.ledger.issues import HORIZONS_MIN, TARGET_US, WITNESSES, Issued
from tests.ledger.places import LOG, Place, scored

SIZE = 10_000_000
INDEX = 7_654_321
CELLS = 3_100  # New York with its surroundings
LARGEST_BINARY_BYTES = 3 * 1024
FEWEST_PROOFS_PER_S = 2_000
LONGEST_CHECK_S = 0.001
WARM_PROOFS = 20_000
COLD_PROOFS = 100
CHECKS = 2_000
STORED = 20_000  # entries of the log in SQLite


class HashTree:
    """All nodes of a tree of distinct leaf hashes, with one given leaf: one row of bytes for each level."""

    def __init__(self, size: int, index: int, leaf: bytes) -> None:
        digest = hashlib.sha256
        below = bytearray(b"".join([digest(number.to_bytes(8)).digest() for number in range(size)]))
        below[index * HASH_SIZE_BYTES : (index + 1) * HASH_SIZE_BYTES] = leaf
        self.levels = [bytes(below)]
        while len(self.levels[-1]) >= 2 * HASH_SIZE_BYTES:
            row = self.levels[-1]
            starts = range(0, len(row) - 2 * HASH_SIZE_BYTES + 1, 2 * HASH_SIZE_BYTES)
            self.levels.append(b"".join([digest(b"\x01" + row[at : at + 2 * HASH_SIZE_BYTES]).digest() for at in starts]))

    def node(self, level: int, index: int) -> bytes:
        """Root of a perfect subtree."""
        return self.levels[level][index * HASH_SIZE_BYTES : (index + 1) * HASH_SIZE_BYTES]


def median_s(act: Callable[[], object], rounds: int) -> float:
    """Median seconds of one act."""
    spent = []
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)


def binary_bytes(text: str) -> int:
    """What a proof takes without its base64: path, chunk with its path and entry, signatures; as it is counted in the promise."""
    proof = parse_log_proof(text)
    _, signatures = parse_note(proof.checkpoint)
    signed = sum(ID_SIZE_BYTES + len(signature.data) for signature in signatures)
    return len(proof.extra) + HASH_SIZE_BYTES * (len(proof.path) + 1) + signed  # one hash more: the checkpoint's root


@pytest.mark.bench
def test_proofs_of_a_large_log() -> None:
    """At ten million entries and 3,100 cells: at most 3 KB of binary, 2,000 proofs a second, checked within a millisecond."""
    issued = Issued(CELLS)
    tree = HashTree(SIZE, INDEX, leaf_hash(issued.entry))
    assert node_hash(tree.node(3, 4), tree.node(3, 5)) == tree.node(4, 2)
    note = sign_note(Checkpoint(ORIGIN, SIZE, range_root(0, SIZE, tree.node)).body(), SIGNER)
    for witness in WITNESSES:
        note = cosign_note(note, witness, TARGET_US // 1_000_000 + 15)
    cells = issued.columns.cells.tolist()
    wanted = [(cell, horizon_min) for horizon_min in HORIZONS_MIN for cell in cells]

    prover = IssueProver(issued.entry, INDEX, issued.blob, tree.node, note)
    began = time.perf_counter()
    for cell, horizon_min in islice(cycle(wanted), WARM_PROOFS):
        prover.proof(cell, horizon_min)
    warm_per_s = WARM_PROOFS / (time.perf_counter() - began)
    cold_s = median_s(lambda: IssueProver(issued.entry, INDEX, issued.blob, tree.node, note).proof(cells[17], 30), COLD_PROOFS)

    keys = [witness.verifier for witness in WITNESSES]
    texts = [prover.proof(cell, 30) for cell in cells[::31]]
    largest = max(map(binary_bytes, texts))
    alone_s = median_s(lambda: check_proof(texts[7], SIGNER.verifier), CHECKS)
    cosigned_s = median_s(lambda: check_proof(texts[7], SIGNER.verifier, witnesses=keys, quorum=2), CHECKS)

    print(f"\nproof of one of {CELLS:,} cells at {SIZE:,} entries: {largest:,} bytes of binary, {max(map(len, texts)):,} of text")
    print(f"made, the issue at hand: {warm_per_s:,.0f} proofs/s; the first of an issue: {cold_s * 1e3:.2f} ms")
    print(f"checked: {alone_s * 1e3:.3f} ms; with two witnesses: {cosigned_s * 1e3:.3f} ms")
    assert largest <= LARGEST_BINARY_BYTES
    assert warm_per_s >= FEWEST_PROOFS_PER_S
    assert cosigned_s <= LONGEST_CHECK_S


@pytest.mark.bench
def test_the_first_proof_from_a_database(tmp_path: Path) -> None:
    """From a log in SQLite the first proof of an issue, its path read from the database, is made within 50 ms."""
    issued = Issued(CELLS)
    place = Place(tmp_path)
    ledger = place.open()
    try:
        ledger.append(LOG, 0, [scored(slot) for slot in range(STORED // 2)])
        ledger.append(LOG, STORED // 2, [issued.entry, *(scored(slot) for slot in range(STORED // 2 - 1))])
        note = sign_note(Checkpoint(ORIGIN, STORED, ledger.head(LOG).root).body(), SIGNER)

        def first() -> str:
            return IssueProver(issued.entry, STORED // 2, issued.blob, stored_nodes(ledger, LOG, STORED), note).proof(cell, 30)

        cell = int(issued.columns.cells[17])
        cold_s = median_s(first, COLD_PROOFS)
        assert cell == check_proof(first(), SIGNER.verifier).cell
    finally:
        place.close()
    print(f"\nthe first proof of an issue, from SQLite with {STORED:,} entries: {cold_s * 1e3:.2f} ms")
    assert cold_s <= 0.05
