"""A database restored from an older copy, from the refusal to the end of the run: every loss is recorded."""

import contextlib
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dataflows.stream.publish import Publisher
from dataflows.stream.publish_process import open_forecasts
from ridecast.main import cli
from schemas.errors import BootRefused
from schemas.records.record_codec import kind_of
from schemas.records.records import ForecastIssued, LogContinued, SchemaRecorded
from tests.dataflows.stream.test_local import Killed, killed_after
from tests.differences import assert_same_payloads
from tests.simulation.fixtures import Settled
from tests.simulation.runs import LOG, Place, copied, payloads_at, run_here

NOT_OF_THE_RUN = (LogContinued.__name__, SchemaRecorded.__name__)


def call(place: Place, *words: object) -> Result:
    """Run `ridecast ledger` on the home."""
    return CliRunner().invoke(cli, ["ledger", *map(str, words), "--home", str(place.home)])


def published(place: Place) -> list[str]:
    """Publish what is due; returns the folders of forecasts after that."""
    stores = place.open()
    publisher = Publisher(stores.ledger, stores.blobs, open_forecasts(stores.settings, "small"), place.world.region)
    while publisher.step():
        pass
    stores.close()
    return sorted(path.name for path in (place.home / "forecasts").iterdir())


def of_the_run(payloads: list[bytes]) -> list[bytes]:
    """Payloads without the records of how the log was continued."""
    return [payload for payload in payloads if kind_of(payload) not in NOT_OF_THE_RUN]


def test_from_the_refusal_to_the_end(settled: Settled, tmp_path: Path) -> None:
    """Run, publish, lose the last hours: refused until continued with a record; then all is counted, published and clean again."""
    place = copied(settled.place, tmp_path / "home")
    with contextlib.suppress(Killed):
        run_here(place, killed_after(20), batch_events=10)
    shutil.copytree(place.home / "ledger", tmp_path / "copy")
    run_here(place)
    assert published(place) == ["region__small"]

    shutil.rmtree(place.home / "ledger")
    shutil.copytree(tmp_path / "copy", place.home / "ledger")
    kept = payloads_at(place)
    with pytest.raises(BootRefused, match=r"the checkpoint is ahead of the database: .*`ridecast ledger continue`"):
        run_here(place)
    assert call(place, "verify").exit_code == 1
    for log in (LOG, "runs"):
        done = call(place, "continue", "--log", log, "--reason", "put back from the copy of noon")
        assert done.exit_code == 0, done.exception
    assert call(place, "verify").exit_code == 0
    tail = call(place, "tail", "--log", LOG, "--limit", "1").output
    assert f"{len(kept) + 1:>8}  LogContinued" in tail
    assert "reason=put back from the copy of noon" in tail

    run_here(place)
    found = payloads_at(place)
    assert found[: len(kept)] == kept
    assert_same_payloads(of_the_run(settled.expected), of_the_run(found))
    assert [kind_of(payload) for payload in found].count(LogContinued.__name__) == 1
    assert published(place) == ["region__small", "region__small@2"]
    last = max(index for index, payload in enumerate(found) if kind_of(payload) == ForecastIssued.__name__)
    assert max(path.name for path in (place.home / "forecasts" / "region__small@2").iterdir()) == f"{last:020d}.avro"
    assert call(place, "verify").exit_code == 0
    assert "ridecast/local@2/region/small\n" in call(place, "checkpoint", "--log", LOG).output
