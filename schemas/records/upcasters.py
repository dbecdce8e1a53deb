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


def bootstrapped_with_intake_rules(fields: AvroDict) -> AvroDict:
    """RegionBootstrapped 2 to 3: one event was enough to cut a slot, no ride was too far ahead, other regions were rejected.

    >>> bootstrapped_with_intake_rules({"region": "nyc"})
    {'region': 'nyc', 'evidence_events': 1, 'evidence_window_events': 1, 'hold_s': 0, 'others_ok': False}
    """
    return fields | {"evidence_events": 1, "evidence_window_events": 1, "hold_s": 0, "others_ok": False}


def promoted_with_evidence(fields: AvroDict) -> AvroDict:
    """ModelPromoted 1 to 2: promotions were made by command only, and recorded neither who made them nor what was before.

    >>> promoted_with_evidence({"region": "nyc"})
    {'region': 'nyc', 'author': '', 'cause': 'command', 'replaced': b'', 'evidence': []}
    """
    return fields | {"author": "", "cause": "command", "replaced": b"", "evidence": []}


# (record name, version) -> fields of that version to fields of the next.
UPCASTERS: dict[tuple[str, int], Callable[[AvroDict], AvroDict]] = {
    ("RegionBootstrapped", 1): bootstrapped_with_fold,
    ("RegionBootstrapped", 2): bootstrapped_with_intake_rules,
    ("ModelPromoted", 1): promoted_with_evidence,
}
