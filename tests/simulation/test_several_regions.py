"""Several regions are one deployment: one run records, publishes and shows each as if it ran alone."""

import shutil
from pathlib import Path

import pytest

from dataflows.connectors.sources import open_rides
from dataflows.stream.start import run_embedded
from tests.differences import assert_same_payloads
from tests.ridecast.calls import ridecast
from tests.simulation.runs import Place, copied
from tests.simulation.two import WEST, Both, payloads_of, settle_both


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """A home with both regions, whose live hours have not been run."""
    return settle_both(tmp_path_factory.mktemp("both") / "place", bootstrapped=[WEST])


def private(place: Place, folder: Path) -> Place:
    """A copy that other users cannot read, so that nothing is said about it."""
    own = copied(place, folder)
    own.home.chmod(0o700)
    return own


def alone(place: Place, region: str, folder: Path) -> list[bytes]:
    """What a region records without the other."""
    own = copied(place, folder)
    stores, source = own.open(), open_rides(own.rides)
    run_embedded(stores, source, [region], bounded=True)
    source.close()
    stores.close()
    return payloads_of(own, region)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("processes", [1, 2])
def test_each_region_of_a_run_records_what_it_records_alone(both: Both, tmp_path: Path, processes: int) -> None:
    """`--region` is given twice: both logs equal those of runs alone, both are published, and both are summed up."""
    place = private(both.place, tmp_path / "home")
    words = ["run", "--region", place.region, "--region", both.west, "--until-end", "--processes", processes]
    done = ridecast(*words, cwd=tmp_path, env=place.environment)
    assert (0, []) == (done.status, done.lines), done.err
    for region in ("small", WEST):
        assert_same_payloads(alone(both.place, region, tmp_path / region), payloads_of(place, region))
        assert [] != list((place.home / "forecasts" / f"region__{region}").rglob("*.avro"))
        assert f"INFO run: {region}: " in done.err
    status = ridecast("status", cwd=tmp_path, env=place.environment).out
    assert all(f"│ {region} " in status for region in ("small", WEST)), status


@pytest.mark.timeout(300)
def test_without_a_name_all_regions_of_the_home_run(both: Both, tmp_path: Path) -> None:
    """A run that names no region says which it found, and runs them; in a home without any, it says what to do."""
    place = private(both.place, tmp_path / "home")
    done = ridecast("run", "--until-end", cwd=tmp_path, env=place.environment)
    assert (0, []) == (done.status, done.lines), done.err
    assert f"regions: small, {WEST} (all of this home; --region names some of them)" in done.err
    assert ["small", WEST] == [line.split(" INFO run: ")[1].split(":")[0] for line in done.err.splitlines()[-2:]]
    for path in [*(place.home / "ledger").iterdir(), *(place.home / "checkpoints").iterdir()]:
        path.unlink()
    done = ridecast("run", "--until-end", cwd=tmp_path, env=place.environment)
    assert 2 == done.status
    [line] = done.lines
    assert "expected at least one bootstrapped region, found none; run `ridecast bootstrap --region NAME --until DATE` first" in line


def test_two_definitions_of_one_region_are_refused(both: Both, tmp_path: Path) -> None:
    """The same region twice is one; two different ones under one id are an error."""
    place = private(both.place, tmp_path / "home")
    other = tmp_path / "other.json"
    other.write_text(both.west.read_text("utf-8").replace('"id": "west"', '"id": "small"').replace("52.45", "52.46"), "utf-8")
    done = ridecast("run", "--region", place.region, "--region", other, "--until-end", cwd=tmp_path, env=place.environment)
    assert (2, ["ridecast: --region: expected different ids, got two definitions of small"]) == (done.status, done.lines)
    shutil.copy(place.region, tmp_path / "again.json")
    words = ["--region", place.region, "--region", tmp_path / "again.json"]
    done = ridecast("run", *words, "--until-end", cwd=tmp_path, env=place.environment)
    assert (0, 1) == (done.status, done.err.count(" slots closed, ")), done.err
