"""Explanations of recorded forecasts: from stored features, from features computed again, and where there are none."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dataflows.audit.explain import ExplainedForecast, explain_forecast
from dataflows.jobs.retention import ORPHAN, ORPHAN_AFTER_S, expire, plan_expiry
from dataflows.stream.stores import Stores
from ledger.store.blobs import FileBlobs, Retention
from ledger.views.regions import region_of
from schemas.errors import NotFound, StoreUnavailable, UsageError
from schemas.events.cells import cell_text
from schemas.forecasts.chunks import ForecastColumns, unpack_blob
from schemas.records.records import FALLBACKS, Fallback, ForecastIssued
from schemas.times import local_iso
from tests.simulation.homes import Learned
from tests.simulation.runs import LOG, Place, copied, payloads_at, run_here

OWN = FALLBACKS.index(Fallback.NONE)
KEPT = 36


@pytest.fixture
def stores(written: Place, tmp_path: Path) -> Iterator[Stores]:
    """A copy of a home with a finished run whose last issues are of a trained model."""
    opened = copied(written, tmp_path / "home").open()
    yield opened
    opened.close()


def issues(stores: Stores) -> list[ForecastIssued]:
    """Every issue, oldest first."""
    return list(stores.ledger.records(LOG, ForecastIssued))


def columns_of(stores: Stores, issue: ForecastIssued) -> ForecastColumns:
    """What an issue served."""
    return unpack_blob(stores.blobs.get(issue.blob)).columns(issue.horizons_min)


def row_with(columns: ForecastColumns, *, own: bool) -> int:
    """The first row with a model of its own, or the first with none."""
    return int(np.flatnonzero((columns.fallback == OWN) == own)[0])


def explain(stores: Stores, issue: ForecastIssued, cell: int, horizon_min: int = 15) -> ExplainedForecast:
    """The explanation of one number of the small world."""
    target = local_iso(issue.target_us, region_of(stores.ledger, issue.region))
    return explain_forecast(stores.ledger, stores.blobs, issue.region, cell=cell_text(cell, 6), target=target, horizon_min=horizon_min)


def test_the_newest_issues_are_explained_from_stored_features(stores: Stores) -> None:
    """Every cell of the last issue adds up to what was served, and no slot is folded for it."""
    issue = issues(stores)[-1]
    columns = columns_of(stores, issue)
    assert (columns.fallback == OWN).any()
    for row, cell in enumerate(columns.cells.tolist()):
        for i, horizon_min in enumerate(issue.horizons_min):
            found = explain(stores, issue, cell, horizon_min)
            explanation = found.explanation
            assert int(columns.mean[row, i]) / 1000 == explanation.served
            assert abs(explanation.base + sum(term.rides for term in explanation.terms) - explanation.served) < 1e-9
            assert (0, True, FALLBACKS[int(columns.fallback[row])]) == (found.replayed_slots, found.same_features, found.fallback)
            assert (issue.models if int(columns.fallback[row]) == OWN else (b"",)) == (found.model,)


def test_without_stored_features_they_are_computed_again(stores: Stores) -> None:
    """Whether the matrix is gone or damaged, the explanation is the same, and has the recorded features."""
    issue = issues(stores)[-1]
    columns = columns_of(stores, issue)
    cell = int(columns.cells[row_with(columns, own=True)])
    before = explain(stores, issue, cell)
    [path] = (stores.settings.home / "blobs").rglob(issue.features_digest.hex())
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    damaged = explain(stores, issue, cell)
    path.unlink()
    gone = explain(stores, issue, cell)
    for found in (damaged, gone):
        assert before.explanation == found.explanation
        assert found.same_features
        assert len(issues(stores)) == found.replayed_slots


def test_only_the_newest_are_stored(stores: Stores) -> None:
    """A run keeps the matrices of so many slots, also across restarts, and what they hold is what the issues recorded."""
    newest = issues(stores)[-KEPT:]
    assert {issue.features_digest for issue in newest} == set(stores.blobs.digests(Retention.FEATURES))
    assert len(issues(stores)) > KEPT
    old = issues(stores)[-KEPT - 1]
    columns = columns_of(stores, old)
    found = explain(stores, old, int(columns.cells[row_with(columns, own=True)]))
    assert len(issues(stores)) - KEPT == found.replayed_slots
    assert found.same_features


@pytest.mark.parametrize("slots", [0, 2])
def test_how_many_are_stored_is_a_setting(learned: Learned, tmp_path: Path, slots: int) -> None:
    """A run that is told to keep none stores none; one that is told to keep two leaves two, after those of before it."""
    place = copied(learned.place, tmp_path / "home")
    for path in (place.home / "blobs" / "features").rglob("*"):
        path.unlink(missing_ok=True) if path.is_file() else None
    run_here(place, explain_slots=slots)
    opened = place.open()
    assert {issue.features_digest for issue in issues(opened)[len(issues(opened)) - slots :]} == set(
        opened.blobs.digests(Retention.FEATURES)
    )
    opened.close()


def test_a_store_that_cannot_keep_them_stops_no_close(
    learned: Learned, tmp_path: Path, written: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log of a run whose features cannot be stored is that of any other; the program says so once."""
    place = copied(learned.place, tmp_path / "home")
    put = FileBlobs.put

    def refuse(self: FileBlobs, data: bytes, retention: Retention) -> bytes:
        if retention is Retention.FEATURES:
            raise StoreUnavailable("blob: No space left on device")
        return put(self, data, retention)

    monkeypatch.setattr(FileBlobs, "put", refuse)
    assert payloads_at(written) == run_here(place)
    assert 1 == caplog.text.count("so the API cannot explain them: blob: No space left")


@pytest.mark.parametrize(("slots", "left"), [(KEPT, KEPT), (5, 5), (0, 0)])
def test_expiry_removes_what_no_run_turns_over(written: Place, tmp_path: Path, slots: int, left: int) -> None:
    """After the setting was lowered, older matrices are orphans once they are a day old; nothing else goes with them."""
    stores = copied(written, tmp_path / "home").open(explain_slots=slots)
    before = set(stores.blobs.digests()) - set(stores.blobs.digests(Retention.FEATURES))
    for now_s, expected in ((time.time(), KEPT), (time.time() + 2 * ORPHAN_AFTER_S, left)):
        expire(stores, [one for one in plan_expiry(stores, 400, now_s) if one.record.retention == ORPHAN])
        assert expected == len(set(stores.blobs.digests(Retention.FEATURES)))
    assert {issue.features_digest for issue in issues(stores)[len(issues(stores)) - left :]} == set(
        stores.blobs.digests(Retention.FEATURES)
    )
    assert before == set(stores.blobs.digests()) - set(stores.blobs.digests(Retention.FEATURES))
    stores.close()


def test_what_cannot_be_explained_says_why(stores: Stores) -> None:
    """A cell without forecast, a horizon that is none, a target without issue, and a model that is gone: each names itself."""
    issue = issues(stores)[-1]
    columns = columns_of(stores, issue)
    cell = int(columns.cells[row_with(columns, own=True)])
    with pytest.raises(NotFound, match="no forecast for cell 000000: it had no ride in the 28 days before"):
        explain(stores, issue, 0)
    with pytest.raises(UsageError, match="--horizon: expected one of 15, 30, 60, got 20"):
        explain(stores, issue, cell, 20)
    with pytest.raises(UsageError, match=r"^cell: expected 6 letters"):
        explain_forecast(stores.ledger, stores.blobs, "small", cell="dr5", target="2014-05-06T00:00", horizon_min=15)
    with pytest.raises(NotFound, match=r"^target: region small issued no forecast of requests"):
        explain_forecast(stores.ledger, stores.blobs, "small", cell="dr5ru7", target="2011-05-06T00:00", horizon_min=15)
    stores.blobs.remove(issue.models[0])
    with pytest.raises(NotFound, match=r"model [0-9a-f]{64}: its artefact is missing, so what it forecast cannot be explained"):
        explain(stores, issue, cell)
