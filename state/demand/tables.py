"""The feature tables by version, and which one a version of the fold can build."""

from collections.abc import Mapping

from state.demand.feature_table import FeatureTable
from state.demand.features import FIRST_TABLE
from state.demand.fourth_table import FOURTH_TABLE
from state.demand.second_table import SECOND_TABLE
from state.demand.third_table import THIRD_TABLE

SECOND_SINCE = 4  # version of the fold from which levels are tracked
THIRD_SINCE = 5
FOURTH_SINCE = 6
TABLES: Mapping[int, FeatureTable] = {table.version: table for table in (FIRST_TABLE, SECOND_TABLE, THIRD_TABLE, FOURTH_TABLE)}


def newest_table(fold_version: int) -> FeatureTable:
    """The newest table whose features a version of the fold can build.

    >>> [newest_table(version).version for version in (3, 4, 5, 6)]
    [1, 2, 3, 4]
    """
    since = ((FOURTH_SINCE, FOURTH_TABLE), (THIRD_SINCE, THIRD_TABLE), (SECOND_SINCE, SECOND_TABLE))
    return next((table for version, table in since if fold_version >= version), FIRST_TABLE)
