"""Folding a region again from its records gives the recorded digests, or names the entry that differs."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from dataflows.audit.deep import fold_again
from dataflows.audit.verification import VerifyOptions, verify_stores
from dataflows.stream.stores import open_stores
from ledger.store.log import open_embedded
from ledger.store.tables import file_stem
from schemas.records.record_codec import decode, encode
from schemas.records.records import SlotClosed, StateDigested
from tests.faults.small_ledger import silent
from tests.ledger.exports import SIGNER
from tests.simulation.fixtures import Settled
from tests.simulation.runs import LOG, Place, copied, payloads_at, run_here


@pytest.fixture(scope="module")
def ran(settled: Settled, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A home whose live hours were run to the end."""
    place = copied(settled.place, tmp_path_factory.mktemp("ran") / "home")
    run_here(place)
    return place


def problems(place: Place, environment: bytes = b"") -> list[str]:
    """The problems that folding a home again finds."""
    stores = place.open()
    try:
        return [
            str(one)
            for one in fold_again(stores.ledger, stores.blobs, environment or stores.environment, "small", lambda done, total: None)
        ]
    finally:
        stores.close()


def rewritten(place: Place, folder: Path, kind: type, change: dict[str, object], which: int = 1) -> tuple[Place, int]:
    """A home whose log has a changed entry of a kind and still hashes correctly; and the entry's index."""
    entries = payloads_at(place)
    at = [index for index, payload in enumerate(entries) if isinstance(decode(payload), kind)][which]
    entries[at] = encode(dataclasses.replace(decode(entries[at], kind), **change))
    forged = copied(place, folder)
    for path in [*(folder / "ledger").glob(f"{file_stem(LOG)}*"), *(folder / "checkpoints").glob(f"{file_stem(LOG)}*")]:
        path.unlink()
    ledger = open_embedded(folder, instance="local", clock=lambda: 0.0, signer=SIGNER)
    ledger.append(LOG, 0, entries)
    ledger.close()
    return forged, at


def test_an_honest_log_folds_again(ran: Place) -> None:
    """Integer and model state come out as recorded; in another environment only the integers are compared."""
    assert any(isinstance(decode(payload), StateDigested) for payload in payloads_at(ran))
    assert [] == problems(ran) == problems(ran, b"another environment")
    stores = open_stores(ran.settings(), reading=True)
    reports = verify_stores(stores, VerifyOptions(deep=True), silent)
    stores.close()
    assert [()] * len(reports) == [report.problems for report in reports]


def test_snapshots_are_not_used(ran: Place, tmp_path: Path) -> None:
    """Without any snapshot the result is the same."""
    place = copied(ran, tmp_path / "home")
    shutil.rmtree(place.home / "blobs" / "snapshot", ignore_errors=True)
    assert [] == problems(place)


def test_another_integer_state_is_named(ran: Place, tmp_path: Path) -> None:
    """A recorded digest of the integers that differs from the fold is named with its entry, in any environment."""
    forged, at = rewritten(ran, tmp_path / "home", StateDigested, {"integers": bytes(32)})
    [found] = problems(forged, b"another environment")
    assert found.startswith(f"entry {at}: integer state after slot ")


def test_another_model_state_is_named(ran: Place, tmp_path: Path) -> None:
    """A recorded digest of the models is compared in the environment that wrote it, and in no other."""
    forged, at = rewritten(ran, tmp_path / "home", StateDigested, {"models": bytes(32)})
    [found] = problems(forged)
    assert found.startswith(f"entry {at}: model state after slot ")
    assert [] == problems(forged, b"another environment")


def test_counts_that_were_changed_reach_the_next_digest(ran: Place, tmp_path: Path) -> None:
    """Rewriting the counts of a slot, with every hash, is found by the next digest."""
    closed = [record for record in map(decode, payloads_at(ran)) if isinstance(record, SlotClosed)]
    which = next(number for number, record in enumerate(closed) if record.counts)
    forged, at = rewritten(ran, tmp_path / "home", SlotClosed, {"counts": ()}, which)
    found = problems(forged)
    first = next(i for i, p in enumerate(payloads_at(forged)) if i > at and isinstance(decode(p), StateDigested))
    assert found[0].startswith(f"entry {first}: integer state after slot ")


def test_a_citation_that_never_was_is_named(ran: Place, tmp_path: Path) -> None:
    """A close that cites a root that the control log never had is named."""
    forged, at = rewritten(ran, tmp_path / "home", SlotClosed, {"control_root": bytes(32)})
    assert any(line.startswith(f"entry {at}: cites the control log at size") for line in problems(forged))


def test_what_is_missing_ends_the_fold(ran: Place, tmp_path: Path) -> None:
    """A skipped slot ends the fold there, and the problem names the entry."""
    forged, at = rewritten(ran, tmp_path / "home", SlotClosed, {"slot": 7}, 3)
    assert problems(forged)[-1].startswith(f"entry {at}: cannot be folded again from here on: ")
