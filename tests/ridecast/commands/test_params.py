"""`ridecast params` and `ridecast flags`: what people set, see and are refused."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dataflows.stream.stores import open_stores
from ledger.views.append import append_shared
from ridecast.main import cli
from schemas.configuration.settings import Settings
from schemas.records.records import RegionBootstrapped, region_log
from schemas.regions import load_region

DEFINITION = '{"variants": {"on": true, "off": false}, "default": "off", "rules": [{"regions": ["nyc"], "variant": "on"}]}'


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one region."""
    folder = tmp_path_factory.mktemp("params")
    stores, region = open_stores(Settings.from_env({"RIDECAST_HOME": str(folder)})), load_region("nyc")
    boot = RegionBootstrapped(
        region="nyc", definition=region.to_json(), until="2014-05-01", first_slot=1, start_slot=1, rides=0, counts_blob=b""
    )
    append_shared(stores.ledger, region_log("nyc"), boot)
    stores.close()
    return folder


def called(home: Path, *words: str) -> Result:
    """The result of a command on the home."""
    return CliRunner().invoke(cli, [*words, "--home", str(home)])


def test_a_parameter_is_set_shown_and_taken_back(home: Path) -> None:
    """Each step prints what holds, where it comes from, and who decided it; the past stays."""
    name = "surge_threshold_nats"
    before = json.loads(called(home, "params", "get", name, "--json").stdout)["control_size"]
    why = ("--author", "operations", "--reason", "marathon [10 km]")
    said = called(home, "params", "set", name, "25", "--region", "nyc", *why)
    assert f"{name} of region nyc: 25.0, before not set; from the next close or decision on\n" == said.stdout
    assert "25.0 already; nothing recorded" in called(home, "params", "set", name, "25.0", "--region", "nyc").stdout
    assert ["25.0\n", "8.0\n"] == [called(home, "params", "get", name, *more).stdout for more in (("--region", "nyc"), ())]
    assert "8.0\n" == called(home, "params", "get", name, "--region", "nyc", "--at", str(before)).stdout
    rows = json.loads(called(home, "params", "list", "--region", "nyc", "--json").stdout)["parameters"]
    [row] = [row for row in rows if row["set"]]
    assert ("region", "marathon [10 km]", "operations") == (row["source"], row["set"]["reason"], row["set"]["author"])
    assert name in called(home, "params", "list").stdout
    assert "not set, before 25.0" in called(home, "params", "unset", name, "--region", "nyc").stdout
    history = json.loads(called(home, "params", "history", name, "--json").stdout)
    assert ["25.0", None] == [change["value"] for change in history]
    table = called(home, "params", "history").stdout
    assert "operations" in table
    assert "unset" in table


def test_a_static_setting_is_the_default_of_its_parameter(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set wins over the variable; the list says which of them it is."""
    monkeypatch.setenv("RIDECAST_UNREADY_AFTER_SLOTS", "30")
    rows = json.loads(called(home, "params", "list", "--json").stdout)["parameters"]
    [row] = [row for row in rows if row["parameter"] == "unready_after_slots"]
    assert ("30.0", "30.0", "setting unready_after_slots") == (row["value"], row["default"], row["source"])


def test_a_flag_is_defined_evaluated_and_removed(home: Path, tmp_path: Path) -> None:
    """From the command line and from a file; who asks about a flag that is not there is told so, and the exit code says it."""
    assert "defined" in called(home, "flags", "set", "page", DEFINITION, "--reason", "a try").stdout
    (tmp_path / "page.json").write_text(DEFINITION, "utf-8")
    assert "already" in called(home, "flags", "set", "page", f"@{tmp_path / 'page.json'}").stdout
    found = called(home, "flags", "evaluate", "page", "--region", "nyc")
    assert (0, True, "TARGETING_MATCH") == (found.exit_code, *(json.loads(found.stdout)[name] for name in ("value", "reason")))
    assert json.loads(DEFINITION)["rules"] == json.loads(called(home, "flags", "show", "page").stdout)["rules"]
    assert ["page"] == [one["flag"] for one in json.loads(called(home, "flags", "list", "--json").stdout)]
    assert "a try" in called(home, "flags", "list").stdout
    assert "removed" in called(home, "flags", "remove", "page").stdout
    gone = called(home, "flags", "evaluate", "page")
    assert (1, "FLAG_NOT_FOUND") == (gone.exit_code, json.loads(gone.stdout)["errorCode"])
    assert [True, False] == [change["definition"] is not None for change in json.loads(called(home, "flags", "history", "--json").stdout)]
    assert "(removed)" in called(home, "flags", "history").stdout
    assert "no flags" in called(home, "flags", "list").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("params", "get", "none"), "there is none of this name"),
        (("params", "set", "surge_threshold_nats", "nan"), "expected a number, 0.5 to 40 nats, got 'nan'"),
        (("params", "set", "publishing", "off", "--region", "atlantis"), "--region: expected one of nyc, got 'atlantis'"),
        (("params", "list", "--region", "atlantis"), "--region: expected one of nyc, got 'atlantis'"),
        (("params", "unset", "publishing"), "nothing to unset"),
        (("params", "list", "--at", "99999"), "--at: expected a size of control of at most"),
        (("flags", "set", "page", "{}"), "default: expected a value, got none"),
        (("flags", "set", "page", DEFINITION.replace("nyc", "atlantis")), "regions: expected some of nyc, got 'atlantis'"),
        (("flags", "remove", "none"), "nothing to remove"),
        (("flags", "show", "none"), "expected one of none, got 'none'"),
    ],
)
def test_what_is_refused_records_nothing(home: Path, words: tuple[str, ...], said: str) -> None:
    """One line names what is wrong; the control log has as many entries as before."""
    size = json.loads(called(home, "params", "list", "--json").stdout)["control_size"]
    result = called(home, *words)
    assert result.exit_code != 0
    assert said in str(result.exception)
    assert "\n" not in str(result.exception)
    assert size == json.loads(called(home, "params", "list", "--json").stdout)["control_size"]


def test_status_says_that_publishing_is_off(home: Path) -> None:
    """The row of the region says so while it is, and no longer after."""
    assert 0 == called(home, "params", "set", "publishing", "off", "--region", "nyc").exit_code
    assert "publishing" in called(home, "status").stdout
    assert 0 == called(home, "params", "unset", "publishing", "--region", "nyc").exit_code
    assert "publishing" not in called(home, "status").stdout
