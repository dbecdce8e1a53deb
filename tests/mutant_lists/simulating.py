"""Small ways to simulate wrongly: faults that touch more or less than their labels say, and drivers in two places."""

from tests.mutant_lists.mutant import Mutant

RUN, KINDS = "state/simulation/faults/run.py", "state/simulation/faults/kinds.py"
DEMAND, PLACES = "state/simulation/faults/demand.py", "state/simulation/faults/places.py"
ARRIVALS, BREAKS, SYNTAX = "state/simulation/faults/arrivals.py", "state/simulation/faults/breaks.py", "state/simulation/faults/syntax.py"
FLEET, REQUESTS = "state/simulation/fleet.py", "state/simulation/requests.py"
EVERY, BY_VALUE = "tests/state/simulation/faults/test_every_fault.py", "tests/state/simulation/faults/test_demand.py"
DELIVERED, INTAKE = "tests/state/simulation/faults/test_delivery_faults.py", "tests/state/simulation/faults/test_intake.py"
DRIVEN = "tests/state/simulation/test_fleet.py"

MUTANTS = (
    Mutant("events after the end counted", RUN, "gone & (events.at < scene.end_us)", "gone", (EVERY,)),
    Mutant("added rides with ids of others", RUN, "FIRST_ADDED + number * ADDED_STEP + count.rides", "count.rides", (EVERY,)),
    Mutant(
        "ids that depend on other stages", RUN, "            number += 1\n", "            number = len(self.faults)\n", (EVERY, BY_VALUE)
    ),
    Mutant("rides that stay drawn again", RUN, "events.where(~gone).followed_by(added)", "events.followed_by(added)", (EVERY,)),
    Mutant("the last moment touched", KINDS, "times_us < self.until_us", "times_us <= self.until_us", (BY_VALUE,)),
    Mutant(
        "one chance for all faults",
        KINDS,
        "mixed = np.full(len(ids), salt, np.uint64)",
        "mixed = np.zeros(len(ids), np.uint64)",
        (DELIVERED,),
    ),
    Mutant("added rides in other cells", REQUESTS, "== city.cells[cell]", "!= city.cells[cell]", (EVERY,)),
    Mutant("a mix that adds demand", DEMAND, "1.0 - less[:, None]", "1.0", (BY_VALUE,)),
    Mutant("growth without interest", DEMAND, "days * np.log1p(rate)", "np.log1p(days * rate)", (BY_VALUE,)),
    Mutant("a crowd of another size", DEMAND, "/ whole.sum()", "", (BY_VALUE,)),
    Mutant(
        "a new place at each step",
        PLACES,
        "chances(rides, fault.salt ^ 1), chances(rides",
        "reports.sent_at_us[rows] % 97 / 97, chances(rides",
        (DELIVERED,),
    ),
    Mutant(
        "a backlog out of order",
        ARRIVALS,
        "(messages.logged_at_us - fault.from_us) // BACKLOG_SPEED",
        "(fault.until_us - messages.logged_at_us) // BACKLOG_SPEED",
        (DELIVERED,),
    ),
    Mutant(
        "an overtaken slow partition", ARRIVALS, "np.where(behind, end_us, messages.logged_at_us)", "messages.logged_at_us", (DELIVERED,)
    ),
    Mutant(
        "a newer version of the same frame",
        BREAKS,
        "return _newer_head() + value",
        "return value[:_HEAD_BYTES] + value",
        (INTAKE, DELIVERED),
    ),
    Mutant("truncated in the frame", BREAKS, "_HEAD_BYTES + int(chance", "int(chance", (INTAKE,)),
    Mutant(
        "a fault before the simulation", SYNTAX, "if not start_us <= from_us < end_us:", "if not from_us < end_us + (1 << 60):", (EVERY,)
    ),
    Mutant(
        "a busy driver sent again",
        FLEET,
        "ready_us[nearest] = NEVER_US if over else free_us",
        "ready_us[nearest] = NEVER_US if over else 0",
        (DRIVEN,),
    ),
    Mutant("drivers beyond reach", FLEET, "if apart[nearest] > REACH_KM**2:", "if apart[nearest] == np.inf:", (DRIVEN,)),
    Mutant("unserved with a driver near", FLEET, "nearest = int(apart.argmin())", "nearest = 0", (DRIVEN,)),
    Mutant("rides after the shift", FLEET, "over = free_us >= self._until_us[driver]", "over = False", (DRIVEN,)),
)
