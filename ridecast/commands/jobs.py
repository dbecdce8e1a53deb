"""`ridecast jobs`: jobs that run by a schedule; lists, defines, pauses and runs them, and shows what became of each run."""

import json
import os
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from ridecast import options
from ridecast.screen import output_console

if TYPE_CHECKING:
    from dataflows.jobs.scheduler import Surroundings
    from dataflows.stream.stores import Stores
    from schemas.records.records import JobScheduled

as_json = click.option("--json", "json_wanted", is_flag=True, help="Print JSON instead of a table.")
EVERY = click.IntRange(1, 1_000_000)  # slots
name_of_job = click.argument("name", metavar="NAME")


@click.group()
def command() -> None:
    """Jobs that run by a schedule: retrain, expire, archive, verify, cosign, fairness, reconcile, report.

    \b
    First steps:
      ridecast jobs add nightly verify --cron "30 3 * * *" --home home
      ridecast jobs scheduler --home home               runs what is due, until Ctrl-C
      ridecast jobs list --home home
      ridecast jobs history --home home

    Definitions, leases and results are records in the log `jobs` of the ledger. Any number of schedulers may run: each run happens
    once. See docs/jobs.md.
    """


@command.command("add")
@name_of_job
@click.argument("job", metavar="JOB")
@click.argument("arguments", metavar="[-- ARGUMENT...]", nargs=-1, type=click.UNPROCESSED)
@options.home
@click.option("--cron", default="", metavar="TEXT", help='When: minute, hour, day of the month, month, day of the week, as "30 3 * * *".')
@click.option("--every", "every_slots", type=EVERY, metavar="SLOTS", help="Or: every so many slots.")
@click.option("--region", "region", default="", metavar="ID", help="Region of the job. [default: the only one in this home]")
@click.option("--timezone", metavar="NAME", help="Of the cron. [default: the region's]")
@click.option(
    "--overlap", default="skip", show_default=True, metavar="skip|queue|replace", help="When a run is due before the last one has ended."
)
@click.option("--catch-up", default="once", show_default=True, metavar="all|once|skip", help="When runs were due while no scheduler ran.")
@click.option("--timeout", "timeout_s", default=3600, show_default=True, type=int, metavar="SECONDS", help="Of one attempt.")
@click.option("--retries", default=2, show_default=True, type=int, metavar="N", help="Attempts after the first one failed.")
@click.option("--backoff", "backoff_s", default=60, show_default=True, type=int, metavar="SECONDS", help="Before the first retry.")
@options.author
@options.reason
def add_command(name: str, job: str, arguments: tuple[str, ...], home: str | None, timezone: str | None, **given: Any) -> None:
    """Define a job, or define it anew: NAME is yours, JOB is what runs, ARGUMENTs are added to its command.

    \b
    Jobs and their commands:
      retrain   ridecast train            verify    ridecast ledger verify
      expire    ridecast ledger expire    cosign    ridecast ledger cosign
      archive   ridecast ledger archive   report    ridecast ledger export
      fairness  ridecast fairness

    In an argument, `{90 days ago}` is the local date so many days before the run. A cron is in local time: a time that a change of
    clocks skips runs right after the change, one that occurs twice runs once.

    \b
    Examples:
      ridecast jobs add nightly verify --cron "30 3 * * *" --home home
      ridecast jobs add weekly retrain --cron "0 4 * * mon" --timeout 7200 --home home -- --promote
      ridecast jobs add tidy expire --every 288 --home home -- --forecasts-days 90
      ridecast jobs add old archive --cron "0 5 1 * *" --home home -- --to archive --until "{90 days ago}"
    """
    from dataflows.jobs.defining import define_job
    from dataflows.stream.stores import open_stores
    from schemas.records.records import JobScheduled
    from state.decide.schedule import schedule_text

    given["every_slots"] = given["every_slots"] or 0
    wanted = JobScheduled(name=name, job=job, arguments=arguments, timezone="", from_us=_now_us(), from_slot=-1, **given)
    stores = open_stores(options.settings_of_home(home=home))
    try:
        defined = define_job(stores.ledger, wanted, timezone)
        click.echo(f"{name}: {schedule_text(defined)}; next: {next_text(defined, defined.from_us)}")
    finally:
        stores.close()


@command.command("list")
@options.home
@as_json
def list_command(home: str | None, json_wanted: bool) -> None:
    """Show each job, when it is due next, in local time and UTC, and its last run.

    Example: ridecast jobs list --home home
    """
    from dataflows.jobs.job_log import job_log
    from dataflows.stream.stores import open_stores
    from state.decide.schedule import schedule_text

    stores = open_stores(options.settings_of_home(home=home), reading=True)
    try:
        jobs = job_log(stores.ledger).latest()
    finally:
        stores.close()
    rows = []
    for job in jobs.jobs.values():
        after_us = max(job.done.at_us, _now_us())
        run = job.run
        state = "" if run is None else str(run.state) + (f": {run.error}" if run.error else "")
        rows.append(
            {
                "name": job.definition.name,
                "job": " ".join((job.definition.job, *job.definition.arguments)),
                "region": job.definition.region,
                "schedule": schedule_text(job.definition),
                "next_due": "paused: " + job.paused.reason if job.paused else next_text(job.definition, after_us),
                "last_run": run.interval if run is not None else "",
                "state": state,
            }
        )
    if json_wanted:
        click.echo(json.dumps(rows, indent=2))
    elif not rows:
        click.echo("no jobs are defined; `ridecast jobs add` defines one")
    else:
        table = Table("name", "job", "region", "schedule", "next due", "last run", "state", title="jobs")
        for row in rows:
            table.add_row(*map(Text, row.values()))  # Text: a reason may have brackets
        output_console().print(table)


@command.command("pause")
@name_of_job
@options.home
@options.author
@options.reason
def pause_command(name: str, home: str | None, author: str, reason: str) -> None:
    """Begin no attempt of a job until it is resumed; one that runs goes on.

    Example: ridecast jobs pause nightly --home home --reason "disk is being replaced"
    """
    from dataflows.jobs.defining import pause_job
    from dataflows.stream.stores import open_stores

    stores = open_stores(options.settings_of_home(home=home))
    try:
        changed = pause_job(stores.ledger, name, _now_us(), author=author, reason=reason)
    finally:
        stores.close()
    click.echo(f"{name}: {'paused' if changed else 'paused already; nothing to do'}")


@command.command("resume")
@name_of_job
@options.home
@options.author
@options.reason
def resume_command(name: str, home: str | None, author: str, reason: str) -> None:
    """Let a paused job go on. What was due in the meantime does not run.

    Example: ridecast jobs resume nightly --home home
    """
    from dataflows.jobs.defining import resume_job
    from dataflows.stream.stores import open_stores

    stores = open_stores(options.settings_of_home(home=home))
    try:
        changed = resume_job(stores.ledger, name, _now_us(), author=author, reason=reason)
    finally:
        stores.close()
    click.echo(f"{name}: {'resumed' if changed else 'not paused; nothing to do'}")


@command.command("history")
@click.argument("name", metavar="[NAME]", required=False)
@options.home
@click.option("--last", default=20, show_default=True, type=click.IntRange(1), metavar="N", help="So many runs, the newest last.")
@as_json
def history_command(name: str | None, home: str | None, last: int, json_wanted: bool) -> None:
    """Show what became of each run of a job, or of all jobs; --json has the end of each output too.

    \b
    Examples:
      ridecast jobs history nightly --home home
      ridecast jobs history --home home --json
    """
    from dataflows.jobs.defining import job_named, past_runs
    from dataflows.jobs.job_log import job_log
    from dataflows.stream.stores import open_stores
    from schemas.times import iso

    stores = open_stores(options.settings_of_home(home=home), reading=True)
    try:
        if name is not None:
            job_named(job_log(stores.ledger).latest(), name)
        runs = past_runs(stores.ledger, name)[-last:]
    finally:
        stores.close()
    if json_wanted:
        click.echo(json.dumps([asdict(run) for run in runs], indent=2))
        return
    table = Table("name", "interval", "state", "attempts", "since", "s", "why", title="runs of jobs")
    for run in runs:
        more = f" and {run.count - 1} more" if run.count > 1 else ""
        duration = f"{run.duration_ms / 1000:.1f}" if run.duration_ms else ""
        row = (run.name, run.interval + more, run.state, str(run.attempts or ""), iso(run.begun_us), duration, run.error)
        table.add_row(*map(Text, row))  # Text: the error is what a command printed
    output_console().print(table)


@command.command("run")
@name_of_job
@options.home
def run_command(name: str, home: str | None) -> None:
    """Run a job now, whether it is due or paused or not, and wait for its end. Its schedule does not change.

    If a run has not ended and nobody works on it, because it waits for a retry or its scheduler was killed, that run goes on. A new
    run by command is not retried.

    Exit codes: 0 it succeeded, 1 it failed, 2 wrong usage, or somebody works on a run of it.

    Example: ridecast jobs run nightly --home home
    """
    from dataflows.jobs.defining import past_runs, require_idle
    from dataflows.jobs.scheduler import Scheduler
    from dataflows.stream.stopping import stop_on_signals
    from dataflows.stream.stores import open_stores
    from schemas.times import iso
    from state.decide.schedule import BY_COMMAND

    stop = stop_on_signals()
    stores = open_stores(options.settings_of_home(home=home))
    try:
        scheduler = Scheduler(stores.ledger, surroundings(stores))
        run = scheduler.run_now(name, BY_COMMAND + iso(_now_us()), lambda jobs: require_idle(jobs, name, _now_us())).hex()
        scheduler.wait(stop)
        scheduler.close()
        [done] = [past for past in past_runs(stores.ledger, name) if past.run == run]
    finally:
        stores.close()
    click.echo(done.tail)
    click.echo(f"{name}: {done.state}{': ' if done.error else ''}{done.error}", err=bool(done.error))
    sys.exit(0 if done.state == "succeeded" else 1)


@command.command("scheduler")
@options.home
def scheduler_command(home: str | None) -> None:
    """Run what is due, until Ctrl-C. Several may run, on one machine or on many: each run happens once.

    Example: ridecast jobs scheduler --home home
    """
    from dataflows.jobs.scheduler import Scheduler
    from dataflows.stream.stopping import stop_on_signals
    from dataflows.stream.stores import open_stores
    from ridecast.logs import begin_logs

    stop = stop_on_signals()
    settings = options.settings_of_home(home=home)
    begin_logs("scheduler", settings.log_level, settings.log_format)
    stores = open_stores(settings)
    try:
        Scheduler(stores.ledger, surroundings(stores)).run(stop)
    finally:
        stores.close()


def surroundings(stores: "Stores") -> "Surroundings":
    """What a scheduler of this process gets from outside: clocks, chance, the environment and how a job is started."""
    import platform
    import random
    import secrets

    from dataflows.jobs.defining import words_now
    from dataflows.jobs.scheduler import Surroundings

    def command_of(job: "JobScheduled") -> list[str]:
        return [sys.executable, "-m", "ridecast", "worker", "job", "--", *words_now(stores.ledger, job, _now_us())]

    return Surroundings(
        owner=f"{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}",
        command_of=command_of,
        environment={**os.environ, "RIDECAST_HOME": str(stores.settings.home.absolute())},
        now_us=_now_us,
        monotonic=time.monotonic,
        chance=random.Random(),
    )


def _now_us() -> int:
    return time.time_ns() // 1000


def next_text(job: "JobScheduled", after_us: int) -> str:
    """When a job is due next, in its local time and in UTC."""
    from schemas.times import EPOCH, MICROSECOND
    from state.decide.schedule import next_due_us, why_unusable, zone_of

    if unusable := why_unusable(job):
        return f"unknown here: {unusable}"
    due_us = next_due_us(job, after_us)
    if due_us is None:
        return "with event time" if job.every_slots else "never"
    at = EPOCH + due_us * MICROSECOND
    return f"{at.astimezone(zone_of(job.timezone)):%Y-%m-%d %H:%M %Z} ({at:%Y-%m-%d %H:%M} UTC)"
