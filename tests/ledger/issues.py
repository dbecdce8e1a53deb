"""Forecasts of a generated city in a log of any size, for the tests of proofs."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from ledger.formats.checkpoint import Checkpoint
from ledger.formats.keys import Signer
from ledger.formats.merkle import leaf_hash, node_hash, range_root, root
from ledger.formats.note import cosign_note, sign_note
from ledger.formats.proof import build_proof
from schemas.forecasts.chunks import ForecastColumns, encode_chunks, pack_blob
from schemas.records.record_codec import encode
from schemas.records.records import ForecastIssued, HorizonSpread
from tests.ledger.exports import ORIGIN, SIGNER

HORIZONS_MIN = (15, 30, 60)
TARGET_US = 1_400_000_400_000_000
WITNESSES = tuple(Signer(f"witness.example/w{number}", bytes([number] * 32)).cosigner() for number in (1, 2))


def city(cells: int) -> ForecastColumns:
    """Forecasts of so many cells, with numbers as large as a busy city's."""
    row = np.arange(cells, dtype=np.int64)  # Arithmetic, not random: golden files depend on it.
    codes = (0x1A2B3C40 + np.cumsum(1 + row * row % 41)).astype(np.uint64)
    mean = (row * row * 811 % 30_011)[:, None] * np.array([1, 2, 4]) + 1
    dispersion = np.full((cells, 3), 214)
    fallback = (row % 5).astype(np.uint8)
    return ForecastColumns(codes, HORIZONS_MIN, mean, mean * 9 // 10, mean // 2, mean * 2, dispersion, mean + 37, fallback)


@dataclass
class Issued:
    """One issue at an index of a log whose other entries are all equal, so that a log of millions is cheap."""

    cells: int = 40
    index: int = 5
    size: int = 9
    columns: ForecastColumns = field(init=False)
    blob: bytes = field(init=False)
    record: ForecastIssued = field(init=False)
    entry: bytes = field(init=False)
    checkpoint: str = field(init=False)

    def __post_init__(self) -> None:
        self.columns = city(self.cells)
        chunks = encode_chunks(self.columns)
        self.blob = pack_blob(chunks)
        self.record = ForecastIssued(
            region="nyc",
            measure="pickups",
            slot=TARGET_US // 300_000_000 - 1,
            target_us=TARGET_US,
            horizons_min=HORIZONS_MIN,
            models=tuple(hashlib.sha256(bytes([number])).digest() for number in range(2)),
            features_digest=hashlib.sha256(b"features").digest(),
            family="negative_binomial",
            spread=tuple(
                HorizonSpread(horizon_min=horizon_min, dispersion_milli=214, quiet_dispersion_milli=900, lower_milli=100, upper_milli=900)
                for horizon_min in HORIZONS_MIN
            ),
            cells=self.cells,
            chunks=len(chunks),
            root=root([leaf_hash(chunk) for chunk in chunks]),
            blob=hashlib.sha256(self.blob).digest(),
            fallbacks={"none": self.cells - 7, "quiet": 7},
            universe_version=812,
            slot_status="observed",
            online_weight_milli=250,
        )
        self.entry = encode(self.record)
        self._alike = [leaf_hash(b"another entry")]
        while len(self._alike) < 64:
            self._alike.append(node_hash(self._alike[-1], self._alike[-1]))
        self.checkpoint = self.signed(ORIGIN)

    def node(self, level: int, index: int) -> bytes:
        """Nodes of the log's tree."""
        if self.index >> level != index:
            return self._alike[level]
        if level == 0:
            return leaf_hash(self.entry)
        return node_hash(self.node(level - 1, 2 * index), self.node(level - 1, 2 * index + 1))

    def signed(self, origin: str, signer: Signer = SIGNER) -> str:
        """The log's checkpoint, signed and cosigned by both witnesses."""
        note = sign_note(Checkpoint(origin, self.size, range_root(0, self.size, self.node)).body(), signer)
        for witness in WITNESSES:
            note = cosign_note(note, witness, TARGET_US // 1_000_000 + 15)
        return note

    def proof(self, cell: int, horizon_min: int) -> str:
        """The proof of one number."""
        return build_proof(self.entry, self.index, self.blob, self.node, self.checkpoint, cell=cell, horizon_min=horizon_min)
