"""Trials of detectors: which fault of a simulation each must see, how soon, and what its label explains.

A trial is passed by a signal of the right kind about the right subject while the fault lasts. Whatever else fires in
that time and is not explained by the label is a false alarm.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from state.detect.signals import Signal

DAY_SLOTS = 288
LEAST_RECALL, AIMED_RECALL = 0.95, 1.0
MOST_FALSE_ALARMS, AIMED_FALSE_ALARMS = 1.0, 0.2  # alerts per region-week without a fault
WATCHED_SLOTS = 72  # of a fault that must be seen soon: what begins after six hours says nothing about it


@dataclass(frozen=True, slots=True)
class Trial:
    """One fault that detectors must see.

    Attributes:
        name: As it is asked for and printed.
        fault: As `ridecast simulate --fault` takes it, without its beginning; `{busiest}` stands for the city's busiest cell.
        kind: Of the signal that is a hit.
        subject: Of that signal; one that ends with `*` stands for all that begin so.
        floor_slots: The median delay must not be longer, slots; the aim is half of it.
        watched_slots: How long the fault is watched, slots.
        explained: Kinds of other signals that this fault may bring about.
    """

    name: str
    fault: str
    kind: str
    subject: str
    floor_slots: int
    watched_slots: int = WATCHED_SLOTS
    explained: tuple[str, ...] = ()

    def hit(self, signal: Signal, cells: Collection[str]) -> bool:
        """Whether a signal is the one that is asked for.

        Args:
            cells: Of the label; a signal about cells must share one with it. Empty for a label without cells.
        """
        named = signal.subject.startswith(self.subject[:-1]) if self.subject.endswith("*") else signal.subject == self.subject
        return signal.kind == self.kind and named and (not cells or bool(set(cells) & set(signal.cells)))


TRIALS = (
    Trial("surge", "surge:factor=3,cells=12,cell={busiest},hours=2", "surge", "cells*", 3, 24, ("cells",)),
    Trial("partition-outage", "outage:partition=2,hours=6", "partition outage", "partition:2", 2, explained=("level", "mix", "lateness")),
    Trial("region-outage", "outage:hours=6", "region outage", "region", 2, explained=("partition outage", "level", "mix", "lateness")),
    Trial("duplicates", "duplicates:share=0.2,hours=6", "duplicates", "region", 2),
    Trial("schema", "schema:share=0.05,hours=6", "schema", "region", 2),
    Trial("clock", "clock-skew:by_s=1200,producer=5,hours=6", "clock skew", "region", 2),
    Trial("spoofing", "spoofing:share=0.1,hours=6", "spoofing", "cell:*", 6, explained=("mix",)),
    Trial("mix", "mix:share=0.2", "mix", "region", 2 * DAY_SLOTS, 3 * DAY_SLOTS, ("surge", "cells")),
    Trial("level", "level:factor=0.7", "level", "region", DAY_SLOTS, 2 * DAY_SLOTS, ("growth",)),
    Trial("growth", "growth:per_day=0.01", "growth", "region", 14 * DAY_SLOTS, 28 * DAY_SLOTS, ("level",)),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one trial with one seed.

    Attributes:
        delay_slots: Slots that closed from the first one of the fault to the first hit, that one included; None without a hit.
        others: "kind subject" of signals that the label does not explain.
        slots: How many were watched.
    """

    trial: str
    seed: int
    delay_slots: int | None
    others: tuple[str, ...]
    slots: int


def judged(
    trial: Trial, seed: int, signals: Sequence[Signal], first: int, until: int, cells: Collection[str], *, early: int = 0
) -> Verdict:
    """The verdict on the signals of slots [first, until), in which a fault lasts.

    Args:
        signals: What fired, in order of slots.
        cells: Of the label; empty if it has none.
        early: How many slots before the first one are closed with events of the fault; a hit there has a delay of 1.
    """
    mine = [signal for signal in signals if signal.firing and first - early <= signal.slot < until]
    hits = [signal.slot for signal in mine if trial.hit(signal, cells)]
    fine = {trial.kind, *trial.explained}
    others = tuple(
        sorted({f"{signal.kind} {signal.subject}" for signal in mine if not trial.hit(signal, cells) and signal.kind not in fine})
    )
    return Verdict(trial.name, seed, max(min(hits) - first + 1, 1) if hits else None, others, until - first)


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of one trial with all seeds.

    Attributes:
        seeds: How many.
        recall: Share with a hit.
        median_slots, worst_slots: Delay of the hits; None without any. The median counts a miss as a delay without end.
        others: Signals that no label explains.
        weeks: Region-weeks that were watched.
    """

    trial: Trial
    seeds: int
    recall: float
    median_slots: float | None
    worst_slots: int | None
    others: int
    weeks: float

    @property
    def passed(self) -> bool:
        """Whether the floors are reached."""
        return self.recall >= LEAST_RECALL and self.median_slots is not None and self.median_slots <= self.trial.floor_slots

    @property
    def aimed(self) -> bool:
        """Whether the aims are reached."""
        return self.recall >= AIMED_RECALL and self.median_slots is not None and self.median_slots <= max(1.0, self.trial.floor_slots / 2)


def summed_up(trial: Trial, verdicts: Sequence[Verdict]) -> Summary:
    """The summary of a trial's verdicts, at least one.

    >>> one = Verdict("schema", 1, 2, (), 72)
    >>> found = summed_up(TRIALS[4], [one, Verdict("schema", 2, None, ("surge cells",), 72)])
    >>> found.recall, found.median_slots, found.worst_slots, found.others
    (0.5, None, 2, 1)
    """
    delays = [verdict.delay_slots for verdict in verdicts if verdict.delay_slots is not None]
    every = np.array([np.inf if verdict.delay_slots is None else verdict.delay_slots for verdict in verdicts])
    middle = float(np.sort(every)[[(len(every) - 1) // 2, len(every) // 2]].mean())
    return Summary(
        trial,
        len(verdicts),
        len(delays) / len(verdicts),
        middle if np.isfinite(middle) else None,
        max(delays, default=None),
        sum(len(verdict.others) for verdict in verdicts),
        sum(verdict.slots for verdict in verdicts) / (7 * DAY_SLOTS),
    )
