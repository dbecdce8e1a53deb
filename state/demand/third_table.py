"""The third feature table: the second one, and more."""

from state.demand.feature_table import Feature, FeatureTable
from state.demand.few_features import FEW_FEATURES
from state.demand.holiday_features import HOLIDAY_FEATURES
from state.demand.other_features import OTHER_FEATURES
from state.demand.second_table import SECOND_TABLE

ADDED: tuple[Feature, ...] = (*FEW_FEATURES, *HOLIDAY_FEATURES, *OTHER_FEATURES)

THIRD_TABLE = FeatureTable(3, (*SECOND_TABLE.features, *ADDED), profile=SECOND_TABLE.profile, tracked=True)
