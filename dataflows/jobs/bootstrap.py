"""Counts history once: every ride before a local midnight, through the same intake as the live stream."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from dataflows.connectors.rejects_at import open_rejects
from dataflows.connectors.sources import FileRides, RideSource
from dataflows.stream.intake_watch import IntakeWatch
from dataflows.stream.pump import PartitionPump
from dataflows.stream.resume import FROM_LOWEST, ResumePlan
from dataflows.stream.start import limits_of, recorded_rules
from dataflows.stream.stores import Stores
from ledger.store.blobs import Retention
from ledger.store.recording import Recorder
from ledger.views.regions import bootstrap_of, bootstrapped_in, defined_by
from schemas.configuration.settings import Settings
from schemas.errors import ConfigError, UsageError
from schemas.events.codec import Decoder
from schemas.events.measures import KINDS, MEASURES, RideKind, measure_named
from schemas.events.rides import Int64s, UInt64s, Uncounted
from schemas.events.tally import IntakeTally, main_example, totals_of
from schemas.records.count_table import to_table
from schemas.records.record_codec import encode
from schemas.records.records import RegionBootstrapped, SlotCounts, SourceFile, region_log
from schemas.regions import Region, as_recorded
from state.counting.evidence import EvidenceRules, recorded_evidence
from state.counting.intake import YEAR_2000_US, IntakeRules
from state.counting.partials import ResumePoint
from state.counting.slots import CountColumns, merge_counts
from state.demand.calendar import Calendar
from state.forecast.region import FOLD_VERSION
from state.forecast.routes import GLOBAL_SCOPE

MERGE_EVERY_BATCHES = 200
MOST_FILES = 500  # listed individually; more are summarised per partition
SAMPLE_EVENTS, SAMPLE_WAIT_S = 5_000, 1.0  # per partition, to name the kinds of event in an error
MOST_DAYS_AFTER = 2  # from the last ride's day to --until: its midnight is one, a quiet last day another


@dataclass(frozen=True, slots=True)
class CountedRides:
    """The rides of one region in a source.

    Attributes:
        counts: Per measure, rides of the requested slots.
        events: Number of events read, of any kind and region.
        span: First and last slot with a ride of the region, including slots after the requested ones; None without a ride.
        other_kind: Accepted events of the region that none of its measures counts.
        became: What became of the events, in words.
    """

    counts: list[CountColumns]
    events: int
    span: tuple[int, int] | None
    other_kind: int = 0
    became: str = ""


def slot_of_midnight(region: Region, day: str) -> int:
    """The slot that starts at that local midnight.

    Raises:
        UsageError: not a date.

    >>> from schemas.regions import load_region
    >>> slot_of_midnight(load_region("nyc"), "2014-05-01") * 300
    1398916800
    """
    try:
        date.fromisoformat(day)
    except ValueError as cause:
        raise UsageError(f"--until: expected a date as YYYY-MM-DD, got {day!r}") from cause
    return Calendar(region).first_slot(day)


def bootstrap_region(
    stores: Stores, region: Region, source: RideSource | None, until: str, *, on_rides: Callable[[int, int], None] | None = None
) -> tuple[RegionBootstrapped, bool]:
    """Count history and record it at the start of the region's log.

    In a home that has other regions, this one gets their intake rules, so that one run can serve all.

    Args:
        stores: Open stores.
        region: What to count.
        source: Rides, or None for a region that starts without history.
        until: Local date; slots from its midnight on are counted live.
        on_rides: Called with (events read, events in total).
    Returns:
        The record, and whether this call wrote it (False: the log already has the same record).
    Raises:
        UsageError: the source has no ride of the region before that date, or none on the last days before it; or the
            region is already bootstrapped with other content.
    """
    stores.ledger.admit_all()  # Another home may sign this database: counting its rides would be in vain.
    before = stores.ledger.find(region_log(region.id), RegionBootstrapped)
    if before is not None and before.definition:
        region = as_recorded(region, defined_by(before))
    else:
        _check_place(stores, region)
    partitions = source.partitions() if source else ()
    beside = _rules_beside(stores, region)
    rules, evidence = beside or _rules(stores, len(partitions)), _evidence(stores.settings)
    start_slot = slot_of_midnight(region, until)
    if source is None:
        counts = [merge_counts([]) for _ in region.measures]
    else:
        counted = count_rides(stores, region, source, start_slot, on_rides, rules)
        _check_kinds(region, counted, source)
        _check_span(region, counted, until)
        counts = counted.counts
    tables = tuple(to_table(name, c.slots, c.cells, c.counts) for name, c in zip(region.measures, counts, strict=True) if len(c))
    first_slot = min((int(c.slots[0]) for c in counts if len(c)), default=start_slot)
    record = RegionBootstrapped(
        region=region.id,
        definition=region.to_json(),
        until=until,
        first_slot=first_slot,
        start_slot=start_slot,
        rides=sum(int(c.counts.sum()) for c in counts),
        counts_blob=stores.blobs.put(encode(SlotCounts(counts=tables, corrections=())), Retention.PERMANENT) if tables else b"",
        files=_files(source),
        dedup_horizon_events=rules.dedup_horizon_events,
        skew_s=rules.skew_s,
        fold_version=FOLD_VERSION,
        evidence_events=evidence.events,
        evidence_window_events=evidence.window_events,
        hold_s=evidence.hold_s,
        others_ok=rules.others_ok,
    )
    log = region_log(region.id)
    stored = stores.ledger.entry(log, RegionBootstrapped)
    if stored is not None:
        known = stored.record
        # A ride log grows: its files may now have later rides, while the history in them is unchanged.
        # A region keeps the fold version and the intake rules that it started with; `ledger upgrade` changes the version.
        same = replace(record, files=known.files, fold_version=known.fold_version, others_ok=known.others_ok)
        if beside is not None:
            same = replace(same, skew_s=known.skew_s, dedup_horizon_events=known.dedup_horizon_events)
        kept = recorded_evidence(known)
        if known != replace(same, evidence_events=kept.events, evidence_window_events=kept.window_events, hold_s=kept.hold_s):
            raise UsageError(
                f"region {region.id}: already bootstrapped until {known.until} with {known.rides:,} rides, which cannot be changed; "
                f"got until {until} with {record.rides:,} rides",
                remedy="use another database (RIDECAST_DATABASE)" if stores.settings.database else "use another --home",
            )
        return known, False
    Recorder(stores.ledger, log).append(0, [encode(record)])
    return record, True


def _check_place(stores: Stores, region: Region) -> None:
    """Check that a region can have its name and its parent.

    A parent is there before its children, so that parents never form a circle.

    Raises:
        UsageError: the name stands for all regions, or the parent is the region itself, not in this home, or of other slots.
    """
    if region.id == GLOBAL_SCOPE:
        raise UsageError(f"region id: expected another name, {GLOBAL_SCOPE!r} stands for models of all regions")
    if region.parent is None:
        return
    where, known = f"region {region.id}: parent", bootstrapped_in(stores.ledger)
    if region.parent == region.id or region.parent not in known:
        others = ", ".join(name for name in known if name != region.id) or "none yet"
        raise UsageError(
            f"{where}: expected another region of this home ({others}), got {region.parent!r}",
            remedy="bootstrap the parent first, or leave it out",
        )
    parent = defined_by(bootstrap_of(stores.ledger, region.parent))
    if (parent.slot_min, parent.horizons) != (region.slot_min, region.horizons):
        raise UsageError(
            f"{where}: expected a region with slots of {region.slot_min} min and horizons of {region.horizons_min}, got {region.parent} "
            f"with {parent.slot_min} min and {parent.horizons_min}"
        )


def count_rides(
    stores: Stores,
    region: Region,
    source: RideSource,
    until_slot: int,
    on_rides: Callable[[int, int], None] | None = None,
    rules: IntakeRules | None = None,
) -> CountedRides:
    """Rides of every slot before that one, per measure: all that the source has now, including late rides.

    Args:
        rules: Intake rules; by default those of the settings. Events of other regions are always uncounted.
    """
    # No slot closes here: every slot counts from the year 2000 on, limited only by the region's start.
    first = YEAR_2000_US // region.slot_us
    point = ResumePoint(FROM_LOWEST, 0, first - 1, -1, first)
    partitions = source.partitions()
    rules = replace(rules or _rules(stores, len(partitions)), others_ok=True)
    plan = ResumePlan(
        region,
        RegionBootstrapped(region=region.id, definition="", until="", first_slot=first, start_slot=first, rides=0, counts_blob=b""),
        first,
        dict.fromkeys(partitions, point),
    )
    rejects = open_rejects(stores.settings)
    parts: list[list[tuple[Int64s, UInt64s, Int64s]]] = [[] for _ in region.measures]
    total = sum(end - start for start, end in map(source.bounds, partitions))
    done, batches = 0, 0
    seen: list[int] = []  # first and last slot so far
    tallies: list[IntakeTally] = []
    for partition in partitions:
        watch = IntakeWatch(None, partition, [region], rules.skew_s)  # A run beside this may be writing its own tallies.
        tallies.append(watch.tally)
        pump = PartitionPump(
            source,
            partition,
            [plan],
            Decoder((region.id,)),
            rules,
            rejects,
            limits_of(stores.settings),
            time.monotonic,
            bounded=True,
            watch=watch,
        )
        while not pump.ended:
            for partial in pump.step():
                rows = partial.rows
                if len(rows):
                    seen = [min([*seen, int(rows.slot.min())]), max([*seen, int(rows.slot.max())])]
                for number, pieces in enumerate(parts):
                    mine = (rows.measure == number) & (rows.slot < until_slot)
                    if mine.any():
                        pieces.append((rows.slot[mine], rows.cell[mine], rows.count[mine]))
            batches += 1
            if batches % MERGE_EVERY_BATCHES == 0:
                parts = [_merged(pieces) for pieces in parts]
            if on_rides is not None:
                on_rides(done + pump.received, total)
        done += pump.received
        pump.close()
    rejects.close()
    other_kind = totals_of(tallies, region.id).uncounted.get(Uncounted.OTHER_KIND, 0)
    span = (seen[0], seen[1]) if seen else None
    return CountedRides([merge_counts(pieces) for pieces in parts], done, span, other_kind, _became(region, tallies))


def _check_kinds(region: Region, counted: CountedRides, source: RideSource) -> None:
    """Check that the region's measures count what the source has."""
    if counted.span is not None or not counted.other_kind:
        return
    wanted = ", ".join(f"{measure_named(name).kind} (measure {name})" for name in region.measures)
    kinds = _kinds_in(region, source)
    fitting = [measure.name for measure in MEASURES.values() if measure.kind in kinds]
    instead = f'"measures": {json.dumps(fitting[:1])} in its definition, or ' if fitting else ""
    raise UsageError(
        f"region {region.id}: expected events of kind {wanted}, got {counted.other_kind:,} of kind {', '.join(kinds)}",
        remedy=f"set {instead}import the trips again with --kind {measure_named(region.measures[0]).kind}",
    )


def _kinds_in(region: Region, source: RideSource) -> list[RideKind]:
    """Kinds of the first events of every partition."""
    found = set[int]()
    for partition in source.partitions():
        reader = source.open(partition, source.bounds(partition)[0])
        raw = reader.read(SAMPLE_EVENTS, SAMPLE_WAIT_S)
        if raw is not None:
            found |= set(Decoder((region.id,)).decode(raw)[0].kind.tolist())
        reader.close()
    return [KINDS[kind] for kind in sorted(found)]


def _became(region: Region, tallies: list[IntakeTally]) -> str:
    """What became of the events, with an example and the likely mistake; other kinds are reported by `_check_kinds`."""
    found = totals_of(tallies, region.id)
    parts = [found.words()]
    if others := found.uncounted.get(Uncounted.OTHER_REGION, 0):
        names = sorted({name for tally in tallies for name in tally.others})
        parts.append(f"{others:,} are of other regions ({', '.join(map(repr, names))})")
    return "; ".join([*parts, *main_example(tallies, found)])


def _check_span(region: Region, counted: CountedRides, until: str) -> None:
    """Check that history exists before a date and reaches it: a model would learn days without rides as zeros."""
    if counted.span is None:
        raise UsageError(
            f"region {region.id}: expected rides before {until}, found none of this region among {counted.events:,} events; "
            f"give the --region that they belong to, or start with --no-history ({counted.became})"
        )
    zone = ZoneInfo(region.timezone)
    first, last = (datetime.fromtimestamp(slot * region.slot_us / 1e6, UTC).astimezone(zone).date() for slot in counted.span)
    if not any(len(c) for c in counted.counts):
        raise UsageError(
            f"region {region.id}: expected rides before {until}, found none: they span {first} to {last}; "
            "give a later date, or start with --no-history"
        )
    if (date.fromisoformat(until) - last).days > MOST_DAYS_AFTER:
        raise UsageError(
            f"region {region.id}: expected rides up to {until}, found none after {last}: they span {first} to {last}; "
            f"give {last + timedelta(days=1)} or earlier, or start with --no-history"
        )


def _rules(stores: Stores, partitions: int) -> IntakeRules:
    """Intake rules from the settings; without a source, four partitions (the default) are assumed."""
    settings = stores.settings
    return IntakeRules(settings.skew_s, max(1, settings.dedup_horizon_events // (partitions or 4)), others_ok=True)


def _rules_beside(stores: Stores, region: Region) -> IntakeRules | None:
    """The intake rules of the other regions of the home; None if there are none."""
    for name in bootstrapped_in(stores.ledger):
        if name != region.id:
            return recorded_rules(bootstrap_of(stores.ledger, name))
    return None


def _evidence(settings: Settings) -> EvidenceRules:
    """Rules of evidence from the settings.

    Raises:
        ConfigError: more events than a window has.
    """
    if settings.evidence_events > settings.evidence_window_events:
        raise ConfigError(
            f"RIDECAST_EVIDENCE_EVENTS: expected at most RIDECAST_EVIDENCE_WINDOW_EVENTS ({settings.evidence_window_events}), "
            f"got {settings.evidence_events}"
        )
    return EvidenceRules(settings.evidence_events, settings.evidence_window_events, settings.hold_s)


def _merged(parts: list[tuple[Int64s, UInt64s, Int64s]]) -> list[tuple[Int64s, UInt64s, Int64s]]:
    merged = merge_counts(parts)
    return [(merged.slots, merged.cells, merged.counts)]


def _files(source: RideSource | None) -> tuple[SourceFile, ...]:
    """Name, digest and event count of every file of the history; for a topic, its identity instead."""
    if source is None:
        return ()
    if not isinstance(source, FileRides):
        name = source.identity().line()
        return (
            SourceFile(
                name=name, sha256=hashlib.sha256(name.encode()).digest(), rows=sum(source.bounds(p)[1] for p in source.partitions())
            ),
        )
    files = []
    for partition in source.partitions():
        mine = []
        for path, rows in source.files(partition):
            with path.open("rb") as data:
                mine.append(SourceFile(name=f"{partition}/{path.name}", sha256=hashlib.file_digest(data, "sha256").digest(), rows=rows))
        files.append(mine)
    if sum(map(len, files)) > MOST_FILES:  # The size of an entry is bounded: record one digest per partition, over its files' digests.
        return tuple(_together(f"{partition}/*", mine) for partition, mine in zip(source.partitions(), files, strict=True))
    return tuple(file for mine in files for file in mine)


def _together(name: str, files: list[SourceFile]) -> SourceFile:
    return SourceFile(
        name=name, sha256=hashlib.sha256(b"".join(file.sha256 for file in files)).digest(), rows=sum(file.rows for file in files)
    )
