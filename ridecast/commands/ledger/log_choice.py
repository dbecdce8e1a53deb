"""The log that a `ridecast ledger` command reads, and records in the form that JSON needs."""

import dataclasses
from typing import Any

import click

from ledger.store.log import Ledger
from schemas.errors import NotFound, UsageError
from schemas.records.records import region_in

log_option = click.option(
    "--log", "log_name", default=None, metavar="NAME", help="A log: region/<id>, control or runs. [default: the only region]"
)


def pick_log(ledger: Ledger, name: str | None) -> str:
    """The named log, or the only region's.

    Raises:
        UsageError: there is no such log, or several regions to choose from.
        NotFound: no region has a log yet.
    """
    logs = sorted(ledger.logs())
    if name is not None:
        if name not in logs:
            raise UsageError(f"--log: expected one of {', '.join(logs) or 'none yet'}, got {name!r}")
        return name
    regions = [log for log in logs if region_in(log) is not None]
    if not regions:
        raise NotFound("--log: expected one region's log to exist, found none; name one")
    if len(regions) > 1:
        raise UsageError(f"--log: expected one region's log to exist, found {', '.join(regions)}; name one")
    return regions[0]


def plain(value: Any) -> Any:
    """A record in the form that JSON needs: digests in hex.

    >>> plain((b"\\x01", {"a": 1}))
    ['01', {'a': 1}]
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value
