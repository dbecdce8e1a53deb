"""The recorded models: training data, metrics, and which ones serve."""

from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy, answer, plain, unchanged
from api.context import ApiContext
from api.problems import bad_value
from api.resource import DIGEST, FLAG, INTEGER, NAME, TEXT, TIME, JsonSchema, Operation, Parameter, array_of, maybe, record_of
from api.times import iso
from ledger.views.champions import InForce, champions_at
from schemas.records.records import CONTROL_LOG, ModelTrained


def get_models(context: ApiContext, request: Request) -> Response:
    """GET /v1/models"""
    wanted = request.query_params.get("region")
    if wanted is not None and wanted not in context.regions:
        raise bad_value("region", f"expected one of {', '.join(context.regions) or 'none'}, got {wanted!r}")
    size = context.ledger.head(CONTROL_LOG).size
    if (same := unchanged(request, CachePolicy.REVALIDATE, f"{size}")) is not None:
        return same
    trained = [(s.index, s.record) for s in context.ledger.read(CONTROL_LOG, 0, size, kind=ModelTrained)]
    champions = champions_at(context.ledger, size)
    models = [
        _model(context, index, record, champions.get((record.region, record.measure)))
        for index, record in reversed(trained)
        if wanted in (None, record.region)
    ]
    return answer(request, {"log": CONTROL_LOG, "size": size, "models": models}, CachePolicy.REVALIDATE, f"{size}")


def _model(context: ApiContext, index: int, record: ModelTrained, champion: InForce | None) -> dict[str, object]:
    promoted = champion if champion is not None and champion.promoted.model == record.model else None
    view = context.view(record.region) if record.region in context.regions else None
    slot_us = view.region.slot_us if view else None
    return {
        "model": record.model.hex(),
        "region": record.region,
        "measure": record.measure,
        "algorithm": record.algorithm,
        "champion": promoted is not None,
        "promoted_index": promoted.index if promoted else None,
        "reason": promoted.promoted.reason if promoted else None,
        "trained_from": iso(record.first_slot * slot_us) if slot_us else None,
        "trained_until": iso(record.until_slot * slot_us) if slot_us else None,
        "first_slot": record.first_slot,
        "until_slot": record.until_slot,
        "rows": record.rows,
        "features": list(record.features),
        "parameters": plain(record.parameters),
        "metrics": plain(record.metrics),
        "data_digest": record.data_digest.hex(),
        "index": index,
    }


TEXTS: JsonSchema = {"type": "object", "additionalProperties": TEXT}
MODEL = record_of(
    model=DIGEST,
    region=TEXT,
    measure=TEXT,
    algorithm=TEXT,
    champion=FLAG,
    promoted_index=maybe(INTEGER),
    reason=maybe(TEXT),
    trained_from=maybe(TIME),
    trained_until=maybe(TIME),
    first_slot=INTEGER,
    until_slot=INTEGER,
    rows=INTEGER,
    features=array_of(TEXT),
    parameters=TEXTS,
    metrics=TEXTS,
    data_digest=DIGEST,
    index=INTEGER,
)

OPERATIONS = (
    Operation(
        "/v1/models",
        "models",
        "Every recorded model, newest first, and which serve",
        get_models,
        record_of(log=TEXT, size=INTEGER, models=array_of(MODEL)),
        (Parameter("region", "Only models of this region.", NAME, example="nyc"),),
        (406, 422, 503),
    ),
)
