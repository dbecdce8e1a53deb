"""A home is a path, whatever its characters mean in a URL, a query or a shell."""

from pathlib import Path

from tests.ridecast.calls import ridecast
from tests.ridecast.conftest import REGION, UNTIL, Small


def test_everything_is_inside_a_home_with_an_odd_name(small: Small, tmp_path: Path) -> None:
    """Bootstrap, training, run and verification work in such a home, and leave nothing beside it."""
    folder = tmp_path / "homes"
    folder.mkdir()
    home, region, rides = ("--home", "homes/data?1 #%20"), ("--region", REGION), ("--rides", str(small.rides))
    for words in (
        ("bootstrap", *region, *rides, *home, "--until", UNTIL),
        ("train", *home, "--promote", "--most-rows", 10_000),
        ("run", *region, *rides, *home, "--until-end"),
        ("ledger", "verify", *home),
        ("rejects", "show", *home),
    ):
        done = ridecast(*words, cwd=tmp_path)
        assert (words, 0) == (words, done.status), done.err
    assert ["data?1 #%20"] == [path.name for path in folder.iterdir()]
    assert ["homes"] == [path.name for path in tmp_path.iterdir()]
    inside = {path.name for path in (folder / "data?1 #%20").iterdir()}
    assert {"ledger", "blobs", "checkpoints", "forecasts", "keys", "mlflow", "rejects.sqlite"} <= inside
    logs = {path.name for path in (folder / "data?1 #%20" / "ledger").glob("*.sqlite")}
    assert {"control.sqlite", "region__tehran.sqlite", "runs.sqlite"} == logs
