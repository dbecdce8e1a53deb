"""Why a served number is what it is: its terms, from the recorded issue, its model, and its features.

The features of the newest issues are stored (`dataflows.stream.kept_features`). Those of any other one are computed
again: the recorded slots up to the issue are folded from the bootstrap, and the result must have the recorded digest.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dataflows.audit.replay_inputs import ModelsInForce
from dataflows.stream.record import closed_of, history_by_slot
from ledger.store.blobs import Blobs
from ledger.store.log import Ledger
from ledger.views.closes import closes
from ledger.views.experiments import experiment_of
from ledger.views.issues import FoundIssue, find_issue
from ledger.views.regions import bootstrap_of
from schemas.errors import DamagedError, NotFound, UsageError
from schemas.events.cells import centres, inside
from schemas.forecasts.chunks import unpack_blob
from schemas.records.records import FALLBACKS, Fallback
from schemas.regions import Region
from state.demand.features import matrix_of
from state.forecast.arms import Arm, challenged_rows
from state.forecast.explanation import explain_modelled, explain_unmodelled, is_modelled, load_model, row_of
from state.forecast.mixing import Mix
from state.forecast.region import Champion, RegionFold
from state.models.reasons import Explained, Explanation

OnSlot = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ExplainedForecast:
    """One served number with its explanation.

    Attributes:
        found: The issue.
        model: Digest of the trained model; empty if none made the number.
        replayed_slots: How many slots were folded again to get the features; 0 if they were stored or not needed.
        same_features: Whether the features are the recorded ones to the last bit; in another environment they may not be. Before
            version 6 of the fold, those of a challenger with another feature table are not recorded.
        arm: Of an experiment that served the cell.
    """

    found: FoundIssue
    horizon_min: int
    fallback: Fallback
    model: bytes
    explanation: Explanation
    replayed_slots: int = 0
    same_features: bool = True
    arm: Arm | None = None


def explain_forecast(
    ledger: Ledger,
    blobs: Blobs,
    name: str,
    *,
    cell: str,
    target: str,
    horizon_min: int,
    measure: str | None = None,
    on_slot: OnSlot = lambda done, total: None,
) -> ExplainedForecast:
    """Explain one served mean.

    Args:
        name: Name of a bootstrapped region.
        cell, target, measure: As for `ledger.views.issues.find_issue`.
        horizon_min: Length of the window, minutes.
        on_slot: Called with (slots folded, slots to fold) if the features are computed again.
    Raises:
        NotFound: no such number was issued, its chunks have expired, or the artefact of its model is missing.
        UsageError: cell, target, measure or horizon is invalid for this region.
        DamagedError: stored bytes do not match their digests.
    """
    found = find_issue(ledger, name, cell=cell, target=target, measure=measure, words="")
    issued, index = found.stored.record, found.stored.index
    if horizon_min not in issued.horizons_min:
        raise UsageError(f"--horizon: expected one of {', '.join(map(str, issued.horizons_min))}, got {horizon_min}")
    if not issued.blob:
        raise NotFound(f"entry {index}: it forecast no cell")
    columns = unpack_blob(blobs.get(issued.blob)).columns(issued.horizons_min)
    row, i = row_of(columns, found.cell), issued.horizons_min.index(horizon_min)
    if row is None:
        raise NotFound(f"entry {index}: no forecast for cell {cell.lower()}: {_why_none(found)}")
    fallback = FALLBACKS[int(columns.fallback[row])]
    if not is_modelled(columns, row):
        return ExplainedForecast(found, horizon_min, fallback, b"", explain_unmodelled(columns, row, i))
    started = experiment_of(ledger, issued)
    by_challenger = started is not None and bool(challenged_rows(started, columns, issued.slot)[row])
    digest = issued.models[1 if by_challenger else 0]
    model, own, recorded = _load(blobs, digest, found.region), None, issued.features_digest
    if by_challenger and model.table is not _load(blobs, issued.models[0], found.region).table:
        own, recorded = Champion(digest, blobs.get(digest)), issued.arm_features_digest
    data, replayed = _stored(blobs, recorded), 0
    if data is None:
        data, replayed = features_again(ledger, blobs, found, on_slot, own)
    explanation = explain_modelled(columns, row, i, model, matrix_of(data), Mix(issued.members, issued.weights))
    same = not recorded or hashlib.sha256(data).digest() == recorded
    arm = None if started is None else Arm.CHALLENGER if by_challenger else Arm.CHAMPION
    return ExplainedForecast(found, horizon_min, fallback, digest, explanation, replayed, same, arm)


def _load(blobs: Blobs, digest: bytes, region: Region) -> Explained:
    try:
        return load_model(blobs.get(digest), region.horizons)
    except NotFound as cause:
        raise NotFound(f"model {digest.hex()}: its artefact is missing, so what it forecast cannot be explained") from cause
    except DamagedError as cause:
        raise DamagedError(f"model {digest.hex()}: its artefact is damaged, so what it forecast cannot be explained: {cause}") from cause


def _why_none(found: FoundIssue) -> str:
    """Why there is no forecast for a cell."""
    region = found.region
    centre = centres(np.array([found.cell], np.uint64), 5 * region.precision)
    if not inside(region.polygon, *centre)[0]:
        return f"it had no ride in the 28 days before, and its centre is outside region {region.id}"
    return "it had no ride in the 28 days before"


def _stored(blobs: Blobs, recorded: bytes) -> bytes | None:
    """The bytes of a recorded matrix; None if it is not recorded, no longer stored, or damaged: they are only a cache."""
    try:
        return blobs.get(recorded) if recorded else None
    except (NotFound, DamagedError):
        return None


def features_again(ledger: Ledger, blobs: Blobs, found: FoundIssue, on_slot: OnSlot, model: Champion | None = None) -> tuple[bytes, int]:
    """The bytes of the matrix of an issue, computed again from the recorded counts; and how many slots were folded.

    Args:
        model: For which the matrix is, instead of the champion.
    """
    boot, region, target = bootstrap_of(ledger, found.region.id), found.region, found.stored.record.slot
    fold = RegionFold(region, boot.start_slot, boot.fold_version)
    fold.remember(history_by_slot(region, boot, blobs))
    control, total = ModelsInForce(ledger, blobs, boot), target + 1 - boot.start_slot
    for close in closes(ledger, found.stored.log, 0, found.stored.index + 1):
        record = close.record
        fold.follow(control.fold_version(record))
        closed = closed_of(region, record, close.before, blobs)
        if record.slot < target:
            fold.fast_forward(closed)  # Features depend on counts, not on earlier forecasts, so no model is needed before.
            on_slot(record.slot + 1 - boot.start_slot, total)
            continue
        fold.know(control.covariates(record))
        fold.use(control.champions(close) | ({found.measure: model} if model is not None else {}))
        [draft] = [issue.draft for issue in fold.apply(closed).issues if issue.measure == found.measure]
        on_slot(total, total)
        return draft.features, total
    raise DamagedError(f"{found.stored.log} entry {found.stored.index}: expected an entry that closes slot {target}, found none")
