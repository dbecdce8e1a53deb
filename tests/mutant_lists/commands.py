"""Small ways to break the command line: supervision, the lock of a home, the output of rides, options."""

from tests.mutant_lists.mutant import Mutant

SUPERVISE, LANDING = "ridecast/supervise.py", "ridecast/ride_output.py"
OCCUPANCY = "ridecast/home_lock.py"
KEPT_ALIVE = "tests/ridecast/test_supervise.py"
LANDED = "tests/ridecast/test_ride_output.py"
ALONE = "tests/ridecast/test_home_lock.py"

MUTANTS = (
    Mutant(
        "a lasting error tried again",
        SUPERVISE,
        "if worst in (2, PERMANENT_STATUS) or restarts > MOST_RESTARTS:",
        "if restarts > MOST_RESTARTS:",
        (KEPT_ALIVE,),
    ),
    Mutant("started again without end", SUPERVISE, "or restarts > MOST_RESTARTS:", "or False:", (KEPT_ALIVE,)),
    Mutant(
        "a companion that always fails started again",
        SUPERVISE,
        "if status in (2, PERMANENT_STATUS):\n                child.finish_output()",
        "if False:\n                child.finish_output()",
        (KEPT_ALIVE,),
    ),
    Mutant(
        "a stopped run taken for done",
        SUPERVISE,
        "if self.bounded and self.stop.is_set():\n            raise",
        "if False:\n            raise",
        (KEPT_ALIVE,),
    ),
    Mutant("nothing published at the end", SUPERVISE, "            self._drain()", "            pass", (KEPT_ALIVE,)),
    Mutant("wrong usage ends with 1", SUPERVISE, "error.exit_code = 2 if status == 2 else 1", "error.exit_code = 1", (KEPT_ALIVE,)),
    Mutant("a signal ends with 0 more", SUPERVISE, "error.exit_code = 128 + number", "error.exit_code = number", (KEPT_ALIVE,)),
    Mutant(
        "rides of another origin taken for these", LANDING, "if found != json.loads(json.dumps(origin)):", "if found is None:", (LANDED,)
    ),
    Mutant(
        "half an import left behind",
        LANDING,
        "    finally:\n        shutil.rmtree(partial, ignore_errors=True)",
        "    finally:\n        pass",
        (LANDED,),
    ),
    Mutant(
        "both --out and --kafka accepted",
        LANDING,
        "if (out is None) == (kafka is None):",
        "if out is None and kafka is None:",
        (LANDED, "tests/ridecast/commands/test_importing.py"),
    ),
    Mutant("topic not flushed", LANDING, "    sink.flush()", "    pass", (LANDED, "tests/ridecast/commands/test_importing.py")),
    Mutant(
        "waits for a run that lives",
        OCCUPANCY,
        "if _lives(pid) or time.monotonic() > give_up_at:",
        "if time.monotonic() > give_up_at:",
        (ALONE,),
    ),
    Mutant("does not wait for children of a dead run", OCCUPANCY, "if _lives(pid) or time.monotonic() > give_up_at:", "if True:", (ALONE,)),
    Mutant(
        "mistyped home accepted",
        "ridecast/options.py",
        'if not settings.database and not (settings.home / "ledger").is_dir():',
        "if False:",
        ("tests/ridecast/test_options.py",),
    ),
)
