"""Small ways to break the command line: supervision, the lock of a home, the output of rides, options."""

from tests.mutant_lists.mutant import Mutant

SUPERVISE, LANDING = "ridecast/supervise.py", "ridecast/ride_output.py"
OCCUPANCY = "ridecast/home_lock.py"
TEAM, CHILDREN, ENDINGS, HEARTBEAT = "ridecast/team.py", "ridecast/children.py", "ridecast/endings.py", "ridecast/heartbeat.py"
WAITING, WAITED = "ledger/store/waiting.py", "tests/ledger/store/test_waiting.py"
ENDED, HEARD = "tests/ridecast/test_endings.py", "tests/ridecast/test_heartbeat.py"
KEPT_ALIVE = "tests/ridecast/test_supervise.py"
LANDED = "tests/ridecast/test_ride_output.py"
ALONE = "tests/ridecast/test_home_lock.py"
ADDITIONS, ADDED = "ridecast/added_regions.py", "tests/ridecast/test_added_regions.py"

MUTANTS = (
    Mutant(
        "a permanent error tried again", TEAM, "fault is Fault.PERMANENT or found.bugs > MOST_BUGS", "found.bugs > MOST_BUGS", (KEPT_ALIVE,)
    ),
    Mutant("an error of ours tried again without end", TEAM, " or found.bugs > MOST_BUGS", "", (KEPT_ALIVE,)),
    Mutant("a companion ends the run", TEAM, "if not stays and (fault", "if (fault", (KEPT_ALIVE,)),
    Mutant("a bounded run waits for ever", TEAM, "and lasted_s >= self.give_up_after_s", "and False", (KEPT_ALIVE,)),
    Mutant("tried again at once", TEAM, "self._again_at_s = now_s + wait_s", "self._again_at_s = now_s", (KEPT_ALIVE,)),
    Mutant(
        "wrong usage ends with 1",
        TEAM,
        "{USAGE_STATUS: USAGE_STATUS, HALTED_STATUS: HALTED_EXIT}.get(ending.status, 1)",
        "{HALTED_STATUS: HALTED_EXIT}.get(ending.status, 1)",
        (KEPT_ALIVE,),
    ),
    Mutant("halted regions end a live run", TEAM, " or (ending.status == HALTED_STATUS and not self.ends)", "", (KEPT_ALIVE,)),
    Mutant("the others hide who ended first", ENDINGS, "self.status != PEER_STATUS", "True", (KEPT_ALIVE, ENDED)),
    Mutant("a kill taken for an error of ours", ENDINGS, "if -self.status in CRASHES else Fault.TRANSIENT", "", (KEPT_ALIVE, ENDED)),
    Mutant("an error inside that of a library missed", ENDINGS, "for cause in cause_chain(error) if", "for cause in (error,) if", (ENDED,)),
    Mutant("a hang not noticed", CHILDREN, "self.pulse.hangs(now_s, limit_s)", "False", (KEPT_ALIVE,)),
    Mutant(
        "a suspended machine taken for a hang",
        HEARTBEAT,
        "min(LONGEST_TURN_S, now_s - self._looked_at_s)",
        "now_s - self._looked_at_s",
        (HEARD,),
    ),
    Mutant("no time to start", HEARTBEAT, "limit_s if self.begun else START_LIMITS * limit_s", "limit_s", (HEARD,)),
    Mutant("no wait ever shorter", WAITING, "(1.0 - self.spread * (1.0 - lot))", "1.0", (WAITED,)),
    Mutant("a series without end", WAITING, "before is None or worked_s >= patience.steady_after_s", "before is None", (WAITED,)),
    Mutant(
        "a stopped run taken for done",
        SUPERVISE,
        "if self.bounded and self.stop.is_set():\n            raise",
        "if False:\n            raise",
        (KEPT_ALIVE,),
    ),
    Mutant(
        "nothing published at the end",
        SUPERVISE,
        "                drain.start(time.monotonic())",
        "                drain.done = True",
        (KEPT_ALIVE,),
    ),
    Mutant(
        "a broken progress line ends the run",
        SUPERVISE,
        "        except Exception as error:  # it only watches",
        "        except OSError as error:",
        (KEPT_ALIVE,),
    ),
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
    Mutant("a refused region warned of again and again", ADDITIONS, "self._refused.get(name) != at", "True", (ADDED,)),
    Mutant("a server that is away takes a region away", ADDITIONS, "        except StoreUnavailable:\n            raise\n", "", (ADDED,)),
    Mutant("a region joins before it has caught up", ADDITIONS, "if self._has_caught_up(name):", "if True:", (ADDED,)),
    Mutant("a region that lags holds up the others", ADDITIONS, "+ FAR_BEHIND_US < max(begun, default=0)", "< 0", (ADDED,)),
    Mutant(
        "a region that joins is not forecast",
        SUPERVISE,
        "self.regions = [*self.regions, region]",
        "self.regions = [*self.regions]",
        (KEPT_ALIVE,),
    ),
    Mutant("all start again for one more region", SUPERVISE, 'WITHOUT_REGIONS = ("feed", "jobs")', "WITHOUT_REGIONS = ()", (KEPT_ALIVE,)),
)
