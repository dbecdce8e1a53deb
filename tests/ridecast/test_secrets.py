"""A secret in every setting: no output of any command contains one, neither of errors nor of logs, and nothing stores one."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from schemas.configuration.settings import SETTINGS
from tests.ridecast.calls import Done, environment, ridecast
from tests.ridecast.conftest import Small
from tests.services.process import free_port

RUN = ("run", "--rides", "rides", "--region", "tehran", "--home", "home", "--until-end")
ODD = "/@:?#=&%+ä'\"\\"  # what separates the parts of an address, and what is escaped in texts


def planted(name: str) -> str:
    """A secret that no other setting has."""
    return f"Se-{name}{ODD}-cret"


def marks(text: str) -> list[str]:
    """The planted secrets of which a text has the beginning or the end, however it is encoded."""
    return [mark for mark in ("Se-", "-cret", "U2Ut") if mark in text]


def addresses(port: int) -> dict[str, str]:
    """Every setting that may hold a secret, with one, at a port where nobody answers."""

    def login(name: str) -> str:
        return f"me:{quote(planted(name), safe='/@:')}@127.0.0.1:{port}"

    return {
        "database": f"postgresql://{login('database')}/rides?sslmode=require&sslpassword={quote(planted('key'), safe='')}",
        "redis": f"rediss://{login('redis')}/0?ssl_password={quote(planted('redis-key'), safe='')}",
        "mlflow": f"http://{login('mlflow')}/tracking",
    }


def client(port: int) -> dict[str, str]:
    """Brokers where nobody answers, and every property of their client that may be a secret."""
    names = ("SASL_PASSWORD", "SSL_KEY_PASSWORD", "SSL_KEYSTORE_PASSWORD")
    return {
        "RIDECAST_KAFKA": f"127.0.0.1:{port}",
        "RIDECAST_KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
        "RIDECAST_KAFKA_SASL_MECHANISM": "PLAIN",
        "RIDECAST_KAFKA_SASL_USERNAME": "me",
        **{f"RIDECAST_KAFKA_{name}": planted(name) for name in names},
    }


def seen(done: Done) -> list[str]:
    """The marks of secrets in all that a command has printed."""
    return marks(done.out + done.err)


def test_every_secret_setting_is_planted() -> None:
    """A new setting with a secret must be added to these tests."""
    assert [setting.name for setting in SETTINGS if setting.secret] == list(addresses(1))


def test_settings_show_no_secret(tmp_path: Path) -> None:
    """Neither as a table nor as JSON, whether the secrets are in variables or in files."""
    port = free_port()
    by_value = {f"RIDECAST_{name.upper()}": value for name, value in addresses(port).items()} | client(port)
    by_file = {}
    for variable, value in by_value.items():
        if marks(value):
            (tmp_path / variable).write_text(value + "\n", "utf-8")
            by_file[f"{variable}_FILE"] = str(tmp_path / variable)
        else:
            by_file[variable] = value
    for env in (by_value, by_file):
        table, script = ridecast("settings", cwd=tmp_path, env=env), ridecast("settings", "--json", cwd=tmp_path, env=env)
        assert (0, 0, [], []) == (table.status, script.status, seen(table), seen(script))
        shown = json.loads(script.out)
        assert f"rediss://me:***@127.0.0.1:{port}/0?ssl_password=***" == shown["settings"]["redis"]["value"]
        assert "***" == shown["kafka_client"]["sasl.password"]["value"]
        assert "me" == shown["kafka_client"]["sasl.username"]["value"]


AWAY = [("database", RUN), ("database", ("ledger", "verify", "--home", "home")), ("redis", RUN), ("kafka", RUN)]


@pytest.mark.parametrize(("name", "words"), [*AWAY, ("mlflow", ("train", "--home", "home", "--most-rows", "10000"))])
def test_a_server_that_is_away_leads_to_no_secret(copy: Small, name: str, words: tuple[str, ...]) -> None:
    """Errors, tracebacks and logs at debug level of a command whose server does not answer name the server and no secret."""
    port = free_port()
    env = client(port) if name == "kafka" else {f"RIDECAST_{name.upper()}": addresses(port)[name]}
    env |= {"RIDECAST_TRACEBACK": "1", "RIDECAST_LOG_LEVEL": "debug", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = ridecast(*words, cwd=copy.folder, env=env)
    # Without MLflow a model is trained and recorded, and a warning names the server; the others are needed.
    assert (name != "mlflow", []) == (done.status != 0, seen(done))
    assert str(port) in done.err


@pytest.mark.parametrize("name", ["database", "redis", "mlflow"])
@pytest.mark.parametrize("how", ["malformed", "bare", "other"])
def test_a_wrong_address_leads_to_no_secret(tmp_path: Path, name: str, how: str) -> None:
    """An address that cannot be read is refused unseen: with a wrong port, without scheme, or of another server."""
    text = addresses(1)[name]
    text = {
        "malformed": text.replace(":1/", ":port/"),
        "bare": text.partition("://")[2],
        "other": f"gopher{text[text.index('://') :]}".replace(":1/", ":/[/"),
    }[how]
    done = ridecast("settings", cwd=tmp_path, env={f"RIDECAST_{name.upper()}": text, "RIDECAST_TRACEBACK": "1"})
    assert [] == seen(done)
    if how != "other" or name != "mlflow":
        assert 2 == done.status
        assert f"RIDECAST_{name.upper()}" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--rides", f"kafka://me:{planted('rides')}@h:1/rides", "--region", "tehran", "--home", "home"),
        ("simulate", "--region", "tehran", "--kafka", f"me:{planted('kafka')}@h:1"),
    ],
)
def test_a_login_in_the_wrong_place_is_not_repeated(copy: Small, words: tuple[str, ...]) -> None:
    """A password in the address of brokers, where it is not expected, is refused unseen."""
    done = ridecast(*words, cwd=copy.folder)
    assert (2, []) == (done.status, seen(done))


def test_nothing_is_stored(copy: Small, redis_url: str) -> None:
    """A run and a training with secrets in all settings leave none in the home: ledger, MLflow, rejects and logs."""
    address = redis_url.replace("redis://", f"redis://default:{quote(planted('redis'), safe='')}@")
    done = ridecast(
        *RUN, cwd=copy.folder, env={"RIDECAST_REDIS": address, "RIDECAST_LOG_LEVEL": "debug", **client(1), "RIDECAST_KAFKA": ""}
    )
    assert [] == seen(done)
    mlflow = f"sqlite:///{copy.home.resolve()}/tracked.db?note={quote(planted('mlflow'), safe='')}"
    seen_training = seen(ridecast("train", "--home", "home", cwd=copy.folder, env={"RIDECAST_MLFLOW": mlflow, **client(1)}))
    assert [] == seen_training
    files = [path for path in copy.home.rglob("*") if path.is_file()]
    assert any(path.name == "tracked.db" for path in files) or any(path.name == "runs.sqlite" for path in files)
    for path in files:
        contents = path.read_bytes()
        assert b"-cret" not in contents
        assert b"Se-redis" not in contents


def test_a_traceback_of_a_library_is_clean(tmp_path: Path) -> None:
    """Whatever a process writes to standard error passes the same filter: here a warning with the password, from no code of ours."""
    script = (
        "import os, sys, warnings\n"
        "from ridecast import main\n"
        "from schemas.configuration.settings import Settings\n"
        "def command(**_):\n"
        "    settings = Settings.from_env(os.environ)\n"
        "    warnings.warn('cannot use ' + settings.database)\n"
        "    raise KeyError(settings.database)\n"
        "main.cli.main = command\n"
        "main.main()\n"
    )
    env = environment(RIDECAST_DATABASE=addresses(1)["database"], RIDECAST_TRACEBACK="1")
    done = subprocess.run([sys.executable, "-c", script], env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (1, []) == (done.returncode, marks(done.stdout + done.stderr))
    assert "cannot use postgresql://me:***@127.0.0.1" in done.stderr
    assert "unexpected KeyError" in done.stderr


def test_the_ledger_of_a_run_names_no_server(copy: Small) -> None:
    """What a run records of itself holds no address with a login."""
    for path in (copy.home / "ledger").glob("runs*.sqlite"):
        with sqlite3.connect(path) as base:
            payloads = [bytes(row[0]) for row in base.execute("SELECT payload FROM entries")]
        assert payloads
        assert not any(b"://" in payload for payload in payloads)
