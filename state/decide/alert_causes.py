"""Which kinds of signals explain which: the table of causes, and how deep each kind lies in it.

A row says that one kind directly causes others; what they cause in turn follows. A kind without a row in which it is
caused is a root cause wherever it appears; one that no row names explains nothing and is explained by nothing.
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from schemas.errors import ContractError

# Cause -> what it directly causes. docs/alerts.md shows the same table.
CAUSES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "disk": ("database", "broker", "redis", "ledger"),
        "clock": ("clock skew", "api latency"),
        "key": ("forecaster",),
        "broker": ("partition outage", "region outage", "publisher", "forecaster", "publish lag"),
        "database": ("forecaster", "ledger", "api latency", "publisher"),
        "ledger": ("forecaster", "publisher", "api"),
        "redis": ("online store",),
        "online store": ("api latency",),
        "mlflow": ("training",),
        "forecaster": ("stale forecasts",),
        "publisher": ("publish lag",),
        "stale forecasts": ("publish lag", "accuracy"),
        "publish lag": ("api latency",),
        "api": ("api latency",),
        "region outage": ("partition outage", "undercount", "stale forecasts", "late events"),
        "partition outage": ("silence", "undercount", "stale forecasts", "late events"),
        "silence": ("undercount",),
        "clock skew": ("late events", "skew", "rejects"),
        "schema": ("rejects",),
        "place": ("rejects",),
        "rejects": ("undercount",),
        "late events": ("undercount", "corrections"),
        "duplicates": ("rate",),
        "spoofing": ("cells", "mix"),
        "surge": ("cells", "rate", "accuracy"),
        "undercount": ("cells", "rate", "level", "accuracy"),
        "growth": ("level",),
        "level": ("cells", "features", "accuracy"),
        "mix": ("cells", "features", "accuracy"),
        "cells": ("accuracy",),
        "features": ("accuracy",),
        "accuracy": ("coverage", "model"),
        "training": ("model",),
    }
)


@cache
def explained_by(kind: str) -> frozenset[str]:
    """Every kind that a kind explains, directly or through others.

    >>> sorted(explained_by("publisher"))
    ['api latency', 'publish lag']
    """
    found: set[str] = set()
    ahead = [kind]
    while ahead:
        for caused in CAUSES.get(ahead.pop(), ()):
            if caused == kind:
                raise ContractError(f"table of causes: expected no cycle, and {kind!r} explains itself")
            if caused not in found:
                found.add(caused)
                ahead.append(caused)
    return frozenset(found)


@cache
def explanations_of(kind: str) -> frozenset[str]:
    """Every kind that explains a kind.

    >>> sorted(explanations_of("skew"))
    ['clock', 'clock skew']
    """
    return frozenset(cause for cause in CAUSES if kind in explained_by(cause))


@cache
def depth(kind: str) -> int:
    """How many kinds the longest chain down from a kind has: the deeper a cause, the larger.

    >>> depth("model"), depth("publisher") > depth("publish lag")
    (0, True)
    """
    return max((1 + depth(caused) for caused in CAUSES.get(kind, ())), default=0)
