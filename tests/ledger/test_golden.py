"""Proofs, keys and tiles do not change by accident: the current code gives the released files."""

import pytest

from ledger.formats.keys import parse_verifier
from ledger.formats.proof import check_proof
from tests.ledger.golden import FOLDER, files
from tests.ledger.issues import TARGET_US

MEAN_MILLI = 48_605  # of the cell in row 17 for 30 minutes


@pytest.mark.parametrize("name", sorted({*files(), *(path.name for path in FOLDER.glob("*"))}))
def test_a_file_is_made_as_released(name: str) -> None:
    """A changed byte needs a new version of the format, not another golden file."""
    assert (FOLDER / name).read_text("utf-8") == files().get(name)


def test_a_released_proof_still_proves() -> None:
    """A proof of an earlier release still gives the same number."""
    log, *witnesses = map(parse_verifier, (FOLDER / "keys.txt").read_text("utf-8").split())
    proved = check_proof((FOLDER / "forecast.tlog-proof").read_text("utf-8"), log, witnesses=witnesses, quorum=2)
    assert ("nyc", "pickups", TARGET_US) == (proved.issued.region, proved.issued.measure, proved.issued.target_us)
    assert ("ridecast/local/region/nyc", 9, 5) == (proved.checkpoint.origin, proved.checkpoint.size, proved.index)
    assert [None, 1_400_000_415, 1_400_000_415] == [signature.time_s for signature in proved.signatures]
    assert (30, 214) == (proved.horizon_min, proved.dispersion_milli)
    assert (MEAN_MILLI, MEAN_MILLI * 2, MEAN_MILLI + 37) == (proved.mean_milli, proved.upper_milli, proved.baseline_milli)
