"""The fourth feature table: the third one, and more. Its profiles remember all weeks (`state.demand.older_weeks`)."""

from state.demand.covariate_features import COVARIATE_FEATURES
from state.demand.feature_table import Feature, FeatureTable
from state.demand.third_table import THIRD_TABLE

ADDED: tuple[Feature, ...] = COVARIATE_FEATURES

FOURTH_TABLE = FeatureTable(4, (*THIRD_TABLE.features, *ADDED), profile=THIRD_TABLE.profile, tracked=True, older=True)
