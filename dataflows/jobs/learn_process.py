"""The learner process: one `Learner` per region, following the ledger until it is told to stop."""

import logging
import time
from collections.abc import Sequence

from dataflows.jobs.learner import Learner
from dataflows.jobs.shadowing import KeptShadows
from dataflows.stream.stores import open_stores
from ledger.views.follow import Stop
from schemas.configuration.settings import Settings

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0  # a close is a matter of minutes, and nothing waits for what is learned from it
SAVE_EVERY_S = 600.0  # a killed learner repeats this much of its trials; where each began is kept at once
FOLDER = "learn"  # in the home


def run_learner(settings: Settings, regions: Sequence[str], stop: Stop) -> None:
    """Learn for these regions until `stop` is set; trials go on from where the last process left them.

    Raises:
        NotFound: a region is not bootstrapped here.
    """
    stores = open_stores(settings)
    try:
        stores.ledger.admit_all()
        kept = KeptShadows(settings.home / FOLDER)
        learners = [Learner(stores, region, clock=time.monotonic, kept=kept, beat=stop.is_set) for region in regions]
        saved_s = time.monotonic()
        while not stop.is_set():
            done = sum(learner.take_turn() for learner in learners)
            if time.monotonic() - saved_s >= SAVE_EVERY_S or any(learner.unsaved for learner in learners):
                save(learners)
                saved_s = time.monotonic()
            if not done:
                stop.wait(LOOK_EVERY_S)
        save(learners)
    finally:
        stores.close()


def save(learners: Sequence[Learner]) -> None:
    """Keep the shadows of every region."""
    for learner in learners:
        learner.save()
