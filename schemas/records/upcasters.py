"""How an old record is read as a new one: a pure step from the fields of one version to those of the next.

A released schema is never edited. A step adds what the old record meant without saying it; it invents nothing,
looks nothing up, and leaves what it is given as it was. Golden files hold each version's bytes (`tests/golden`).
"""

from collections.abc import Callable
from typing import Any

AvroDict = dict[str, Any]


def bootstrapped_with_fold(fields: AvroDict) -> AvroDict:
    """RegionBootstrapped 1 to 2: before folds had versions there was one.

    >>> bootstrapped_with_fold({"region": "nyc"})
    {'region': 'nyc', 'fold_version': 1}
    """
    return fields | {"fold_version": 1}


# (record name, version) -> fields of that version to fields of the next.
UPCASTERS: dict[tuple[str, int], Callable[[AvroDict], AvroDict]] = {
    ("RegionBootstrapped", 1): bootstrapped_with_fold,
}
