"""`ridecast experiment`: what start, status and stop record, show, draw and refuse."""

import hashlib
import json
from pathlib import Path

import pytest

from schemas.records.records import CONTROL_LOG, ExperimentStarted, ExperimentStopped
from tests.dataflows.jobs.experiment_town import town_with_two_models, two_models
from tests.dataflows.jobs.shifting_town import TOWN, Town
from tests.ridecast.conftest import Call


@pytest.fixture(autouse=True)
def _no_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow has tests of its own."""
    monkeypatch.setattr("dataflows.jobs.promoting.track_aliases", lambda *_, **__: None)


def challenger_of(town: Town) -> str:
    """The first digits of the challenger's digest."""
    assert town.stores.blobs.has(hashlib.sha256(two_models()[1]).digest())
    return hashlib.sha256(two_models()[1]).hexdigest()[:10]


def test_an_experiment_from_its_start_to_its_stop(tmp_path: Path, call: Call) -> None:
    """Started, it serves; status shows table, sentence and plot, computed from the ledger; a stop records what was found."""
    town, home = town_with_two_models(tmp_path / "home"), tmp_path / "home"
    digits = challenger_of(town)
    none = call("experiment", "status", "--home", home)
    assert (0, f"{TOWN.id} pickups: no experiment has been started") == (none.status, none.out.strip())
    begun = call("experiment", "start", digits, "--home", home, "--name", "trees", "--block", 120, "--share", 0.4, "--author", "tests")
    assert 0 == begun.status
    assert f"experiment trees: model {digits}" in begun.out
    assert "(B) serves 40.0% of the cells beside" in begun.out
    [started] = town.stores.ledger.records(CONTROL_LOG, ExperimentStarted)
    assert ("trees", 400, 1, "tests", "by command") == (
        started.experiment,
        started.share_milli,
        started.block_slots,
        started.author,
        started.reason,
    )
    town.close_slots(30, shifted=False)
    document, picture = tmp_path / "deep" / "experiment.json", tmp_path / "experiment.png"
    shown = call("experiment", "status", "--home", home, "--json", document, "--plot", picture)
    assert 0 == shown.status
    assert f"{TOWN.id} pickups: experiment trees runs" in shown.out
    assert "change of the absolute error of the median" in shown.out
    assert "change of the loss by B after each of 28 blocks" in shown.out
    said = json.loads(document.read_text("utf-8"))
    assert ("trees", "runs", 28) == (said["experiment"], said["state"], len(said["looks"]))
    assert said["sentence"] in shown.out
    assert (None, None) == (said["looks"][0]["lower"], said["looks"][0]["upper"])
    assert said["looks"][-1]["lower"] < said["looks"][-1]["change"] < said["looks"][-1]["upper"]
    shares = [row["forecasts"] for row in said["arms"] if row["horizon_min"] == 120]
    assert shares[1] / sum(shares) == pytest.approx(0.4, abs=0.05)
    assert picture.read_bytes().startswith(b"\x89PNG")
    listed = " ".join(call("status", "--home", home).out.split())
    for word in ("experiments (newest)", "trees", started.champion.hex()[:12], digits, "40 %", "2014-04-20", "runs"):
        assert word in listed
    stopped = call("experiment", "stop", "--home", home, "--reason", "seen enough")
    assert (0, True) == (stopped.status, "experiment trees stopped after 28 blocks: " in stopped.out)
    [record] = town.stores.ledger.records(CONTROL_LOG, ExperimentStopped)
    assert (said["finding"], "seen enough", 28) == (record.finding, record.reason, record.blocks)
    assert "experiment trees ended: seen enough" in call("experiment", "status", "--home", home, "--name", "trees").out
    for words, why in ((("stop",), "expected an experiment that runs, found none"), (("status", "--name", "x"), "expected one of region")):
        refused = call("experiment", *words, "--home", home)
        assert (1, True) == (refused.status, why in refused.err)
    town.stores.close()


def test_a_plot_needs_matplotlib(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without matplotlib the rest is shown, and the error says what to install; a file that it cannot write is named."""
    town, home = town_with_two_models(tmp_path / "home"), tmp_path / "home"
    call("experiment", "start", challenger_of(town), "--home", home, "--block", 120)
    town.stores.close()
    odd = call("experiment", "status", "--home", home, "--plot", tmp_path / "picture.odd")
    assert (2, True) == (odd.status, "picture.odd" in odd.err)
    monkeypatch.setattr("ridecast.experiment_drawing.importlib.util.find_spec", lambda name: None)
    done = call("experiment", "status", "--home", home, "--plot", tmp_path / "picture.png")
    assert 2 == done.status
    assert "no block has been compared yet" in done.out
    assert "--plot: expected matplotlib, which is not installed; pip install 'ridecast[plot]'" in done.err
