"""A proof proves exactly one number of an issue to anyone with the public key."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from ledger.formats.checkpoint import Checkpoint
from ledger.formats.keys import Signer
from ledger.formats.merkle import Tree, leaf_hash
from ledger.formats.note import Signature, parse_note, sign_note
from ledger.formats.proof import IssueProver, LogProof, build_proof, check_proof, parse_log_proof
from ledger.formats.tiles import tile_nodes
from schemas.encoding.varints import encode_longs
from schemas.errors import ContractError, DamagedError, NotFound, RidecastError, UsageError
from schemas.forecasts.chunks import encode_chunks, pack_blob
from schemas.records.record_codec import encode
from schemas.records.records import FALLBACKS, SlotScored
from tests.ledger.exports import ORIGIN, SIGNER, exported
from tests.ledger.issues import HORIZONS_MIN, WITNESSES, Issued

KEY = SIGNER.verifier
CITY = Issued()
PROVER = IssueProver(CITY.entry, CITY.index, CITY.blob, CITY.node, CITY.checkpoint)
CELL = int(CITY.columns.cells[17])
PROOF = PROVER.proof(CELL, 30)
WITNESS_KEYS = [witness.verifier for witness in WITNESSES]
LARGEST_BINARY_BYTES = 3 * 1024  # the ledger's promise: of a proof at ten million entries

hashes = st.binary(min_size=32, max_size=32)


def test_every_number_is_proved() -> None:
    """Each cell and horizon has a proof with exactly the issue's number."""
    for row, cell in enumerate(CITY.columns.cells.tolist()):
        for column, horizon_min in enumerate(HORIZONS_MIN):
            proved = check_proof(PROVER.proof(cell, horizon_min), KEY)
            expected = [
                int(getattr(CITY.columns, name)[row, column]) for name in ("mean", "median", "lower", "upper", "dispersion", "baseline")
            ]
            numbers = [proved.mean_milli, proved.median_milli, proved.lower_milli, proved.upper_milli, proved.dispersion_milli]
            assert expected == [*numbers, proved.baseline_milli]
            assert (CITY.record, CITY.index, cell, horizon_min) == (proved.issued, proved.index, proved.cell, proved.horizon_min)
            assert FALLBACKS[CITY.columns.fallback[row]] is proved.fallback
            assert (ORIGIN, CITY.size) == (proved.checkpoint.origin, proved.checkpoint.size)


@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_logs_and_issues_of_any_size(cells: int, index: int, behind: int) -> None:
    """The first and the last cell are proved at any index of the entry and any size of the log."""
    issued = Issued(cells, index, index + 1 + behind)
    for cell in (issued.columns.cells[0], issued.columns.cells[-1]):
        assert int(cell) == check_proof(issued.proof(int(cell), 60), KEY).cell


def test_a_proof_from_exported_tiles() -> None:
    """A log's files alone are enough to make a proof."""
    payloads = [CITY.entry if index == 300 else bytes([index % 256]) for index in range(600)]
    export = exported(payloads)
    note = export.read("checkpoint").decode("utf-8")
    text = build_proof(CITY.entry, 300, CITY.blob, tile_nodes(export.read, 600), note, cell=CELL, horizon_min=15)
    assert 300 == check_proof(text, KEY).index


@pytest.mark.parametrize("index", [0, 5_000_000, 8_388_607, 9_999_999])
def test_a_proof_is_small(index: int) -> None:
    """In a log of ten million entries a proof from a city of 3,100 cells is at most 3 KB of binary, cosigned twice."""
    issued = Issued(3_100, index, 10_000_000)
    prover = IssueProver(issued.entry, index, issued.blob, issued.node, issued.checkpoint)
    for cell in issued.columns.cells[[0, 1_500, -1]].tolist():
        proof = parse_log_proof(prover.proof(cell, 15))
        assert len(proof.extra) + 32 * len(proof.path) + len(proof.checkpoint.encode("utf-8")) <= LARGEST_BINARY_BYTES


SPOILERS = "A\u00e9\n= "  # a letter of base64, one of none, an end of line, padding, and what divides a line


def changed_letters(text: str) -> Iterator[tuple[int, str]]:
    """A text with one letter replaced, at every place in turn and by each of the spoilers in turn: (place, changed text)."""
    for at, letter in enumerate(text):
        spoiler = SPOILERS[at % len(SPOILERS)]
        yield at, text[:at] + (spoiler if letter != spoiler else "B") + text[at + 1 :]


def is_proved(text: str, quorum: int) -> bool:
    """Whether a text passes with so many cosignatures."""
    try:
        check_proof(text, KEY, witnesses=WITNESS_KEYS, quorum=quorum)
    except DamagedError:
        return False
    return True


def test_a_changed_letter_is_found_by_who_asks_for_all_witnesses() -> None:
    """Whoever knows every witness and wants all their cosignatures accepts no proof with any one letter changed."""
    assert [] == [at for at, changed in changed_letters(PROOF) if is_proved(changed, quorum=len(WITNESS_KEYS))]


def test_without_a_quorum_a_letter_may_change_only_in_who_a_witness_is() -> None:
    """Name and key id of a witness's line may change: then nobody known cosigned there, and the proof stands by the log's signature."""
    whole = check_proof(PROOF, KEY, witnesses=WITNESS_KEYS)
    passed = set()
    for at, changed in changed_letters(PROOF):
        try:
            proved = check_proof(changed, KEY, witnesses=WITNESS_KEYS)
        except DamagedError:
            continue
        passed.add(at)
        assert 2 == len(proved.signatures)
        assert set(proved.signatures) < set(whole.signatures)
        assert replace(proved, signatures=()) == replace(whole, signatures=())
    names = {
        place for witness in WITNESSES for place in range(PROOF.index(witness.name), PROOF.index(witness.name) + len(witness.name) + 8)
    }
    assert passed
    assert passed <= names


def with_line(number: int, line: str) -> str:
    """The proof with another signature line: 0 is the log's, then those of the witnesses."""
    above, _, below = PROOF.rpartition("\n\n")
    lines = below.splitlines(keepends=True)
    lines[number] = line
    return above + "\n\n" + "".join(lines)


def test_a_damaged_cosignature_spoils_the_proof() -> None:
    """A line with name and id of a known witness whose signature does not fit is damage, even where no quorum is asked for."""
    for number, witness in enumerate(WITNESSES, start=1):
        good = parse_note(CITY.checkpoint)[1][number]
        for place in (0, 8, 71):  # of the time, and of the signature
            data = bytearray(good.data)
            data[place] ^= 1
            damaged = with_line(number, Signature(witness.name, witness.verifier.key_id, bytes(data)).line())
            with pytest.raises(DamagedError, match="does not match the text"):
                check_proof(damaged, KEY, witnesses=WITNESS_KEYS)
            # To who does not know that witness the line is a stranger's, and is passed over.
            others = [key for key in WITNESS_KEYS if key != witness.verifier]
            assert 2 == len(check_proof(damaged, KEY, witnesses=others, quorum=1).signatures)


def test_a_line_of_an_unknown_key_is_passed_over() -> None:
    """Whatever a stranger's line holds, it neither counts nor spoils; in place of a witness's it leaves one cosignature too few."""
    for stranger in (
        Signature("witness.example/w3", WITNESSES[0].verifier.key_id, bytes(72)),
        Signature(WITNESSES[0].name, b"\0\0\0\1", bytes(72)),
        Signature("nobody", b"\0\0\0\2", b"x"),
    ):
        assert 3 == len(check_proof(PROOF + stranger.line(), KEY, witnesses=WITNESS_KEYS, quorum=2).signatures)
        one_less = with_line(1, stranger.line())
        assert 2 == len(check_proof(one_less, KEY, witnesses=WITNESS_KEYS).signatures)
        with pytest.raises(DamagedError, match="expected cosignatures of 2 witnesses, got 1"):
            check_proof(one_less, KEY, witnesses=WITNESS_KEYS, quorum=2)


def test_the_log_must_have_signed() -> None:
    """Without a good line of the log's key a proof shows nothing, whoever cosigned."""
    good = parse_note(CITY.checkpoint)[1][0]
    with pytest.raises(DamagedError, match="got cosignatures only"):
        check_proof(with_line(0, Signature("somebody", good.key_id, good.data).line()), KEY, witnesses=WITNESS_KEYS, quorum=2)
    with pytest.raises(DamagedError, match="does not match the text"):
        check_proof(with_line(0, Signature(good.name, good.key_id, bytes(64)).line()), KEY, witnesses=WITNESS_KEYS)


def test_every_flipped_bit_of_the_binary_parts_is_found() -> None:
    """No bit of chunk, entry and paths can be changed, except to select another number that is proved as well."""
    proof = parse_log_proof(PROOF)
    for at in range(0, len(proof.extra) * 8, 3):  # Every byte, with a varying bit.
        extra = bytearray(proof.extra)
        extra[at // 8] ^= 1 << at % 8
        try:
            proved = check_proof(LogProof(proof.index, proof.path, proof.checkpoint, bytes(extra)).text(), KEY)
        except DamagedError:
            continue
        assert (proved.cell, proved.horizon_min) != (CELL, 30)
        row, column = CITY.columns.cells.tolist().index(proved.cell), HORIZONS_MIN.index(proved.horizon_min)
        assert int(CITY.columns.mean[row, column]) == proved.mean_milli


def test_nothing_stands_behind_the_fields_of_a_proof() -> None:
    """The extra line holds the record and not a byte more, so that a proof has one form."""
    proof = parse_log_proof(PROOF)
    for behind in (b"\x00", proof.extra[-1:]):
        with pytest.raises(DamagedError, match="bytes that its fields do not encode to"):
            check_proof(LogProof(proof.index, proof.path, proof.checkpoint, proof.extra + behind).text(), KEY)


def test_what_does_not_belong_together() -> None:
    """No proof is made from an entry, blob, tree and checkpoint of which one is another's."""
    other = Issued(cells=41)
    parts: dict[str, Any] = {"entry": CITY.entry, "index": CITY.index, "blob": CITY.blob, "node": CITY.node, "checkpoint": CITY.checkpoint}
    for name, wrong, message in (
        ("blob", other.blob, "got 3 with root"),
        ("blob", CITY.blob[:-1], "blob: expected"),
        (
            "entry",
            encode(SlotScored(region="nyc", measure="pickups", slot=1, settled=False, rows=())),
            "expected an entry of kind ForecastIssued, got SlotScored",
        ),
        ("node", Issued(index=4).node, "expected root"),
        ("index", CITY.index + 1, "expected root"),
        ("checkpoint", CITY.signed("ridecast/local/region/tehran"), "expected a checkpoint of region/nyc"),
        ("checkpoint", CITY.signed("elsewhere/region/nyc"), "expected a checkpoint of region/nyc"),
        ("checkpoint", Checkpoint(ORIGIN, CITY.size, bytes(32)).text(), "note: expected"),
    ):
        with pytest.raises(DamagedError, match=message):
            IssueProver(**{**parts, name: wrong})
    with pytest.raises(NotFound, match="entry 9: not yet covered by the checkpoint of 9 entries"):
        IssueProver(**{**parts, "index": 9})


def test_numbers_that_were_not_served() -> None:
    """A cell or a horizon that the issue does not have has no proof."""
    for cell, horizon_min in ((CELL + 1_000_000, 30), (0, 30), (CELL, 45)):
        with pytest.raises(NotFound, match="entry 5: no forecast for cell"):
            PROVER.proof(cell, horizon_min)


def test_a_forged_choice_of_number() -> None:
    """A cell or horizon that the chunk does not have is refused although everything else is genuine."""
    proof = parse_log_proof(PROOF)
    # These fields come first: cell, then horizon (30 is 60 in zigzag).
    at = proof.extra.index(60, 10)
    forged = LogProof(proof.index, proof.path, proof.checkpoint, proof.extra[:at] + bytes([90]) + proof.extra[at + 1 :])
    with pytest.raises(DamagedError, match=r"its chunk holds no forecast for cell .* and 45 min"):
        check_proof(forged.text(), KEY)


def test_another_log_proves_nothing_of_a_region() -> None:
    """Forecasts of New York in the signed log of another region prove nothing."""
    proof = parse_log_proof(PROOF)
    moved = LogProof(proof.index, proof.path, CITY.signed("ridecast/local/region/tehran"), proof.extra)
    with pytest.raises(DamagedError, match="expected a checkpoint of region/nyc, got one of ridecast/local/region/tehran"):
        check_proof(moved.text(), KEY)


def sized(data: bytes) -> bytes:
    """Bytes in Avro, preceded by their length."""
    return encode_longs(np.array([len(data)]))[0].tobytes() + data


def test_another_kind_of_entry_proves_no_forecast() -> None:
    """An entry that is in the log but is not an issue is refused."""
    entry = encode(SlotScored(region="nyc", measure="pickups", slot=1, settled=False, rows=()))
    tree = Tree([leaf_hash(entry)])
    note = sign_note(Checkpoint(ORIGIN, 1, tree.root()).body(), SIGNER)
    extra = parse_log_proof(PROOF).extra.replace(sized(CITY.entry), sized(entry))
    forged = LogProof(0, (), note, extra)
    with pytest.raises(DamagedError, match="expected an entry of kind ForecastIssued, got SlotScored"):
        check_proof(forged.text(), KEY)


def test_witnesses_are_counted() -> None:
    """A quorum counts known witnesses, each once; the log's own signature is required too."""
    assert [1, 2, 3] == [len(check_proof(PROOF, KEY, witnesses=WITNESS_KEYS[:count], quorum=count).signatures) for count in range(3)]
    stranger = Signer("witness.example/w3", bytes(32)).cosigner().verifier
    with pytest.raises(DamagedError, match="expected cosignatures of 2 witnesses, got 1"):
        check_proof(PROOF, KEY, witnesses=[WITNESS_KEYS[0], stranger], quorum=2)
    with pytest.raises(DamagedError, match="got cosignatures only"):
        check_proof(PROOF, Signer("ridecast/local", bytes(32)).verifier, witnesses=WITNESS_KEYS)
    with pytest.raises(DamagedError, match="expected a signature of a known key"):
        check_proof(PROOF, Signer("ridecast/local", bytes(32)).verifier)
    for log, witnesses in ((WITNESS_KEYS[0], []), (KEY.cosigner(), []), (KEY, [KEY])):
        with pytest.raises(UsageError, match="expected the log's own key as `verifier`"):
            check_proof(PROOF, log, witnesses=witnesses)
    with pytest.raises(ContractError, match="expected a quorum of 0 to 1 witnesses, got 2"):
        check_proof(PROOF, KEY, witnesses=WITNESS_KEYS[:1], quorum=2)


@given(st.integers(0, (1 << 63) - 1), st.lists(hashes, max_size=5), st.binary(max_size=20))
def test_texts_round_trip(index: int, path: list[bytes], extra: bytes) -> None:
    """Every tlog-proof is parsed again, with and without extra data, its checkpoint unchanged."""
    for checkpoint in ("checkpoint\n", "\n", "a\n\nb", CITY.checkpoint):
        proof = LogProof(index, tuple(path), checkpoint, extra)
        assert proof == parse_log_proof(proof.text())


def test_text_vectors(shared: Path) -> None:
    """The proofs that transparency-dev refuses are refused."""
    cases = json.loads((shared / "vectors" / "note" / "checkpoint.json").read_text("utf-8"))["tlog_proof_errors"]
    assert cases
    for case in cases:
        with pytest.raises(DamagedError, match="proof: expected"):
            parse_log_proof(case["text"])


HEAD = "c2sp.org/tlog-proof@v1\n"
HASH = base64.b64encode(bytes(32)).decode("ascii")


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEAD,
        HEAD + "index 0\n",
        HEAD + "index 0\ncheckpoint\n",
        HEAD + "index 00\n\ncheckpoint\n",
        HEAD + "index ٣\n\ncheckpoint\n",
        HEAD + f"index {'9' * 5_000}\n\ncheckpoint\n",
        HEAD + "index 1\nextra AAAA\n\ncheckpoint\n",
        HEAD + "extra AAAA\n\ncheckpoint\n",
        HEAD + "extra \nindex 1\n\ncheckpoint\n",
        HEAD + "extra AAB=\nindex 1\n\ncheckpoint\n",
        HEAD + "index 1\nAAAA\n\ncheckpoint\n",
        HEAD + "index 1\n" + f"{HASH}\n" * 64 + "\ncheckpoint\n",
        HEAD.replace("\n", "\r\n") + "index 1\r\n\r\ncheckpoint\r\n",
    ],
)
def test_invalid_texts(text: str) -> None:
    """A text that is cut, reordered or not canonical is refused."""
    with pytest.raises(DamagedError, match="proof: expected"):
        parse_log_proof(text)


@given(st.binary(max_size=60))
def test_extra_data_of_others(extra: bytes) -> None:
    """A genuine tlog-proof with any other extra data proves no forecast."""
    proof = parse_log_proof(PROOF)
    with pytest.raises(RidecastError, match="proof: expected forecast_proof"):
        check_proof(LogProof(proof.index, proof.path, proof.checkpoint, extra).text(), KEY)


def test_a_chunk_at_another_place() -> None:
    """A blob whose chunks were swapped is not the issue's."""
    issued = Issued(64)
    chunks = encode_chunks(issued.columns)
    swapped = pack_blob([chunks[1], chunks[0], *chunks[2:]])
    with pytest.raises(DamagedError, match="got 4 with root"):
        IssueProver(issued.entry, issued.index, swapped, issued.node, issued.checkpoint)
