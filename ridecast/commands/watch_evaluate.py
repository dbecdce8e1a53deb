"""`ridecast watch evaluate`: how well and how soon the detectors see labelled faults in simulated cities."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.table import Table

from ridecast import options
from ridecast.screen import output_console, progress_bars
from schemas.errors import UsageError

if TYPE_CHECKING:
    from dataflows.watch.evaluating import Evaluation
    from state.detect.trials import Summary, Trial

OTHERS_SHOWN = 6


class FloorMissed(click.exceptions.Exit):
    """The command ran, and the detectors are not good enough."""

    def __init__(self) -> None:
        super().__init__(1)


@click.command("evaluate")
@click.option("--region", "region_name", default="tehran", show_default=True, metavar="NAME|FILE", help="Region of the cities.")
@click.option("--seeds", type=click.IntRange(1, 1_000), default=2, show_default=True, help="Number of cities.")
@click.option("--first-seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of the first city.")
@click.option("--weeks", type=click.IntRange(0, 520), help="Weeks without a fault, over all cities. [default: five per city]")
@click.option("--fault", "names", multiple=True, metavar="NAME", help="Only this trial; may be repeated. [default: all]")
@click.option("--rides-per-day", type=click.IntRange(1, 10_000_000), default=20_000, show_default=True, help="Size of the cities.")
@click.option("--history-days", type=click.IntRange(1, 90), default=14, show_default=True, help="Counted before anything is watched.")
@click.option("--quiet-days", type=click.IntRange(1, 90), default=21, show_default=True, help="Watched before a fault begins.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    region_name: str,
    seeds: int,
    first_seed: int,
    weeks: int | None,
    names: tuple[str, ...],
    rides_per_day: int,
    history_days: int,
    quiet_days: int,
    as_json: bool,
) -> None:
    """Run labelled faults in simulated cities through the pipeline and say which the detectors see, and how soon.

    The exit code is 1 if a floor is missed. See docs/watching.md.

    Example: ridecast watch evaluate --seeds 2 --fault duplicates --fault surge
    """
    from dataflows.watch.evaluating import Evaluation, Plan, days_of, evaluate_seed
    from state.detect.trials import TRIALS, summed_up

    known = {trial.name: trial for trial in TRIALS}
    for name in names:
        if name not in known:
            raise UsageError(f"--fault: expected one of {', '.join(known)}, got {name!r}")
    trials = [trial for trial in TRIALS if not names or trial.name in names]
    plan = Plan(options.new_region_of(region_name), history_days, quiet_days, rides_per_day)
    per_seed = 5 if weeks is None else -(-weeks // seeds)
    seen = Evaluation()
    with progress_bars() as progress:
        task = progress.add_task("watching days", total=seeds * days_of(trials, plan, per_seed))
        for seed in range(first_seed, first_seed + seeds):
            progress.update(task, description=f"watching the city of seed {seed}")
            evaluate_seed(seed, trials, plan, per_seed, seen, lambda: progress.advance(task))
    summaries = [summed_up(trial, [one for one in seen.verdicts if one.trial == trial.name]) for trial in trials]
    passed = all(one.passed for one in summaries) and seen.quiet
    if as_json:
        click.echo(json.dumps(_document(summaries, seen, passed), indent=1))
    else:
        _print(summaries, seen)
    if not passed:
        raise FloorMissed


def _document(summaries: "list[Summary]", seen: "Evaluation", passed: bool) -> dict[str, object]:
    return {
        "passed": passed,
        "faults": [{**asdict(one), "trial": one.trial.name, "passed": one.passed, "aimed": one.aimed} for one in summaries],
        "verdicts": [asdict(one) for one in seen.verdicts],
        "weeks_without_a_fault": seen.quiet_weeks,
        "false_alarms_per_week": seen.false_alarms,
        "alerts": dict(seen.alerts),
        "detectors_share": seen.detectors_share,
    }


def _slots(trial: "Trial", slots: float | None) -> str:
    if slots is None:
        return "-"
    return f"{slots / 288:.1f} d" if trial.floor_slots >= 288 else f"{slots:g}"


def _print(summaries: "list[Summary]", seen: "Evaluation") -> None:
    table = Table("fault", "recall", "median delay", "worst", "floor", "aim", "other signals", "")
    for one in summaries:
        trial = one.trial
        verdict = "aim" if one.aimed else "floor" if one.passed else "missed"
        median, worst, floor = (_slots(trial, slots) for slots in (one.median_slots, one.worst_slots, float(trial.floor_slots)))
        aim = _slots(trial, max(1.0, trial.floor_slots / 2))
        table.add_row(trial.name, f"{one.recall:.2f} of {one.seeds}", median, worst, floor, aim, str(one.others), verdict)
    output_console().print(table)
    click.echo(f"alerts without a fault: {seen.false_alarms:.2f} per region-week, in {seen.quiet_weeks:g} weeks; floor 1, aim 0.2")
    for what, number in seen.alerts.most_common(OTHERS_SHOWN):
        click.echo(f"  {number} x {what}")
    others = [what for verdict in seen.verdicts for what in verdict.others]
    for what in sorted(set(others))[:OTHERS_SHOWN]:
        click.echo(f"  with faults that do not explain it: {others.count(what)} x {what}")
    click.echo(f"processor time of detectors: {seen.detectors_share:.1%} of all but the simulation; floor 10 %")
