"""`ridecast settings`: what it prints, and how it refuses."""

import json

from click.testing import CliRunner

from ridecast.commands.settings import command
from schemas.configuration.settings import SETTINGS
from schemas.errors import ConfigError


def test_every_setting_is_in_the_table() -> None:
    """Each variable stands in the table, and a value that came from the environment says so."""
    text = CliRunner().invoke(command, env={"RIDECAST_API_PORT": "9000", "COLUMNS": "200"}).stdout
    assert [row.variable for row in SETTINGS if row.variable not in text] == []
    (line,) = (line for line in text.splitlines() if "RIDECAST_API_PORT" in line)
    assert ("9000" in line, "environment" in line) == (True, True)


def test_scripts_get_json_without_passwords() -> None:
    """The JSON form has every row, with its source, and masks a password."""
    result = CliRunner().invoke(command, ["--json"], env={"RIDECAST_DATABASE": "postgresql://me:hunter2@db/x"})
    rows = json.loads(result.stdout)["settings"]
    assert [row.name for row in SETTINGS] == list(rows)
    assert (rows["database"]["value"], rows["database"]["source"]) == ("postgresql://me:***@db/x", "RIDECAST_DATABASE")


def test_a_wrong_value_and_a_mistyped_name_are_said() -> None:
    """A malformed value is an error of usage, and a variable that sets nothing is named."""
    result = CliRunner().invoke(command, env={"RIDECAST_API_PORT": "x"})
    assert isinstance(result.exception, ConfigError)
    assert result.exception.exit_code == 2
    assert "RIDECAST_HOEM is not a Ridecast setting (typo?)" in CliRunner().invoke(command, env={"RIDECAST_HOEM": "x"}).stderr
