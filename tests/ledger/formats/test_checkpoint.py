"""Checkpoints are accepted and refused exactly as by other implementations."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ledger.formats.checkpoint import LARGEST_SIZE, Checkpoint, parse_checkpoint
from schemas.errors import DamagedError

lines = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1, max_size=20)


@pytest.fixture(scope="session")
def bodies(shared: Path) -> list[dict[str, Any]]:
    """The body cases of transparency-dev/formats."""
    found: list[dict[str, Any]] = json.loads((shared / "vectors" / "note" / "checkpoint.json").read_text("utf-8"))["checkpoint_body"]
    return found


def test_body_vectors(bodies: list[dict[str, Any]]) -> None:
    """Every body is parsed or refused as its authors specify."""
    assert bodies
    for case in bodies:
        if case["wantErr"]:
            with pytest.raises(DamagedError, match="checkpoint: expected"):
                parse_checkpoint(case["text"])
        else:
            assert parse_checkpoint(case["text"]).body() == case["text"]


@given(lines, st.integers(0, LARGEST_SIZE), st.binary(min_size=1, max_size=40), st.lists(lines, max_size=2), st.lists(lines, max_size=2))
def test_round_trip(origin: str, size: int, root: bytes, extensions: list[str], signatures: list[str]) -> None:
    """What is written is read back, signed or not."""
    note = Checkpoint(origin, size, root, tuple(extensions), tuple(f"— {line}" for line in signatures))
    assert parse_checkpoint(note.text()) == note


@pytest.mark.parametrize(
    "text",
    [
        "",
        "origin\n1\nAAAA",
        "origin\n01\nAAAA\n",
        "origin\n+1\nAAAA\n",
        "origin\n١\nAAAA\n",
        f"origin\n{LARGEST_SIZE + 1}\nAAAA\n",
        f"origin\n{'9' * 5_000}\nAAAA\n",
        "origin\n1\nAAA\n",
        "origin\n1\nAAAA\n\n",
        "origin\n1\nAAAA\n\nno dash\n",
        "origin\n1\nAAAA\n\n— cut",
    ],
)
def test_refused(text: str) -> None:
    """A text that is cut, padded or otherwise not canonical is refused."""
    with pytest.raises(DamagedError, match="checkpoint: expected"):
        parse_checkpoint(text)
