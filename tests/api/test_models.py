"""Models are the recorded ones, and the champion is the one that was promoted last."""

from schemas.records.record_codec import encode
from schemas.records.records import CONTROL_LOG, ModelPromoted
from tests.api.client import Client
from tests.api.town import MODEL, Town


def test_a_model_says_what_it_was_trained_on_and_that_it_serves(client: Client) -> None:
    """Digest, data range, metrics and promotion come from the control log."""
    [model] = client.get("/v1/models").json()["models"]
    assert (MODEL.hex(), True, 1, "first model") == tuple(model[name] for name in ("model", "champion", "promoted_index", "reason"))
    assert (model["trained_from"], model["trained_until"]) == ("2014-05-05T04:00:00Z", "2014-05-06T04:00:00Z")
    assert model["metrics"] == {"wape": "0.43"}


def test_another_promotion_takes_the_title(growing_town: Town) -> None:
    """Only the newest promotion of a region and measure counts."""
    client = growing_town.client()
    etag = client.get("/v1/models").headers["etag"]
    growing_town.ledger.append(
        CONTROL_LOG, 2, [encode(ModelPromoted(region="nyc", measure="pickups", model=bytes(32), alias="champion", reason="better"))]
    )
    answer = client.get("/v1/models?region=nyc", if_none_match=etag)
    assert [model["champion"] for model in answer.json()["models"]] == [False]


def test_an_unknown_region_is_refused(client: Client) -> None:
    """The filter takes only regions that are served."""
    assert (lambda a: (a.status_code, a.json()["field"]))(client.get("/v1/models?region=oslo")) == (422, "region")
