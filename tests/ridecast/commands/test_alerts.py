"""`ridecast alerts`: what a signal becomes, as people see it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dataflows.stream.stores import open_stores
from dataflows.watch.hub import HubLog
from dataflows.watch.places import Place, remove_others, write_place
from ridecast.commands.alerts import command
from schemas.configuration.settings import Settings
from state.detect.signals import Severity, Signal

SLOT_US = 300_000_000


def signal(slot: int, *, firing: bool = True, kind: str = "surge") -> Signal:
    """A signal of New York at the end of a slot."""
    said = "Three times the rides that were expected."
    return Signal("test", kind, "nyc", "cells", slot, slot, slot * SLOT_US, Severity.CRITICAL, firing, 3.0, 2.0, "ratio", said, ("dr5ru7",))


def called(*words: str) -> Result:
    """The command's result."""
    return CliRunner().invoke(command, list(words))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with one open alert."""
    stores = open_stores(Settings.from_env({"RIDECAST_HOME": str(tmp_path)}))
    hub = HubLog(stores.ledger)
    assert [1, 0] == [hub.observe([signal(5)], {"": 1, "nyc": 5 * SLOT_US}) for _ in range(2)]
    stores.close()
    return tmp_path


def test_a_signal_is_listed_shown_acknowledged_and_silenced(home: Path) -> None:
    """One signal becomes one alert, which every subcommand finds; the exit code says whether somebody is needed."""
    place = ("--home", str(home))
    listed = called("list", *place, "--json")
    [alert] = json.loads(listed.stdout)["alerts"]
    assert (1, "open", "surge", "critical") == (listed.exit_code, alert["state"], alert["kind"], alert["severity"])
    assert "Three times" in called("show", alert["alert"][:4], *place).stdout
    assert 0 == called("ack", alert["alert"][:4], *place, "--outcome", "handled").exit_code
    assert (0, "handled") == (
        called("list", *place).exit_code,
        json.loads(called("show", alert["alert"], *place, "--json").stdout)["acknowledged"],
    )
    assert 0 == called("silence", *place, "--kind", "surge", "--hours", "1").exit_code
    assert ["silenced"] == [one["state"] for one in json.loads(called("list", *place, "--json").stdout)["alerts"]]
    assert 0 == called("silence", *place, "--kind", "surge", "--hours", "0").exit_code
    assert ["acknowledged"] == [one["state"] for one in json.loads(called("list", *place, "--json").stdout)["alerts"]]


def test_a_resolved_alert_is_listed_with_all(home: Path) -> None:
    """An alert whose signal ended and stayed quiet is gone from the list and found with --all."""
    stores = open_stores(Settings.from_env({"RIDECAST_HOME": str(home)}))
    HubLog(stores.ledger).observe([signal(6, firing=False)], {"nyc": 12 * SLOT_US})
    stores.close()
    assert (0, "no open alerts\n") == ((result := called("list", "--home", str(home))).exit_code, result.stdout)
    assert ["resolved"] == [one["state"] for one in json.loads(called("list", "--home", str(home), "--all", "--json").stdout)["alerts"]]


def test_what_is_wrong_is_said(home: Path) -> None:
    """An unknown alert and a silence of everything are refused with what was expected."""
    assert "expected the beginning of one id, found 0" in str(called("show", "zzz", "--home", str(home)).exception)
    assert "expected --region, --kind or --subject" in str(called("silence", "--home", str(home)).exception)


def test_what_a_receiver_was_not_told_is_listed(home: Path) -> None:
    """The list says how many notices a receiver was not told, since when and why, and names no receiver that was removed."""
    folder = home / "alerts" / "told"
    folder.mkdir(parents=True)
    failing = Place("hook", 0).failed("receiver hook: expected status 2xx, got 500: [/red]", 60.0, refused=False)
    write_place(folder / "hook.json", failing.failed("again", 90.0, refused=False))
    write_place(folder / "old.json", Place("old", 0))
    remove_others(folder, ["hook"])
    listed = json.loads(called("list", "--home", str(home), "--json").stdout)["receivers"]
    assert [("hook", 1, 2, "1970-01-01T00:01:00Z", "again")] == [
        (one["receiver"], one["undelivered"], one["failures"], one["failing_since"], one["error"]) for one in listed
    ]
    write_place(folder / "hook.json", failing)
    assert "[/red]" in called("list", "--home", str(home)).stdout
    (folder / "hook.json").write_text("{", "utf-8")
    assert "expected a receiver's place" in str(called("list", "--home", str(home)).exception)


def test_what_does_nothing_is_not_said_to_be_done(home: Path) -> None:
    """No silence to end, a silence that meets no alert, and an empty id are told."""
    place = ("--home", str(home))
    assert "got none in force" in str(called("silence", *place, "--kind", "surge", "--hours", "0").exception)
    assert called("silence", *place, "--kind", "surgee").stdout.endswith("; open alerts that are silent now: 0\n")
    assert called("silence", *place, "--kind", "surge").stdout.endswith("; open alerts that are silent now: 1\n")
    assert "found 0" in str(called("ack", "", *place).exception)
