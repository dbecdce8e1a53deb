"""`ridecast simulate`: a directory of a city's rides, the same for the same seed."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dataflows.connectors.files.ridelog import RideLogReader, partitions
from ridecast.main import cli
from schemas.configuration.areas import load_areas
from schemas.errors import UsageError
from schemas.events.codec import Decoder
from schemas.regions import load_region
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
