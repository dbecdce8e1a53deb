"""A log is served as tlog-tiles asks: the paths, the types, how long each may be kept, and nothing past the checkpoint."""

import gzip
import threading
import time

import pytest

from ledger.check.tile_check import check_export
from ledger.formats.checkpoint import parse_checkpoint
from ledger.formats.merkle import verify_consistency
from ledger.formats.note import open_note
from ledger.formats.tiles import decode_bundle, parse_path, tiles_between
from ledger.store.stored_tiles import stored_tile
from schemas.errors import NotFound
from schemas.records.record_codec import encode
from schemas.records.records import ModelPromoted
from tests.api.client import Client
from tests.api.town import MODEL, Town
from tests.ledger.exports import SIGNER

LOGS = ("region/nyc", "control")


def read_from(client: Client, log: str) -> object:
    """Reads below a log's prefix, as a client of another origin does."""

    def read(path: str) -> bytes:
        answer = client.get(f"/v1/ledger/{log}/{path}")
        if answer.status_code == 404:
            raise NotFound(path)
        assert answer.status_code == 200
        return answer.content

    return read


@pytest.mark.parametrize("log", LOGS)
def test_a_served_log_verifies(town: Town, client: Client, log: str) -> None:
    """Checkpoint, tiles and bundles make a tree that verifies, with every entry of the log."""
    seen: list[bytes] = []
    checkpoint, report = check_export(read_from(client, log), [SIGNER.verifier], lambda _, payload: seen.append(payload))  # type: ignore[arg-type]
    assert (town.ledger.head(log).size, ()) == (checkpoint.size, report.problems)
    assert [stored.payload for stored in town.ledger.read(log, 0)] == seen


def test_a_served_log_with_full_tiles_verifies(growing_town: Town) -> None:
    """Full bundles and tiles have paths of their own, and each entry is still to be had by its index."""
    entries = [
        encode(ModelPromoted(region="nyc", measure="pickups", model=MODEL, alias="champion", reason=str(number))) for number in range(600)
    ]
    growing_town.ledger.append("control", 2, entries)
    growing_town.ledger.flush()
    client = growing_town.client()
    checkpoint, report = check_export(read_from(client, "control"), [SIGNER.verifier])  # type: ignore[arg-type]
    assert (602, 602, ()) == (checkpoint.size, report.entries, report.problems)
    assert 256 == len(decode_bundle(client.get("/v1/ledger/control/tile/entries/000").content))
    assert "500" == client.get("/v1/ledger/control/entries/502").json()["record"]["reason"]


def test_the_checkpoint_is_the_signed_note(town: Town, client: Client) -> None:
    """It is text in UTF-8 that caches must ask about again."""
    answer = client.get("/v1/ledger/region/nyc/checkpoint")
    assert town.ledger.guard.note("region/nyc") == answer.text
    assert ("text/plain; charset=utf-8", "no-cache") == (answer.headers["content-type"], answer.headers["cache-control"])
    found = parse_checkpoint(open_note(answer.text, [SIGNER.verifier]).text)
    assert ("ridecast/local/region/nyc", town.ledger.head("region/nyc").root) == (found.origin, found.root)
    assert 304 == client.get("/v1/ledger/region/nyc/checkpoint", if_none_match=answer.headers["etag"]).status_code


def test_tiles_are_kept_for_ever(town: Town, client: Client) -> None:
    """Each tile and bundle, full or partial, is octets that never change."""
    for tile in tiles_between(0, town.ledger.head("region/nyc").size):
        answer = client.get(f"/v1/ledger/region/nyc/{tile.path()}")
        assert stored_tile(town.ledger, "region/nyc", tile) == answer.content
        assert "application/octet-stream" == answer.headers["content-type"]
        assert "public, max-age=31536000, immutable" == answer.headers["cache-control"]
        assert 304 == client.get(f"/v1/ledger/region/nyc/{tile.path()}", if_none_match=answer.headers["etag"]).status_code


def test_tiles_of_older_sizes_are_there(town: Town, client: Client) -> None:
    """Every partial width that some checkpoint may have had is served."""
    whole = client.get("/v1/ledger/region/nyc/tile/entries/000.p/5").content
    for width in range(1, 5):
        part = client.get(f"/v1/ledger/region/nyc/tile/entries/000.p/{width}").content
        assert decode_bundle(whole)[:width] == decode_bundle(part)
        assert stored_tile(town.ledger, "region/nyc", parse_path(f"tile/0/000.p/{width}")) == (
            client.get(f"/v1/ledger/region/nyc/tile/0/000.p/{width}").content
        )


def test_bundles_are_compressed_for_who_takes_it(growing_town: Town) -> None:
    """A large bundle goes out compressed, and unpacks to the same bytes."""
    growing_town.close(30)
    client = growing_town.client()
    answer = client.get("/v1/ledger/region/nyc/tile/entries/000.p/90", accept_encoding="gzip")
    plain = client.get("/v1/ledger/region/nyc/tile/entries/000.p/90", accept_encoding="identity")
    assert ("gzip", None) == (answer.headers.get("content-encoding"), plain.headers.get("content-encoding"))
    assert plain.content == answer.content == gzip.decompress(gzip.compress(plain.content, mtime=0))
    assert int(answer.headers["content-length"]) < len(plain.content)


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("region/nyc/tile/0/000", 404, "path"),
        ("region/nyc/tile/0/001", 404, "path"),
        ("region/nyc/tile/1/000.p/1", 404, "path"),
        ("region/nyc/tile/64/000", 404, "path"),
        ("region/nyc/tile/00/000.p/5", 404, "path"),
        ("region/nyc/tile/0/0", 404, "path"),
        ("region/nyc/tile/0/x000/000.p/5", 404, "path"),
        ("region/nyc/tile/0/000.p/0", 404, "path"),
        ("region/nyc/tile/0/000.p/05", 404, "path"),
        ("region/nyc/tile/0/000.p/256", 404, "path"),
        ("region/nyc/tile/entries/000.p/122", 404, "path"),
        ("region/nyc/tile/entries/../../secret", 404, None),
        ("region/nyc/tile/leaves/000.p/5", 404, "path"),
        ("region/oslo/tile/0/000.p/1", 404, "log"),
        ("region/oslo/checkpoint", 404, "log"),
        ("..%2f..%2fcontrol/checkpoint", 404, "log"),
        ("region/oslo/consistency?from=1", 404, "log"),
        ("region/nyc/consistency", 422, "from"),
        ("region/nyc/consistency?from=0", 422, "from"),
        ("region/nyc/consistency?from=9&to=8", 422, "from"),
        ("region/nyc/consistency?from=x", 422, "from"),
        ("region/nyc/consistency?from=1&to=122", 404, "to"),
        ("region/nyc/consistency?from=1&to=99999999999999999999", 422, "to"),
        ("region/nyc/checkpoint?size=3", 422, "size"),
    ],
)
def test_what_is_not_there_is_said(town: Town, client: Client, path: str, status: int, field: str | None) -> None:
    """A tile beyond the log, a path that no tile has, an unknown log and impossible sizes are problems that name what is to blame."""
    assert 121 == town.ledger.head("region/nyc").size
    answer = client.get(f"/v1/ledger/{path}")
    assert (status, field, "application/problem+json") == (answer.status_code, answer.json().get("field"), answer.headers["content-type"])
    assert "no-store" == answer.headers["cache-control"]


def test_consistency_between_any_two_sizes(town: Town, client: Client) -> None:
    """From every older size to every newer one there is a path that verifies between the two roots."""
    for old_size in (1, 2, 3, 64, 100, 120, 121):
        for size in (old_size, 121):
            body = client.get(f"/v1/ledger/region/nyc/consistency?from={old_size}&to={size}").json()
            old_root, root = (town.ledger.root_at("region/nyc", each) for each in (old_size, size))
            assert [(old_size, old_root.hex()), (size, root.hex())] == [(body[end]["size"], body[end]["root"]) for end in ("from", "to")]
            verify_consistency(old_size, size, old_root, root, [bytes.fromhex(value) for value in body["path"]])


def test_consistency_up_to_now_is_asked_again(client: Client) -> None:
    """Between two given sizes the answer never changes; up to the newest checkpoint it does."""
    fixed, moving = (client.get(f"/v1/ledger/region/nyc/consistency?from=3{to}") for to in ("&to=121", ""))
    assert moving.json() == fixed.json()
    assert ("immutable" in fixed.headers["cache-control"], "no-cache") == (True, moving.headers["cache-control"])


def test_nothing_past_the_checkpoint_is_served(growing_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no checkpoint covers might be lost and replaced, so a cache never gets it; it comes with the checkpoint."""
    client, old = growing_town.client(), growing_town.ledger.guard.note("control")
    growing_town.ledger.append(
        "control", 2, [encode(ModelPromoted(region="nyc", measure="pickups", model=MODEL, alias="champion", reason="again"))]
    )
    with monkeypatch.context() as patched:
        patched.setattr(growing_town.ledger.guard, "note", lambda log: old)
        behind = [client.get(f"/v1/ledger/control/{path}") for path in ("tile/0/000.p/3", "consistency?from=1&to=3")]
    growing_town.ledger.flush()
    assert [(404, 2), (404, 2)] == [(answer.status_code, answer.json()["size"]) for answer in behind]
    assert 200 == client.get("/v1/ledger/control/tile/0/000.p/3").status_code


@pytest.mark.alone
def test_a_log_without_a_checkpoint_is_not_served(growing_town: Town) -> None:
    """Where nobody has signed yet the answer is to come again, at once and not after a wait."""
    growing_town.ledger.guard.path("control").unlink()
    began = time.perf_counter()
    answer = growing_town.client().get("/v1/ledger/control/checkpoint")
    assert (503, "1") == (answer.status_code, answer.headers["retry-after"])
    assert "it has no checkpoint yet" in answer.json()["detail"]
    assert time.perf_counter() - began < 1.0


def test_reads_do_not_disturb_appends(growing_town: Town) -> None:
    """While a log grows, every answer is of one checkpoint: it verifies."""
    client = growing_town.client()
    stop = threading.Event()

    def grow() -> None:
        while not stop.is_set():
            growing_town.close()

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        for _ in range(5):
            _, report = check_export(read_from(client, "region/nyc"), [SIGNER.verifier])  # type: ignore[arg-type]
            assert () == report.problems
    finally:
        stop.set()
        writer.join()
