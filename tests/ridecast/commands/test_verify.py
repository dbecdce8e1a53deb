"""`ridecast ledger verify` says what it checked, names what is wrong, and ends with 0, 1 or 2."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.formats.keys import Signer
from tests.faults.small_ledger import LOG, SmallLedger, make_small_ledger
from tests.ridecast.calls import Done

Call = Callable[..., Done]
STRANGER = Signer("ridecast/local", bytes(32)).verifier.text()


@pytest.fixture
def made(tmp_path: Path) -> SmallLedger:
    """A small ledger with its tiles and a kept checkpoint."""
    found = make_small_ledger(tmp_path)
    found.export()
    return found


def test_clean(made: SmallLedger, call: Call) -> None:
    """A ledger that nobody touched is clean, in its home and as tiles, against a kept checkpoint and with its key."""
    done = call("ledger", "verify", "--home", made.home, "--against", made.kept, "--key", made.key().text())
    assert 0 == done.status
    assert done.out.splitlines() == [
        "control: 1 entries, 1 blobs: clean",
        "region/nyc: 12 entries, 6 blobs: clean",
        "runs: 1 entries, 0 blobs: clean",
    ]
    tiles = call("ledger", "verify", "--tiles", made.tiles, "--against", made.kept, "--home", made.home)
    assert (0, done.out) == (tiles.status, tiles.out)


def test_damaged(made: SmallLedger, call: Call) -> None:
    """A changed blob is named with the entry that names it, as text and as JSON, and the exit code is 1."""
    blob = next((made.home / "blobs" / "permanent").rglob("*/*"))
    blob.write_bytes(b"forged")
    done = call("ledger", "verify", "--home", made.home, "--log", LOG)
    assert 1 == done.status
    assert "region/nyc: 12 entries, 6 blobs: 1 PROBLEM\n" in done.out
    assert 1 == call("ledger", "verify", "--home", made.home).status  # though the other logs are clean
    as_json = call("ledger", "verify", "--home", made.home, "--log", LOG, "--json")
    [report] = json.loads(as_json.out)
    [problem] = report["problems"]
    assert (1, LOG, False) == (as_json.status, report["log"], report["clean"])
    assert f"  entry {problem['index']}: {problem['what']}" in done.out
    assert f"its counts: blob {blob.name}: the stored bytes hash to" in problem["what"]


def test_another_key_is_damage(made: SmallLedger, call: Call) -> None:
    """Checkpoints that the given key did not sign vouch for nothing."""
    done = call("ledger", "verify", "--home", made.home, "--key", STRANGER)
    assert 1 == done.status
    assert 3 == done.out.count("expected a good signature of ridecast/local+")


def test_could_not_run(made: SmallLedger, call: Call, tmp_path: Path) -> None:
    """What cannot be asked ends with 2 and says what was expected."""
    cases = {
        ("--home", tmp_path / "nowhere"): "--home: expected a directory that `ridecast bootstrap` has filled",
        ("--home", made.home, "--log", "region/oslo"): "--log: expected one of control, region/nyc, runs, got 'region/oslo'",
        ("--home", made.home, "--key", "no key"): "verifier key: expected name+id+key of an Ed25519 key, got 'no key'",
        ("--home", made.home, "--against", tmp_path / "nothing.txt"): "expected a file with a signed checkpoint",
        ("--tiles", tmp_path / "nowhere", "--home", made.home): "--tiles: expected a directory, got",
        ("--tiles", made.tiles, "--home", tmp_path / "nowhere"): "--key: expected the key that signed the export's checkpoints",
        ("--tiles", made.home, "--home", made.home): "--tiles: expected an export below",
    }
    for words, said in cases.items():
        done = call("ledger", "verify", *words)
        assert (2, "") == (done.status, done.out), words
        assert said in done.err
    done = call("ledger", "verify", "--home", made.home, RIDECAST_DATABASE="postgresql://nobody:x@127.0.0.1:1/none")
    assert 2 == done.status
    assert "database" in done.err
