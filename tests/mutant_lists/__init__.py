"""All small ways to break the code that are kept; `tests.mutants` tries them."""

from tests.mutant_lists import (
    answers,
    commands,
    connectors,
    counting,
    deciding,
    demand,
    encoding,
    experiments,
    explaining,
    fairness,
    following,
    forecast,
    jobs,
    levels,
    models,
    routing,
    secrets,
    simulating,
    spread,
    store,
    stream,
    verifier,
)
from tests.mutant_lists.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *counting.MUTANTS,
    *demand.MUTANTS,
    *levels.MUTANTS,
    *models.MUTANTS,
    *forecast.MUTANTS,
    *following.MUTANTS,
    *routing.MUTANTS,
    *fairness.MUTANTS,
    *deciding.MUTANTS,
    *jobs.MUTANTS,
    *experiments.MUTANTS,
    *spread.MUTANTS,
    *explaining.MUTANTS,
    *encoding.MUTANTS,
    *store.MUTANTS,
    *verifier.MUTANTS,
    *connectors.MUTANTS,
    *stream.MUTANTS,
    *answers.MUTANTS,
    *commands.MUTANTS,
    *secrets.MUTANTS,
    *simulating.MUTANTS,
)

__all__ = ["MUTANTS", "Mutant"]
