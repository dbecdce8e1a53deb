"""The table of parameters that can be changed while a home runs, one row each."""

from dataclasses import replace
from difflib import get_close_matches
from types import MappingProxyType

from schemas.errors import UsageError
from schemas.events.cells import cell_code
from state.decide.parameters import InForce, Parameter, Scope, find
from state.decide.retraining import RetrainingRules
from state.detect.detector import Threshold
from state.detect.table import DETECTORS

AT_CLOSE, AT_DAY, AT_ISSUE, AT_READ = "next close", "next end of a day", "next issue", "next request"
THRESHOLD = "threshold"  # in the names of detectors' thresholds

TRAINED_MODELS, PUBLISHING, UNREADY_AFTER = "trained_models", "publishing", "unready_after_slots"
RULES = RetrainingRules()

ROWS: tuple[Parameter, ...] = (
    *(
        Parameter(
            name=f"{row.name}_{THRESHOLD}_{row.unit}",
            default=row.threshold,
            unit=row.unit,
            low=row.lowest,
            high=row.never,
            meaning=f"evidence above which the detector `{row.name}` fires; at {row.never:g} it never does",
            effect=AT_CLOSE,
            scopes=tuple(Scope) if row.by_cell else (Scope.INSTANCE, Scope.REGION),
        )
        for row in DETECTORS
    ),
    Parameter(
        name="promotions_per_week",
        default=RULES.promotions_per_week,
        unit="1/week",
        low=0,
        high=100,
        meaning="promotions by the gates in seven days, at most; 0 for none",
        effect=AT_DAY,
    ),
    Parameter(
        name="trainings_per_week",
        default=RULES.trainings_per_week,
        unit="1/week",
        low=0,
        high=100,
        meaning="trainings in seven days, at most; 0 for none",
        effect=AT_DAY,
    ),
    Parameter(
        name="retrain_every_days",
        default=RULES.every_days,
        unit="days",
        low=0,
        high=366,
        meaning="schedule of trainings; 0 for none",
        effect=AT_DAY,
    ),
    Parameter(
        name="retraining_cooldown_days",
        default=RULES.cooldown_days,
        unit="days",
        low=0,
        high=366,
        meaning="from one training to the next that is not on the schedule",
        effect=AT_DAY,
    ),
    Parameter(
        name=TRAINED_MODELS,
        default=True,
        meaning="off: no trained model serves the region; forecasts come from its profile and level",
        effect=AT_CLOSE,
    ),
    Parameter(
        name=PUBLISHING,
        default=True,
        meaning="off: the publisher sends no forecasts of the region; when on again it goes on from its place",
        effect=AT_ISSUE,
    ),
    Parameter(
        name=UNREADY_AFTER,
        default=12.0,
        unit="slots",
        low=1,
        high=1_000_000_000,
        meaning="slots without a close after which /v1/ready answers 503",
        effect=AT_READ,
        setting=UNREADY_AFTER,
    ),
)

PARAMETERS = MappingProxyType({row.name: row for row in ROWS})


def parameter_named(name: str) -> Parameter:
    """The row of a name.

    Raises:
        UsageError: there is none.
    """
    if (row := PARAMETERS.get(name)) is not None:
        return row
    near = get_close_matches(name, PARAMETERS, 1, 0.6)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"parameter {name!r}: there is none of this name; {hint}`ridecast params list` shows all")


def models_off(in_force: InForce, region: str) -> bool:
    """Whether no trained model may serve a region.

    >>> models_off({}, "nyc")
    False
    """
    return not find(in_force, PARAMETERS[TRAINED_MODELS], region).value


def publishing_off(in_force: InForce, region: str) -> bool:
    """Whether nothing of a region is published."""
    return not find(in_force, PARAMETERS[PUBLISHING], region).value


def thresholds(in_force: InForce, region: str) -> dict[str, Threshold]:
    """Detector's name -> its threshold in a region."""
    found = {}
    for row in DETECTORS:
        parameter = PARAMETERS[f"{row.name}_{THRESHOLD}_{row.unit}"]
        cells = sorted(cell for name, of, cell in in_force if (name, of) == (parameter.name, region) and cell)
        of_cells = {cell_code(cell): float(find(in_force, parameter, region, cell).value) for cell in cells}
        found[row.name] = Threshold(float(find(in_force, parameter, region).value), of_cells)
    return found


def retraining_rules(in_force: InForce, region: str, rules: RetrainingRules) -> RetrainingRules:
    """The rules of a region: those given, but for what is set."""
    names = {
        "promotions_per_week": "promotions_per_week",
        "trainings_per_week": "trainings_per_week",
        "retrain_every_days": "every_days",
        "retraining_cooldown_days": "cooldown_days",
    }
    found = {field: find(in_force, PARAMETERS[name], region) for name, field in names.items()}
    return replace(rules, **{field: int(one.value) for field, one in found.items() if one.scope is not None})
