"""Trials of detectors: what is a hit, what is a false alarm, and when a floor is reached."""

from dataclasses import replace

from state.detect.signals import Severity, Signal
from state.detect.trials import TRIALS, Verdict, judged, summed_up

SURGE = TRIALS[0]
FIRST, UNTIL = 100, 124


def signal(slot: int, kind: str = "surge", subject: str = "cells:a", cells: tuple[str, ...] = ("a", "b")) -> Signal:
    """A signal that fires."""
    return Signal("x", kind, "tehran", subject, slot, slot, 0, Severity.WARNING, True, 1.0, 1.0, "rides", "Many.", cells)


def test_a_hit_is_of_the_right_kind_place_and_time() -> None:
    """The first signal of the kind, about a cell of the label, while the fault lasts, is the hit; what ends is none."""
    said = [signal(99), signal(101, cells=("z",)), replace(signal(102), firing=False), signal(103), signal(104), signal(124)]
    verdict = judged(SURGE, 1, said, FIRST, UNTIL, ("b",))
    assert verdict.delay_slots == 4
    assert verdict.slots == 24
    assert judged(SURGE, 1, [signal(124)], FIRST, UNTIL, ("b",)).delay_slots is None
    assert judged(SURGE, 1, [signal(99)], FIRST, UNTIL, ("b",), early=1).delay_slots == 1


def test_what_the_label_does_not_explain_is_counted_once() -> None:
    """Signals of other kinds count once per kind and subject, unless the trial explains them."""
    said = [signal(101, "place", "region"), signal(102, "place", "region"), signal(103, "cells", "cells"), signal(104)]
    assert judged(SURGE, 1, said, FIRST, UNTIL, ()).others == ("place region",)


def test_floors_and_aims() -> None:
    """A median above the floor misses it, as does a recall below 0.95; half the floor with every seed is the aim."""
    one = Verdict("surge", 1, 1, (), 24)
    assert summed_up(SURGE, [one] * 20).aimed
    late = summed_up(SURGE, [replace(one, delay_slots=3)] * 20)
    assert (late.passed, late.aimed) == (True, False)
    assert not summed_up(SURGE, [replace(one, delay_slots=4)] * 20).passed
    assert summed_up(SURGE, [one] * 19 + [replace(one, delay_slots=None)]).passed
    assert not summed_up(SURGE, [one] * 18 + [replace(one, delay_slots=None)] * 2).passed
