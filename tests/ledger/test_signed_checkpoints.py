"""A checkpoint file is valid only with the signature of this instance's key; the public key alone allows reading."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.formats.checkpoint import parse_checkpoint
from ledger.formats.keys import Signer, Verifier
from ledger.formats.note import cosign_note, open_note, sign_note
from schemas.errors import BootRefused
from tests.ledger.exports import SIGNER
from tests.ledger.places import LOG, Place, scored

OTHER = Signer("ridecast/local", bytes(reversed(range(32))))
WITNESS = Signer("witness.example/w", bytes(32)).cosigner()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A ledger of three entries, closed cleanly, with its signed checkpoint."""
    found = Place(tmp_path)
    found.open().append(LOG, 0, [scored(slot) for slot in range(3)])
    found.close()
    yield found
    found.abandon()


def said(key: Signer) -> str:
    """A regular expression for a key in messages."""
    return rf"{key.name}\+{key.verifier.key_id.hex()}"


def test_the_file_is_the_signed_note(place: Place) -> None:
    """The file equals the guard's note, signed by the instance's key over this log's size and root."""
    ledger = place.open()
    note = ledger.guard.note(LOG)
    assert note is not None
    assert place.checkpoint().read_text("utf-8") == note
    head = ledger.head(LOG)
    found = parse_checkpoint(open_note(note, (SIGNER.verifier,)).text)
    assert (found.origin, found.size, found.root) == ("ridecast/local/region/nyc", head.size, head.root)
    assert ledger.guard.note("control") is None


def test_an_unsigned_file_is_refused(place: Place) -> None:
    """A checkpoint without a signature is refused: the message names the key that should have signed."""
    place.checkpoint().write_text(parse_checkpoint(place.checkpoint().read_text("utf-8")).body(), "utf-8")
    with pytest.raises(BootRefused, match=rf"region__nyc\.txt is not signed: expected a signature of {said(SIGNER)}.*ledger continue"):
        place.open().append(LOG, 3, [scored(3)])


def test_another_keys_file_is_refused(place: Place) -> None:
    """A checkpoint that another key signed is refused with both keys and the way out."""
    place.checkpoint().write_text(sign_note(parse_checkpoint(place.checkpoint().read_text("utf-8")).body(), OTHER), "utf-8")
    with pytest.raises(BootRefused, match=rf"expected a good signature of {said(SIGNER)}, got {said(OTHER)}.*key so that all three match"):
        place.open().append(LOG, 3, [scored(3)])


def test_a_changed_file_is_refused(place: Place) -> None:
    """A checkpoint whose text was changed under its signature is refused."""
    place.checkpoint().write_text(place.checkpoint().read_text("utf-8").replace("\n3\n", "\n2\n"), "utf-8")
    with pytest.raises(BootRefused, match=r"expected a good signature .* does not match the text"):
        place.open().append(LOG, 3, [scored(3)])


def test_the_public_key_reads_but_does_not_append(place: Place) -> None:
    """A ledger opened with the public key reads entries and checkpoints; an append requires the private key."""
    ledger = place.open(signer=lambda: SIGNER.verifier)
    found = ledger.guard.read(LOG)
    assert found is not None
    assert (len(ledger.read(LOG, 0)), found.size) == (3, 3)
    with pytest.raises(BootRefused, match=rf"region nyc: expected the private key {said(SIGNER)}.*got none.*ledger key new"):
        ledger.append(LOG, 3, [scored(3)])
    assert ledger.head(LOG).size == 3


def test_no_key_at_all(place: Place) -> None:
    """Without a key entries are read, and the checkpoint is reported as unchecked, until the key is there."""
    found: list[Verifier] = []
    ledger = place.open(signer=lambda: found[0] if found else None)
    assert len(ledger.read(LOG, 0)) == 3
    with pytest.raises(BootRefused, match=rf"the public key to verify region__nyc\.txt is missing \(signed by {said(SIGNER)}\)"):
        ledger.guard.read(LOG)
    found.append(SIGNER.verifier)
    assert ledger.guard.read(LOG) is not None


def test_a_cosigned_note_is_returned_until_it_is_older(place: Place) -> None:
    """The cosigned copy is used until the log's own checkpoint is larger."""
    ledger = place.open()
    cosigned = cosign_note(place.checkpoint().read_text("utf-8"), WITNESS, 1_400_000_000)
    ledger.guard.cosigned_path(LOG).write_text(cosigned, "utf-8")
    assert ledger.guard.note(LOG) == cosigned
    ledger.append(LOG, 3, [scored(3)])
    ledger.flush()
    assert ledger.guard.note(LOG) == place.checkpoint().read_text("utf-8") != cosigned
