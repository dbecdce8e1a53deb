"""`ridecast ledger key`, `checkpoint` and `continue`, as a person calls them."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dataflows.stream.signing import key_path, public_path, verifier_of
from dataflows.stream.stores import open_stores
from ledger.formats.checkpoint import parse_checkpoint
from ledger.formats.note import open_note
from ridecast.main import cli
from schemas.configuration.settings import Settings
from schemas.errors import ConfigError, LedgerError, NotFound, UsageError
from tests.ledger.places import LOG, Place, scored


def call(*words: object) -> Result:
    """Run `ridecast ledger` in this process."""
    return CliRunner().invoke(cli, ["ledger", *map(str, words)])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home with a ledger of two entries and its key."""
    found = Settings.from_env({}, {"home": tmp_path})
    stores = open_stores(found)
    stores.ledger.append(LOG, 0, [scored(0), scored(1)])
    stores.close()
    return found


def test_a_new_key_is_shown_and_never_overwritten(tmp_path: Path) -> None:
    """`key new` prints the public half only; a second call leaves the file as it is; `key show` prints nothing but the key."""
    settings = Settings.from_env({}, {"home": tmp_path})
    made = call("key", "new", "--home", tmp_path)
    kept = key_path(settings).read_bytes()
    verifier = verifier_of(settings)
    assert made.exit_code == 0
    assert made.output.splitlines()[-1] == verifier.text()
    assert kept.decode().strip() not in made.output
    assert isinstance(call("key", "new", "--home", tmp_path).exception, UsageError)
    assert key_path(settings).read_bytes() == kept
    assert call("key", "show", "--home", tmp_path).output == f"{verifier.text()}\n"
    assert call("key", "show", "--cosigner", "--home", tmp_path).output == f"{verifier.cosigner().text()}\n"


def test_showing_without_a_key(tmp_path: Path) -> None:
    """A home without a public key says which file is missing, and makes none."""
    failed = call("key", "show", "--home", tmp_path).exception
    assert isinstance(failed, ConfigError)
    assert f"public key {tmp_path / 'keys' / 'checkpoint.pub'}: found no file" in str(failed)
    assert list(tmp_path.iterdir()) == []


def test_the_checkpoint_is_the_file(settings: Settings) -> None:
    """What is printed is the signed note byte for byte, also where the private key is away."""
    note = (settings.home / "checkpoints" / "region__nyc.txt").read_text("utf-8")
    key_path(settings).unlink()
    printed = call("checkpoint", "--home", settings.home, "--log", LOG)
    assert (printed.exit_code, printed.output) == (0, note)
    assert parse_checkpoint(open_note(note, (verifier_of(settings),)).text).size == 2


def test_a_checkpoint_that_is_not_there(settings: Settings) -> None:
    """A missing file and a log that does not exist are failures with the name of what is missing."""
    (settings.home / "checkpoints" / "region__nyc.txt").unlink()
    missing = call("checkpoint", "--home", settings.home).exception
    assert isinstance(missing, NotFound)
    assert "region/nyc: no checkpoint yet" in str(missing)
    assert "expected one of region/nyc" in str(call("checkpoint", "--home", settings.home, "--log", "control").exception)


def test_continuing_after_a_lost_key(settings: Settings) -> None:
    """The whole way out: refused, a new key, continued, shown in the log's tail, and clean."""
    key_path(settings).unlink()
    refused = call("continue", "--home", settings.home, "--log", LOG, "--reason", "lost").exception
    assert "expected the private key ridecast/local" in str(refused)
    assert call("key", "new", "--home", settings.home).exit_code == 0
    done = call("continue", "--home", settings.home, "--log", LOG, "--reason", "the key is lost")
    assert done.exit_code == 0, done.exception
    assert "region/nyc: continued as ridecast/local@2/region/nyc from size 2" in done.output
    assert call("checkpoint", "--home", settings.home).output in done.output
    assert "LogContinued" in call("tail", "--home", settings.home).output
    assert "reason=the key is lost" in call("tail", "--home", settings.home).output
    assert call("verify", "--home", settings.home).exit_code == 0
    assert len(list(public_path(settings).parent.glob("*.pub"))) == 2


def test_continuing_what_is_whole(settings: Settings) -> None:
    """There is nothing to continue from where checkpoint and database belong together."""
    failed = call("continue", "--home", settings.home, "--log", LOG, "--reason", "why not").exception
    assert isinstance(failed, LedgerError)
    assert "nothing to continue from" in str(failed)
    assert Place(settings.home).checkpoint().exists()
