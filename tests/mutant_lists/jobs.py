"""Small ways to run a scheduled job twice, never, or for the wrong holder."""

from tests.mutant_lists.mutant import Mutant

SCHEDULE, RUNS, STEPS = (f"state/decide/{name}.py" for name in ("schedule", "job_runs", "job_steps"))
SCHEDULER, ATTEMPT = "dataflows/jobs/scheduler.py", "dataflows/jobs/attempt.py"
TIMES = "tests/state/decide/test_schedule.py"
NEXT = "tests/state/decide/test_job_steps.py"
WORKED = "tests/dataflows/jobs/test_scheduler.py"

MUTANTS = (
    Mutant("the first pass of a doubled hour again", SCHEDULE, "if at_us > last_us:", "if True:", (TIMES,)),
    Mutant("due after it is due", SCHEDULE, "if at_us > now_us or len", "if at_us >= now_us or len", (TIMES, NEXT)),
    Mutant("slots counted from the last run", SCHEDULE, "(-(after.slot + 2)) % job.every_slots", "job.every_slots", (TIMES, NEXT)),
    Mutant("ids of jobs that run into each other", SCHEDULE, 'b"\\0".join(part', 'b"".join(part', (TIMES,)),
    Mutant("an old token speaks", RUNS, "run.ended or record.token != run.token", "run.ended", (NEXT, WORKED)),
    Mutant("an old lease is extended", RUNS, "run.ended or record.token < run.token", "run.ended", (NEXT,)),
    Mutant("a token that does not grow", STEPS, "token=jobs.token + 1", "token=jobs.token", (NEXT, WORKED)),
    Mutant("one token for two leases", STEPS, "token=step.token + leases", "token=step.token", (NEXT,)),
    Mutant("a lease without an end", STEPS, "run.held and silent_s >= moment.lease_s", "run.held and silent_s < 0", (NEXT, WORKED)),
    Mutant("the first jobs take all the room", STEPS, "sorted(jobs.jobs.values(), key=_served)", "jobs.jobs.values()", (NEXT,)),
    Mutant("a paused job begins", STEPS, "    if job.paused is not None:\n        return []", "", (NEXT,)),
    Mutant("what waited is missed", STEPS, "return not waited and (", "return (", (NEXT,)),
    Mutant("an old holder speaks for the new one", SCHEDULER, "run is None or run.token != key[1]", "run is None", (WORKED,)),
    Mutant("output without a bound", ATTEMPT, "del self._tail[:-TAIL_BYTES]", "pass", (WORKED,)),
    Mutant(
        "only the first process is stopped",
        ATTEMPT,
        "os.killpg(self._process.pid, number)",
        "os.kill(self._process.pid, number)",
        (WORKED,),
    ),
)
