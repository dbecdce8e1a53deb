"""What a person is told when the system denies access."""

import os
from pathlib import Path

import pytest

from ridecast.denied import denied, user_name


def test_the_part_that_is_closed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first part of the path that this user may not use is named, with its owner, its mode and the remedy."""
    home = tmp_path / "home"
    (home / "ledger").mkdir(parents=True)
    home.chmod(0o700)
    # Root may read everything, and tests may run as root, so the system's answer is replaced.
    monkeypatch.setattr(os, "access", lambda path, *_, **__: Path(path) != home)
    monkeypatch.setattr(os, "geteuid", lambda: 65_534)
    owner, asked = user_name(os.getuid()), user_name(65_534)
    said = denied(str(home / "ledger"))
    assert f"user {asked} may not use {home}, which belongs to {owner} (mode 0700): run as {owner}, or change the owner" == said


def test_the_owner_is_told_the_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner of a path that is closed to everybody is told its mode."""
    file = tmp_path / "rides.avro"
    file.touch(0o000)
    monkeypatch.setattr(os, "access", lambda path, *_, **__: Path(path) != file)
    assert f"{file} does not allow it (mode 0000)" == denied(os.fsencode(file))


def test_what_is_not_there_has_no_reason(tmp_path: Path) -> None:
    """A path that cannot be looked at gives no reason, and neither does a user without a name."""
    assert denied(str(tmp_path / "missing" / "file")) == ""
    assert user_name(4_000_000_000) == "4000000000"
