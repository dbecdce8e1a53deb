"""When to train a region's models again: on a schedule, or when what is served gets worse, within a budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from schemas.errors import UsageError
from schemas.records.records import SlotScored

DAYS_A_WEEK = 7


class Trigger(StrEnum):
    """Why to train."""

    SCHEDULE = "schedule"
    DRIFT = "drift"  # a detector said so
    LOSS = "loss"  # served forecasts got worse


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingRules:
    """When to train, and how often at most.

    Attributes:
        every_days: Length of the schedule; 0 for none.
        recent_days: Days in a row that must be worse.
        reference_days: Days before them that say what is usual; with fewer than half of them nothing is said.
        least_rise: Relative rise that matters.
        deviations: Rise above the usual, in standard deviations of the reference.
        cooldown_days: From one training to the next that is not on the schedule.
        trainings_per_week, promotions_per_week: Budget.
    """

    every_days: int = 7
    recent_days: int = 2
    reference_days: int = 14
    least_rise: float = 0.1
    deviations: float = 3.0
    cooldown_days: int = 2
    trainings_per_week: int = 3
    promotions_per_week: int = 2

    def __post_init__(self) -> None:
        if min(self.every_days, self.cooldown_days) < 0 or min(self.recent_days, self.reference_days) < 1:
            raise UsageError(f"retraining: expected days of at least 1, and a schedule and a cooldown of at least 0, got {self}")


@dataclass(frozen=True, slots=True)
class DayScore:
    """Errors of what was served in one day, over all horizons; rides.

    Attributes:
        day: Number of the day, slot // slots of a day.
    """

    day: int
    absolute: float
    baseline_absolute: float
    truth: float
    forecast: float


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a policy knows; the ledger holds all of it.

    Attributes:
        days: Whole days, ascending.
        today: Number of the day that has just begun.
        trained_day: When the newest model's data end; None without a model.
        trainings, promotions: In the last seven days, promotions by the gates only.
        drift: What detectors found since the last training, each in one sentence.
    """

    days: Sequence[DayScore]
    today: int
    trained_day: int | None
    trainings: int
    promotions: int
    drift: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Due:
    """A training is due, and why, in one sentence."""

    trigger: Trigger
    reason: str


def due(history: History, rules: RetrainingRules) -> Due | None:
    """Whether to train now; rules apply in this order."""
    if history.trainings >= rules.trainings_per_week:
        return None
    since = None if history.trained_day is None else history.today - history.trained_day
    if rules.every_days and (since is None or since >= rules.every_days):
        what = "there is no model yet" if since is None else f"{since} days since the data of the newest model ended"
        return Due(Trigger.SCHEDULE, f"{what}; every {rules.every_days} days")
    if since is not None and since < max(rules.cooldown_days, 1):
        return None
    if history.drift:
        return Due(Trigger.DRIFT, history.drift[0])
    rise = risen(history.days, rules)
    return None if rise is None else Due(Trigger.LOSS, rise)


def may_promote(history: History, rules: RetrainingRules) -> bool:
    """Whether the budget allows another promotion by the gates."""
    return history.promotions < rules.promotions_per_week


def risen(days: Sequence[DayScore], rules: RetrainingRules) -> str | None:
    """What got worse in every one of the last days, in one sentence; None if nothing did, or too little is known.

    A day is worse if its value exceeds the mean of the reference by `deviations` standard deviations, and by `least_rise`.
    """
    recent, usual = days[-rules.recent_days :], days[: -rules.recent_days][-rules.reference_days :]
    if len(recent) < rules.recent_days or 2 * len(usual) < rules.reference_days:
        return None
    for name, value in SERIES:
        reference = np.array([value(day) for day in usual])
        bound = float(reference.mean() + max(rules.deviations * reference.std(ddof=1), np.log1p(rules.least_rise)))
        least = min(value(day) for day in recent)
        if least > bound:
            change = 100 * float(np.expm1(least - reference.mean()))
            return f"{name} is at least {change:.0f} % above its mean of {len(usual)} days, in each of the last {len(recent)} days"
    return None


def _log(over: float, under: float) -> float:
    return float(np.log(max(over, 1e-9) / max(under, 1e-9)))


def _against_baseline(day: DayScore) -> float:
    return _log(day.absolute, day.baseline_absolute)


def _per_ride(day: DayScore) -> float:
    return _log(day.absolute, day.truth)


def _bias(day: DayScore) -> float:
    return abs(_log(day.forecast, day.truth))


# Log of a ratio per day, of which more is worse. After a change of level the baseline fails too, so that the error against it may
# even fall: hence the others.
SERIES = (
    ("the absolute error against the baseline's", _against_baseline),
    ("the absolute error per ride", _per_ride),
    ("the bias", _bias),
)


def day_scores(scores: Sequence[SlotScored], day_slots: int, today: int) -> list[DayScore]:
    """Errors per day from the scores of slots that ended before today, in rides; corrections that came later are left out."""
    sums: dict[int, list[int]] = {}
    for scored in scores:
        day = scored.slot // day_slots
        if scored.settled or day >= today:
            continue
        of_day = sums.setdefault(day, [0, 0, 0, 0])
        for row in scored.rows:
            for at, number in enumerate((row.abs_error_milli, row.baseline_abs_error_milli, row.truth * 1000, row.forecast_mean_milli)):
                of_day[at] += number
    return [DayScore(day, *(number / 1000 for number in sums[day])) for day in sorted(sums)]
