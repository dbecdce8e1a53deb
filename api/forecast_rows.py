"""Forecasts as JSON: the fields of a whole issue, and one object per cell."""

import numpy as np

from api.answers import plain
from api.arms import model_of, said_of_arm
from api.times import iso, local_iso
from schemas.events.cells import cell_texts
from schemas.events.rides import Bools, Int64s
from schemas.forecasts.chunks import ForecastColumns
from schemas.records.records import BY_MODEL, FALLBACKS, Fallback, ForecastIssued
from schemas.regions import US_PER_S, Region
from state.forecast.routes import Role, words
from state.models.predictive import confidence, predictive

WHY: dict[Fallback, str] = {
    Fallback.NONE: "served by the region's own model",
    Fallback.PARENT: "served by the parent region's model",
    Fallback.GLOBAL: "served by the global model",
    Fallback.QUIET: "too few rides for a model; served by a profile shrunk towards the parent cell",
    Fallback.BASELINE: "no usable model is promoted; served by the weekday and time-of-day profile",
    Fallback.LEVEL: "no usable model is promoted, or too little history for it; served by the current level of demand",
}
SERVED_BY = "; served by the weekday and time-of-day profile"


def why_of(fallback: Fallback, record: ForecastIssued) -> str:
    """Who made a forecast and why, in words; the reasons of an issue say why the models before it did not."""
    found = words(record.reasons)
    if not found or fallback in (Fallback.NONE, Fallback.QUIET):
        return WHY[fallback]
    return f"{found}{SERVED_BY if fallback is Fallback.BASELINE else f'; {WHY[fallback]}'}"


def header_of(record: ForecastIssued, region: Region, log: str, index: int) -> dict[str, object]:
    """The fields that apply to every cell of an issue."""
    return {
        "region": region.id,
        "measure": record.measure,
        "slot": record.slot,
        "slot_status": record.slot_status,
        "target": iso(record.target_us),
        "target_local": local_iso(record.target_us, region),
        "known_from": iso(record.target_us + region.issue_lateness_s * US_PER_S),
        "log": log,
        "index": index,
        "models": [model.hex() for model in record.models],
        "roles": list(record.roles) or [str(Role.CHAMPION)] * len(record.models),
        "reasons": dict(record.reasons),
        "experiment": record.experiment or None,
        "blob": record.blob.hex(),
        "family": record.family,
        "spread": [plain(spread) for spread in record.spread],
        "online_weight": record.online_weight_milli / 1000,
        "cells": record.cells,
    }


def forecast_rows(
    columns: ForecastColumns,
    rows: Int64s,
    record: ForecastIssued,
    region: Region,
    horizon: int | None,
    challenged: Bools | None = None,
) -> list[dict[str, object]]:
    """One object per cell, with its horizons; in rides, not 1/1000 ride.

    Args:
        challenged: bool[n], which forecasts the challenger of an experiment made; None for none.
    """
    other = challenged if challenged is not None else np.zeros(len(columns), np.bool_)
    texts = cell_texts(columns.cells[rows], region.precision).tolist()
    picked = range(len(record.horizons_min)) if horizon is None else [horizon]
    numbers = [(getattr(columns, name)[rows] / 1000).tolist() for name in ("mean", "median", "lower", "upper", "baseline")]
    sure = {h: confidences(columns, rows, record, h) for h in picked}
    out: list[dict[str, object]] = []
    found = zip(texts, columns.fallback[rows].tolist(), other[rows].tolist(), *numbers, strict=True)
    for row, (cell, code, by_other, mean, median, lower, upper, baseline) in enumerate(found):
        fallback = FALLBACKS[code]
        out.append(
            {
                "cell": cell,
                "fallback": fallback.value,
                "why": why_of(fallback, record),
                "model": model_of(record, challenged=by_other) if fallback in BY_MODEL else None,
                "experiment": said_of_arm(record, own=fallback is Fallback.NONE, challenged=by_other),
                "horizons": [
                    {
                        "horizon_min": record.horizons_min[h],
                        "mean": mean[h],
                        "median": median[h],
                        "lower": lower[h],
                        "upper": upper[h],
                        "baseline": baseline[h],
                        "confidence": sure[h][row],
                    }
                    for h in picked
                ],
            }
        )
    return out


def confidences(columns: ForecastColumns, rows: Int64s, record: ForecastIssued, h: int) -> list[float]:
    """Confidence of some cells at one horizon, to three digits; derived, not stored."""
    law = predictive(record.spread[h], columns.mean[rows, h], columns.dispersion[rows, h])
    return [round(value, 3) for value in confidence(law, columns.median[rows, h] // 1000).tolist()]
