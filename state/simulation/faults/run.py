"""Applies faults to a simulation, stage by stage, and keeps count for their labels."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from schemas.events.cells import cell_texts
from schemas.events.rides import Bools
from schemas.times import iso
from state.simulation.city import Day
from state.simulation.faults.demand import STREAM
from state.simulation.faults.kinds import FOREVER_US, PRODUCERS, Concern, Fault, Messages, Reports, Scene, Touched, spread, unit
from state.simulation.lives import Events, lives_of, mixed
from state.simulation.requests import Rides, draw_more

# Rides of the city are numbered from 0; those that a fault adds have numbers far away, so that no id appears twice.
FIRST_ADDED, ADDED_STEP = 1 << 62, 1 << 48
LABELS_VERSION = 1


@dataclass(slots=True)
class _Count:
    """What a fault has touched so far, of how many events in its time."""

    concern: Concern
    touched: Touched = field(default_factory=Touched)
    of: int = 0
    rides: int = 0  # added


class FaultRun:
    """The faults of one simulation, in the order in which they are given; all of demand come first, then reports, then messages.

    Args:
        scene: Where they happen.
        faults: As `parse_faults` returns them.
        all_served: As `lives_of` takes it, for the rides that are added.
    Raises:
        UsageError: a fault does not fit the scene.
    """

    def __init__(self, scene: Scene, faults: Sequence[Fault], *, all_served: bool = False) -> None:
        self.scene, self.faults, self._all_served = scene, tuple(faults), all_served
        self._counts = [_Count(fault.kind.concerns(scene, fault)) for fault in faults]

    def demanded(self, plan: Day, rides: Rides, events: Events) -> Events:
        """The events of a day's rides under all faults of demand.

        Args:
            plan: The day.
            rides, events: Its requests, and every step of them, as they are without faults.
        """
        number = 0  # among the faults of demand, so that others change no id
        for fault, count in zip(self.faults, self._counts, strict=True):
            if fault.kind.demand is None:
                continue
            number += 1
            changed = replace(plan, expected=fault.kind.demand(self.scene, fault, plan))
            if (changed.expected != plan.expected).any():
                rides, events = self._changed(number, fault, count, plan, changed, rides, events)
            else:
                count.of += int(np.count_nonzero(self._in_time(fault, events)))
            plan = changed
        return events

    def _in_time(self, fault: Fault, events: Events) -> Bools:
        return np.asarray(fault.during(events.requested_at) & (events.at < self.scene.end_us), np.bool_)

    def _changed(
        self, number: int, fault: Fault, count: _Count, before: Day, after: Day, rides: Rides, events: Events
    ) -> tuple[Rides, Events]:
        """Leave out and add rides: a Poisson process thinned, or added to another one, is one of the changed rate."""
        scene = self.scene
        count.of += int(np.count_nonzero(self._in_time(fault, events)))
        old, new = (day.expected[rides.slot, rides.cell] for day in (before, after))
        chance = unit(spread(rides.number.astype(np.uint64) ^ np.uint64(fault.salt)))
        stays = chance * old < np.maximum(new, 1e-300)
        gone = np.isin(events.ride, mixed(scene.seed, rides.number[~stays]))
        removed = int(np.count_nonzero(gone & (events.at < scene.end_us)))
        rng = np.random.default_rng([scene.seed, STREAM, fault.salt, (before.start_us - scene.start_us) // scene.region.slot_us])
        more = draw_more(scene.city, scene.region, after, before.expected, FIRST_ADDED + number * ADDED_STEP + count.rides, rng)
        count.rides += len(more.number)
        added = lives_of(more, scene.seed, int(scene.rides_per_day), rng, all_served=self._all_served)
        count.touched += Touched(added=int(np.count_nonzero(added.at < scene.end_us)), removed=removed)
        return rides.where(stays).followed_by(more), events.where(~gone).followed_by(added)

    def reported(self, reports: Reports) -> Reports:
        """The events of a day under all faults of reports."""
        for fault, count in zip(self.faults, self._counts, strict=True):
            if fault.kind.reports is not None:
                count.of += int(np.count_nonzero(fault.during(reports.sent_at_us)))
                reports, touched = fault.kind.reports(self.scene, fault, reports)
                count.touched += touched
        return reports

    def delivered(self, messages: Messages) -> Messages:
        """Some of the messages under all faults of messages."""
        for fault, count in zip(self.faults, self._counts, strict=True):
            if fault.kind.messages is not None:
                count.of += int(np.count_nonzero(fault.during(messages.logged_at_us)))
                messages, touched = fault.kind.messages(self.scene, fault, messages)
                count.touched += touched
        return messages

    def labels(self) -> str:
        """What was touched where and when, as a JSON document; complete after the last event.

        docs/simulating.md describes it.
        """
        scene = self.scene
        found = {
            "labels": LABELS_VERSION,
            "region": scene.region.id,
            "seed": scene.seed,
            "from": iso(scene.start_us),
            "until": iso(scene.end_us),
            "partitions": scene.partitions,
            "producers": PRODUCERS,
            "faults": [self._label(fault, count) for fault, count in zip(self.faults, self._counts, strict=True)],
        }
        return json.dumps(found, indent=1, allow_nan=False) + "\n"

    def _label(self, fault: Fault, count: _Count) -> dict[str, object]:
        concern, touched = count.concern, count.touched
        until_us = fault.until_us if concern.until_us is None else concern.until_us
        numbers = {name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in fault.values.items()}
        most = max(touched.added, touched.removed) + touched.changed
        return {
            "kind": fault.kind.name,
            "parameters": {name: value for name, value in numbers.items() if value is not None},
            "from": iso(fault.from_us),
            "until": None if until_us >= FOREVER_US else iso(until_us),
            "time": str(fault.kind.stage),
            "cells": None if concern.cells is None else cell_texts(concern.cells, self.scene.region.precision).tolist(),
            "partitions": None if concern.partitions is None else list(concern.partitions),
            "producers": None if concern.producers is None else list(concern.producers),
            "events": {
                "in_time": count.of,
                "added": touched.added,
                "removed": touched.removed,
                "changed": touched.changed,
                "share": round(most / count.of, 6) if count.of else 0.0,
            },
        }


def expected_under(faults: Sequence[Fault], scene: Scene, day: Day) -> Day:
    """The day as it is planned under faults of demand, for simulations at the level of counts; other faults are left out.

    With ones for what is expected, the result is the factor of each slot and cell, for faults that multiply.
    """
    for fault in faults:
        if fault.kind.demand is not None:
            day = replace(day, expected=fault.kind.demand(scene, fault, day))
    return day
