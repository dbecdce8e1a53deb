"""Evaluates the detectors: labelled faults in simulated cities through the pipeline of a run, and weeks without a fault.

Each seed is one city. Its days before a fault are simulated, counted and watched once; every fault goes on from a copy.
"""

import copy
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import process_time

import numpy as np

from dataflows.watch.hub import as_record
from dataflows.watch.simulated import City, LiveCity
from schemas.records.records import AlertOpened
from schemas.regions import Region
from state.decide.alert_decisions import decide
from state.decide.alerts import Hub
from state.demand.calendar import Calendar
from state.detect.signals import Signal
from state.detect.table import Detectors
from state.detect.trials import DAY_SLOTS, MOST_FALSE_ALARMS, Trial, Verdict, judged
from state.simulation.faults.kinds import Stage
from state.simulation.simulate import DAY_US

FIRST_DAY = "2025-04-05"
DAY_HOURS = (7, 21)  # local hours at which faults begin, drawn per seed and fault
WEEK_DAYS = 7


@dataclass(frozen=True, slots=True)
class Plan:
    """How cities are watched.

    Attributes:
        history_days: Counted before the first live slot.
        quiet_days: Watched without a fault before faults begin.
        rides_per_day: Size of the cities.
    """

    region: Region
    history_days: int = 14
    quiet_days: int = 21
    rides_per_day: int = 20_000


@dataclass(slots=True)
class Evaluation:
    """What was seen.

    Attributes:
        verdicts: One per seed and trial.
        alerts: "kind subject" of alerts that were opened in weeks without a fault -> how many.
        quiet_slots: Slots of such weeks.
        detectors_s, fold_s: Processor time of detectors, and of intake and forecasts of the same slots.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    alerts: Counter[str] = field(default_factory=Counter)
    quiet_slots: int = 0
    detectors_s: float = 0.0
    fold_s: float = 0.0

    @property
    def quiet_weeks(self) -> float:
        """Region-weeks without a fault."""
        return self.quiet_slots / (WEEK_DAYS * DAY_SLOTS)

    @property
    def false_alarms(self) -> float:
        """Alerts per region-week without a fault; 0 if there are no such weeks."""
        return self.alerts.total() / self.quiet_weeks if self.quiet_slots else 0.0

    @property
    def quiet(self) -> bool:
        """Whether there are no more of them than the floor allows."""
        return self.false_alarms <= MOST_FALSE_ALARMS

    @property
    def detectors_share(self) -> float:
        """Processor time of detectors, as a share of that of intake, forecasts and detectors."""
        return self.detectors_s / max(self.detectors_s + self.fold_s, 1e-9)


class Watch:
    """The detectors of one city and the hub of its alerts; a copy goes on from the same state."""

    def __init__(self, region: Region) -> None:
        self._region, self._detectors, self._hub, self._entries = region, Detectors(region), Hub(), 0
        self.opened: list[AlertOpened] = []

    def signals(self, live: LiveCity, days: int, until_slot: int, seen: Evaluation, on_day: Callable[[], None]) -> list[Signal]:
        """What is said in the slots that close on the next days, before a slot."""
        found: list[Signal] = []
        for _ in range(days):
            for watched in live.day():
                if watched.slot >= until_slot:
                    break
                started_s = process_time()
                said = self._detectors.see(watched)
                seen.detectors_s += process_time() - started_s
                self._tell(said, (watched.slot + 1) * self._region.slot_us)
                found += said
            on_day()
        return found

    def _tell(self, said: Sequence[Signal], now_us: int) -> None:
        if not said and not self._hub.open:
            return
        for record in map(as_record, said):
            self._apply(record)
        for decision in decide(self._hub, {self._region.id: now_us}):
            if isinstance(decision, AlertOpened):
                self.opened.append(decision)
            self._apply(decision)

    def _apply(self, record: object) -> None:
        self._hub.apply(self._entries, record)  # type: ignore[arg-type]
        self._entries += 1


def days_of(trials: Sequence[Trial], plan: Plan, weeks: int) -> int:
    """Days that one seed takes, for progress."""
    return max(plan.quiet_days, weeks * WEEK_DAYS) + sum(_days(trial, 0) for trial in trials)


def _days(trial: Trial, hour: int) -> int:
    return -(-(hour * 12 + trial.watched_slots) // 288)


def evaluate_seed(seed: int, trials: Sequence[Trial], plan: Plan, weeks: int, seen: Evaluation, on_day: Callable[[], None]) -> None:
    """Watch one city: at least `weeks` without a fault, and every trial."""
    # Detectors see the shortest window of the first measure, and other windows and measures do not change it.
    region = replace(plan.region, measures=plan.region.measures[:1], horizons_min=plan.region.horizons_min[:1])
    start_us = Calendar(region).first_slot(FIRST_DAY) * region.slot_us
    lead = plan.history_days + plan.quiet_days
    end_us = start_us + (lead + 60) * DAY_US
    live, watch = LiveCity(City(region, seed, start_us, plan.rides_per_day, plan.history_days), end_us), Watch(region)
    never = 1 << 40
    watch.signals(live, plan.quiet_days, never, seen, on_day)
    for trial in trials:
        rng = np.random.default_rng([seed, 20, sum(trial.name.encode())])
        minutes = int(rng.integers(DAY_HOURS[0] * 12, DAY_HOURS[1] * 12)) * 5
        branch = live.branch(f"{trial.fault},from=+{lead}d{minutes}m")
        faulty = copy.deepcopy(watch)
        first = (start_us + lead * DAY_US) // region.slot_us + minutes // region.slot_min
        days = -(-(minutes // region.slot_min + trial.watched_slots + 12) // (DAY_US // region.slot_us))
        before = branch.run_s
        signals = faulty.signals(branch, days, first + trial.watched_slots, seen, on_day)
        seen.fold_s += branch.run_s - before
        assert branch.faults is not None
        [label] = json.loads(branch.faults.labels())["faults"]
        # Events of other stages arrive before the cut of the slot before, which waits for late ones.
        early = int(label["time"] != Stage.DEMAND)
        seen.verdicts.append(judged(trial, seed, signals, first, first + trial.watched_slots, label["cells"] or (), early=early))
    watch.signals(live, max(0, weeks * WEEK_DAYS - plan.quiet_days), never, seen, on_day)
    seen.fold_s += live.run_s
    seen.alerts.update(f"{alert.kind} {alert.subject}" for alert in watch.opened)
    seen.quiet_slots += max(plan.quiet_days, weeks * WEEK_DAYS) * (DAY_US // region.slot_us)
