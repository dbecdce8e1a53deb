"""Signed notes match the specification: other implementations' notes open, and what they refuse is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ledger.formats.keys import Signer, parse_signer, parse_verifier
from ledger.formats.note import Signature, cosign_note, open_note, parse_note, sign_note
from schemas.errors import ContractError, DamagedError, RidecastError
from tests.ledger.formats.test_keys import names, seeds, texts

NOTES = Path("vectors") / "note"
LOG = Signer("ridecast/local", bytes(range(32)))
WITNESS = Signer("witness.example/w1", bytes(range(32, 64))).cosigner()
BODY = "ridecast/local/control\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
SIGNED = sign_note(BODY, LOG)


@pytest.fixture(scope="session")
def vectors(shared: Path) -> dict[str, Any]:
    """The notes of golang.org/x/mod and of the specification."""
    found: dict[str, Any] = json.loads((shared / NOTES / "signed-note.json").read_text("utf-8"))
    return found


def test_signing_vectors(vectors: dict[str, Any]) -> None:
    """Signing the same text with the same keys gives the same notes, byte for byte."""
    neumann, root = vectors["sign"]
    assert neumann["note"] == sign_note(neumann["text"], parse_signer(neumann["skey"]))
    signer = Signer(root["name"], bytes.fromhex(root["seed_hex"]))
    assert root["text"] + "\n" + root["sigline"] == sign_note(root["text"], signer)


def test_opening_vectors(vectors: dict[str, Any]) -> None:
    """Every note is opened or refused as its authors specify, with the same number of good signatures."""
    assert vectors["open"]
    for case in vectors["open"]:
        verifiers = [parse_verifier(text) for text in case["vkeys"]]
        if case["ok"]:
            opened = open_note(case["note"], verifiers)
            assert (case["verified"], case["note"].rpartition("\n\n")[0] + "\n") == (len(opened.signatures), opened.text), case["name"]
        else:
            with pytest.raises(RidecastError, match="note: "):
                open_note(case["note"], verifiers)


def test_example_of_a_cosigned_checkpoint(shared: Path) -> None:
    """The specification's checkpoint and the line of its witness are read, and the line has the documented time."""
    vectors = json.loads((shared / NOTES / "checkpoint.json").read_text("utf-8"))
    text = vectors["c2sp_checkpoint_example"] + vectors["c2sp_cosignature_example_line"]
    body, (log, witness) = parse_note(text)
    assert text == body + "\n" + log.line() + witness.line()
    assert (log.name, witness.name) == ("example.com/behind-the-sofa", "witness.example.com/w1")
    assert (len(log.data), len(witness.data), int.from_bytes(witness.data[:8], "big")) == (64, 72, 1_679_315_147)


@given(st.lists(texts, min_size=1, max_size=4).map("".join), st.lists(st.tuples(names, seeds), min_size=1, max_size=3, unique=True))
def test_signed_notes_open(text: str, keys: list[tuple[str, bytes]]) -> None:
    """A note opens with all its keys and with each alone; the other keys are then unknown."""
    signers = [Signer(name, seed) for name, seed in keys]
    note = sign_note(text, *signers)
    whole = open_note(note, [signer.verifier for signer in signers])
    assert (text, len(signers), ()) == (whole.text, len(whole.signatures), whole.unknown)
    for signer in signers:
        opened = open_note(note, [signer.verifier])
        assert (text, 1, len(signers) - 1) == (opened.text, len(opened.signatures), len(opened.unknown))


@given(st.integers(0, len(SIGNED) - 1), st.characters(exclude_categories=["Cs"]))
def test_a_changed_letter_is_found(at: int, letter: str) -> None:
    """A note with any one letter changed does not open."""
    changed = SIGNED[:at] + letter + SIGNED[at + 1 :]
    if changed != SIGNED:
        with pytest.raises(DamagedError, match="note: "):
            open_note(changed, [LOG.verifier])


def test_cosigning() -> None:
    """A witness adds its line and leaves the others; when it signs again, its new line replaces the old one."""
    once = cosign_note(SIGNED, WITNESS, 1_400_000_000)
    twice = cosign_note(once, WITNESS, 1_400_000_060)
    assert once.startswith(SIGNED)
    assert once.count("\n") == twice.count("\n")
    opened = open_note(twice, [LOG.verifier, WITNESS.verifier])
    assert [("ridecast/local", None), ("witness.example/w1", 1_400_000_060)] == [(key.name, key.time_s) for key in opened.signatures]
    assert open_note(twice, [LOG.verifier]).unknown[0].time_s is None


def test_a_witness_signs_checkpoints_only() -> None:
    """A note that is not a checkpoint gets no cosignature, and a plain key gives none."""
    with pytest.raises(DamagedError, match="checkpoint: expected"):
        cosign_note(sign_note("any text\n", LOG), WITNESS, 0)
    with pytest.raises(ContractError, match="for cosignatures only"):
        cosign_note(SIGNED, LOG, 0)


def test_a_note_is_not_its_own_witness() -> None:
    """The same key as a log's and as a witness's are two keys: neither verifies the other's line."""
    cosigned = cosign_note(SIGNED, LOG.cosigner(), 7)
    assert [1, 1] == [len(open_note(cosigned, [key]).unknown) for key in (LOG.verifier, LOG.verifier.cosigner())]
    with pytest.raises(DamagedError, match="expected a signature of a known key"):
        open_note(SIGNED, [LOG.verifier.cosigner()])


def test_a_forged_line_invalidates_the_note() -> None:
    """A good signature does not excuse a bad one of another known key, nor a second bad one of the same."""
    forged = Signature(WITNESS.name, WITNESS.verifier.key_id, bytes(72)).line()
    with pytest.raises(DamagedError, match="does not match the text"):
        open_note(SIGNED + forged, [LOG.verifier, WITNESS.verifier])
    assert open_note(SIGNED + forged, [LOG.verifier]).unknown
    again = Signature(LOG.name, LOG.verifier.key_id, bytes(64)).line()
    with pytest.raises(DamagedError, match="does not match the text"):
        open_note(SIGNED + again, [LOG.verifier])


@pytest.mark.parametrize("text", ["", "no newline", "tab\there\n", "return\r\n", "nul\0\n"])
def test_texts_that_are_invalid_in_notes(text: str) -> None:
    """A text without a final newline, or with control characters, is not signed."""
    with pytest.raises(ContractError, match="note: expected"):
        sign_note(text, LOG)
    with pytest.raises(DamagedError, match="note: expected"):
        parse_note(SIGNED.replace(BODY, text) if text else "")


@pytest.mark.parametrize("damage", ["=", "A", " ", "\u00e9", "\ud800"])
def test_signatures_are_canonical(damage: str) -> None:
    """A signature line with anything after its base64 is refused, so that a note has only one form."""
    with pytest.raises(DamagedError, match="note: expected"):
        parse_note(SIGNED[:-1] + damage + "\n")


def test_unused_bits_are_zero() -> None:
    """Non-canonical base64 that decodes to the same bytes is refused."""
    assert SIGNED.endswith("=\n")
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/":
        changed = SIGNED[:-3] + letter + SIGNED[-2:]
        if changed != SIGNED:
            with pytest.raises(DamagedError, match="note: "):
                open_note(changed, [LOG.verifier])
