"""The rules of time zones: those of the package tzdata, the same on every machine.

`zoneinfo` prefers the system's files, which differ between machines and change with their updates. Forecasts depend on
these rules, and the environment that a ledger records names the package. So importing this module makes `zoneinfo` read
the package only, for all code of the process.
"""

import hashlib
import zoneinfo
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = ["ZoneInfo", "ZoneInfoNotFoundError", "zones_digest"]

zoneinfo.reset_tzpath(to=())


@cache
def zones_digest() -> bytes:
    """SHA-256 over the names and bytes of all files that `zoneinfo` reads.

    >>> len(zones_digest())
    32
    """
    digest = hashlib.sha256()
    folder = resources.files("tzdata") / "zoneinfo"
    for name in sorted(zoneinfo.available_timezones()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(folder.joinpath(*name.split("/")).read_bytes()).digest())
    return digest.digest()
