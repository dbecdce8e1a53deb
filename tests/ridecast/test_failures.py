"""Every failure that a person can meet: one line that says what was expected, what came and where; 2 for usage, 1 for failure."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.store.log import Head
from ridecast.home_lock import lock_home
from schemas.records.records import SlotClosed
from tests.faults.seen import Seen
from tests.ledger.places import Place
from tests.ridecast.calls import ROOT, environment, ridecast
from tests.ridecast.conftest import Call, Small
from tests.services.process import free_port

LOG = "region/tehran"
RUN = ("run", "--rides", "rides", "--region", "tehran", "--home", "home")


@pytest.fixture
def at_small(small: Small, monkeypatch: pytest.MonkeyPatch) -> Small:
    """Stand where `rides` and `home` are; nothing is written there."""
    monkeypatch.chdir(small.folder)
    return small


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ((*RUN, "--rides", "gone"), 2, "ride log: expected a directory, got 'gone', which does not exist"),
        ((*RUN, "--rides", "rides/origin.json"), 2, "ride log: expected a directory, got 'rides/origin.json', which is a file"),
        ((*RUN, "--rides", "home"), 2, "ride log: expected folders 0, 1, ... of Avro files in 'home', got none"),
        ((*RUN, "--rides", "kafka://one"), 2, "--rides: expected a directory or kafka://HOST:PORT/TOPIC, got 'kafka://one'"),
        (
            ("run", "--region", "tehran", "--home", "home"),
            2,
            "--rides: expected a directory or kafka://HOST:PORT/TOPIC, got nothing; pass it or set RIDECAST_RIDES",
        ),
        (
            (*RUN, "--region", "atlantis"),
            2,
            "--region: expected one of nyc, tehran or a JSON or GeoJSON file, got 'atlantis', and there is no such file",
        ),
        (
            (*RUN, "--region", "nyc"),
            1,
            "region nyc: not bootstrapped in this home; run `ridecast bootstrap --region nyc --until DATE` first",
        ),
        (
            (*RUN, "--home", "gone"),
            2,
            "--home: expected a directory that `ridecast bootstrap` has filled, got 'gone', which does not exist",
        ),
        (
            (*RUN, "--home", "rides"),
            2,
            "--home: expected a directory that `ridecast bootstrap` has filled, got 'rides', which holds no ledger",
        ),
        (
            ("bootstrap", "--rides", "gone", "--region", "tehran", "--until", "2025-04-07", "--home", "new"),
            2,
            "ride log: expected a directory, got 'gone', which does not exist",
        ),
        (
            ("bootstrap", "--rides", "rides", "--region", "tehran", "--until", "soon", "--home", "new"),
            2,
            "--until: expected a date as YYYY-MM-DD, got 'soon'",
        ),
    ],
)
def test_what_is_missing_or_mistyped_is_said(at_small: Small, call: Call, words: tuple[str, ...], status: int, said: str) -> None:
    """The first check that fails says so in one line, nothing is printed besides, and no directory appears."""
    before = sorted(path.name for path in at_small.folder.iterdir())
    done = call(*words)
    assert (status, "", f"ridecast: {said}\n") == (done.status, done.out, done.err)
    assert before == sorted(path.name for path in at_small.folder.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*RUN, "--port", "http"), "Invalid value for '--port': 'http' is not a valid integer range."),
        ((*RUN, "--port", "70000"), "Invalid value for '--port': 70000 is not in the range 0<=x<=65535."),
        ((*RUN, "--processes", "0"), "Invalid value for '--processes': 0 is not in the range 1<=x<=64."),
        (("bootstrap", "--until", "2025-03-22"), "Missing option '--region'."),
        (("compute",), "No such command 'compute'."),
        (("trian",), "No such command 'trian'; did you mean 'train'?"),
        (("ledger", "sail"), "No such command 'sail'; did you mean 'tail'?"),
        (("demo", "--days", "3"), "Invalid value for '--days': 3 is not in the range 4<=x<=365."),
    ],
)
def test_wrong_words_name_the_option(at_small: Small, call: Call, words: tuple[str, ...], said: str) -> None:
    """Options that are no numbers, out of bounds, missing or unknown end with 2 and a pointer to the help."""
    done = call(*words)
    assert (2, f"Error: {said}") == (done.status, done.err.splitlines()[-1])
    assert "--help' for help." in done.err


def test_a_setting_out_of_bounds_is_named(at_small: Small, call: Call) -> None:
    """A value from the environment is said with the variable's name, and is wrong usage."""
    done = call(*RUN, RIDECAST_API_PORT="70000")
    assert (2, "ridecast: RIDECAST_API_PORT: expected 0 to 65,535, got 70000\n") == (done.status, done.err)


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        (None, (), "trips.csv: expected a Parquet or CSV file of trips: No such file or directory"),
        ("time,lat,lon\n", ("--lat", "y"), "trips.csv: --lat: expected one of the columns time, lat, lon, got 'y'"),
        ("when,lat,lon\n", (), "trips.csv: found no time column; name it with --time; its columns are when, lat, lon"),
    ],
)
def test_trips_that_cannot_be_read(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, text: str | None, more: tuple[str, ...], said: str
) -> None:
    """A missing file and a wrong column are said with the file, the option and the columns that there are."""
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("trips.csv").write_text(text, "utf-8")
    done = call("import", "trips.csv", "--region", "nyc", "--out", "rides", *more)
    assert (2, "") == (done.status, done.out)
    assert re.fullmatch(rf"ridecast: {re.escape(said)}(; looked for [\w, ]+)?\n", done.err)
    assert not Path("rides").exists()


@pytest.mark.parametrize("command", ["run", "bootstrap"])
def test_an_unreachable_broker_is_named(at_small: Small, call: Call, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """A closed port ends a command once the time for one question is over, in one line, without a word of the client library."""
    monkeypatch.setattr("dataflows.connectors.kafka.connection.ANSWER_S", 1.0)
    address = f"127.0.0.1:{free_port()}"
    more = ("--until", "2025-04-07") if command == "bootstrap" else ()
    done = call(command, "--rides", f"kafka://{address}/rides", "--region", "tehran", "--home", "home", *more)
    assert re.fullmatch(rf"ridecast: Kafka at {address}: reading the partitions of rides: _TRANSPORT: .*\n", done.err)
    assert (1, "") == (done.status, done.out)


def test_an_unreachable_database_is_named(at_small: Small, call: Call) -> None:
    """The address is said, never the password, that nobody listens there, and what to do."""
    address = f"127.0.0.1:{free_port()}"
    done = call(*RUN, RIDECAST_DATABASE=f"postgresql+pg8000://me:hunter2@{address}/rides")
    remedy = "no server listens there: check that the database is running, and its address, then try again; no acknowledged data is lost"
    assert (1, f"ridecast: RIDECAST_DATABASE: database {address}: [Errno 111] Connection refused; {remedy}\n") == (done.status, done.err)


@pytest.mark.parametrize(("name", "form"), [("RIDECAST_REDIS", "redis://:hunter2@{}/0"), ("RIDECAST_KAFKA", "{}")])
def test_an_unreachable_output_is_named(at_small: Small, call: Call, monkeypatch: pytest.MonkeyPatch, name: str, form: str) -> None:
    """A run does not begin to wait for a server that was never there: setting and address are said, in one line, no password."""
    monkeypatch.setattr("dataflows.connectors.reachable.ANSWER_S", 1.0)
    address = f"127.0.0.1:{free_port()}"
    done = call(*RUN, "--until-end", **{name: form.format(address)})
    shown = form.format(address).replace("hunter2", "***")
    assert re.fullmatch(rf"ridecast: {name}: expected a server at {re.escape(shown)}: .+\n", done.err)
    assert (1, "", False) == (done.status, done.out, "hunter2" in done.err)


def test_a_home_in_use_is_said(at_small: Small, call: Call) -> None:
    """A second run and a demo on the same home end with 1 and name the first; looking into the home goes on."""
    with lock_home(at_small.home, "ridecast run"):
        said = f"ridecast: home home is in use by another `ridecast run` (pid {os.getpid()}); stop it, or use another --home\n"
        for words in (RUN, ("demo", "--home", "home", "--until-end")):
            done = call(*words)
            assert (1, "", said) == (done.status, done.out, done.err)
        assert 0 == call("status", "--home", "home").status
        assert 0 == call("ledger", "verify", "--home", "home").status


def test_other_rides_are_said(copy: Small, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rides of another name and origin are refused beside those of the last run, with both ways to go on, until they are accepted."""
    monkeypatch.chdir(copy.folder)
    assert 0 == call("simulate", "--region", "tehran", "--days", 1, "--rides-per-day", 300, "--seed", 8, "--out", "other").status
    done = call(*RUN, "--rides", "other", "--until-end")
    named = r"region tehran: expected the ride log of its last run, files=rides origin=\w{16}, got files=other origin=\w{16}"
    assert re.fullmatch(rf"ridecast: {named}; use the address of that log; with --accept-source, .*\n", done.err)
    assert (2, "") == (done.status, done.out)
    before = head_of(copy.home).size
    accepted = call(*RUN, "--rides", "other", "--until-end", "--accept-source")
    assert (0, True) == (accepted.status, head_of(copy.home).size > before)
    assert re.search(r"WARNING run: region tehran: the ride log files=rides .* was replaced by files=other ", accepted.err)
    done = call("status", "--home", "home")
    assert "was replaced by files=other" in " ".join(done.out.split())


def test_a_database_of_another_kind_is_wrong_usage(at_small: Small, call: Call) -> None:
    """What is no address of PostgreSQL is refused as it came, without its password."""
    done = call(*RUN, RIDECAST_DATABASE="mysql://me:hunter2@db/rides")
    assert (2, "ridecast: RIDECAST_DATABASE: expected postgresql://..., got 'mysql://me:***@db/rides'\n") == (done.status, done.err)


@pytest.mark.parametrize("command", [RUN, ("demo", "--home", "new")], ids=lambda words: words[0])
def test_a_port_in_use_is_said_before_anything_starts(at_small: Small, call: Call, command: tuple[str, ...]) -> None:
    """The port is named with both ways to choose another; no child is started, no city is simulated, and the last run's tallies stay."""
    before = call("status", "--home", "home").out
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        done = call(*command, "--port", port)
    assert (1, "", before) == (done.status, done.out, call("status", "--home", "home").out)
    assert done.err == (
        f"ridecast: port {port} is already in use at 127.0.0.1; "
        "stop the program that uses it, or set another with --port or RIDECAST_API_PORT\n"
    )
    assert not (at_small.folder / "new").exists()


def test_a_full_disk_under_bootstrap(small: Small, tmp_path: Path) -> None:
    """Where files cannot grow a bootstrap names the file, ends with 1, and goes through once there is room."""
    words = ("bootstrap", "--rides", small.rides, "--region", "tehran", "--until", "2025-04-07", "--home", "home")
    done = ridecast(*words, cwd=tmp_path, largest_file_bytes=8192)
    assert (1, "", 1) == (done.status, done.out, len(done.err.splitlines()))
    assert re.fullmatch(r"ridecast: rejects: home/rejects.sqlite: .*", done.lines[0])
    again = ridecast(*words, cwd=tmp_path)
    assert (0, small.made["bootstrap"].out) == (again.status, again.out)


def test_a_full_disk_under_run(copy: Small, small: Small, call: Call, monkeypatch: pytest.MonkeyPatch, seen: Seen) -> None:
    """A forecaster that cannot write says why; the run gives up with 1, and with room again it ends as if nothing had been."""
    set_back(copy.home, head_of(small.home).size - 60)
    shutil.copy(copy.folder / "first_checkpoint.txt", copy.home / "checkpoints/region__tehran.txt")
    limited = copy.folder / "limited"  # a Python under which no file grows beyond 100 KB or so
    limited.write_text(f'#!/bin/sh\nulimit -f 150\nexec {sys.executable} "$@"\n', "utf-8")
    limited.chmod(0o755)
    monkeypatch.chdir(copy.folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr("dataflows.stream.stopping.signal.signal", lambda *_: None)
    with monkeypatch.context() as patch:
        patch.setattr("ridecast.children.sys.executable", str(limited))
        done = call(*RUN, "--until-end", RIDECAST_WAIT_LIMIT_S="1")
    last = done.lines[-1]
    assert (1, True) == (done.status, last.startswith("ridecast: forecaster ended with status 5: region/tehran: ")), done.err
    assert re.search(r"disk.*, 2 times in a row for \d+ s \(setting wait_limit_s\)$", last)
    assert re.match(r"ridecast: region/tehran: .*disk", done.lines[0])
    assert re.search(r"disk.*; restarting in 0\.\d s, try 2$", done.lines[1])
    assert 0 == call(*RUN, "--until-end").status
    assert head_of(small.home) == head_of(copy.home)
    assert 0 == call("ledger", "verify", "--home", "home").status
    seen.told(last, "forecaster ended with status 5: region/tehran: ")
    seen.checked(head_of(copy.home).size, "entries, with the root of a run with room")


def test_standard_output_on_a_full_disk(at_small: Small) -> None:
    """An answer that cannot be written is a failure in one line, not a silent success."""
    command = [sys.executable, "-m", "ridecast", "settings"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), check=False)
    assert (1, "ridecast: system: No space left on device\n") == (done.returncode, done.stderr)


def set_back(home: Path, size: int) -> tuple[int, int]:
    """Make a home's region log an honest copy of itself as it was at the last close up to a size; returns (size before, size now)."""
    place = Place(home)
    ledger = place.open()
    had = ledger.head(LOG).size
    size = max(stored.index for stored in ledger.scan(LOG, kind=SlotClosed) if stored.index <= size)
    older = ledger.frontier_at(LOG, size)
    place.close()
    place.tamper('DELETE FROM entries WHERE "index" >= :size', log=LOG, size=size)
    place.tamper("UPDATE logs SET size = :size, frontier = :frontier", log=LOG, size=size, frontier=older.to_bytes())
    return had, size


def head_of(home: Path) -> Head:
    """Size and root of a home's region log."""
    place = Place(home)
    head = place.open().head(LOG)
    place.close()
    return head


def test_a_ledger_behind_its_checkpoint_is_refused(copy: Small) -> None:
    """A ledger that was rolled back is not continued: both sizes and the way out are said, once, and it stays as it is."""
    had, size = set_back(copy.home, 100)
    done = ridecast(*RUN, "--until-end", cwd=copy.folder)
    assert (1, 2) == (done.status, len(done.lines))
    sizes = rf"the checkpoint is ahead of the database: region__tehran\.txt has size {had}, the database {size}\."
    assert re.fullmatch(rf"ridecast: region tehran: {sizes} .*`ridecast ledger continue`.*", done.lines[0])
    assert done.lines[1] == f"ridecast: forecaster ended with status 3: {done.lines[0].removeprefix('ridecast: ')}"
    assert size == head_of(copy.home).size


def test_a_ledger_ahead_of_its_checkpoint_goes_on(copy: Small, small: Small) -> None:
    """After a crash between append and checkpoint the rest is read back, and the run ends as it would have without one."""
    set_back(copy.home, head_of(small.home).size - 60)
    shutil.copy(copy.folder / "first_checkpoint.txt", copy.home / "checkpoints/region__tehran.txt")
    done = ridecast(*RUN, "--until-end", cwd=copy.folder)
    assert (0, []) == (done.status, done.lines)
    assert head_of(small.home) == head_of(copy.home)
    checkpoint = (copy.home / "checkpoints/region__tehran.txt").read_text("utf-8")
    assert str(head_of(copy.home).size) == checkpoint.splitlines()[1]
