"""What intake says of logs with faults: event files as `ridecast simulate` writes them, read and counted as a run does."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from dataflows.connectors.files.ridelog import RideLogReader, partitions
from ridecast.main import cli
from schemas.events.cells import inside
from schemas.events.codec import Decoder, decode_slow
from schemas.events.rides import RawBatch
from state.counting.intake import IntakeRules, PartitionIntake
from state.counting.partials import ResumePoint, Standing
from state.simulation.faults.breaks import WAYS
from state.simulation.faults.table import FAULTS
from tests.state.simulation.faults.logs import RIDES_PER_DAY, SEED, START_US, TEHRAN, TEXTS

START_SLOT = START_US // TEHRAN.slot_us
DETAILS = {
    "new-version": "expected a frame of ride_event.v1",
    "wrong-type": "does not decode: ",
    "truncated": "does not decode: ",
    "wrong-magic": "expected a frame of ride_event.v1, got ffff",
}


def simulated(folder: Path, *texts: str) -> list[dict[str, Any]]:
    """Write two days with faults, and return the labels."""
    words = [
        "simulate",
        "--region",
        "tehran",
        "--days",
        "2",
        "--rides-per-day",
        str(RIDES_PER_DAY),
        "--seed",
        str(SEED),
        "--out",
        str(folder),
    ]
    words += [word for text in texts for word in ("--fault", text)]
    CliRunner().invoke(cli, words, catch_exceptions=False, standalone_mode=False)
    return list(json.loads((folder / "labels.json").read_text("utf-8"))["faults"])


def raw_of(folder: Path, partition: int) -> RawBatch:
    """All entries of a partition."""
    raw = RideLogReader(folder, partition).read(0, 1_000_000)
    assert raw is not None
    return raw


def totals_of(folder: Path) -> Counter[str]:
    """What intake counts of all partitions."""
    totals: Counter[str] = Counter()
    for partition in partitions(folder):
        raw = raw_of(folder, partition)
        batch, undecodable = Decoder(("tehran",)).decode(raw)
        fresh = ResumePoint(0, 0, START_SLOT - 1, -1, START_SLOT)
        found, _ = PartitionIntake(partition, (TEHRAN,), IntakeRules(), (fresh,), 0).absorb(batch, undecodable, len(raw), Standing.ENDED)
        for partial in found:
            totals.update({name: int(counts.sum()) for name, counts in partial.totals.items()})
    return totals


@pytest.mark.parametrize("way", WAYS)
def test_each_break_is_undecodable(tmp_path: Path, way: str) -> None:
    """Every event that a break of the schema touched is rejected as undecodable, says why, and no other is rejected."""
    (label,) = simulated(tmp_path / "rides", f"schema:how={way},share=0.1,from=+8h,hours=24")
    totals = totals_of(tmp_path / "rides")
    changed = label["events"]["changed"]
    assert 100 < changed == totals["rejected.undecodable"] == totals["received"] - totals["accepted"]
    values = [value for partition in partitions(tmp_path / "rides") for value in raw_of(tmp_path / "rides", partition).values]
    reasons = [reason for reason in map(decode_slow, values) if isinstance(reason, str)]
    assert len(reasons) == changed
    assert all(reason.startswith(DETAILS[way]) for reason in reasons)


def test_all_breaks_at_once(tmp_path: Path) -> None:
    """By default the four ways are mixed, about a quarter each, and all are rejected."""
    (label,) = simulated(tmp_path / "rides", "schema:from=+8h,share=0.4,hours=24")
    values = [value for partition in partitions(tmp_path / "rides") for value in raw_of(tmp_path / "rides", partition).values]
    broken = [value for value in values if isinstance(decode_slow(value), str)]
    assert label["events"]["changed"] == len(broken) == totals_of(tmp_path / "rides")["rejected.undecodable"]
    assert 0.2 < sum(value[:2] == b"\xff\xff" for value in broken) / len(broken) < 0.3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("clock-skew:by_s=1200,producers=4,from=+8h", "rejected.ahead_of_log"),
        ("clock-skew:by_s=301,producers=4,from=+8h", "rejected.ahead_of_log"),
        ("clock-jumps:by_s=900,producers=4,from=+8h", "rejected.ahead_of_log"),
        ("duplicates:share=0.3,from=+8h", "duplicate"),
    ],
)
def test_what_intake_names_is_what_was_touched(tmp_path: Path, text: str, reason: str) -> None:
    """Clocks that are ahead are rejected for it, and second deliveries are duplicates: as many as the label says, and no other."""
    (label,) = simulated(tmp_path / "rides", text)
    totals = totals_of(tmp_path / "rides")
    assert 0 < label["events"]["changed"] + label["events"]["added"] == totals[reason]
    assert totals["received"] == totals["accepted"] + totals[reason]


def test_positions_that_drift_out_of_the_region(tmp_path: Path) -> None:
    """Drifting positions are rejected once they lie outside, and only they are."""
    simulated(tmp_path / "rides", "gps-drift:m_per_hour=20000,producer=0,producers=16,from=+8h,hours=12")
    totals = totals_of(tmp_path / "rides")
    outside = 0
    for partition in partitions(tmp_path / "rides"):
        batch, _ = Decoder(("tehran",)).decode(raw_of(tmp_path / "rides", partition))
        outside += int(np.count_nonzero(~inside(TEHRAN.polygon, batch.lat, batch.lon)))
    assert 0 < outside == totals["rejected.outside_region"] == totals["received"] - totals["accepted"]


NOT_REJECTED = sorted(set(TEXTS) - {"schema", "clock-skew", "clock-jumps", "gps-drift", "duplicates"})


def test_other_faults_are_accepted(tmp_path: Path) -> None:
    """No fault of demand or delivery makes an event that intake rejects: they are for detectors, not for rules."""
    texts = [TEXTS[name].replace("+1d", "+0d").replace("until=+2d6h", "until=+1d6h") for name in NOT_REJECTED]
    labels = simulated(tmp_path / "rides", *texts)
    totals = totals_of(tmp_path / "rides")
    assert totals["received"] == totals["accepted"] > 2_000
    assert [label["kind"] for label in labels] == NOT_REJECTED
    assert all(label["events"]["share"] > 0 for label in labels)
    assert len(NOT_REJECTED) + 5 == len(FAULTS)
