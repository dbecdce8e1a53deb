"""`ridecast ledger replay` says what is reproduced, what is not and why, and ends with 0, 1 or 2."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from dataflows.stream.stores import open_stores
from schemas.configuration.settings import Settings
from schemas.records.record_codec import decode, encode
from schemas.records.records import SlotClosed
from tests.ridecast.conftest import Call, Small

LOG = "region/tehran"
PART = ("--from", "2025-04-07T06:00", "--to", "2025-04-07T09:00")


@pytest.fixture
def at_small(small: Small, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """The command's words on the small home, from where it lies."""
    monkeypatch.chdir(small.folder)
    return ("ledger", "replay", "--home", "home", "--region", "tehran")


def forge(home: Path) -> int:
    """Write the region's log anew, with one ride more in the first slot after six that has any; returns the slot."""
    settings = Settings.from_env({}, {"home": str(home)})
    stores = open_stores(settings, reading=True)
    entries = [stored.payload for stored in stores.ledger.scan(LOG)]
    stores.close()
    closed = [(i, record) for i, record in enumerate(map(decode, entries)) if isinstance(record, SlotClosed) and record.counts]
    at, record = closed[len(closed) // 3]
    table = record.counts[0]
    more = dataclasses.replace(table, counts=(table.counts[0] + 1, *table.counts[1:]))
    entries[at] = encode(dataclasses.replace(record, counts=(more, *record.counts[1:])))
    for path in [*(home / "ledger").glob("region__*"), *home.glob("checkpoints/**/*tehran*")]:
        path.unlink(missing_ok=True)
    stores = open_stores(settings)
    stores.ledger.append(LOG, 0, entries)
    stores.close()
    return record.slot


def test_a_part_of_a_day_is_reproduced(at_small: tuple[object, ...], call: Call) -> None:
    """Three hours come out again: exit 0, and a table that says from what, in which environment and how fast."""
    done = call(*at_small, "--rides", "rides", *PART)
    assert 0 == done.status, done.err
    for said in (
        "tehran: REPRODUCED",
        "36: 2025-04-07T06:00:00+03:30 to 2025-04-07T09:00:00+03:30",
        "36 from the rides, 0 as recorded",
        "36 recomputed",
        "which wrote them: numbers must be identical",
        "s for the 72 before",
    ):
        assert said in done.out


def test_json_tells_every_slot(at_small: tuple[object, ...], call: Call) -> None:
    """With --json every slot has its verdict, and a sample says which forecasts it recomputed."""
    done = call(*at_small, *PART, "--sample", "10%", "--seed", 5, "--json", RIDECAST_RIDES="rides")
    said = json.loads(done.out)
    assert (0, True, 36, 0, 0) == (done.status, said["reproduced"], said["identical"], said["within_one_unit"], said["different"])
    assert 4 == sum(slot["forecasts_recomputed"] for slot in said["slots"])
    assert [True] * 36 == [slot["counts_from_rides"] for slot in said["slots"]]
    assert ("2025-04-07T02:30:00Z", []) == (said["from"], said["notes"])


def test_without_rides_it_says_so(at_small: tuple[object, ...], call: Call) -> None:
    """Where no rides are given the counts are said to be taken as recorded."""
    done = call(*at_small, *PART)
    assert 0 == done.status
    assert "0 from the rides, 36 as recorded" in done.out
    assert "counts are taken as recorded: no rides were given" in done.out


def test_a_forged_count_is_a_difference(copy: Small, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """One ride more is told with its slot, entry, cell and both numbers, and the exit code is 1."""
    monkeypatch.chdir(copy.folder)
    slot = forge(copy.home)
    done = call("ledger", "replay", "--home", "home", "--region", "tehran", "--rides", "rides")
    assert 1 == done.status, done.err
    assert "tehran: DIFFERENT" in done.out
    first, second, *_ = done.out.splitlines()
    assert first.startswith(f"slot {slot} (2025-04-07T")
    assert first.endswith("): different")
    assert f"counts of requests, slot {slot}, cell " in second


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--region", "nyc"), "region nyc: not bootstrapped in this home; run `ridecast bootstrap --region nyc"),
        (("--rides", "gone"), "ride log: expected a directory, got 'gone', which does not exist"),
        (("--from", "yesterday"), "--from: expected an ISO time such as"),
        (
            ("--to", "2025-04-07T06:01"),
            "--to: expected a boundary of a 5-minute slot, such as 2025-04-07T06:00:00+03:30, got '2025-04-07T06:01'",
        ),
        (("--from", "2025-04-06"), "--from, --to: expected slots within ["),
        (("--home", "gone"), "--home: expected a directory that `ridecast bootstrap` has filled"),
        (("--sample", "5"), "expected a share above 0% up to 100%, such as 5%, got '5'"),
        (("--sample", "0%"), "expected a share above 0% up to 100%"),
    ],
)
def test_what_cannot_run_is_2(at_small: tuple[object, ...], call: Call, words: tuple[str, ...], said: str) -> None:
    """Wrong input is said with what was expected, and the exit code is 2."""
    done = call(*at_small, *words)
    assert 2 == done.status
    assert said in done.err


def test_rides_of_another_time_are_different(at_small: tuple[object, ...], call: Call, tmp_path: Path, small: Small) -> None:
    """A log of rides that ends before the slots that are asked for does not give them."""
    rides = tmp_path / "rides"
    shutil.copytree(small.rides, rides)
    for path in rides.glob("[0-9]/*.avro"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done = call(*at_small, "--rides", rides, *PART)
    assert 1 == done.status
    assert "the rides end at offset" in done.out
