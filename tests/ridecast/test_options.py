"""What options turn into: settings, homes that exist, regions, ports."""

import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ridecast import options
from schemas.errors import ConfigError, UsageError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests."""
    for name in os.environ:
        if name.startswith("RIDECAST_"):
            monkeypatch.delenv(name)


def test_the_command_line_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was given wins, what was not given comes from the environment or the defaults."""
    monkeypatch.setenv("RIDECAST_HOME", "there")
    monkeypatch.setenv("RIDECAST_RIDES", "rides")
    settings = options.settings_of(home="here", rides=None)
    assert ("here", "rides", 8000) == (str(settings.home), settings.rides, settings.api_port)


def test_a_home_must_hold_a_ledger(tmp_path: Path) -> None:
    """A place that does not exist, is a file or holds no ledger is refused each in its own words, and stays as it is."""
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name, what in (("gone", "does not exist"), ("file", "is not a directory"), ("empty", "holds no ledger")):
        place = str(tmp_path / name)
        with pytest.raises(UsageError) as caught:
            options.settings_of_home(home=place)
        assert str(caught.value) == f"--home: expected a directory that `ridecast bootstrap` has filled, got {place!r}, which {what}"
    assert ["empty", "file"] == sorted(path.name for path in tmp_path.iterdir())
    (tmp_path / "empty" / "ledger").mkdir()
    assert tmp_path / "empty" == options.settings_of_home(home=str(tmp_path / "empty")).home


def test_a_ledger_in_a_database_needs_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a database the home may still be missing: it holds checkpoints only."""
    monkeypatch.setenv("RIDECAST_DATABASE", "postgresql://me@db/rides")
    assert tmp_path / "gone" == options.settings_of_home(home=str(tmp_path / "gone")).home


def test_a_wrong_value_names_its_option() -> None:
    """A value that was given is said with the option, not with the variable."""
    with pytest.raises(ConfigError, match=r"^--rides: expected a directory or kafka://HOST:PORT/TOPIC, got 'kafka://x'$"):
        options.settings_of(rides="kafka://x")


def test_a_region_by_name_or_file(tmp_path: Path) -> None:
    """A region that ships, or one in a file; anything else is refused with what there is."""
    path = tmp_path / "mine.json"
    path.write_text(options.region_of("nyc").to_json(), "utf-8")
    assert options.region_of("nyc") == options.region_of(str(path))
    with pytest.raises(UsageError, match="--region: expected one of nyc, tehran or a JSON or GeoJSON file, got 'atlantis'"):
        options.region_of("atlantis")


def test_a_region_that_cannot_work_is_refused_only_when_it_is_new(tmp_path: Path) -> None:
    """Commands that begin something refuse slots that miss midnight; a home that recorded such a region goes on."""
    path = tmp_path / "mine.json"
    text = '{"id": "a", "timezone": "Asia/Kolkata", "polygon": [[22, 88], [22, 89], [23, 89]], "slot_min": 60, "horizons_min": [60]}'
    path.write_text(text, "utf-8")
    assert 60 == options.region_of(str(path)).slot_min
    with pytest.raises(UsageError, match=r"mine\.json: region a: slot_min: expected slots that start at local midnight"):
        options.new_region_of(str(path))


@pytest.mark.parametrize(("given", "status", "said"), [("8080", 0, "8080"), ("0", 0, "0"), ("-1", 2, "0<=x<=65535"), ("x", 2, "'--port'")])
def test_a_port_is_a_number_in_bounds(given: str, status: int, said: str) -> None:
    """A port is taken as a number, and refused under the name that the person typed."""

    @click.command()
    @options.port
    def command(api_port: int | None) -> None:
        click.echo(api_port)

    result = CliRunner().invoke(command, ["--port", given])
    assert (status, True) == (result.exit_code, said in result.output)


@pytest.mark.parametrize(
    ("given", "said"), [("nan", "expected a number, got 'nan'"), ("2", "not in the range"), ("x", "not a valid float")]
)
def test_a_number_in_bounds_is_a_number(given: str, said: str) -> None:
    """What compares with no bound is refused like what is outside of them."""
    assert 0.5 == options.Number(0, 1).convert("0.5", None, None)
    with pytest.raises(click.BadParameter, match=said):
        options.Number(0, 1).convert(given, None, None)


def test_a_file_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    """A folder in its place, a file in place of its folder, and a folder without permission are named; missing folders are not."""
    kind = options.OutFile()
    (tmp_path / "file").write_text("")
    assert tmp_path / "new" / "deep" / "report.html" == kind.convert(str(tmp_path / "new" / "deep" / "report.html"), None, None)
    assert not (tmp_path / "new").exists()
    with pytest.raises(click.BadParameter, match="is a directory"):
        kind.convert(str(tmp_path), None, None)
    with pytest.raises(click.BadParameter, match="is not a directory"):
        kind.convert(str(tmp_path / "file" / "report.html"), None, None)


def test_a_folder_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system says of the folder decides, so that nothing is created to find out."""
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(click.BadParameter, match="no permission to create files in"):
        options.OutFile().convert(str(tmp_path / "report.html"), None, None)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31mred", "\udcff", "x" * 1_001])
def test_what_is_recorded_for_ever_is_one_clean_line(text: str) -> None:
    """Authors and reasons with line breaks, control characters, bytes that are no UTF-8, or without end are refused."""
    with pytest.raises(UsageError, match="expected"):
        options.RecordedText().convert(text, None, None)
    assert "marathon [10 km], café 🚕" == options.RecordedText().convert("marathon [10 km], café 🚕", None, None)
