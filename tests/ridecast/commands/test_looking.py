"""`ridecast ledger show`, `tail`, `diff` and `trace`: what they say of a small home, and of wrong input."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dataflows.stream.stores import open_stores
from ledger.store.log import Stored
from ridecast.commands.ledger.tail import UNKNOWN, line_of
from schemas.configuration.settings import Settings
from schemas.events.cells import cell_text
from schemas.records.record_codec import decode, encode
from schemas.records.records import (
    CONTROL_LOG,
    ForecastIssued,
    ModelPromoted,
    ModelTrained,
    Record,
    RunStarted,
    SlotClosed,
    UniverseChanged,
)
from tests.ridecast.calls import environment
from tests.ridecast.commands.test_replay import forge
from tests.ridecast.conftest import Call, Small

LOG = "region/tehran"
AT = "2025-04-07T12:02"  # local; half past eight in UTC
NOON = 1_744_014_600 // 300 - 1  # the slot that ends at noon in Tehran
LATENESS_S = 10


@pytest.fixture
def at_small(small: Small, monkeypatch: pytest.MonkeyPatch) -> Small:
    """Stand where `home` is; nothing is written there."""
    monkeypatch.chdir(small.folder)
    return small


def in_control(home: Path) -> tuple[tuple[int, ModelTrained], tuple[int, ModelPromoted], int]:
    """The training and the promotion in the control log, each with its index; and how long that log is."""
    stores = open_stores(Settings.from_env({}, {"home": str(home)}), reading=True)
    trained, promoted = stores.ledger.entry(CONTROL_LOG, ModelTrained), stores.ledger.entry(CONTROL_LOG, ModelPromoted)
    size = stores.ledger.head(CONTROL_LOG).size
    stores.close()
    assert trained is not None
    assert promoted is not None
    return (trained.index, trained.record), (promoted.index, promoted.record), size


# --- show -----------------------------------------------------------------------------------------


def test_show_at_a_time_is_what_was_known(at_small: Small, call: Call) -> None:
    """Two minutes past noon the slot that ended at noon is known, with everything that its close made or cites, and no later one."""
    done = call("ledger", "show", "--home", "home", "--at", AT, "--json")
    said = json.loads(done.out)
    stores = open_stores(Settings.from_env({}, {"home": "home"}), reading=True)
    entries = list(stores.ledger.scan(LOG, 0, said["log_size"]))
    [after] = stores.ledger.read(LOG, said["log_size"], said["log_size"] + 1)
    stores.close()
    records = [decode(stored.payload) for stored in entries]
    closed = [record for record in records if isinstance(record, SlotClosed)]
    changed = [record for record in records if isinstance(record, UniverseChanged)]
    issued = max(i for i, record in enumerate(records) if isinstance(record, ForecastIssued))
    assert (0, NOON, NOON) == (done.status, closed[-1].slot, said["newest_slot"]["slot"])
    assert NOON + 1 == after.slot or after.kind == "SchemaRecorded"
    assert {"first": NOON + 1, "until": NOON + 2} == said["open_slots"]
    assert sum(cut.counted for record in closed for cut in record.partitions) == said["rides_counted"]
    assert {"version": changed[-1].version, "cells": changed[-1].cells} == said["universe"]
    assert issued == said["issues"]["requests"]["entry"]
    (_, trained), (at, promoted), size = in_control(Path("home"))
    champion = {"model": promoted.model.hex(), "algorithm": trained.algorithm, "promoted_by": at, "reason": promoted.reason}
    assert {"requests": champion} == said["champions"]
    assert ("2025-04-07T08:32:00Z", False, size) == (said["at"], said["log_ends_before"], said["control"]["size"])


@pytest.mark.parametrize(
    ("at", "slot"),
    [("2025-04-07T08:30:10Z", NOON), ("2025-04-07T08:30:09Z", NOON - 1), ("2025-04-07T12:00:10+03:30", NOON), ("2025-04-07T12:04", NOON)],
)
def test_a_close_is_known_from_its_lateness_on(at_small: Small, call: Call, at: str, slot: int) -> None:
    """A slot is known ten seconds after its end, in the region's own clock or any other."""
    said = json.loads(call("ledger", "show", "--home", "home", "--region", "tehran", "--at", at, "--json").out)
    assert slot == said["newest_slot"]["slot"]


def test_show_at_a_time_is_a_table_for_a_person(at_small: Small, call: Call) -> None:
    """The state is told line by line; before the first close and behind the end of the log it says so."""
    done = call("ledger", "show", "--home", "home", "--at", AT)
    for said in (f"{NOON}, which ended 2025-04-07T12:00:00+03:30: observed", "champion of requests", "newest issue of requests"):
        assert said in done.out
    first = call("ledger", "show", "--home", "home", "--at", "2025-04-07T00:05:05")
    assert "none yet" in first.out
    late = call("ledger", "show", "--home", "home", "--at", "2025-05-01")
    assert "the log ends before that time" in late.out


def test_show_an_entry_as_ever(at_small: Small, call: Call) -> None:
    """An index shows one entry, whole, as JSON."""
    _, (at, _), _ = in_control(Path("home"))
    said = json.loads(call("ledger", "show", at, "--home", "home", "--log", "control").out)
    assert ("control", at, "ModelPromoted", "champion") == (said["log"], said["index"], said["kind"], said["record"]["alias"])


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ((), 2, "ledger show: expected either the index of an entry or --at TIME"),
        (("3", "--at", AT), 2, "ledger show: expected either the index of an entry or --at TIME"),
        (("999999",), 1, "region/tehran: expected an index below"),
        (("--at", "noon"), 2, "--at: expected an ISO time such as"),
        (("--at", "2025-04-06T12:00"), 1, "--at: region tehran is counted live from 2025-04-07, local midnight, on"),
        (("--at", AT, "--region", "nyc"), 1, "region nyc: not bootstrapped in this home"),
        (("--at", AT, "--log", "control"), 2, "--at: expected a region's log, got 'control': name one with --region"),
    ],
)
def test_show_says_what_it_expected(at_small: Small, call: Call, words: tuple[str, ...], status: int, said: str) -> None:
    """Wrong input is said in one line."""
    done = call("ledger", "show", "--home", "home", *words)
    assert status == done.status
    assert said in done.err


# --- tail -----------------------------------------------------------------------------------------


def test_tail_follows_until_it_is_interrupted(copy: Small) -> None:
    """With -f an entry is printed when it is appended, and Ctrl-C ends with 0 and without a word."""
    words = ["ledger", "tail", "--home", "home", "--log", CONTROL_LOG, "--limit", "1", "-f"]
    # A test run that was started in the background hands on an ignored SIGINT, which a terminal never does.
    with subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "ridecast", *words],
        cwd=copy.folder,
        env=environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert "ModelPromoted" in running.stdout.readline()
        stores = open_stores(Settings.from_env({}, {"home": str(copy.home)}))
        promoted = encode(
            ModelPromoted(region="tehran", measure="requests", model=bytes(32), alias="champion", reason="a reason of its own")
        )
        stores.ledger.append(CONTROL_LOG, stores.ledger.head(CONTROL_LOG).size, [promoted])
        stores.close()
        lines = [running.stdout.readline()]
        while "a reason of its own" not in lines[-1]:
            lines.append(running.stdout.readline())
        running.send_signal(signal.SIGINT)
        try:
            assert (0, "") == (running.wait(30), running.stderr.read())
        finally:
            running.kill()


def test_tail_ends_with_the_root(at_small: Small, call: Call) -> None:
    """Without -f the newest entries are printed, then size and root; of a log that is not there it says which are."""
    done = call("ledger", "tail", "--home", "home", "--limit", "2")
    assert 3 == len(done.out.splitlines())
    assert done.out.splitlines()[-1].startswith("region/tehran: ")
    other = call("ledger", "tail", "--home", "home", "--log", "region/nyc")
    assert (2, ["ridecast: --log: expected one of control, region/tehran, runs, got 'region/nyc'"]) == (other.status, other.lines)


# --- diff -----------------------------------------------------------------------------------------


def test_a_copy_is_identical(copy: Small, small: Small, call: Call) -> None:
    """Two homes with equal payloads are identical, and so is one that goes on, which is told with what it gained."""
    done = call("ledger", "diff", small.home, copy.home)
    assert 0 == done.status, done.err
    first, second = done.out.splitlines()
    *_, size = in_control(small.home)
    assert first.startswith(f"control: identical, {size} entries, root ")
    assert second.startswith("region/tehran: identical, ")
    stores = open_stores(Settings.from_env({}, {"home": str(copy.home)}))
    stores.ledger.append(
        CONTROL_LOG, size, [encode(ModelPromoted(region="tehran", measure="requests", model=bytes(32), alias="champion", reason="more"))]
    )
    stores.close()
    longer = call("ledger", "diff", small.home, copy.home, "--log", CONTROL_LOG)
    assert (0, f"control: identical up to {size} entries; the second continues to {size + 1}: 1 ModelPromoted\n") == (
        longer.status,
        longer.out,
    )
    back = call("ledger", "diff", copy.home, small.home, "--log", CONTROL_LOG, "--json")
    [told] = json.loads(back.out)
    assert (size, [size + 1, size], {"ModelPromoted": 1}, None) == (told["identical_up_to"], told["sizes"], told["gained"], told["parting"])


def test_the_first_difference_is_named(copy: Small, small: Small, call: Call) -> None:
    """One forged count is found by its entry, with the field and both values, and the exit code is 1."""
    slot = forge(copy.home)
    done = call("ledger", "diff", small.home, copy.home, "--log", LOG)
    [said] = json.loads(call("ledger", "diff", small.home, copy.home, "--log", LOG, "--json").out)
    stores = open_stores(Settings.from_env({}, {"home": str(copy.home)}), reading=True)
    found = stores.ledger.entry(LOG, SlotClosed, slot)
    stores.close()
    assert found is not None
    assert 1 == done.status
    assert f"region/tehran: DIFFERENT from entry {found.index} on (SlotClosed); sizes " in done.out
    [field] = said["parting"]["fields"]
    assert (found.index, "counts[0].counts[0]") == (said["parting"]["entry"], field["field"])
    assert int(field["first"]) + 1 == int(field["second"])


def test_two_sizes_of_one_log(at_small: Small, call: Call) -> None:
    """Between two sizes it tells what the log gained."""
    _, (at, _), _ = in_control(at_small.home)
    done = call("ledger", "diff", at, at + 1, "--home", "home", "--log", CONTROL_LOG)
    assert (0, f"control: identical up to {at} entries; the second continues to {at + 1}: 1 ModelPromoted\n") == (done.status, done.out)


def test_a_database_is_compared_with_a_home(postgres_url: str, small: Small, call: Call, tmp_path: Path) -> None:
    """A ledger in PostgreSQL is compared by its address."""
    with_home = open_stores(Settings.from_env({}, {"home": str(small.home)}), reading=True)
    entries = [stored.payload for stored in with_home.ledger.scan(CONTROL_LOG)]
    with_home.close()
    stores = open_stores(Settings.from_env({}, {"home": str(tmp_path / "database"), "database": postgres_url}))
    stores.ledger.append(CONTROL_LOG, 0, entries)
    stores.close()
    done = call("ledger", "diff", postgres_url, small.home, "--log", CONTROL_LOG, RIDECAST_HOME=str(tmp_path / "database"))
    assert 0 == done.status, done.err
    assert done.out.startswith(f"control: identical, {len(entries)} entries, root ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("home", "gone"), "ledger diff: expected two homes, two postgresql:// addresses or two sizes, got 'gone', which holds no ledger"),
        (("home", "home", "--log", "region/nyc"), "ledger 1: expected the log region/nyc, found control, region/tehran, runs"),
        (("0", "999999", "--home", "home"), "region/tehran: expected a size up to "),
        (("0", "1", "--home", "gone"), "--home: expected a directory that `ridecast bootstrap` has filled, got 'gone'"),
    ],
)
def test_diff_that_cannot_run_is_2(at_small: Small, call: Call, words: tuple[str, ...], said: str) -> None:
    """What cannot be compared is said, and the exit code is 2."""
    done = call("ledger", "diff", *words)
    assert 2 == done.status
    assert said in done.err


# --- trace ----------------------------------------------------------------------------------------


def a_cell(home: Path) -> str:
    """The first cell with a forecast."""
    stores = open_stores(Settings.from_env({}, {"home": str(home)}), reading=True)
    stored = stores.ledger.entry(LOG, UniverseChanged, last=False)
    stores.close()
    assert stored is not None
    return cell_text(stored.record.added[0], 6)


def test_trace_leads_from_the_number_to_the_rides(at_small: Small, call: Call) -> None:
    """The lineage names the entry, the chunk under its root, offsets, model, training, promotion, rules and environment."""
    words = ("--region", "tehran", "--cell", a_cell(at_small.home), "--target", "2025-04-07T12:00", "--horizon", "30")
    done = call("ledger", "trace", "--home", "home", *words, "--json")
    assert 0 == done.status, done.err
    said = json.loads(done.out)
    stores = open_stores(Settings.from_env({}, {"home": "home"}), reading=True)
    [entry] = stores.ledger.read(LOG, said["entry"]["index"], said["entry"]["index"] + 1)
    closed = stores.ledger.entry(LOG, SlotClosed, NOON)
    [started] = list(stores.ledger.records("runs", RunStarted))
    stores.close()
    issued = decode(entry.payload, ForecastIssued)
    assert closed is not None
    record = decode(closed.payload, SlotClosed)
    assert (NOON, issued.root.hex(), issued.features_digest.hex()) == (
        issued.slot,
        said["entry"]["root_of_chunks"],
        said["features"]["digest"],
    )
    assert {cut.partition: cut.cut for cut in record.partitions} == {row["partition"]: row["to"] for row in said["counts"]["offsets"]}
    assert closed.index == said["counts"]["newest_slot"]["entry"]
    (trained_at, trained), (promoted_at, promoted), _ = in_control(at_small.home)
    model = said["model"]
    assert (promoted.model.hex(), promoted_at) == (model["digest"], model["promotion"]["entry"])
    assert (trained.data_digest.hex(), trained_at) == (model["training"]["data_digest"], model["training"]["entry"])
    assert [started.environment.hex()] == [row["digest"] for row in said["environment"]]
    assert said["entry"]["checkpoint"]["size"] > said["entry"]["index"]
    assert (LATENESS_S, 300) == (said["rules"]["issue_lateness_s"], said["rules"]["skew_s"])
    assert (10, 16, 259_200) == tuple(said["rules"][name] for name in ("evidence_events", "evidence_window_events", "hold_s"))


def test_trace_is_a_tree_for_a_person(at_small: Small, call: Call) -> None:
    """The number stands on top, what it comes from below."""
    cell = a_cell(at_small.home)
    done = call(
        "ledger", "trace", "--home", "home", "--region", "tehran", "--cell", cell, "--target", "2025-04-07T12:00", "--horizon", "15"
    )
    first, *rest = done.out.splitlines()
    assert f" requests in {cell} within 15 min from 2025-04-07T12:00:00+03:30 (median " in first
    branches = [line for line in rest if line.startswith(("├── ", "└── "))]
    assert ["number", "entry", "features", "model", "counts", "rules", "environment"] == [line[4:].strip() for line in branches]


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"--region": "nyc"}, 1, "region nyc: not bootstrapped in this home"),
        ({"--cell": "tn"}, 2, "--cell: expected 6 letters in region tehran, got 'tn'"),
        ({"--cell": "dr5ru7"}, 1, "no forecast for that cell"),
        ({"--target": "2025-04-07T12:01"}, 2, "--target: expected a boundary of a 5-minute slot"),
        (
            {"--target": "2025-04-09"},
            1,
            "--target: region tehran issued no forecast of requests for 2025-04-09T00:00",
        ),
        ({"--horizon": "7"}, 1, "no forecast for 7 min; its horizons are 15, 30, 60"),
        ({"--measure": "taxis"}, 2, "--measure: expected one of requests, got 'taxis'"),
    ],
)
def test_trace_says_what_it_expected(at_small: Small, call: Call, change: dict[str, str], status: int, said: str) -> None:
    """A number that was never served has no lineage; the message says which part of the question is wrong."""
    asked = {"--region": "tehran", "--cell": a_cell(at_small.home), "--target": "2025-04-07T12:00", "--horizon": "15"} | change
    done = call("ledger", "trace", "--home", "home", *(word for pair in asked.items() for word in pair))
    assert status == done.status
    assert said in done.err


def test_trace_without_chunks_says_they_are_gone(copy: Small, call: Call) -> None:
    """Where the chunks of an issue are gone the number cannot be read any more, and the blob is named."""
    cell = a_cell(copy.home)
    shutil.rmtree(copy.home / "blobs" / "forecast")
    done = call(
        "ledger", "trace", "--home", copy.home, "--region", "tehran", "--cell", cell, "--target", "2025-04-07T12:00", "--horizon", "15"
    )
    assert 1 == done.status
    assert "not in the store" in done.err


def test_an_entry_of_a_newer_version_is_shown_by_its_bytes() -> None:
    """Who looks with an older Ridecast sees that there is an entry, and every other one."""
    stored: Stored[Record] = Stored("control", 7, "", None, "", b"a record of tomorrow")
    assert line_of(stored).split(maxsplit=1) == ["7", UNKNOWN]
