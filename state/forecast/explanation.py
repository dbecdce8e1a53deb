"""The explanation of one served number of an issue, from the chunks, the matrix and the model that the issue names.

`state.models.reasons` makes the terms; this file finds the row of a cell.
"""

import numpy as np

from schemas.errors import ContractError
from schemas.events.rides import Float32s, Int64s
from schemas.forecasts.chunks import ForecastColumns
from schemas.records.records import BY_MODEL, FALLBACKS
from state.forecast.mixing import NO_MIX, Mix
from state.models.reasons import Explained, Explanation, Mixed, explain_fallback, explain_model
from state.models.table import load_trained

MILLI = 1000
MOST_FEATURES = 8  # of a term, in JSON: the rest changes little
TRAINED = tuple(FALLBACKS.index(fallback) for fallback in BY_MODEL)  # codes of forecasts that a trained model made


def row_of(columns: ForecastColumns, cell: int) -> int | None:
    """Row of a cell in an issue; None if it has no forecast.

    >>> zeros = np.zeros((2, 1), np.int64)
    >>> columns = ForecastColumns(np.array([3, 7], np.uint64), (15,), *[zeros] * 6, np.zeros(2, np.uint8))
    >>> row_of(columns, 7), row_of(columns, 5), row_of(columns, 9)
    (1, None, None)
    """
    row = int(np.searchsorted(columns.cells, np.uint64(cell)))
    return row if row < len(columns) and int(columns.cells[row]) == cell else None


def is_modelled(columns: ForecastColumns, row: int) -> bool:
    """Whether a trained model made the forecast of a row, so that its explanation needs model and matrix."""
    return int(columns.fallback[row]) in TRAINED


def explain_unmodelled(columns: ForecastColumns, row: int, i: int) -> Explanation:
    """Explain horizon i of a row that no trained model served."""
    fallback = FALLBACKS[int(columns.fallback[row])]
    return explain_fallback(fallback, int(columns.baseline[row, i]), int(columns.mean[row, i]))


def explain_modelled(columns: ForecastColumns, row: int, i: int, model: Explained, matrix: Float32s, mix: Mix = NO_MIX) -> Explanation:
    """Explain horizon i of a row that a trained model served.

    Args:
        matrix: float32[n_modelled, n_features], one row for each cell that the model served, in order of cells.
        mix: The ensemble of the issue.
    Raises:
        ContractError: the matrix is not that of this issue and model.
    """
    rows = np.flatnonzero(np.isin(columns.fallback, TRAINED))
    if len(rows) != len(matrix):
        raise ContractError(f"explanation: expected a matrix with a row for each of {len(rows)} cells, got {len(matrix)} rows")
    place = int(np.searchsorted(rows, row))
    features = matrix[place : place + 1]
    mixed = mix_of_cells(model, features, i, columns.baseline[row : row + 1, i], mix)
    [found] = explain_model(model, features, i, columns.horizons_min[i], columns.mean[row : row + 1, i], mixed)
    return found


def mix_of_cells(model: Explained, features: Float32s, i: int, baseline_milli: Int64s, mix: Mix) -> list[Mixed]:
    """How the ensemble mixed some cells at horizon i; empty without an ensemble.

    Args:
        features, baseline_milli: Of each cell, as in the issue.
    """
    if not mix.members:
        return []
    means = np.rint(model.means(features)[:, i] * MILLI).astype(np.int64).tolist()
    profiles = (baseline_milli / MILLI).tolist()
    return [Mixed(mix.of(i, mean), profile) for mean, profile in zip(means, profiles, strict=True)]


def load_model(artefact: bytes, horizons: tuple[int, ...]) -> Explained:
    """The trained model in an artefact, ready to explain its forecasts.

    Raises:
        DamagedError: the bytes are not an artefact.
        ContractError: this version of Ridecast cannot use it.
    """
    return load_trained(artefact, horizons)


def as_json(explanation: Explanation, most_features: int = MOST_FEATURES) -> dict[str, object]:
    """An explanation as JSON values, numbers to a millionth; of each term at most so many features, the largest."""
    terms: list[dict[str, object]] = [
        {
            "reason": str(term.reason),
            "log": _rounded(term.log),
            "rides": _rounded(term.rides),
            "features": [
                {
                    "feature": part.feature,
                    "meaning": part.meaning,
                    "value": part.value if part.value is None else _rounded(part.value),
                    "log": _rounded(part.log),
                    "rides": _rounded(part.rides),
                }
                for part in term.parts[:most_features]
            ],
        }
        for term in explanation.terms
    ]
    base = {"rides": _rounded(explanation.base), "meaning": explanation.base_is}
    return {"base": base, "terms": terms, "served": explanation.served}


def _rounded(value: float) -> float:
    return round(value, 6) + 0.0  # no minus zero
