"""How one served number is proved to a verifier who has only a key: a text with the number and its path to the log.

The number is in a chunk; the root in a `ForecastIssued` entry covers the chunk; the root in a signed checkpoint covers the
entry. The text is a C2SP tlog-proof; its `extra` line carries chunk and entry. Checking needs neither a database nor a
network. A proof shows what was served and when it was signed, not that the forecast was right.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import fastavro

from ledger.formats.checkpoint import LARGEST_SIZE, Checkpoint, parse_checkpoint
from ledger.formats.keys import Algorithm, Verifier, decode_base64
from ledger.formats.merkle import HASH_SIZE_BYTES, NodeReader, Tree, inclusion_path, leaf_hash, verify_inclusion
from ledger.formats.note import Signature, open_note, parse_note
from schemas.encoding.avro_files import head, plain_parsed
from schemas.errors import ContractError, DamagedError, NotFound, UsageError
from schemas.forecasts.chunks import decode_chunk, unpack_blob
from schemas.records.record_codec import decode
from schemas.records.records import FALLBACKS, Fallback, ForecastIssued, region_log

HEADER = "c2sp.org/tlog-proof@v1"  # C2SP tlog-proof, "Format"
FORECAST_PROOF = "forecast_proof.v1"
LONGEST_PATH = 63  # a log has at most `LARGEST_SIZE` entries
SUFFIX = ".tlog-proof"  # file suffix of C2SP tlog-proof


@dataclass(frozen=True, slots=True)
class LogProof:
    """An inclusion proof of an entry in the format of C2SP tlog-proof; nothing is verified.

    Attributes:
        index: Index of the entry.
        path: Inclusion path from the entry's sibling up, hashes of 32 bytes.
        checkpoint: A signed note, byte for byte.
        extra: Application data; not authenticated by itself.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: str
    extra: bytes = b""

    def text(self) -> str:
        """The text form of the proof (C2SP tlog-proof, "Format").

        >>> print(LogProof(7, (), "checkpoint\\n", b"abc").text(), end="")
        c2sp.org/tlog-proof@v1
        extra YWJj
        index 7
        <BLANKLINE>
        checkpoint
        """
        extra = [f"extra {_base64(self.extra)}"] if self.extra else []
        return "".join(f"{line}\n" for line in (HEADER, *extra, f"index {self.index}", *map(_base64, self.path), "")) + self.checkpoint


def parse_log_proof(text: str) -> LogProof:
    """Parse a proof; its checkpoint is neither parsed nor verified.

    Raises:
        DamagedError: not a tlog-proof.
    Source:
        C2SP tlog-proof, "Format".

    >>> parse_log_proof("c2sp.org/tlog-proof@v1\\nindex 7\\n\\ncheckpoint\\n")
    LogProof(index=7, path=(), checkpoint='checkpoint\\n', extra=b'')
    """
    above, separator, checkpoint = text.partition("\n\n")
    header, *lines = above.split("\n")
    if header != HEADER or not separator or not lines:
        raise DamagedError(f"proof: expected {HEADER}, an index, an empty line and a checkpoint, got {text[:120]!r}")
    extra = _decoded(lines.pop(0).removeprefix("extra ")) if lines[0].startswith("extra ") else b""
    number = lines.pop(0).removeprefix("index ") if lines and lines[0].startswith("index ") else ""
    if not (number.isascii() and number.isdecimal()) or len(number) > len(str(LARGEST_SIZE)) or str(int(number)) != number:
        raise DamagedError(f"proof: expected a line with 'index' and a decimal number, got {number[:40]!r}")
    if len(lines) > LONGEST_PATH:
        raise DamagedError(f"proof: expected at most {LONGEST_PATH} hashes, got {len(lines)}")
    path = tuple(map(_decoded, lines))
    if any(len(value) != HASH_SIZE_BYTES for value in path):
        raise DamagedError(f"proof: expected hashes of {HASH_SIZE_BYTES} bytes, got {[*map(len, path)]}")
    return LogProof(int(number), path, checkpoint, extra)


# --- making proofs ----------------------------------------------------------------------------------------


class IssueProver:
    """Makes the proofs of all numbers of one issue; the parts that they share are computed and checked once."""

    def __init__(self, entry: bytes, index: int, blob: bytes, node: NodeReader, checkpoint: str) -> None:
        """Raises as `build_proof` does."""
        self.issued = _issued(entry)
        self._entry, self._index, self._checkpoint = entry, index, checkpoint
        self._blob = unpack_blob(blob)
        self._tree = Tree([leaf_hash(chunk) for chunk in self._blob.chunks])
        if (self._tree.size, self._tree.root()) != (self.issued.chunks, self.issued.root):
            raise DamagedError(
                f"entry {index}: expected {self.issued.chunks} chunks with root {self.issued.root.hex()}, "
                f"got {self._tree.size} with root {self._tree.root().hex()}"
            )
        known = parse_checkpoint(parse_note(checkpoint)[0])
        _require_origin(known, self.issued)
        if index >= known.size:
            raise NotFound(f"entry {index}: not yet covered by the checkpoint of {known.size} entries")
        self._path = tuple(inclusion_path(index, known.size, node))
        verify_inclusion(index, known.size, leaf_hash(entry), self._path, known.root)

    def proof(self, cell: int, horizon_min: int) -> str:
        """The proof of one number.

        Raises:
            NotFound: the issue has no such cell or horizon.
        """
        found = self._blob.chunk_of(cell)
        if found is None or horizon_min not in self.issued.horizons_min:
            raise NotFound(
                f"entry {self._index}: no forecast for cell {cell:#x} and {horizon_min} min; its horizons are {self.issued.horizons_min}"
            )
        chunk_index, chunk = found
        path = b"".join(inclusion_path(chunk_index, self._tree.size, self._tree.node))
        fields = {"cell": cell, "horizon_min": horizon_min, "chunk_index": chunk_index, "path": path, "chunk": chunk, "entry": self._entry}
        return LogProof(self._index, self._path, self._checkpoint, _encode_extra(fields)).text()


def build_proof(entry: bytes, index: int, blob: bytes, node: NodeReader, checkpoint: str, *, cell: int, horizon_min: int) -> str:
    """The proof of one number; to prove several numbers of one issue, use an `IssueProver`.

    Args:
        entry: The exact bytes of the `ForecastIssued`.
        index: Index of the entry in its log.
        blob: The exact bytes of the issue's chunks.
        node: Nodes of the log's tree: `Ledger.node` of the log, or `ledger.formats.tiles.tile_nodes`.
        checkpoint: A signed note of the log, of a size above the index.
        cell: Code of the cell.
        horizon_min: One of the issue's windows, minutes.
    Returns:
        Text for a file with the suffix `SUFFIX`.
    Raises:
        NotFound: the issue has no such number, or the checkpoint is older than the entry.
        DamagedError: entry, blob, nodes and checkpoint do not match.
    Source:
        C2SP tlog-proof.

    >>> import numpy as np
    >>> from ledger.formats.checkpoint import origin_of
    >>> from ledger.formats.keys import Signer
    >>> from ledger.formats.note import sign_note
    >>> from schemas.forecasts.chunks import ForecastColumns, encode_chunks, pack_blob
    >>> from schemas.records.record_codec import encode
    >>> numbers = np.array([[1250]])
    >>> chunks = encode_chunks(ForecastColumns(np.array([7], np.uint64), (15,), *[numbers] * 6, np.zeros(1, np.uint8)))
    >>> none, root = b"", leaf_hash(chunks[0])
    >>> place = dict(region="nyc", measure="pickups", slot=1, target_us=600, horizons_min=(15,), cells=1, chunks=1, root=root, blob=none)
    >>> rest = dict(models=(), features_digest=none, family="", spread=(), fallbacks={}, universe_version=1, slot_status="observed")
    >>> entry = encode(ForecastIssued(**place, **rest))
    >>> signer = Signer("ridecast/local", bytes(32))
    >>> note = sign_note(Checkpoint(origin_of("local", "region/nyc"), 1, leaf_hash(entry)).body(), signer)
    >>> text = build_proof(entry, 0, pack_blob(chunks), Tree([leaf_hash(entry)]).node, note, cell=7, horizon_min=15)
    >>> proved = check_proof(text, signer.verifier)
    >>> proved.issued.region, proved.cell, proved.horizon_min, proved.mean_milli
    ('nyc', 7, 15, 1250)
    """
    return IssueProver(entry, index, blob, node, checkpoint).proof(cell, horizon_min)


# --- checking proofs --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProvedForecast:
    """A served number and the evidence for it; numbers in 1/1000 ride.

    Attributes:
        checkpoint: The signed checkpoint that covers the entry.
        signatures: The log's signature, then those of the witnesses with their times.
        index: Index of the entry in the log.
        issued: The entry: region, measure, target, models by digest, features, distribution.
        cell: Code of the cell.
        horizon_min: The window is [target, target + horizon_min).
        dispersion_milli: variance = mean + dispersion x mean^2.
        fallback: Which model made it.
    """

    checkpoint: Checkpoint
    signatures: tuple[Signature, ...]
    index: int
    issued: ForecastIssued
    cell: int
    horizon_min: int
    mean_milli: int
    median_milli: int
    lower_milli: int
    upper_milli: int
    dispersion_milli: int
    baseline_milli: int
    fallback: Fallback


def check_proof(text: str, verifier: Verifier, *, witnesses: Sequence[Verifier] = (), quorum: int = 0) -> ProvedForecast:
    """Verify a proof and return the number that it proves.

    Of the checkpoint's signature lines those of unknown keys are passed over: they neither count nor spoil. A line with
    the name and id of a known key must fit, or the proof is damaged, be it the log's or a witness's. So a letter changed
    in a witness's name makes its line a stranger's; who wants every witness to count asks for them in `quorum`.

    Args:
        text: As `build_proof` makes it.
        verifier: The key of the log's operator, from a trusted source.
        witnesses: Keys of witnesses, as cosigners.
        quorum: How many of them must have cosigned the checkpoint.
    Raises:
        DamagedError: the proof is invalid; the message names the step that failed.
        UsageError: a witness key was passed as the log's key, or the reverse.
        ContractError: the quorum is larger than the number of witnesses.
    Source:
        C2SP tlog-proof, signed-note, tlog-cosignature; RFC 6962 2.1.

    >>> check_proof("forecast: 3 rides", Verifier("log", bytes(32)))
    Traceback (most recent call last):
        ...
    schemas.errors.DamagedError: proof: expected c2sp.org/tlog-proof@v1, an index, an empty line and a checkpoint, got 'forecast: 3 rides'
    """
    if verifier.algorithm is not Algorithm.ED25519 or any(witness.algorithm is not Algorithm.COSIGNATURE for witness in witnesses):
        raise UsageError("proof: expected the log's own key as `verifier` and cosigner keys as `witnesses`")
    if not 0 <= quorum <= len(witnesses):
        raise ContractError(f"proof: expected a quorum of 0 to {len(witnesses)} witnesses, got {quorum}")
    proof = parse_log_proof(text)
    fields = _decode_extra(proof.extra)
    checkpoint, signatures = _checkpoint(proof.checkpoint, verifier, witnesses, quorum)
    verify_inclusion(proof.index, checkpoint.size, leaf_hash(fields["entry"]), proof.path, checkpoint.root)
    issued = _issued(fields["entry"])
    _require_origin(checkpoint, issued)
    path = [fields["path"][at : at + HASH_SIZE_BYTES] for at in range(0, len(fields["path"]), HASH_SIZE_BYTES)]
    verify_inclusion(fields["chunk_index"], issued.chunks, leaf_hash(fields["chunk"]), path, issued.root)
    columns = decode_chunk(fields["chunk"], issued.horizons_min)
    cells, cell, horizon_min = columns.cells.tolist(), fields["cell"], fields["horizon_min"]
    if cell not in cells or horizon_min not in issued.horizons_min:
        raise DamagedError(f"proof: its chunk holds no forecast for cell {cell:#x} and {horizon_min} min")
    row, column = cells.index(cell), issued.horizons_min.index(horizon_min)
    names = ("mean", "median", "lower", "upper", "dispersion", "baseline")
    numbers = {f"{name}_milli": int(getattr(columns, name)[row, column]) for name in names}
    fallback = FALLBACKS[int(columns.fallback[row])]
    return ProvedForecast(checkpoint, signatures, proof.index, issued, cell, horizon_min, fallback=fallback, **numbers)


def _checkpoint(note: str, verifier: Verifier, witnesses: Sequence[Verifier], quorum: int) -> tuple[Checkpoint, tuple[Signature, ...]]:
    """The checkpoint, signed by the log and by enough witnesses; and the valid signatures, the log's first."""
    opened = open_note(note, [verifier, *witnesses])
    by_log = tuple(signature for signature in opened.signatures if (signature.name, signature.key_id) == (verifier.name, verifier.key_id))
    others = tuple(signature for signature in opened.signatures if signature not in by_log)
    if not by_log:
        raise DamagedError(f"proof: expected a checkpoint signed by {verifier.name}, got cosignatures only")
    if len(others) < quorum:
        raise DamagedError(f"proof: expected cosignatures of {quorum} witnesses, got {len(others)}")
    return parse_checkpoint(opened.text), by_log + others


def _issued(entry: bytes) -> ForecastIssued:
    record = decode(entry)
    if not isinstance(record, ForecastIssued):
        raise DamagedError(f"proof: expected an entry of kind ForecastIssued, got {type(record).__name__}")
    return record


def _require_origin(checkpoint: Checkpoint, issued: ForecastIssued) -> None:
    """A region's forecasts are valid only in that region's log."""
    log = region_log(issued.region)
    if not (checkpoint.origin.startswith("ridecast/") and checkpoint.origin.endswith(f"/{log}")):
        raise DamagedError(f"proof: expected a checkpoint of {log}, got one of {checkpoint.origin}")


def _encode_extra(fields: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    out.write(head(FORECAST_PROOF))
    fastavro.schemaless_writer(out, plain_parsed(FORECAST_PROOF), fields)
    return out.getvalue()


def _decode_extra(extra: bytes) -> dict[str, Any]:
    try:
        if not extra.startswith(head(FORECAST_PROOF)):
            raise ValueError(f"starts with {extra[:10].hex()}")
        fields = fastavro.schemaless_reader(io.BytesIO(extra[len(head(FORECAST_PROOF)) :]), plain_parsed(FORECAST_PROOF), None)
        if not isinstance(fields, dict) or _encode_extra(fields) != extra:
            raise ValueError("bytes that its fields do not encode to")
    except Exception as cause:  # fastavro's C code raises various types; all mean the same here.
        raise DamagedError(f"proof: expected {FORECAST_PROOF} in the extra line, got {cause}") from cause
    return fields


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decoded(text: str) -> bytes:
    try:
        data = decode_base64(text)
        if not data:
            raise ValueError("empty")
    except ValueError as cause:
        raise DamagedError(f"proof: expected base64, got {text[:60]!r} ({cause})") from cause
    return data
