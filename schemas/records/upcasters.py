"""Upcasters: pure functions from the fields of one version of a record to those of the next.

A released schema is never edited. An upcaster adds what was implicit in the old record; it reads nothing else
and does not modify its argument. Golden files hold each version's bytes (`tests/golden`).
"""

from collections.abc import Callable
from typing import Any

AvroDict = dict[str, Any]


def bootstrapped_with_fold(fields: AvroDict) -> AvroDict:
    """RegionBootstrapped 1 to 2: version 1 records were made by version 1 of the fold.

    >>> bootstrapped_with_fold({"region": "nyc"})
    {'region': 'nyc', 'fold_version': 1}
    """
    return fields | {"fold_version": 1}


def bootstrapped_with_others(fields: AvroDict) -> AvroDict:
    """RegionBootstrapped 2 to 3: intake rejected events of regions that a run did not count.

    >>> bootstrapped_with_others({"region": "nyc"})
    {'region': 'nyc', 'others_ok': False}
    """
    return fields | {"others_ok": False}


# (record name, version) -> fields of that version to fields of the next.
UPCASTERS: dict[tuple[str, int], Callable[[AvroDict], AvroDict]] = {
    ("RegionBootstrapped", 1): bootstrapped_with_fold,
    ("RegionBootstrapped", 2): bootstrapped_with_others,
}
