"""`ridecast simulate`: a directory of a city's rides, the same for the same seed."""

import json
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dataflows.connectors.files.ridelog import RideLogReader, partitions
from ridecast.main import cli
from schemas.configuration.areas import load_areas
from schemas.errors import UsageError
from schemas.events.codec import Decoder
from schemas.events.drivers import decode_driver_state
from schemas.regions import load_region
from state.simulation.faults.table import FAULTS
from state.simulation.quarters import quarters_of
from state.simulation.simulate import simulate_city

START_US = 1_743_798_600_000_000  # 2025-04-05, midnight in Tehran


def run(*words: object) -> Result:
    """`ridecast simulate` of a small Tehran; errors are raised as they are."""
    small = ["simulate", "--region", "tehran", "--days", "2", "--rides-per-day", "300", "--seed", "7"]
    return CliRunner().invoke(cli, [*small, *map(str, words)], catch_exceptions=False, standalone_mode=False)


def values_of(directory: Path) -> list[bytes]:
    """Every event of a log."""
    return [value for partition in partitions(directory) for value in RideLogReader(directory, partition).read(0, 100_000).values]  # type: ignore[union-attr]


def test_directory_holds_the_city(tmp_path: Path) -> None:
    """Every event of the simulation is in the log, decodable, in the partition of its ride and in time order."""
    result = run("--out", tmp_path / "rides")
    days = list(simulate_city(load_region("tehran"), START_US, 2, 7, 300))
    total = sum(map(len, days))
    found = 0
    for partition in partitions(tmp_path / "rides"):
        raw = RideLogReader(tmp_path / "rides", partition).read(0, 100_000)
        assert raw is not None
        batch, undecodable = Decoder(("tehran",)).decode(raw)
        assert undecodable == []
        assert (batch.occurred_at_us[1:] >= batch.occurred_at_us[:-1]).all()
        found += len(batch)
    assert found == total
    assert f"{total:,}" in result.stdout.split("events written")[1]
    assert sum(int((day.kind == 0).sum()) for day in days) == int(result.stdout.split("requested")[1].split()[0].replace(",", ""))


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    """Two runs are equal byte for byte; a third into the same directory does nothing; another seed is refused."""
    for name in ("a", "b"):
        run("--out", tmp_path / name)
    files = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "a", tmp_path / "b")
    ]
    assert files[0] == files[1]
    assert "already holds these rides" in run("--out", tmp_path / "a").stdout
    with pytest.raises(UsageError, match="which holds rides of another origin"):
        run("--out", tmp_path / "a", "--days", 3)


def test_delivery_is_late_and_partly_twice(tmp_path: Path) -> None:
    """Jitter and duplicates change the log, not the set of events."""
    run("--out", tmp_path / "plain")
    run("--out", tmp_path / "late", "--jitter-s", 60, "--duplicates", 0.1)
    plain, late = values_of(tmp_path / "plain"), values_of(tmp_path / "late")
    assert sorted(set(late)) == sorted(plain)
    assert len(late) > len(plain)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--start", "tomorrow"], "--start: expected a date as YYYY-MM-DD, got 'tomorrow'"),
        (["--days", 0], "days: expected 1 to 3660, got 0"),
        (["--seed", -1], "--seed: expected 0 or more, got -1"),
        (["--rides-per-day", 0], "rides_per_day: expected 1 to 10000000, got 0"),
        (["--duplicates", 2], "--duplicates: expected a share from 0 to 1, got 2"),
        (["--kafka", "h:1"], "got both"),
        (["--fault", "flood"], "--fault flood: expected one of surge, level"),
        (["--fault", "outage:partition=9,from=+1h"], "partition: expected one of 0 to 3, got 9"),
        (["--labels", "labels.json"], "--labels: expected at least one --fault, got none"),
    ],
)
def test_wrong_usage(tmp_path: Path, words: list[object], message: str) -> None:
    """Values that make no sense are refused in one line, with nothing written."""
    with pytest.raises(UsageError, match=message):
        run("--out", tmp_path / "rides", *words)
    assert list(tmp_path.iterdir()) == []


def test_the_areas_of_the_city_are_a_file(tmp_path: Path) -> None:
    """The areas file is that of the seed's city, also where the rides are there already; a directory of other rides gets none."""
    areas = tmp_path / "new" / "areas.json"
    for _ in range(2):
        run("--out", tmp_path / "rides", "--areas", areas)
        assert quarters_of(load_region("tehran"), 7) == load_areas(areas, load_region("tehran"))
        areas.unlink()
    with pytest.raises(UsageError):
        run("--out", tmp_path / "rides", "--areas", areas, "--seed", 8)
    assert not areas.exists()


def test_labels_stand_beside_the_rides(tmp_path: Path) -> None:
    """Labels are in the directory or in the file that is asked for, and the origin names the faults with all their values."""
    run("--out", tmp_path / "plain")
    run("--out", tmp_path / "rides", "--fault", "late:from=+1d", "--fault", "surge:from=2025-04-06T18:00,cells=2")
    result = run("--out", tmp_path / "others", "--labels", tmp_path / "new" / "labels.json", "--fault", "late:from=+1d")
    assert f"labels of 1 faults: {tmp_path / 'new' / 'labels.json'}" in result.stdout
    assert not (tmp_path / "others" / "labels.json").exists()
    labels = json.loads((tmp_path / "rides" / "labels.json").read_text("utf-8"))
    assert ["late", "surge"] == [label["kind"] for label in labels["faults"]]
    assert ("2025-04-04T20:30:00Z", "2025-04-06T20:30:00Z", 7, 4) == tuple(labels[name] for name in ("from", "until", "seed", "partitions"))
    assert "2025-04-06T14:30:00Z" == labels["faults"][1]["from"]
    origin = json.loads((tmp_path / "rides" / "origin.json").read_text("utf-8"))
    assert "late:share=0.2,delay_s=1800,from=2025-04-05T20:30:00Z,until=2025-04-06T02:30:00Z" == origin["faults"][0]
    assert "faults" not in json.loads((tmp_path / "plain" / "origin.json").read_text("utf-8"))
    before, after = Counter(values_of(tmp_path / "plain")), Counter(values_of(tmp_path / "rides"))
    assert not before - after  # nothing is lost
    assert labels["faults"][1]["events"]["added"] == (after - before).total()


def test_the_same_faults_are_done_already(tmp_path: Path) -> None:
    """Again with the same faults, in other words, does nothing; without them, or with others, the directory is refused."""
    run("--out", tmp_path / "rides", "--fault", "level:from=+1d")
    assert "nothing to do" in run("--out", tmp_path / "rides", "--fault", "level:factor=0.7,from=2025-04-06T00:00").stdout
    for words in ([], ["--fault", "level:factor=0.8,from=+1d"]):
        with pytest.raises(UsageError, match="which holds rides of another origin"):
            run("--out", tmp_path / "rides", *words)


def test_a_topic_needs_a_file_for_labels() -> None:
    """With --kafka, faults without a file for their labels are refused before anything is sent."""
    with pytest.raises(UsageError, match="--fault: expected --labels FILE beside --kafka, got none"):
        run("--kafka", "127.0.0.1:1", "--fault", "level:from=+1d")


def test_the_table_of_faults_is_printed() -> None:
    """`--fault list` needs nothing else, and describes every kind with its parameters."""
    result = CliRunner().invoke(cli, ["simulate", "--fault", "list"], catch_exceptions=False)
    assert result.exit_code == 0
    for kind in FAULTS.values():
        assert f"\n{kind.name}: {kind.says}\n" in result.stdout
        assert all(f"  {parameter.name}" in result.stdout for parameter in kind.parameters)


def test_supply_is_a_log_of_its_own(tmp_path: Path) -> None:
    """With --supply the states of drivers are event files beside the rides, the same for the same seed, by driver and in order."""
    results = [run("--out", tmp_path / name, "--supply", tmp_path / f"{name}-drivers") for name in ("a", "b")]
    values = [values_of(tmp_path / f"{name}-drivers") for name in ("a", "b")]
    assert values[0] == values[1]
    assert f"{len(values[0]):,}" == results[0].stdout.split("states of drivers")[1].split()[0]
    assert values_of(tmp_path / "a") == values_of(tmp_path / "b")
    drivers: dict[object, int] = {}
    for partition in partitions(tmp_path / "a-drivers"):
        raw = RideLogReader(tmp_path / "a-drivers", partition).read(0, 100_000)
        assert raw is not None
        states = [decode_driver_state(value) for value in raw.values]
        assert [state["occurred_at"] for state in states] == raw.logged_at_us.tolist() == sorted(raw.logged_at_us.tolist())
        assert {drivers.setdefault(state["driver_id"], partition) for state in states} == {partition}
    assert len(drivers) == 300 // 8
    assert "nothing to do" in run("--out", tmp_path / "a", "--supply", tmp_path / "a-drivers").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--out", "new", "--supply", "there"),
            "of one simulation, got 'there' without 'new'; remove 'there'",
        ),
        (("--out", "rides", "--supply", "new"), "got 'rides' without 'new'; remove 'rides'"),
        (("--out", "rides", "--supply", "rides/drivers"), "--supply: expected a directory outside of --out, got 'rides/drivers'"),
        (("--kafka", "127.0.0.1:1", "--supply", "there"), "--supply: expected a new or empty directory, got 'there'"),
        (("--out", "new", "--supply", "new2", "--rides-per-day", 300_000), "--supply: expected at most 200000 rides a day"),
    ],
)
def test_supply_belongs_to_its_rides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[object, ...], message: str) -> None:
    """States of drivers without their rides, or the other way round, are refused with the remedy, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    run("--out", "rides", "--supply", "there")
    with pytest.raises(UsageError, match=message):
        run(*words)
    assert {"rides", "there"} == {path.name for path in tmp_path.iterdir()}
