"""What a person decides about an import: strays, shares, kinds of event, ids; and that what was done stays recognised."""

import json
import os
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dataflows.connectors.files.ridelog import RideLogReader
from ridecast.commands import importing
from ridecast.main import cli
from schemas.errors import RidecastError, UsageError
from schemas.events.codec import Decoder
from schemas.events.measures import KINDS
from tests.ridecast.commands.test_trip_files import written
from tests.ridecast.commands.trip_writers import NEW_YORK, TRIPS, changed, csv, rows, text

STRAY = changed({302: "2084-04-30 00:00:00,40.7,-74"})
STRAY_US = int(datetime(2084, 4, 30, tzinfo=NEW_YORK).timestamp()) * 1_000_000


def run(*words: object, answer: str | None = None) -> Result:
    """`ridecast import trips.csv` into `rides`, with these words and an answer."""
    words = ("import", "trips.csv", "--region", "nyc", "--out", "rides", *words)
    return CliRunner().invoke(cli, [str(word) for word in words], input=answer, catch_exceptions=False, standalone_mode=False)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("answer", "rides"), [("import", 301), ("leave", 300)])
def test_a_terminal_is_asked_about_strays(monkeypatch: pytest.MonkeyPatch, answer: str, rides: int) -> None:
    """Whoever can answer decides whether strays are imported or left out; the question names them with line and value."""
    monkeypatch.setattr(importing, "_can_ask", lambda: True)
    Path("trips.csv").write_bytes(STRAY)
    done = run(answer=f"{answer}\n")
    assert "trips.csv line 302: '2084-04-30 00:00:00'\nImport them too, leave them out, or stop (import, leave, stop) [stop]" in done.stderr
    found = written(Path("rides"))
    assert (rides, answer == "import") == (len(found), found[-1][0] == STRAY_US)


def test_no_answer_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is to write nothing."""
    monkeypatch.setattr(importing, "_can_ask", lambda: True)
    Path("trips.csv").write_bytes(STRAY)
    with pytest.raises(RidecastError, match="1 ride is far from all others"):
        run(answer="\n")
    assert not Path("rides").exists()


def test_strays_are_imported_if_allowed() -> None:
    """With --allow-strays everything is written, and a last ride in the future is said."""
    Path("trips.csv").write_bytes(STRAY)
    done = run("--allow-strays")
    assert (301, True) == (len(written(Path("rides"))), "the last ride is in the future: trips.csv line 302" in done.stderr)
    with pytest.raises(UsageError, match="expected one of --allow-strays and --drop-strays, got both"):
        run("--allow-strays", "--drop-strays")


def test_the_share_of_rejected_rows_is_a_choice() -> None:
    """More than the share is refused, with the rejected rows in a file if asked for; a larger share imports the rest."""
    Path("trips.csv").write_bytes(changed({line: f"x,{line},-74" for line in range(2, 33)}))
    with pytest.raises(RidecastError, match="expected at most 10% of the rows rejected, got 31 of 300"):
        run("--rejects", "bad.csv")
    assert ([32, False]) == [len(Path("bad.csv").read_text().splitlines()), Path("rides").exists()]
    with pytest.raises(RidecastError, match="expected at most 0% of the rows rejected, got 31 of 300"):
        run("--max-rejected", "0")
    run("--max-rejected", "0.2")
    assert 269 == len(written(Path("rides")))


def test_ids_come_from_one_place() -> None:
    """An id column and derived ids exclude each other."""
    Path("trips.csv").write_bytes(csv())
    with pytest.raises(UsageError, match="expected one of --id and --derive-ids, got both"):
        run("--id", "time", "--derive-ids")


@pytest.mark.parametrize(
    ("measures", "kind", "name"),
    [(["requests"], None, "requested"), (["pickups"], None, "started"), (["pickups"], "completed", "completed")],
)
def test_events_are_of_the_kind_that_the_region_counts(measures: list[str], kind: str | None, name: str) -> None:
    """The region's measure decides what the trips are written as, unless --kind does."""
    polygon = [[40, -75], [40, -73], [42, -73], [42, -75]]
    Path("city.json").write_text(json.dumps({"id": "nyc", "timezone": "UTC", "polygon": polygon, "measures": measures}))
    Path("trips.csv").write_bytes(csv())
    words = ["import", "trips.csv", "--region", "city.json", "--out", "rides", *(["--kind", kind] if kind else [])]
    done = CliRunner().invoke(cli, words, catch_exceptions=False, standalone_mode=False)
    assert f"as events of kind `{name}`" in done.stdout
    raw = RideLogReader("rides", 0).read(0, 1_000)
    assert raw is not None
    assert {name} == {KINDS[kind] for kind in Decoder(("nyc",)).decode(raw)[0].kind.tolist()}


def test_how_a_file_was_read_is_part_of_its_origin() -> None:
    """The same options find the rides done; another order of day and month is another origin; defaults add nothing to it."""
    Path("trips.csv").write_bytes(csv(lambda at: f"{at.day}/{at.month}/{at.year} {at:%H:%M}", TRIPS[:100]))
    run("--day-first")
    assert "already holds these rides" in run("--day-first").stdout
    assert {"order": "day first"} == json.loads(Path("rides/origin.json").read_text())["chosen"]
    with pytest.raises(UsageError, match="holds rides of another origin"):
        run("--month-first")
    Path("trips.csv").write_bytes(csv())
    CliRunner().invoke(cli, ["import", "trips.csv", "--region", "nyc", "--out", "plain"], catch_exceptions=False, standalone_mode=False)
    assert ["columns", "delivery", "files", "made_by", "region", "timezone", "version"] == sorted(
        json.loads(Path("plain/origin.json").read_text())
    )


def test_a_file_that_changes_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that grows during the import is refused: its digest would be that of other rides."""
    Path("trips.csv").write_bytes(csv())
    read = importing._read

    def read_and_change(*args: object, **more: object) -> object:
        found = read(*args, **more)  # type: ignore[arg-type]
        with Path("trips.csv").open("a") as file:
            file.write(rows()[0] + "\n")
        return found

    monkeypatch.setattr(importing, "_read", read_and_change)
    with pytest.raises(
        UsageError, match=r"trips\.csv: expected a file that stays as it is, got one that changed while it was read; try again"
    ):
        run()
    assert not Path("rides").exists()


def test_a_pipe_is_refused() -> None:
    """What can be read only once is refused before it is read."""
    os.mkfifo("trips.csv")
    with pytest.raises(UsageError, match=r"trips\.csv: .* got a pipe or a device; save it as a file"):
        run()


def test_partly_swapped_places_are_said() -> None:
    """Rides outside the region that would be inside with latitude and longitude swapped are counted in the warning."""
    lines = [f"2014-04-01 00:{i % 60:02d},{'-74.0,40.7' if i < 20 else '40.7,-74.0'}" for i in range(100)]
    Path("trips.csv").write_bytes(text(lines))
    done = run()
    said = "20 of 100 rides (20%) are outside region nyc and will be rejected by intake; 20 of them are inside with latitude and longitude"
    assert f"ridecast: {said} swapped\n" in done.stderr
