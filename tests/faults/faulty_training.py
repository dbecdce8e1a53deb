"""`ridecast train` in a process that comes to harm at a chosen step; the test of faults during a training starts it.

python -m tests.faults.faulty_training STEP HARM train --home home --promote
"""

import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dataflows.jobs import learn
from dataflows.jobs.learn_process import run_learner
from ridecast.main import main
from schemas.configuration.settings import Settings

# What is called at each step: a name in `dataflows.jobs.learn`. The harm comes before the call.
STEPS = {
    "a horizon is fitted": "fit_sampled",
    "the artefact is stored": "record_training",
    "MLflow is told": "track_training",
    "the training is recorded": "append_shared",
    "the model is promoted": "place_trained",
}
TRACKING = "track_training"
FITTING = "a horizon is fitted"


def killed() -> None:
    """As kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)


def full() -> None:
    """From now on the system refuses to make a file longer than 64 KiB, as a full disk refuses all."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, resource.RLIM_INFINITY))


def nothing() -> None:
    """For a run that comes to no harm."""


HARMS: dict[str, Callable[[], None]] = {"killed": killed, "full": full, "whole": nothing}


def come_to_harm(step: str, harm: Callable[[], None]) -> None:
    """Let the harm come when the training is at the step."""
    whole = getattr(learn, STEPS[step])

    def harmed(*given: Any, **named: Any) -> Any:
        if step != FITTING:
            harm()
            return whole(*given, **named)
        progress = named["on_progress"]

        def fitting(stage: str, share: float) -> None:
            progress(stage, share)
            if stage.startswith("fitting") and share > 0.0:
                harm()

        return whole(*given, **named | {"on_progress": fitting})

    setattr(learn, STEPS[step], harmed)


class OneTurn:
    """A stop that is set after the first turn of a learner."""

    def __init__(self) -> None:
        self.waited = False

    def is_set(self) -> bool:
        return self.waited

    def wait(self, timeout: float | None = None) -> bool:
        self.waited = True
        return True


if __name__ == "__main__":
    come_to_harm(sys.argv[1], HARMS[sys.argv[2]])
    if STEPS[sys.argv[1]] != TRACKING:
        setattr(learn, TRACKING, lambda *_, **__: "")  # MLflow takes most of the time of a small training
    if sys.argv[3] == "learner":
        run_learner(Settings.from_env({}, {"home": Path(sys.argv[4])}), [sys.argv[5]], OneTurn())
    else:
        sys.argv = ["ridecast", *sys.argv[3:]]
        main()
