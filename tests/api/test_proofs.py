"""Every number that is served comes with a proof, which is checked with nothing but a key."""

import time

import pytest

from ledger.formats.checkpoint import parse_checkpoint
from ledger.formats.note import cosign_note, parse_note
from ledger.formats.proof import check_proof
from ledger.store.provers import Provers
from ledger.views.notes import PATIENCE_S
from schemas.events.cells import cell_text
from schemas.records.records import ForecastIssued
from schemas.times import local_iso
from tests.api.client import Client
from tests.api.town import MEASURE, SLOT_S, START_SLOT, Town
from tests.ledger.exports import SIGNER
from tests.ledger.issues import WITNESSES

LOG = "region/nyc"


def path_of(town: Town, slot: int, cell: int = 0, horizon_min: int = 15, target: str | None = None) -> str:
    """Where the proof of a number lies."""
    local = local_iso((slot + 1) * SLOT_S * 1_000_000, town.region)[:16]
    return f"/v1/regions/nyc/forecasts/{cell_text(int(town.cells[cell]), 6)}/{target or local}/{horizon_min}/proof"


@pytest.mark.parametrize("slot", [START_SLOT, START_SLOT + 17, START_SLOT + 39])
def test_every_served_number_is_proved(town: Town, client: Client, slot: int) -> None:
    """For each cell and horizon the proof says the number that the forecasts say."""
    columns = town.columns(slot)
    for cell in range(len(town.cells)):
        for at, horizon_min in enumerate(town.region.horizons_min):
            answer = client.get(path_of(town, slot, cell, horizon_min))
            assert 200 == answer.status_code
            proved = check_proof(answer.text, SIGNER.verifier)
            assert (int(town.cells[cell]), slot, horizon_min) == (proved.cell, proved.issued.slot, proved.horizon_min)
            assert int(columns.mean[cell, at]) == proved.mean_milli


def test_a_proof_is_text_under_the_newest_checkpoint(town: Town, client: Client) -> None:
    """It is text in UTF-8, may be kept but is asked for again, and ends in the log's checkpoint word for word."""
    answer = client.get(path_of(town, START_SLOT))
    assert ("text/plain; charset=utf-8", "no-cache") == (answer.headers["content-type"], answer.headers["cache-control"])
    assert answer.text.endswith("\n\n" + str(town.ledger.guard.note(LOG)))
    assert 304 == client.get(path_of(town, START_SLOT), if_none_match=answer.headers["etag"]).status_code


def test_a_zone_and_the_local_time_mean_the_same(town: Town, client: Client) -> None:
    """The target may be in the region's own clock, or with a zone."""
    utc = (START_SLOT + 1) * SLOT_S
    assert 0 == utc % 300
    zoned = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(utc))
    assert client.get(path_of(town, START_SLOT)).text == client.get(path_of(town, START_SLOT, target=zoned)).text


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("dr5reg/2014-05-06T01:00/20/proof", 404, "cell"),
        ("dr5reg/2014-05-06T01:00/x/proof", 422, "horizon_min"),
        ("u4pruy/2014-05-06T01:00/15/proof", 404, "cell"),
        ("dr5re/2014-05-06T01:00/15/proof", 422, "cell"),
        ("dr5rea/2014-05-06T01:00/15/proof", 422, "cell"),
        ("dr5reg/2014-05-06T01:01/15/proof", 422, "target"),
        ("dr5reg/tomorrow/15/proof", 422, "target"),
        ("dr5reg/2014-05-05T01:00/15/proof", 404, "target"),
        ("dr5reg/2014-05-07T01:00/15/proof", 409, "target"),
        ("dr5reg/2014-05-06T01:00/15/proof?measure=dropoffs", 422, "measure"),
        ("dr5reg/2014-05-06T01:00/15/proof?known_at=2014-05-06T00:59", 409, "known_at"),
        ("dr5reg/2014-05-06T01:00/15/proof?known_at=2014-05-06T01:30&measure=pickups", 200, None),
    ],
)
def test_what_cannot_be_proved_is_said(client: Client, path: str, status: int, field: str | None) -> None:
    """What was never served, not yet, or not known then has no proof, and the parameter that is to blame is named."""
    answer = client.get(f"/v1/regions/nyc/forecasts/{path}")
    assert status == answer.status_code
    assert field == (answer.json().get("field") if status != 200 else None)


def test_who_asks_at_once_waits_for_the_checkpoint(growing_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that was served just now is proved as soon as its checkpoint is there."""
    town = growing_town
    old = town.ledger.guard.note(LOG)
    town.close()
    new = town.ledger.guard.note(LOG)
    notes = iter([old, old])
    monkeypatch.setattr(town.ledger.guard, "note", lambda log: next(notes, new))
    answer = town.client().get(path_of(town, town.newest))
    assert town.newest == check_proof(answer.text, SIGNER.verifier).issued.slot


@pytest.mark.alone
def test_a_checkpoint_that_does_not_come_is_not_waited_for(growing_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a moment the answer is to come again."""
    town = growing_town
    old = town.ledger.guard.note(LOG)
    town.close()
    monkeypatch.setattr(town.ledger.guard, "note", lambda log: old)
    began = time.perf_counter()
    answer = town.client().get(path_of(town, town.newest))
    assert (503, "1", "urn:ridecast:problem:checkpoint-pending") == (
        answer.status_code,
        answer.headers["retry-after"],
        answer.json()["type"],
    )
    assert PATIENCE_S <= time.perf_counter() - began < PATIENCE_S + 2.0


def test_a_newer_cosignature_is_served(growing_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as a witness has cosigned, proofs bear its word, also of issues that were at hand."""
    town = growing_town
    client, note = town.client(), str(town.ledger.guard.note(LOG))
    assert 1 == len(check_proof(client.get(path_of(town, START_SLOT)).text, SIGNER.verifier).signatures)
    cosigned = cosign_note(note, WITNESSES[0], 1_400_000_000)
    monkeypatch.setattr(town.ledger.guard, "note", lambda log: cosigned)
    text = client.get(path_of(town, START_SLOT)).text
    proved = check_proof(text, SIGNER.verifier, witnesses=[WITNESSES[0].verifier], quorum=1)
    assert 1_400_000_000 == proved.signatures[1].time_s


def test_a_gone_blob_is_said(growing_town: Town) -> None:
    """Where the chunks have expired there is no proof any more, and the answer says which blob is missing."""
    town = growing_town
    stored = town.ledger.entry(LOG, ForecastIssued, START_SLOT, MEASURE)
    assert stored is not None
    digest = next(digest for digest in town.blobs.digests() if digest in stored.payload)
    town.blobs.remove(digest)
    answer = town.client().get(path_of(town, START_SLOT))
    assert (404, True) == (answer.status_code, digest.hex() in answer.json()["detail"])


def test_the_last_issues_stay_at_hand(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second number of an issue costs no read of its blob; the oldest issue makes room."""
    provers, note = Provers(town.ledger, town.blobs, kept=2), str(town.ledger.guard.note(LOG))
    read: list[bytes] = []
    really = town.blobs.get
    monkeypatch.setattr(town.blobs, "get", lambda digest: read.append(digest) or really(digest))  # type: ignore[func-returns-value]
    issues = [town.ledger.entry(LOG, ForecastIssued, START_SLOT + at, MEASURE) for at in range(3)]
    cell = int(town.cells[0])
    for at, reads in ((0, 1), (0, 1), (1, 2), (0, 2), (2, 3), (0, 3), (1, 4)):
        stored = issues[at]
        assert stored is not None
        provers.proof(stored, note, cell=cell, horizon_min=15)
        assert reads == len(read)
    assert parse_checkpoint(parse_note(note)[0]).size == town.ledger.head(LOG).size
