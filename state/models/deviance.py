"""How far means are from the counts that came true, as their likelihood has it."""

import numpy as np

from schemas.events.rides import Float64s


def deviance(rides: Float64s, means: Float64s) -> float:
    """Poisson deviance: twice the log likelihood that the means lack.

    Source:
        P. McCullagh and J. A. Nelder (1989), Generalized Linear Models, 2nd ed., 2.3.

    >>> deviance(np.array([0.0, 2.0]), np.array([1.0, 2.0]))
    2.0
    """
    logs = np.where(rides > 0, np.log(np.maximum(rides, 1e-9) / means), 0.0)
    return float(2 * (rides * logs - (rides - means)).sum())
