"""Validates a producer's events before they are sent, by the rules of intake and in its words.

Reads what a producer has at hand: an Avro file of events, a ride log, JSON lines, messages as hexadecimal lines, or one
message. Intake itself takes Avro messages only: JSON is encoded first, and what keeps it from being encoded is said.
"""

import difflib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import fastavro
import numpy as np

from dataflows.connectors.sources import FileRides
from schemas.encoding.avro_files import MARKER, released
from schemas.errors import ContractError, UsageError
from schemas.events.codec import CONFLUENT_MAGIC, RIDE_EVENT, Decoder, encode_event
from schemas.events.measures import KINDS, MEASURES, RideKind
from schemas.events.rides import NO_TIME, OTHER_REGION, RawBatch, Reason, Rejected
from schemas.regions import Region
from state.counting.explain import explain
from state.counting.guess import guess, guess_region
from state.counting.intake import REASONS, validate

BATCH_EVENTS = 5_000
CONTAINER = b"Obj\x01"
HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
OTHER_NAMES = 3  # of regions that are shown

FIELDS: list[dict[str, Any]] = released(RIDE_EVENT)["fields"]
NAMES = tuple(field["name"] for field in FIELDS)
TIMES = ("occurred_at", "logged_at")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One event as found: its place in the file, its bytes, or why it has none."""

    place: str
    value: bytes = b""
    logged_at_us: int = NO_TIME
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with one event: the rule's id, the details, and the likely mistake or ""."""

    place: str
    reason: Reason
    detail: str
    guess: str


@dataclass(slots=True)
class Validation:
    """Totals over all events; received = rejected + repeated + elsewhere + sum(kinds.values())."""

    received: int = 0
    rejected: dict[Reason, int] = field(default_factory=dict)
    repeated: int = 0  # an earlier event has the same event_id
    elsewhere: dict[str, int] = field(default_factory=dict)  # other region -> events
    kinds: dict[RideKind, int] = field(default_factory=dict)

    def counted(self, regions: Sequence[Region]) -> int:
        """How many events a measure of these regions would count."""
        wanted = {MEASURES[name].kind for region in regions for name in region.measures}
        return sum(number for kind, number in self.kinds.items() if kind in wanted)


def validate_events(
    candidates: Iterable[Candidate], regions: Sequence[Region], skew_s: int, now_us: int = NO_TIME
) -> tuple[Validation, Iterator[Complaint]]:
    """Judge events as intake does.

    Args:
        candidates: The events.
        regions: The regions that would be counted.
        skew_s: How far an event may be ahead of its log time.
        now_us: Log time of events that have none, or NO_TIME: then their own times are believed.
    Returns:
        Totals, which are complete when the complaints have been read, and the complaints in order.
    """
    found = Validation()
    return found, _complaints(found, iter(candidates), regions, skew_s, now_us)


def _complaints(
    found: Validation, candidates: Iterator[Candidate], regions: Sequence[Region], skew_s: int, now_us: int
) -> Iterator[Complaint]:
    decoder, seen = Decoder(tuple(region.id for region in regions)), set[int]()
    while part := list(islice(candidates, BATCH_EVENTS)):
        found.received += len(part)
        times = [now_us if one.logged_at_us == NO_TIME else one.logged_at_us for one in part]
        raw = RawBatch(0, np.arange(len(part)), np.array(times, np.int64), [one.value for one in part])
        batch, undecodable = decoder.decode(raw)
        verdict = validate(batch, regions, skew_s, others_ok=True)
        rejects = {reject.offset: reject for reject in undecodable}
        for row in np.flatnonzero(verdict >= 0).tolist():
            at = int(batch.offset[row])
            rejects[at] = Rejected(0, at, times[at], REASONS[verdict[row]], raw.values[at])
        for at, reject in sorted(rejects.items()):
            found.rejected[reject.reason] = found.rejected.get(reject.reason, 0) + 1
            problem = part[at].problem
            yield Complaint(
                part[at].place,
                reject.reason,
                problem or explain(reject, regions, skew_s),
                "" if problem else guess(reject, regions),
            )
        for row in np.flatnonzero(verdict < 0).tolist():
            if batch.region[row] == OTHER_REGION:
                name = _region_of(raw.values[int(batch.offset[row])])
                found.elsewhere[name] = found.elsewhere.get(name, 0) + 1
            elif (name_hash := int(batch.event_hash[row])) in seen:
                found.repeated += 1
            else:
                seen.add(name_hash)
                kind = KINDS[batch.kind[row]]
                found.kinds[kind] = found.kinds.get(kind, 0) + 1


def _region_of(value: bytes) -> str:
    from schemas.events.codec import decode_slow

    fields = decode_slow(value)
    return str(fields["region"]) if isinstance(fields, dict) else ""


def summary_of(found: Validation, regions: Sequence[Region]) -> list[str]:
    """What would become of the events, in lines."""
    rejected = sum(found.rejected.values())
    lines = [f"{found.received:,} events: {found.received - rejected:,} valid, {rejected:,} rejected"]
    lines += [f"  {number:,} {reason}" for reason, number in sorted(found.rejected.items())]
    if found.repeated:
        lines.append(f"  {found.repeated:,} repeat the event_id of an earlier event and count once")
    for name, number in sorted(found.elsewhere.items(), key=lambda item: (-item[1], item[0]))[:OTHER_NAMES]:
        hint = guess_region(name, regions)
        lines.append(
            f"  {number:,} are of region {name!r}, which is not among {', '.join(region.id for region in regions)}; {hint}".rstrip("; ")
        )
    for kind, number in sorted(found.kinds.items()):
        names = [name for name, measure in MEASURES.items() if measure.kind == kind]
        lines.append(f"  {number:,} {kind}: " + (f"counted by the measure {', '.join(names)}" if names else "no measure counts them"))
    wanted = sorted({name for region in regions for name in region.measures})
    lines.append(f"{found.counted(regions):,} would be counted by the measures of these regions ({', '.join(wanted)})")
    return lines


# --- what a file may hold -------------------------------------------------------------------------


def candidates_in(path: Path) -> Iterator[Candidate]:
    """The events of a file, or of a directory in the layout of the ride log.

    Raises:
        UsageError: it cannot be read, or is in no known format.
    """
    if path.is_dir():
        return _from_ride_log(path)
    try:
        return candidates_of(path.read_bytes(), str(path))
    except OSError as cause:
        raise UsageError(f"{path}: expected a file of events: {cause.strerror}") from cause


def candidates_of(data: bytes, where: str) -> Iterator[Candidate]:
    """The events in some bytes, whose format is recognised.

    Raises:
        UsageError: no known format.
    """
    if not data.strip():
        raise UsageError(f"{where}: expected events, got an empty file")
    if data.startswith(CONTAINER):
        return _from_container(data, where)
    if data.startswith((MARKER, CONFLUENT_MAGIC)):
        return iter([Candidate("the message", data)])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return iter([Candidate("the message", data)])
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if all(HEX_DIGITS.issuperset(line) and len(line) % 2 == 0 for _, line in lines):
        return (Candidate(f"line {number}", bytes.fromhex(line)) for number, line in lines)
    if text.lstrip().startswith("["):
        return _from_array(text, where)
    return (_from_json(f"line {number}", line) for number, line in lines)


def _from_ride_log(folder: Path) -> Iterator[Candidate]:
    source = FileRides(folder)
    for partition in source.partitions():
        start, end = source.bounds(partition)
        reader = source.open(partition, start)
        while reader.position() < end and (raw := reader.read(BATCH_EVENTS, 0.0)) is not None:
            for offset, logged_at_us, value in zip(raw.offsets.tolist(), raw.logged_at_us.tolist(), raw.values, strict=True):
                yield Candidate(f"partition {partition}, offset {offset}", value, logged_at_us)
        reader.close()


def _from_container(data: bytes, where: str) -> Iterator[Candidate]:
    number = 0
    try:
        for number, record in enumerate(fastavro.reader(io.BytesIO(data)), 1):
            place = f"event {number}"
            if isinstance(record, dict) and isinstance(record.get("value"), bytes):  # an entry of the ride log
                yield Candidate(place, record["value"], _us(record.get("logged_at")))
            elif isinstance(record, dict):
                yield _encoded(place, record)
            else:
                yield Candidate(place, problem=f"expected a record, got {type(record).__name__}")
    except Exception as cause:  # fastavro raises various types for damaged files
        raise UsageError(f"{where}: expected an Avro file, after {number:,} events got {type(cause).__name__}: {cause}") from cause


def _from_array(text: str, where: str) -> Iterator[Candidate]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise UsageError(f"{where}: expected a JSON array of events, got {cause}") from cause
    for number, item in enumerate(found, 1):
        yield (
            _encoded(f"event {number}", item) if isinstance(item, dict) else Candidate(f"event {number}", problem="expected a JSON object")
        )


def _from_json(place: str, line: str) -> Candidate:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as cause:
        return Candidate(place, problem=f"expected one event as JSON or hexadecimal digits, got {cause}")
    return (
        _encoded(place, found)
        if isinstance(found, dict)
        else Candidate(place, problem=f"expected a JSON object, got {type(found).__name__}")
    )


def _encoded(place: str, record: dict[str, Any]) -> Candidate:
    fields = {name: _us(value) if isinstance(value, datetime) else value for name, value in record.items()}
    if problems := problems_of(fields):
        return Candidate(place, problem="cannot be encoded: " + "; ".join(problems))
    try:
        value = encode_event({name: fields.get(name) for name in NAMES})
    except ContractError as cause:
        return Candidate(place, problem=f"cannot be encoded: {cause}")
    return Candidate(place, value)


def problems_of(fields: dict[str, Any]) -> list[str]:
    """Why the fields of an event cannot be encoded as a ride event.

    >>> problems_of({"event_id": "1", "ride_id": "1", "kind": "requested", "occurred_at": 0, "region": "nyc", "lat": 40.7})
    ['lon: required, but missing']
    """
    found = []
    for definition in FIELDS:
        name, kind = definition["name"], definition["type"]
        value = fields.get(name)
        optional = isinstance(kind, list)
        if value is None:
            found += [] if optional else [f"{name}: required, but missing"]
            continue
        if (wrong := _wrong_type(name, kind[1] if optional else kind, value)) is not None:
            found.append(f"{name}: {wrong}")
    for name in fields:
        if name not in NAMES:
            near = difflib.get_close_matches(name.lower(), NAMES, 1, 0.7)
            found.append(f"{name}: no such field" + (f", is it {near[0]}?" if near else f"; the fields are {', '.join(NAMES)}"))
    return found


def _wrong_type(name: str, kind: Any, value: object) -> str | None:
    if name in TIMES:
        if isinstance(value, int) and not isinstance(value, bool):
            return None
        return f"expected whole microseconds since 1970, UTC, got {value!r}" + _as_us(value)
    if isinstance(kind, dict) and kind["type"] == "enum":
        return None if value in kind["symbols"] else f"expected one of {', '.join(kind['symbols'])}, got {value!r}"
    if kind == "double":
        return None if isinstance(value, int | float) and not isinstance(value, bool) else f"expected a number, got {value!r}"
    return None if isinstance(value, str) else f"expected a text, got {value!r}"


def _as_us(value: object) -> str:
    """What a time would be in microseconds, if it is a time with a zone."""
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return ""
    return f"; that is {_us(at)}" if at.tzinfo else "; its zone is unknown"


def _us(at: object) -> int:
    if isinstance(at, datetime):
        return int((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6 + 0.5) if at.tzinfo else NO_TIME
    return at if isinstance(at, int) else NO_TIME
