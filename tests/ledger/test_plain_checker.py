"""The page that checks a proof without Ridecast accepts exactly what Ridecast accepts."""

import runpy
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings, strategies as st

from ledger.formats.checkpoint import origin_of
from ledger.formats.proof import FORECAST_PROOF, LogProof, check_proof, parse_log_proof
from schemas.encoding.avro_files import head
from schemas.forecasts.chunks import FORECAST_CHUNK
from tests.ledger.exports import SIGNER
from tests.ledger.formats.test_proof import CITY, PROOF, PROVER, WITNESS_KEYS
from tests.ledger.golden import FOLDER
from tests.ledger.issues import HORIZONS_MIN, Issued
from tests.tree import ROOT

PAGE = ROOT / "docs" / "check_proof.py"
PLAIN = runpy.run_path(str(PAGE))
check: Callable[..., dict[str, object]] = PLAIN["check"]
KEYS = [SIGNER.verifier.text(), *(key.text() for key in WITNESS_KEYS)]
NUMBERS = ("mean_milli", "median_milli", "lower_milli", "upper_milli", "dispersion_milli", "baseline_milli")


def expected(text: str) -> dict[str, object]:
    """The result of Ridecast's own check, in the page's format."""
    proved = check_proof(text, SIGNER.verifier, witnesses=WITNESS_KEYS, quorum=2)
    issued = proved.issued
    return {
        "origin": proved.checkpoint.origin,
        "index": proved.index,
        "size": proved.checkpoint.size,
        "cosigned_s": [signature.time_s for signature in proved.signatures[1:]],
        "region": issued.region,
        "measure": issued.measure,
        "slot": issued.slot,
        "target_us": issued.target_us,
        "cell": proved.cell,
        "horizon_min": proved.horizon_min,
        **{name: getattr(proved, name) for name in NUMBERS},
        "family": issued.family,
        "models": [model.hex() for model in issued.models],
        "features": issued.features_digest.hex(),
        "cells": issued.cells,
    }


def test_the_page_knows_the_schemas() -> None:
    """The fingerprints on the page are those of the current schemas."""
    assert (head(FORECAST_PROOF), head(FORECAST_CHUNK), CITY.entry[:10]) == (PLAIN["PROOF"], PLAIN["CHUNK"], PLAIN["ENTRY"])


def test_both_read_the_same_numbers() -> None:
    """Both give the same number for every cell and horizon of an issue."""
    for cell in CITY.columns.cells.tolist():
        for horizon_min in HORIZONS_MIN:
            text = PROVER.proof(cell, horizon_min)
            assert expected(text) == check(text, *KEYS)


@pytest.mark.parametrize(("index", "size"), [(0, 1), (1, 2), (6, 7), (0, 10_000_000), (9_999_999, 10_000_000)])
def test_both_walk_the_same_paths(index: int, size: int) -> None:
    """Short and long paths, at the left and the right edge of a tree, give the root in both."""
    issued = Issued(130, index, size)
    text = issued.proof(int(issued.columns.cells[-1]), 15)
    assert expected(text) == check(text, *KEYS)


@settings(max_examples=200)
@given(st.integers(0, len(PROOF) - 1), st.characters(max_codepoint=300))
def test_the_page_refuses_changed_letters(at: int, letter: str) -> None:
    """A proof with any one letter changed is refused by the page as well."""
    changed = PROOF[:at] + letter + PROOF[at + 1 :]
    if changed != PROOF:
        with pytest.raises((ValueError, IndexError)):
            check(changed, *KEYS)


def test_the_page_refuses_flipped_bits() -> None:
    """Like Ridecast, the page accepts a changed record only if it selects another proved number."""
    proof = parse_log_proof(PROOF)
    for at in range(0, len(proof.extra) * 8, 7):  # Every byte, with a varying bit.
        extra = bytearray(proof.extra)
        extra[at // 8] ^= 1 << at % 8
        text = LogProof(proof.index, proof.path, proof.checkpoint, bytes(extra)).text()
        try:
            found = check(text, *KEYS)
        except (ValueError, IndexError):
            continue
        assert expected(text) == found


def test_the_page_requires_every_witness() -> None:
    """A proof without the cosignature of a named witness is refused."""
    _, _, note = PROOF.rpartition("— witness.example/w2")
    without = PROOF.removesuffix("— witness.example/w2" + note)
    assert [] == check(without, KEYS[0])["cosigned_s"]
    with pytest.raises(ValueError, match=r"expected one signature of witness\.example/w2, got 0"):
        check(without, *KEYS)


def test_the_page_runs() -> None:
    """As a program it prints the proved number and exits with 0, or the reason and exits with 1, or with 2 if a key is none."""
    log, *witnesses = (FOLDER / "keys.txt").read_text("utf-8").split()
    for keys, status, word in (
        ([log, *witnesses], 0, "48605"),
        ([witnesses[0]], 1, f"NOT PROVED: {witnesses[0]} is not the key of a log"),
        ([log[:-1] + "A"], 2, "expected one verifier key"),
        ([f"{log}\nas cosigner: {witnesses[0]}"], 2, "expected one verifier key"),
    ):
        words = [sys.executable, "-I", str(PAGE), str(FOLDER / "forecast.tlog-proof"), *keys]
        run = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        assert (status, True) == (run.returncode, word in run.stdout + run.stderr)


def test_a_continued_log_is_proved_by_its_new_origin() -> None:
    """After `ledger continue` the origin has a number; both checkers accept and print it."""
    issued = Issued()
    issued.checkpoint = issued.signed(origin_of("local", "region/nyc", 3))
    text = issued.proof(int(issued.columns.cells[0]), HORIZONS_MIN[0])
    assert check(text, *KEYS) == expected(text)
    assert check(text, *KEYS)["origin"] == "ridecast/local@3/region/nyc"
