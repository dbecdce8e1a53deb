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


def promoted_with_category(fields: AvroDict) -> AvroDict:
    """ModelPromoted 2 to 3: what the gates promoted had shown that it is better.

    >>> promoted_with_category({"cause": "gates"}), promoted_with_category({"cause": "command"})
    ({'cause': 'gates', 'category': 'improvement'}, {'cause': 'command', 'category': ''})
    """
    return fields | {"category": "improvement" if fields["cause"] == "gates" else ""}


def rejected_with_category(fields: AvroDict) -> AvroDict:
    """ModelRejected 1 to 2: whether a trial or a rollback ended so was only in the reason.

    >>> rejected_with_category({"region": "nyc"})
    {'region': 'nyc', 'category': ''}
    """
    return fields | {"category": ""}


def issued_with_bands(fields: AvroDict) -> AvroDict:
    """ForecastIssued 1 to 2: quantiles were those of the negative binomial at every mean.

    >>> issued_with_bands({"spread": [{"horizon_min": 15}]})
    {'spread': [{'horizon_min': 15, 'bands': []}]}
    """
    return fields | {"spread": [spread | {"bands": []} for spread in fields["spread"]]}


def issued_without_bands(fields: AvroDict) -> AvroDict:
    """ForecastIssued 2 to 1: the fields that version 1 has.

    >>> issued_without_bands({"spread": [{"horizon_min": 15, "bands": []}]})
    {'spread': [{'horizon_min': 15}]}
    """
    return fields | {"spread": [{name: value for name, value in spread.items() if name != "bands"} for spread in fields["spread"]]}


def issued_with_members(fields: AvroDict) -> AvroDict:
    """ForecastIssued 2 to 3: one model, the champion, made the means, and its reason to stand in was not recorded.

    >>> issued_with_members({"cells": 3})
    {'cells': 3, 'roles': [], 'reasons': {}, 'members': [], 'weights': [], 'experiment': ''}
    """
    return fields | {"roles": [], "reasons": {}, "members": [], "weights": [], "experiment": ""}


def issued_without_members(fields: AvroDict) -> AvroDict:
    """ForecastIssued 3 to 2: the fields that version 2 has.

    >>> issued_without_members({"cells": 3, "roles": [], "reasons": {}, "members": [], "weights": [], "experiment": ""})
    {'cells': 3}
    """
    return {name: value for name, value in fields.items() if name not in {"roles", "reasons", "members", "weights", "experiment"}}


def issued_with_arm_features(fields: AvroDict) -> AvroDict:
    """ForecastIssued 3 to 4: what the challenger of an experiment saw was not recorded.

    >>> issued_with_arm_features({"cells": 3})
    {'cells': 3, 'arm_features_digest': b''}
    """
    return fields | {"arm_features_digest": b""}


def issued_without_arm_features(fields: AvroDict) -> AvroDict:
    """ForecastIssued 4 to 3: the fields that version 3 has.

    >>> issued_without_arm_features({"cells": 3, "arm_features_digest": b""})
    {'cells': 3}
    """
    return {name: value for name, value in fields.items() if name != "arm_features_digest"}


# (record name, version) -> fields of that version to fields of the next.
UPCASTERS: dict[tuple[str, int], Callable[[AvroDict], AvroDict]] = {
    ("RegionBootstrapped", 1): bootstrapped_with_fold,
    ("RegionBootstrapped", 2): bootstrapped_with_intake_rules,
    ("ModelPromoted", 1): promoted_with_evidence,
    ("ModelPromoted", 2): promoted_with_category,
    ("ModelRejected", 1): rejected_with_category,
    ("ForecastIssued", 1): issued_with_bands,
    ("ForecastIssued", 2): issued_with_members,
    ("ForecastIssued", 3): issued_with_arm_features,
}

# (record name, version) -> fields of that version to fields of the one before. A record whose fields the upcaster gives
# back exactly is written in the older version: a region that stays at an old version of the fold writes the same bytes
# as before, and a replay of it makes the bytes that were recorded.
DOWNCASTERS: dict[tuple[str, int], Callable[[AvroDict], AvroDict]] = {
    ("ForecastIssued", 2): issued_without_bands,
    ("ForecastIssued", 3): issued_without_members,
    ("ForecastIssued", 4): issued_without_arm_features,
}
