"""No single failing system call, and no kill between two, loses acknowledged entries or stores them twice."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from tests.faults.syscalls import FAULTS, Fault, Outcome, calls_of_a_close, suffer

SAMPLE = 6  # faults of an ordinary run


def faults_at(calls: Iterable[tuple[str, int]]) -> list[Fault]:
    """Every kind of fault at each of these calls."""
    return [Fault(call, number, what) for call, number in calls for what in FAULTS]


def summary(calls: Sequence[tuple[str, int]], outcomes: Sequence[Outcome]) -> str:
    """The faults and their results, in two lines."""
    made = ", ".join(f"{count} {call}" for call, count in Counter(call for call, _ in calls).items())
    kinds = Counter((outcome.fault.what, outcome.kind) for outcome in outcomes)
    came = ", ".join(f"{what} {kind} {count}" for (what, kind), count in sorted(kinds.items()))
    lost = sum(bool(outcome.silent) for outcome in outcomes)
    return f"\none close: {made}\n{len(outcomes)} faults: {came}; silent losses {lost}"


def run_faults(calls: Sequence[tuple[str, int]], faults: Sequence[Fault], folder: Path) -> list[Outcome]:
    """Run all faults, print the results, and assert that none was silent."""
    outcomes = [suffer(fault, folder) for fault in faults]
    print(summary(calls, outcomes))
    assert [] == [f"{outcome.fault}: {outcome.silent}" for outcome in outcomes if outcome.silent]
    return outcomes


def test_some_bad_calls(tmp_path: Path) -> None:
    """A spread sample of the calls of one close, each kind of fault in turn: all acknowledged, nothing twice, clean."""
    calls = calls_of_a_close(tmp_path)
    assert {call for call, _ in calls} >= {"write", "pwrite64", "rename"}
    faults = faults_at(calls)
    step = len(faults) / SAMPLE
    chosen = [faults[int(at * step) // 3 * 3 + at % 3] for at in range(SAMPLE)]
    outcomes = run_faults(calls, chosen, tmp_path)
    assert {"KILL", "EIO", "ENOSPC"} == {outcome.fault.what for outcome in outcomes}


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_bad_call(tmp_path: Path) -> None:
    """Every write, flush and rename of one close: killed there, failing there, and with a full disk there."""
    calls = calls_of_a_close(tmp_path)
    outcomes = run_faults(calls, faults_at(calls), tmp_path)
    assert any(outcome.kind == "refused" for outcome in outcomes)
