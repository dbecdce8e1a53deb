"""All small ways to break the code that are kept; `tests.mutants` tries them."""

from tests.mutant_lists import (
    verifier,
)
from tests.mutant_lists.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (*verifier.MUTANTS,)

__all__ = ["MUTANTS", "Mutant"]
