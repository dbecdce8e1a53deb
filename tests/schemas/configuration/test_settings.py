"""Settings: every row has a field, a type and a bound, and every wrong value is named."""

import doctest
import re
from dataclasses import fields
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from hypothesis import assume, given, strategies as st

import schemas.configuration.settings
from schemas.configuration.settings import SETTINGS, KafkaPlace, Setting, Settings, masked, parse_rides, setting_named
from schemas.errors import ConfigError

NUMBERS = [setting for setting in SETTINGS if not isinstance(setting.default, str)]


def test_documented_examples_run() -> None:
    """The examples in the docstrings give what they say."""
    assert doctest.testmod(schemas.configuration.settings).failed == 0


def test_every_row_has_a_field_in_the_same_order() -> None:
    """The table and the frozen class list the same names in the same order."""
    assert [setting.name for setting in SETTINGS] == [field.name for field in fields(Settings)][: len(SETTINGS)]


def test_every_default_has_the_type_of_its_field() -> None:
    """A default is what its field says it is, so the one unchecked call is sound."""
    settings = Settings.from_env({})
    hints = {field.name: field.type for field in fields(Settings)}
    for setting in SETTINGS:
        value, hint = getattr(settings, setting.name), hints[setting.name]
        if get_origin(hint) is Literal:
            assert value in get_args(hint)
            assert "|".join(get_args(hint)) == setting.form
        else:
            assert type(value) is hint or isinstance(value, Path)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_default_obeys_its_own_bounds(setting: Setting) -> None:
    """A default passes the check that a person's value must pass."""
    assert setting.parse(str(setting.default), where="default") == setting.default


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda setting: setting.name)
@pytest.mark.parametrize("side", ["low", "high"])
def test_a_number_out_of_bounds_is_refused(setting: Setting, side: str) -> None:
    """One beyond either bound is an error that names variable, bound and value."""
    assert setting.low is not None
    assert setting.high is not None
    wrong = str(setting.low - 1 if side == "low" else setting.high + 1)
    wrong = wrong.removesuffix(".0")
    with pytest.raises(ConfigError, match=rf"{setting.variable}: expected .+, got {wrong}"):
        Settings.from_env({setting.variable: wrong})


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "five", "0x10", "tcp://10.0.0.1:8000"])
def test_what_is_no_number_is_refused(text: str) -> None:
    """Neither words nor infinities nor what Kubernetes puts there pass for a number."""
    with pytest.raises(ConfigError, match="RIDECAST_IDLE_AFTER_S"):
        Settings.from_env({"RIDECAST_IDLE_AFTER_S": text})
    with pytest.raises(ConfigError, match="RIDECAST_API_PORT"):
        Settings.from_env({"RIDECAST_API_PORT": text})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("instance", "Local"),
        ("instance", "a/b"),
        ("rides", "http://x"),
        ("rides", "kafka://host/topic"),
        ("rides", "kafka://host:9092/"),
        ("rides", "kafka://host:9092/a/b"),
        ("database", "mysql://x"),
        ("redis", "localhost:6379"),
        ("kafka", "localhost"),
        ("kafka", "a:1,b"),
        ("mlflow", "folder"),
        ("publish_backlog", "some"),
        ("log_level", "loud"),
        ("api_host", "a b"),
    ],
)
def test_a_text_of_the_wrong_form_is_refused(name: str, text: str) -> None:
    """A malformed text is an error that says what was expected and what came."""
    with pytest.raises(ConfigError, match=rf"RIDECAST_{name.upper()}: expected .+, got '{text}'"):
        Settings.from_env({f"RIDECAST_{name.upper()}": text})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rides", "kafka://127.0.0.1:9092/rides.raw"),
        ("rides", "kafka://[::1]:9092/rides.raw"),
        ("rides", "../some folder"),
        ("database", "postgresql://me:pw@127.0.0.1:5432/ridecast"),
        ("database", "postgresql+pg8000://127.0.0.1/x"),
        ("redis", "redis://127.0.0.1:6379/0"),
        ("kafka", "a:1,b.example:65535"),
        ("mlflow", "sqlite:///mlflow.db"),
        ("mlflow", "http://127.0.0.1:5000"),
        ("api_host", "::1"),
    ],
)
def test_a_text_of_the_right_form_is_kept_as_it_is(name: str, text: str) -> None:
    """A well-formed text arrives unchanged."""
    assert getattr(Settings.from_env({f"RIDECAST_{name.upper()}": text}), name) == text


def test_the_command_line_goes_before_the_environment() -> None:
    """An option beats the variable, None does not, and the source says which it was."""
    settings = Settings.from_env({"RIDECAST_HOME": "a", "RIDECAST_API_PORT": "1"}, {"home": Path("b"), "api_port": None})
    rows = {row.setting.name: row for row in settings.explain()}
    assert (settings.home, settings.api_port) == (Path("b"), 1)
    assert (rows["home"].source, rows["api_port"].source, rows["redis"].source) == ("command line", "RIDECAST_API_PORT", "default")


def test_an_empty_variable_counts_as_not_set() -> None:
    """Compose files set variables to nothing; that is the default, not an error."""
    assert Settings.from_env({"RIDECAST_API_PORT": ""}).api_port == setting_named("api_port").default


def test_a_mistyped_variable_is_listed() -> None:
    """A variable with our prefix that sets nothing is named, so that a typing error can be seen."""
    assert Settings.from_env({"RIDECAST_HOEM": "x", "RIDECAST_SHARED": "y", "PATH": "z"}).unknown == ("RIDECAST_HOEM",)


def test_an_unknown_option_is_refused() -> None:
    """A setting that does not exist cannot be given."""
    with pytest.raises(ConfigError, match=r"expected one of .*, got 'port'"):
        Settings.from_env({}, {"port": 1})


def test_a_password_is_never_shown() -> None:
    """Neither the table of settings nor an error message carries a password."""
    settings = Settings.from_env({"RIDECAST_DATABASE": "postgresql://me:hunter2@db/x"})
    assert "hunter2" not in " ".join(row.shown for row in settings.explain())
    with pytest.raises(ConfigError, match=r"mysql://me:\*\*\*@db") as error:
        Settings.from_env({"RIDECAST_DATABASE": "mysql://me:hunter2@db/x"})
    assert "hunter2" not in str(error.value)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_masking_hides_any_password(password: str) -> None:
    """Whatever the password holds, slashes, at signs and colons too, nothing of it remains."""
    assume(not re.search(r"[?&][A-Za-z_][\w.-]*=", password))  # like a query: refused, see test_addresses
    assert masked(f"postgresql://me:{password}@db/x") == "postgresql://me:***@db/x"


SECRET_SETTINGS = [setting for setting in SETTINGS if setting.secret]


@pytest.mark.parametrize("setting", SECRET_SETTINGS, ids=lambda setting: setting.name)
def test_every_secret_may_be_in_a_file(setting: Setting, tmp_path: Path) -> None:
    """The variable with _FILE names a file; its last line break does not count, and the source says where the value is from."""
    scheme = {"database": "postgresql", "redis": "rediss"}.get(setting.name, "http")
    path = tmp_path / "secret"
    path.write_text(f"{scheme}://me:in-a-file@h/x\n")
    settings = Settings.from_env({setting.file_variable: str(path)})
    assert getattr(settings, setting.name) == f"{scheme}://me:in-a-file@h/x"
    row = next(row for row in settings.explain() if row.setting is setting)
    assert (row.source, row.shown) == (setting.file_variable, f"{scheme}://me:***@h/x")
    assert settings.unknown == ()


@pytest.mark.parametrize("setting", SECRET_SETTINGS, ids=lambda setting: setting.name)
def test_a_file_that_is_no_use_is_named_unseen(setting: Setting, tmp_path: Path) -> None:
    """A missing or empty file, other bytes, other contents and both variables are errors that never show the contents."""
    path = tmp_path / "secret"
    with pytest.raises(ConfigError, match=f"{setting.file_variable}: cannot read '{path}': No such file"):
        Settings.from_env({setting.file_variable: str(path)})
    for contents, said in ((b"\n", "got an empty file"), (b"\xff\xfe", "expected text"), (b"only-the-password", r"\(not shown\)")):
        path.write_bytes(contents)
        with pytest.raises(ConfigError, match=f"{setting.file_variable}: .*{said}") as error:
            Settings.from_env({setting.file_variable: str(path)})
        assert "only-the-password" not in str(error.value)
    with pytest.raises(ConfigError, match=f"{setting.variable}: expected only one of it and {setting.file_variable}, got both"):
        Settings.from_env({setting.variable: "x://y", setting.file_variable: str(path)})


def test_rides_are_a_directory_or_a_topic() -> None:
    """The place of the rides is parsed once, into one of two types."""
    assert parse_rides("rides/may") == Path("rides/may")
    assert parse_rides("kafka://127.0.0.1:9092/rides.raw") == KafkaPlace("127.0.0.1:9092", "rides.raw")
    with pytest.raises(ConfigError, match="RIDECAST_RIDES"):
        parse_rides("")
