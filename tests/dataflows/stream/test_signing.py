"""The key of an installation: created once, readable by its owner only, and never replaced automatically."""

import subprocess
import sys
from pathlib import Path

import pytest

from dataflows.stream.signing import key_path, new_key, public_path, signing_key, verifier_of, writing_key
from dataflows.stream.stores import open_stores
from ledger.formats.keys import Signer
from schemas.configuration.settings import Settings
from schemas.errors import BootRefused, ConfigError, StoreUnavailable, UsageError
from tests.ledger.places import LOG, scored

REPOSITORY = Path(__file__).parents[3]
ASK = """
import sys
from dataflows.stream.signing import signing_key
from schemas.configuration.settings import Settings
sys.stdin.readline()
print(signing_key(Settings.from_env({}, {"home": sys.argv[1]})).verifier.text())
"""


def settings_in(home: Path, **given: object) -> Settings:
    """Settings of a home."""
    return Settings.from_env({}, {"home": home, **given})


def test_created_at_first_use(tmp_path: Path) -> None:
    """A new home gets a key with the instance's name, for its owner only, and the public half beside it."""
    settings = settings_in(tmp_path)
    signer = signing_key(settings)
    assert signer.name == "ridecast/local"
    assert key_path(settings).stat().st_mode & 0o777 == 0o600
    assert public_path(settings).read_text("utf-8") == f"{signer.verifier.text()}\n"
    assert signing_key(settings) == signer
    assert verifier_of(settings) == signer.verifier


def test_many_processes_make_one_key(tmp_path: Path) -> None:
    """Processes that start together in a new home end up with the same key."""
    words = [sys.executable, "-c", ASK, str(tmp_path)]
    processes = [
        subprocess.Popen(words, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("now\n")
        process.stdin.flush()
    answers = [process.communicate() for process in processes]
    assert {f"{verifier_of(settings_in(tmp_path)).text()}\n"} == {out for out, _ in answers}, answers
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["checkpoint.key", "checkpoint.pub"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """A private key file with wider rights is not used, and the message says how to repair it."""
    settings = settings_in(tmp_path)
    signing_key(settings)
    key_path(settings).chmod(mode)
    with pytest.raises(ConfigError, match=rf"checkpoint\.key: expected mode 600, got {mode:o}: .*`chmod 600 "):
        open_stores(settings)
    open_stores(settings, reading=True).close()


def test_a_missing_key(tmp_path: Path) -> None:
    """A home with checkpoints gets no new key automatically: it is read with the public one, and an append tells what to do."""
    settings = settings_in(tmp_path)
    stores = open_stores(settings)
    stores.ledger.append(LOG, 0, [scored(0)])
    stores.close()
    kept = key_path(settings).read_bytes()
    key_path(settings).unlink()
    stores = open_stores(settings)
    assert stores.ledger.guard.note(LOG) is not None
    with pytest.raises(BootRefused, match=r"expected the private key ridecast/local.*got none"):
        stores.ledger.append(LOG, 1, [scored(1)])
    stores.close()
    with pytest.raises(ConfigError, match=r"found no file, but this home has checkpoints\. Restore it; .*`ridecast ledger key new`"):
        signing_key(settings)
    assert not key_path(settings).exists()
    key_path(settings).write_bytes(kept)
    key_path(settings).chmod(0o600)
    stores = open_stores(settings)
    assert stores.ledger.append(LOG, 1, [scored(1)]).size == 2
    stores.close()


def test_another_key_in_its_place(tmp_path: Path) -> None:
    """A private key that does not match the public one is refused before anything is signed with it."""
    settings = settings_in(tmp_path)
    signing_key(settings)
    key_path(settings).write_text(Signer("ridecast/local", bytes(32)).text(), "utf-8")
    with pytest.raises(ConfigError, match="expected the key whose public half is ridecast/local"):
        signing_key(settings)


def test_another_instances_key(tmp_path: Path) -> None:
    """A key of another instance is refused with both names."""
    signing_key(settings_in(tmp_path))
    with pytest.raises(ConfigError, match="expected the key ridecast/staging, got ridecast/local; set RIDECAST_INSTANCE"):
        signing_key(settings_in(tmp_path, instance="staging"))


def test_a_key_elsewhere(tmp_path: Path) -> None:
    """The setting names the private key's file, which is never created automatically; its public half is still in home."""
    settings = settings_in(tmp_path / "home", signing_key=str(tmp_path / "safe" / "key"))
    with pytest.raises(ConfigError, match=r"signing_key: expected a private key at .*found no file; `ridecast ledger key new` creates one"):
        signing_key(settings)
    signer = new_key(settings)
    assert (tmp_path / "safe" / "key").read_text("utf-8") == f"{signer.text()}\n"
    assert writing_key(settings) == signer
    assert verifier_of(settings) == signer.verifier


@pytest.mark.parametrize("text", ["", "no key", "PRIVATE+KEY+a+00000000+AAAA", Signer("ridecast/local", bytes(32)).cosigner().text()])
def test_a_file_without_a_key(tmp_path: Path, text: str) -> None:
    """The error for a file without a valid private key names it and does not show its content."""
    settings = settings_in(tmp_path)
    signing_key(settings)
    key_path(settings).write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=r"checkpoint\.key: (private key: )?expected") as raised:
        signing_key(settings)
    assert not text or text not in str(raised.value)


def test_a_new_key_never_overwrites(tmp_path: Path) -> None:
    """An existing private key stays; if only the public half is left, it is kept under its id."""
    settings = settings_in(tmp_path)
    old = signing_key(settings)
    with pytest.raises(UsageError, match="it exists already and is not overwritten"):
        new_key(settings)
    key_path(settings).unlink()
    new = new_key(settings)
    assert new != old
    assert verifier_of(settings) == new.verifier
    kept = public_path(settings).with_suffix(f".{old.verifier.key_id.hex()}.pub")
    assert kept.read_text("utf-8") == f"{old.verifier.text()}\n"


def test_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    """If the disk refuses the key, the error names the file."""
    (tmp_path / "safe").write_text("in the way", "utf-8")
    with pytest.raises(StoreUnavailable, match=r"private key .*safe/key: cannot be created"):
        new_key(settings_in(tmp_path, signing_key=str(tmp_path / "safe" / "key")))
