"""How a published message differs from the ledger's, in words."""

from typing import NamedTuple, cast

from ledger.store.log import Ledger
from ledger.views.reconcile.differences import Reason
from schemas.errors import DamagedError
from schemas.forecasts.messages import decode_demand_forecast
from schemas.records.records import ForecastIssued, region_log

NUMBERS = ("mean", "median", "lower", "upper", "baseline")


class MessageWords(NamedTuple):
    """See `ledger.views.reconcile.differences.Difference`."""

    reason: Reason
    expected: str
    got: str


def words_of(ledger: Ledger, region: str, expected: bytes | None, got: bytes | None) -> MessageWords:
    """How the newest value of a key differs from what the ledger says.

    Args:
        expected: None if the key has no forecast.
        got: As read, at least the beginning.
    """
    wanted = _fields(expected)
    ours = f"entry {wanted['log_index']}" if wanted is not None else "no forecast"
    if got is None:
        return MessageWords(Reason.MISSING, ours, "a tombstone")
    found = _fields(got)
    if found is None:
        return MessageWords(Reason.ADDED if wanted is None else Reason.DAMAGED, ours, f"{len(got)} bytes that are no forecast")
    index = cast(int, found["log_index"])
    theirs = f"entry {index}"
    if wanted is None:
        return MessageWords(Reason.ADDED, ours, theirs)
    if index == wanted["log_index"]:
        return MessageWords(Reason.CHANGED, *_first_number(wanted, found))
    if index >= ledger.head(region_log(region)).size:
        return MessageWords(Reason.AHEAD, ours, theirs)
    if not is_issue(ledger, region, index):
        return MessageWords(Reason.OTHER_LEDGER, ours, theirs)
    return MessageWords(Reason.STALE if index < cast(int, wanted["log_index"]) else Reason.CHANGED, ours, theirs)


def is_issue(ledger: Ledger, region: str, index: int) -> bool:
    """Whether the ledger has an issue at an index of a region's log."""
    return 0 <= index and bool(ledger.read(region_log(region), index, index + 1, kind=ForecastIssued))


def index_in(value: bytes) -> int | None:
    """The index that a message names; None if it is no forecast."""
    fields = _fields(value)
    return cast(int, fields["log_index"]) if fields is not None else None


def _fields(value: bytes | None) -> dict[str, object] | None:
    try:
        return decode_demand_forecast(value) if value is not None else None
    except DamagedError:
        return None


def _first_number(wanted: dict[str, object], found: dict[str, object]) -> tuple[str, str]:
    pairs = zip(cast(list[dict[str, object]], wanted["horizons"]), cast(list[dict[str, object]], found["horizons"]), strict=False)
    for ours, theirs in pairs:
        for name in NUMBERS:
            if ours.get(name) != theirs.get(name):
                minutes = next((str(value) for key, value in ours.items() if "min" in key), "")
                return f"{name} at {minutes} min {ours.get(name):g}", f"{theirs.get(name):g}"
    name = next((name for name in wanted if wanted[name] != found.get(name)), "bytes")
    return f"{name} {wanted.get(name)}"[:80], str(found.get(name))[:80]
