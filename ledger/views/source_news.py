"""What happened to a region's ride log, in words: offsets that were lost, partitions that were added, another log."""

import json
from typing import assert_never

from schemas.records.records import PartitionsChanged, SourceChanged, SourceGap

SourceNews = SourceGap | SourceChanged | PartitionsChanged
NEWS = (SourceGap, SourceChanged, PartitionsChanged)  # the kinds of entries to follow


def sentence(record: SourceNews) -> str:
    """One record in one sentence.

    >>> sentence(SourceGap(region="nyc", partition=2, from_offset=1_000, to_offset=4_000))
    'region nyc: lost offsets [1000, 4000) of partition 2: the ride log deleted them before they were read'
    """
    match record:
        case SourceGap():
            lost = f"[{record.from_offset}, {record.to_offset})"
            said = f"lost offsets {lost} of partition {record.partition}: the ride log deleted them before they were read"
        case SourceChanged():
            said = (
                f"the ride log {_line(record.before)} was replaced by {_line(record.after)}; it is read from its lowest offsets, "
                f"from slot {record.slot} on"
            )
        case PartitionsChanged():
            parts = [f"{name} {list(found)}" for name, found in (("added", record.added), ("removed", record.removed)) if found]
            said = (
                f"partitions of the ride log: {', '.join(parts)}, from slot {record.slot} on; rides of earlier slots count as corrections"
            )
        case _:
            assert_never(record)
    return f"region {record.region}: {said}"


def _line(identity: str) -> str:
    return " ".join(f"{name}={value}" for name, value in json.loads(identity).items()) or "of the last run"
