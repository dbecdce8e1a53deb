"""Forecasts say which arm of an experiment served them, from memory, from the ledger and in messages alike."""

import dataclasses
from typing import Any

import pytest

from ledger.store.recording import Recorder
from schemas.forecasts.messages import decode_demand_forecast, encode_demand_forecasts
from schemas.records.record_codec import encode
from schemas.records.records import CONTROL_LOG, ForecastIssued, Record
from state.forecast.arms import challenged_rows
from tests.api.test_forecasts import PATH
from tests.api.town import MODEL, Town
from tests.state.decide.test_arm_losses import STARTED

OTHER = bytes(reversed(range(32)))
EXPERIMENT = dataclasses.replace(STARTED, champion=MODEL, challenger=OTHER)


def serve(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record an experiment, and close a slot that serves its arms."""
    size = town.ledger.head(CONTROL_LOG).size
    Recorder(town.ledger, CONTROL_LOG).append(size, [encode(EXPERIMENT)])
    plain, changes = Town._records, {"models": (MODEL, OTHER), "roles": ("champion", "challenger"), "experiment": "trees"}

    def records(self: Town, slot: int) -> list[Record]:
        return [
            dataclasses.replace(one, **changes) if isinstance(one, ForecastIssued) else one  # type: ignore[arg-type]
            for one in plain(self, slot)
        ]

    with monkeypatch.context() as patch:
        patch.setattr(Town, "_records", records)
        town.close()


@pytest.mark.parametrize("past", [False, True])
def test_each_forecast_names_its_arm_and_model(growing_town: Town, monkeypatch: pytest.MonkeyPatch, past: bool) -> None:
    """The arm is the one of the record's hash; quiet cells have none; the header names both models with their roles."""
    town = growing_town
    serve(town, monkeypatch)
    query: dict[str, Any] = {}
    client = town.client()
    body = client.get(PATH).json()
    if past:
        query = {"target": body["target"]}
        body = client.get(f"{PATH}?target={query['target']}").json()
    assert ("trees", [MODEL.hex(), OTHER.hex()], ["champion", "challenger"]) == (body["experiment"], body["models"], body["roles"])
    columns = town.columns(town.newest)
    challenged = challenged_rows(EXPERIMENT, columns, town.newest).tolist()
    assert len(set(challenged)) == 2
    wanted = []
    for code, other in zip(columns.fallback.tolist(), challenged, strict=True):
        arm = ("challenger", OTHER.hex()) if other else ("champion", MODEL.hex())
        wanted.append(({"id": "trees", "arm": arm[0]}, arm[1]) if code == 0 else (None, None))
    assert wanted == [(row["experiment"], row["model"]) for row in body["forecasts"]]


def test_without_an_experiment_there_is_no_arm(growing_town: Town) -> None:
    """Other issues have neither an experiment nor arms."""
    growing_town.close()
    body = growing_town.client().get(PATH).json()
    assert body["experiment"] is None
    assert {None} == {row["experiment"] for row in body["forecasts"]}


def test_messages_name_the_model_of_the_arm(growing_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message of an issue has the digest of the model that made it."""
    serve(growing_town, monkeypatch)
    columns, slot = growing_town.columns(growing_town.newest), growing_town.newest
    issued = growing_town.ledger.find("region/nyc", ForecastIssued)
    assert issued is not None
    challenged = challenged_rows(EXPERIMENT, columns, slot)
    messages = encode_demand_forecasts(columns, issued, 7, 6, challenged=challenged)
    models = [decode_demand_forecast(value)["model_digest"] for _, value in messages]
    own = (columns.fallback == 0).tolist()
    assert models == [(OTHER if other else MODEL).hex() if mine else "" for mine, other in zip(own, challenged.tolist(), strict=True)]
