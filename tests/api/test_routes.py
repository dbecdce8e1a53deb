"""The API says which model made a forecast if it is not the region's own, and why."""

import dataclasses
from typing import Any

import pytest

from ledger.formats.merkle import leaf_hash, root
from ledger.store.blobs import Retention
from schemas.forecasts.chunks import encode_chunks, pack_blob
from schemas.records.records import FALLBACKS, Fallback, ForecastIssued, Record
from tests.api.test_forecasts import PATH
from tests.api.test_metrics import samples
from tests.api.town import MODEL, Town


def serve(town: Town, monkeypatch: pytest.MonkeyPatch, fallback: Fallback, **changes: Any) -> None:
    """Close a slot whose forecasts another model than the region's own made."""
    plain = Town._records

    def records(self: Town, slot: int) -> list[Record]:
        columns = self.columns(slot)
        code = columns.fallback.copy()
        code[code == 0] = FALLBACKS.index(fallback)
        chunks = encode_chunks(dataclasses.replace(columns, fallback=code))
        found: dict[str, Any] = {
            "root": root([leaf_hash(chunk) for chunk in chunks]),
            "blob": self.blobs.put(pack_blob(chunks), Retention.FORECAST),
            "fallbacks": {fallback.value: int((code != 3).sum()), "quiet": int((code == 3).sum())},
        }
        return [
            dataclasses.replace(record, **(found | changes)) if isinstance(record, ForecastIssued) else record
            for record in plain(self, slot)
        ]

    with monkeypatch.context() as patch:
        patch.setattr(Town, "_records", records)
        town.close()


@pytest.mark.parametrize("published", [False, True])
def test_a_stand_in_is_named_with_the_reason(growing_town: Town, monkeypatch: pytest.MonkeyPatch, published: bool) -> None:
    """Rows and header name the parent's model and what is wrong with the region's own, from the ledger and from memory alike."""
    town = growing_town
    serve(town, monkeypatch, Fallback.PARENT, roles=("parent",), reasons={"champion": "damaged"})
    if published:
        town.publish()
    body = town.client().get(PATH).json()
    assert ([MODEL.hex()], ["parent"], {"champion": "damaged"}) == (body["models"], body["roles"], body["reasons"])
    said = {(row["fallback"], row["model"], row["why"]) for row in body["forecasts"]}
    quiet = "too few rides for a model; served by a profile shrunk towards the parent cell"
    assert said == {
        ("parent", MODEL.hex(), "the region's own model is damaged; served by the parent region's model"),
        ("quiet", None, quiet),
    }


def test_no_model_at_all_is_explained_too(growing_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forecasts of the baseline say of each model why it did not serve."""
    serve(growing_town, monkeypatch, Fallback.BASELINE, models=(), reasons={"champion": "slow", "global": "missing"})
    rows = growing_town.client().get(PATH).json()["forecasts"]
    [why] = {row["why"] for row in rows if row["fallback"] == "baseline"}
    assert why == (
        "the region's own model was too slow, the global model has no artefact in the store; served by the weekday and time-of-day profile"
    )


def test_metrics_count_who_serves(growing_town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cells of the newest issue by fallback, and one series for each model that did not serve."""
    town = growing_town
    serve(town, monkeypatch, Fallback.GLOBAL, roles=("global",), reasons={"champion": "missing"})
    found = samples(town.client().get("/metrics").text)
    cells = {dict(labels)["fallback"]: value for (name, labels), value in found.items() if name == "ridecast_served_cells"}
    assert (cells["global"] > 0, cells["none"], len(town.cells)) == (True, 0, sum(cells.values()))
    assert [{"region": "nyc", "measure": "pickups", "role": "champion", "reason": "missing"}] == [
        dict(labels) for name, labels in found if name == "ridecast_model_unused"
    ]
