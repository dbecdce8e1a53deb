"""The feature tables by version, and which one a version of the fold can build."""

from collections.abc import Mapping

from state.demand.feature_table import FeatureTable
from state.demand.features import FIRST_TABLE
from state.demand.second_table import SECOND_TABLE

SECOND_SINCE = 4  # version of the fold from which levels are tracked
TABLES: Mapping[int, FeatureTable] = {table.version: table for table in (FIRST_TABLE, SECOND_TABLE)}


def newest_table(fold_version: int) -> FeatureTable:
    """The newest table whose features a version of the fold can build.

    >>> newest_table(3).version, newest_table(4).version
    (1, 2)
    """
    return SECOND_TABLE if fold_version >= SECOND_SINCE else FIRST_TABLE
