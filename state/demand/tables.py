"""The feature tables by version, and which one a version of the fold can build."""

from collections.abc import Mapping

from state.demand.feature_table import FeatureTable
from state.demand.features import FIRST_TABLE
from state.demand.second_table import SECOND_TABLE
from state.demand.third_table import THIRD_TABLE

SECOND_SINCE = 4  # version of the fold from which levels are tracked
THIRD_SINCE = 5
TABLES: Mapping[int, FeatureTable] = {table.version: table for table in (FIRST_TABLE, SECOND_TABLE, THIRD_TABLE)}


def newest_table(fold_version: int) -> FeatureTable:
    """The newest table whose features a version of the fold can build.

    >>> newest_table(3).version, newest_table(4).version, newest_table(5).version
    (1, 2, 3)
    """
    if fold_version >= THIRD_SINCE:
        return THIRD_TABLE
    return SECOND_TABLE if fold_version >= SECOND_SINCE else FIRST_TABLE
