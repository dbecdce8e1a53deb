"""Why a served number is what it is: terms in rides that add up to it, from the issue's model and its stored features.

The answer to a question never changes, so it is computed once. Models and matrices stay in memory, the latest few; the
features of issues that are no longer stored are computed again by `ridecast explain`, not here.
"""

import hashlib
from contextlib import suppress
from functools import partial

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from api.answers import JSON, CachePolicy, answer_bytes, to_json
from api.arms import model_of, said_of_arm
from api.context import ApiContext, cell_of, measure_of
from api.explained import Question
from api.forecast_rows import why_of
from api.forecasts import issue_for, no_such_cells
from api.points import blob_of
from api.problems import Problem, bad_value
from api.resource import (
    CELL,
    DIGEST,
    INTEGER,
    MEASURE,
    NUMBER,
    REGION,
    RIDES,
    TARGET,
    TEXT,
    TIME,
    Operation,
    Parameter,
    array_of,
    bounded,
    maybe,
    one_of,
    record_of,
)
from api.times import iso, local_iso, parse_target
from ledger.views.region_view import RegionView
from schemas.errors import ContractError, DamagedError, NotFound
from schemas.events.cells import cell_text
from schemas.forecasts.chunks import ForecastColumns
from schemas.records.records import FALLBACKS, Fallback
from state.demand.features import matrix_of
from state.forecast.arms import Arm
from state.forecast.explanation import as_json, explain_modelled, explain_unmodelled, is_modelled, load_model, row_of
from state.forecast.mixing import Mix
from state.models.reasons import Explained


def get_explanation(context: ApiContext, request: Request) -> Response:
    """GET /v1/regions/{region}/forecasts/{cell}/{target}/{horizon_min}/explanation"""
    asked = _asked(context, request)
    data = context.explanations.answers.get(asked, lambda: _explain(context, asked))
    return answer_bytes(request, data, JSON, CachePolicy.IMMUTABLE, hashlib.sha256(data).hexdigest()[:16])


def from_memory(context: ApiContext, request: Request) -> bool:
    """Whether the answer was given lately, so that no store is needed."""
    if not context.in_memory(request):
        return False
    try:
        return context.explanations.answers.find(_asked(context, request)) is not None
    except Problem:
        return False  # A thread will say the same.


def prepare(context: ApiContext, view: RegionView) -> None:
    """Load the models of a region's newest issues, because the first use takes seconds; what fails is said to who asks."""
    for measure in view.region.measures:
        held = context.newest.held(view.region.id, measure)
        for digest in held.issue.record.models if held is not None else ():
            with suppress(NotFound, DamagedError, ContractError):
                context.explanations.models.get(digest, partial(_warm, context, digest, view.region.horizons))


def _warm(context: ApiContext, digest: bytes, horizons: tuple[int, ...]) -> Explained:
    """A model that has explained once: only then XGBoost has loaded all that it needs."""
    model = load_model(context.blobs.get(digest), horizons)
    model.contributions(np.zeros((1, len(model.table)), np.float32), 0)
    return model


def _asked(context: ApiContext, request: Request) -> Question:
    path = request.path_params
    view = context.require_view(path["region"])
    region = view.region
    cell = cell_of(path["cell"], region)
    known = [str(horizon_min) for horizon_min in region.horizons_min]
    if path["horizon_min"] not in known:
        raise bad_value("horizon_min", f"expected one of {', '.join(known)}, got {path['horizon_min']!r}")
    target_us = parse_target("target", path["target"], region)
    return Question(view, measure_of(request, region), cell, target_us, known.index(path["horizon_min"]))


def _explain(context: ApiContext, asked: Question) -> bytes:
    stored = issue_for(asked.view, asked.measure, asked.target_us, None)
    record, region, kept = stored.record, asked.view.region, context.explanations
    horizon_min = record.horizons_min[asked.horizon]
    name = cell_text(asked.cell, region.precision)

    def read_columns() -> ForecastColumns:
        return blob_of(_of(context, record.blob, asked, "chunks") if record.blob else b"").columns(record.horizons_min)

    columns = kept.columns.get(record.blob, read_columns)
    row = row_of(columns, asked.cell)
    if row is None:
        raise no_such_cells([name], record, region, stored.index)
    modelled, by_challenger = is_modelled(columns, row), False
    if modelled:
        challenged = context.experiments.challenged(record, columns)
        by_challenger = challenged is not None and bool(challenged[row])

        def model_at(which: int) -> Explained:
            digest = record.models[which]
            return kept.models.get(digest, lambda: _model(_of(context, digest, asked, "model"), digest, region.horizons))

        model = model_at(1 if by_challenger else 0)
        features = record.features_digest
        if by_challenger and model.table is not model_at(0).table:
            features = record.arm_features_digest
        if not features:
            detail = (
                "cell: served by the challenger of an experiment, whose features were not recorded before version 6 of the fold; "
                "use `ridecast explain`"
            )
            raise Problem(410, "features-not-stored", detail, field="cell")
        matrix = kept.matrices.get(features, lambda: matrix_of(_of(context, features, asked, "features")))
        explanation = explain_modelled(columns, row, asked.horizon, model, matrix, Mix(record.members, record.weights))
    else:
        explanation = explain_unmodelled(columns, row, asked.horizon)
    fallback = FALLBACKS[int(columns.fallback[row])]
    return to_json(
        {
            "region": region.id,
            "measure": asked.measure,
            "cell": name,
            "slot": record.slot,
            "target": iso(record.target_us),
            "target_local": local_iso(record.target_us, region),
            "horizon_min": horizon_min,
            "log": asked.view.log,
            "index": stored.index,
            "fallback": fallback.value,
            "why": why_of(fallback, record),
            "model": model_of(record, challenged=by_challenger) if modelled else None,
            "experiment": said_of_arm(record, own=modelled, challenged=by_challenger),
            **as_json(explanation),
        }
    )


def _model(artefact: bytes, digest: bytes, horizons: tuple[int, ...]) -> Explained:
    """The model of an issue.

    Raises:
        Problem: 410, this version of Ridecast has no longer what it needs.
    """
    try:
        return load_model(artefact, horizons)
    except ContractError as cause:
        detail = f"target: the model of this issue, {digest.hex()}, needs another version of Ridecast: {cause}"
        raise Problem(410, "model-unusable", detail, field="target") from None


def _of(context: ApiContext, digest: bytes, asked: Question, what: str) -> bytes:
    """A blob of the issue.

    Raises:
        Problem: 410, it is no longer stored.
    """
    try:
        return context.blobs.get(digest)
    except NotFound:
        pass
    except DamagedError:
        if what != "features":
            raise
        # A cache that is not flushed: after a power failure it is as good as gone.
    region, horizon_min = asked.view.region, asked.view.region.horizons_min[asked.horizon]
    where = f"{cell_text(asked.cell, region.precision)} {local_iso(asked.target_us, region)[:16]}"
    if what == "features":
        kept = context.settings.explain_slots
        detail = (
            f"target: the features of this issue are not stored, only those of the newest {kept} slots are; "
            f"`ridecast explain --region {region.id} {where} --horizon {horizon_min}` computes them again"
        )
        raise Problem(410, "features-gone", detail, field="target")
    raise Problem(410, f"{what}-gone", f"target: the {what} of this issue, blob {digest.hex()}, can no longer be read", field="target")


# --- operation ------------------------------------------------------------------------------------

FEATURE = record_of(feature=TEXT, meaning=TEXT, value=maybe(NUMBER), log=NUMBER, rides=NUMBER)
EXPLANATION = record_of(
    region=TEXT,
    measure=TEXT,
    cell=TEXT,
    slot=INTEGER,
    target=TIME,
    target_local=TIME,
    horizon_min=INTEGER,
    log=TEXT,
    index=INTEGER,
    fallback=one_of(Fallback),
    why=TEXT,
    model=maybe(DIGEST),
    experiment=maybe(record_of(id=TEXT, arm=one_of(Arm))),
    base=record_of(rides=NUMBER, meaning=TEXT),
    terms=array_of(record_of(reason=TEXT, log=NUMBER, rides=NUMBER, features=array_of(FEATURE))),
    served=RIDES,
)

OPERATIONS = (
    Operation(
        "/v1/regions/{region}/forecasts/{cell}/{target}/{horizon_min}/explanation",
        "explanation",
        "Why a forecast mean is what it is: a base and terms in rides that add up to it",
        get_explanation,
        EXPLANATION,
        (
            REGION,
            CELL,
            TARGET,
            Parameter("horizon_min", "One of the region's horizons, minutes.", bounded(1, 10_080), "path", "15"),
            MEASURE,
        ),
        (404, 406, 409, 410, 422, 503),
        in_memory=from_memory,
    ),
)
