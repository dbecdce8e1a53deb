"""A table of features: the columns of a model's matrix, and which of them each horizon and each kind of model uses.

A model names the version of its table. A table that a model was trained with is never edited; a new one gets the next
version, so that old models run for as long as their table exists.
"""

from collections.abc import Callable
from dataclasses import dataclass

from schemas.events.rides import Float64s
from state.demand.groups import Group, group_of
from state.demand.windows import AHEAD, SlotWindows

Fill = Callable[[SlotWindows], Float64s | float]


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the matrix.

    Attributes:
        name: Name of the column in trained models.
        meaning: Description. NaN stands for a window that was not observed.
        fill: Returns float64[n], or one number for all cells. A cell's value depends on no other cell of the build.
        linear: A linear model in the log rate uses it: it is a log ratio, a flag, or another number of the order of one.
        ahead: Index in `state.demand.windows.AHEAD` of the only horizon that it describes; None for all.
        group: Where explanations show it; None for the group that its name starts with.
    """

    name: str
    meaning: str
    fill: Fill
    linear: bool = False
    ahead: int | None = None
    group: Group | None = None


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """The columns of a matrix, in order.

    Attributes:
        version: Models name it.
        profile: Name of the columns with the log of the profile of each horizon; the braces stand for the horizon's name.
        tracked: Its features need a history that tracks levels; see `state.demand.levels`.
        older: Training uses profiles that remember older weeks than the counts; see `state.demand.older_weeks`.
    """

    version: int
    features: tuple[Feature, ...]
    profile: str = "log_smooth_{}"
    tracked: bool = False
    older: bool = False

    def __len__(self) -> int:
        return len(self.features)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(feature.name for feature in self.features)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The group of each column; see `state.demand.groups`."""
        return tuple(group_of(feature.name, feature.group) for feature in self.features)

    def columns(self, ahead: int, *, linear: bool) -> tuple[int, ...]:
        """Indices of the columns that a model of one of the AHEAD horizons uses.

        Args:
            ahead: Index in `state.demand.windows.AHEAD`.
            linear: Only those for a linear model.

        >>> table = FeatureTable(1, (Feature("a", "", lambda w: 1.0), Feature("b", "", lambda w: 1.0, linear=True, ahead=2)))
        >>> table.columns(2, linear=False), table.columns(2, linear=True), table.columns(0, linear=False)
        ((0, 1), (1,), (0,))
        """
        return tuple(i for i, feature in enumerate(self.features) if feature.ahead in (None, ahead) and (feature.linear or not linear))

    def offset_column(self, ahead: int) -> int:
        """Index of the column with the log of the profile of one of the AHEAD horizons, from which a model starts.

        >>> table = FeatureTable(1, (Feature("a", "", lambda w: 1.0), Feature("log_smooth_last", "", lambda w: 1.0)))
        >>> table.offset_column(2)
        1
        """
        return self.names.index(self.profile.format(AHEAD[ahead].name))
