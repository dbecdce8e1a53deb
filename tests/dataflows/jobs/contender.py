"""One of several schedulers on one ledger, as a process with a fast clock that jumps; the test of contention starts and kills it."""

import random
import sys
import time
from pathlib import Path

from dataflows.jobs.scheduler import Scheduler, Surroundings
from ledger.store.opening import open_ledger
from schemas.errors import StoreUnavailable
from schemas.records.records import JobScheduled
from tests.ledger.exports import SIGNER

DAY_US = 86_400_000_000
LEASE_S = 2.0
# The effect of a run happens once per run, under the token of the attempt that made it.
WORK = "echo $JOB_RUN $JOB_TOKEN >> attempts; sleep 0.02; ln -s $JOB_TOKEN effects/$JOB_RUN 2> /dev/null; exit 0"


def now_us(folder: Path, who: str) -> int:
    """Simulated time: `clock` holds when it began, how fast it is and where it stops, `jump-WHO` how wrong this contender's is."""
    began_ns, first_us, speed, last_us = (int(word) for word in (folder / "clock").read_text("utf-8").split())
    jump = folder / f"jump-{who}"
    days = int(jump.read_text("utf-8") or 0) if jump.exists() else 0
    return min(first_us + (time.monotonic_ns() - began_ns) * speed // 1000, last_us) + days * DAY_US


def work(job: JobScheduled) -> list[str]:
    """What each run does."""
    return ["sh", "-c", WORK]


def main(folder: Path, database: str, who: str, seed: int) -> None:
    """Turn until killed."""
    ledger, _ = open_ledger(folder / "home", database, "", instance="test", clock=time.monotonic, signer=SIGNER)
    around = Surroundings(
        owner=f"{who}-{seed}",
        command_of=work,
        environment={"PATH": "/usr/bin:/bin"},
        now_us=lambda: now_us(folder, who),
        monotonic=time.monotonic,
        chance=random.Random(seed),
        lease_s=LEASE_S,
        room=3,
    )
    scheduler = Scheduler(ledger, around)
    while True:
        try:
            scheduler.turn()
        except StoreUnavailable as error:
            print(error, flush=True)
        time.sleep(0.02)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
