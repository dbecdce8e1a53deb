"""Jobs that run by a schedule: when each is due, and what became of its newest run.

What the log of jobs says of commands, arguments, outputs, errors and hosts is not shown.
"""

from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy, answer
from api.context import ApiContext
from api.resource import FLAG, INTEGER, TEXT, TIME, Operation, array_of, maybe, one_of, record_of
from schemas.records.records import JOBS_LOG
from schemas.times import iso
from state.decide.job_runs import Job, Run, RunState
from state.decide.schedule import next_due_us, schedule_text, why_unusable


def get_jobs(context: ApiContext, request: Request) -> Response:
    """GET /v1/jobs"""
    rows = [_as_json(job, context.now_us()) for job in context.jobs.latest().jobs.values()]
    return answer(request, {"log": JOBS_LOG, "jobs": rows}, CachePolicy.NO_STORE)


def _as_json(job: Job, now_us: int) -> dict[str, object]:
    definition = job.definition
    unusable = why_unusable(definition)
    due_us = None if job.paused or unusable else next_due_us(definition, max(job.done.at_us, now_us))
    return {
        "name": definition.name,
        "job": definition.job,
        "region": definition.region,
        "schedule": schedule_text(definition),
        "author": definition.author,
        "paused": job.paused is not None,
        "unusable": unusable,
        "next_due": None if due_us is None else iso(due_us),
        "run": None if job.run is None else _run(job.run),
    }


def _run(run: Run) -> dict[str, object]:
    return {
        "run": run.run.hex(),
        "interval": run.interval,
        "state": run.state,
        "attempt": run.attempt,
        "begun_at": iso(run.begun_us),
        "changed_at": iso(run.at_us),
        "index": run.mark,
    }


RUN = record_of(run=TEXT, interval=TEXT, state=one_of(list(RunState)), attempt=INTEGER, begun_at=TIME, changed_at=TIME, index=INTEGER)
JOB = record_of(
    name=TEXT,
    job=TEXT,
    region=TEXT,
    schedule=TEXT,
    author=TEXT,
    paused=FLAG,
    unusable={"type": "string", "description": "why nobody here can say when it is due; usually empty"},
    next_due=maybe(TIME),
    run=maybe(RUN),
)

OPERATIONS = (
    Operation(
        "/v1/jobs",
        "jobs",
        "Jobs that run by a schedule: when each is due next, and its newest run",
        get_jobs,
        record_of(log=TEXT, jobs=array_of(JOB)),
        problems=(406, 503),
    ),
)
