"""Converts the outcome of a slot to ledger entries, and recorded slots back to counts."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, assert_never

import numpy as np

from ledger.formats.merkle import leaf_hash, root
from ledger.store.blobs import Blobs, Retention
from ledger.store.log import Stored
from ledger.views.control import Control
from schemas.errors import ContractError
from schemas.forecasts.chunks import encode_chunks, pack_blob
from schemas.records.count_table import from_table, tables_of, to_table
from schemas.records.record_codec import decode, encode
from schemas.records.records import (
    CountTable,
    ForecastIssued,
    HorizonShort,
    PartitionsChanged,
    Record,
    RegionBootstrapped,
    SlotClosed,
    SlotCounts,
    SourceChanged,
    SourceGap,
)
from schemas.regions import Region
from state.counting.slots import NO_COUNTS, ClosedSlot, CountColumns, Finding, GapFound, HorizonFound
from state.forecast.arms import Arm
from state.forecast.region import Issue, SlotOutcome
from state.forecast.routes import Role

INLINE_LIMIT_BYTES = 32_768  # An entry has at most 65,535 bytes, including the cuts and totals.
FAMILY = "negative_binomial"


class BlobSink(Protocol):
    """Destination of blobs: a store, or a replay that needs only their digests."""

    def put(self, data: bytes, retention: Retention) -> bytes:
        """Store the bytes; returns their SHA-256."""


def payloads_of(region: Region, outcome: SlotOutcome, control: Control, blobs: BlobSink) -> list[bytes]:
    """The entries of one close, in order; the blobs that they name are durable when this returns."""
    records: list[Record] = []
    for finding in outcome.closed.findings:
        match finding:
            case GapFound(partition, start, stop):
                records.append(SourceGap(region=region.id, partition=partition, from_offset=start, to_offset=stop))
            case HorizonFound(partition, wanted, found):
                records.append(HorizonShort(region=region.id, partition=partition, wanted_offset=wanted, found_offset=found))
            case SourceChanged() | PartitionsChanged():
                records.append(finding)
            case _:
                assert_never(finding)
    records.append(_slot_closed(region, outcome, control, blobs))
    if outcome.universe is not None:
        records.append(outcome.universe)
    records += outcome.scores
    records += [_forecast_issued(region, outcome, issue, blobs) for issue in outcome.issues]
    if outcome.digested is not None:
        records.append(outcome.digested)
    return [encode(record) for record in records]


def _slot_closed(region: Region, outcome: SlotOutcome, control: Control, blobs: BlobSink) -> SlotClosed:
    closed = outcome.closed
    counts, corrections = _tables(region, closed.counts), _tables(region, closed.corrections)
    blob = b""
    # An integer takes at most 10 bytes, and rows have three: only large slots are worth encoding twice.
    if 30 * sum(len(table.slots) for table in (*counts, *corrections)) > INLINE_LIMIT_BYTES:
        body = encode(SlotCounts(counts=counts, corrections=corrections))
        if len(body) > INLINE_LIMIT_BYTES:
            blob, counts, corrections = blobs.put(body, Retention.PERMANENT), (), ()
    return SlotClosed(
        region=region.id,
        slot=closed.slot,
        status=outcome.status,
        partitions=closed.cuts,
        counts=counts,
        corrections=corrections,
        counts_blob=blob,
        control_size=control.size,
        control_root=control.root,
    )


def _tables(region: Region, columns: Sequence[CountColumns]) -> tuple[CountTable, ...]:
    return tuple(to_table(name, c.slots, c.cells, c.counts) for name, c in zip(region.measures, columns, strict=True) if len(c))


def _forecast_issued(region: Region, outcome: SlotOutcome, issue: Issue, blobs: BlobSink) -> ForecastIssued:
    draft = issue.draft
    chunks = encode_chunks(draft.columns)
    weights: dict[str, Any] = dict(draft.weights_milli)
    models: tuple[bytes, ...] = (issue.model,) if issue.model else ()
    roles: tuple[str, ...] = (issue.role,) if issue.model and issue.role is not Role.CHAMPION else ()
    if draft.experiment is not None:
        models, roles = (issue.model, draft.experiment.challenger), (Arm.CHAMPION, Arm.CHALLENGER)
    return ForecastIssued(
        region=region.id,
        measure=issue.measure,
        slot=outcome.closed.slot,
        target_us=(outcome.closed.slot + 1) * region.slot_us,
        horizons_min=region.horizons_min,
        models=models,
        reasons=dict(issue.skipped),
        features_digest=draft.features_digest,
        arm_features_digest=draft.arm_features_digest,
        family=FAMILY,
        spread=draft.spread,
        cells=len(draft.columns.cells),
        chunks=len(chunks),
        root=root([leaf_hash(chunk) for chunk in chunks]),
        blob=blobs.put(pack_blob(chunks), Retention.FORECAST) if chunks else b"",
        fallbacks=draft.fallbacks,
        universe_version=outcome.universe_version,
        slot_status=outcome.status,
        roles=roles,
        experiment=draft.experiment.experiment if draft.experiment is not None else "",
        members=draft.mix.members,
        weights=draft.mix.weights,
        **weights,
    )


def closed_of(region: Region, record: SlotClosed, before: Sequence[Stored[Record]], blobs: Blobs) -> ClosedSlot:
    """The closed slot of a record, as input to the fold.

    Args:
        region: Its definition.
        record: The recorded slot.
        before: Entries of the same close that precede it (gaps, short horizons, changes of the source).
        blobs: Store of large counts.
    """
    counts, corrections = tables_of(record, blobs.get)
    return ClosedSlot(record.slot, record.partitions, _columns(region, counts), _columns(region, corrections), findings_of(before))


def findings_of(before: Sequence[Stored[Record]]) -> tuple[Finding, ...]:
    """The findings that the entries before the slot of a close record."""
    findings: list[Finding] = []
    for stored in before:
        match stored.record:
            case SourceGap(partition=partition, from_offset=start, to_offset=stop):
                findings.append(GapFound(partition, start, stop))
            case HorizonShort(partition=partition, wanted_offset=wanted, found_offset=found):
                findings.append(HorizonFound(partition, wanted, found))
            case SourceChanged() | PartitionsChanged() as changed:
                findings.append(changed)
            case other:
                raise ContractError(f"entry {stored.index}: expected a finding before its slot, got {type(other).__name__}")
    return tuple(findings)


def _columns(region: Region, tables: Sequence[CountTable]) -> tuple[CountColumns, ...]:
    by_measure = {table.measure: CountColumns(*from_table(table)) for table in tables}
    return tuple(by_measure.get(name, NO_COUNTS) for name in region.measures)


def history_by_slot(region: Region, boot: RegionBootstrapped, blobs: Blobs) -> Iterator[tuple[int, tuple[CountColumns, ...]]]:
    """Bootstrapped history as (slot, counts per measure) for every slot from the first to the start of live counting."""
    if not boot.counts_blob:
        return
    body = decode(blobs.get(boot.counts_blob), SlotCounts)
    columns = _columns(region, body.counts)
    slots = np.arange(boot.first_slot, boot.start_slot + 1)
    edges = [np.searchsorted(c.slots, slots).tolist() for c in columns]
    for i, slot in enumerate(slots[:-1].tolist()):
        parts = [(c, slice(edge[i], edge[i + 1])) for c, edge in zip(columns, edges, strict=True)]
        yield slot, tuple(CountColumns(c.slots[at], c.cells[at], c.counts[at]) for c, at in parts)
