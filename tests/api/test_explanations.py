"""The API explains what was served: from memory when it can, and in clear words when it cannot."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api import explanations
from api.app import application
from api.context import ApiContext
from api.explained import Latest
from api.watcher import Watcher
from dataflows.stream.stores import Stores
from ledger.store.blobs import Retention
from schemas.errors import ContractError
from schemas.events.cells import cell_text
from schemas.forecasts.chunks import ForecastColumns, unpack_blob
from schemas.records.records import FALLBACKS, Fallback, ForecastIssued
from tests.api.client import Client
from tests.api.json_schema import problems
from tests.api.town import Town
from tests.simulation.runs import LOG, Place, copied

OWN = FALLBACKS.index(Fallback.NONE)


class Explained:
    """A home with a trained model's issues, and an API over it."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.issues: list[ForecastIssued] = list(stores.ledger.records(LOG, ForecastIssued))
        self.context = ApiContext(stores.ledger, stores.blobs, None, ("small",), stores.settings, time.time)
        self.client = Client(application(self.context))

    def columns(self, at: int = -1) -> ForecastColumns:
        """What an issue served."""
        issue = self.issues[at]
        return unpack_blob(self.stores.blobs.get(issue.blob)).columns(issue.horizons_min)

    def cell(self, at: int = -1, *, own: bool = True) -> str:
        """The first cell of an issue with a model of its own, or with none."""
        columns = self.columns(at)
        return cell_text(int(columns.cells[np.flatnonzero((columns.fallback == OWN) == own)[0]]), 6)

    def path(self, cell: str, at: int = -1, horizon_min: object = 15) -> str:
        """Where an explanation lies."""
        target = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.issues[at].target_us // 1_000_000))
        return f"/v1/regions/small/forecasts/{cell}/{target}/{horizon_min}/explanation"


@pytest.fixture
def home(written: Place, tmp_path: Path) -> Iterator[Explained]:
    """A copy of a finished run."""
    stores = copied(written, tmp_path / "home").open()
    yield Explained(stores)
    stores.close()


def total(body: dict[str, Any]) -> float:
    """Base and terms of an answer, added up."""
    return float(body["base"]["rides"] + sum(term["rides"] for term in body["terms"]))


def test_every_number_of_an_issue_is_explained(home: Explained) -> None:
    """For each cell and horizon the terms add up to the number that the forecasts say, within 1/1000 ride."""
    columns = home.columns()
    for row, code in enumerate(columns.cells.tolist()):
        for i, horizon_min in enumerate(columns.horizons_min):
            answer = home.client.get(home.path(cell_text(code, 6), horizon_min=horizon_min))
            assert 200 == answer.status_code, answer.text
            body = answer.json()
            assert int(columns.mean[row, i]) / 1000 == body["served"]
            assert abs(total(body) - body["served"]) < 1e-3
            assert ((body["model"] is None), body["fallback"]) == (columns.fallback[row] != OWN, FALLBACKS[int(columns.fallback[row])])


def test_an_answer_may_be_kept_for_ever(home: Explained) -> None:
    """It is immutable, has a tag that is the same for the same words, and the documented members."""
    answer = home.client.get(home.path(home.cell()))
    assert "public, max-age=31536000, immutable" == answer.headers["cache-control"]
    assert 304 == home.client.get(home.path(home.cell()), if_none_match=answer.headers["etag"]).status_code
    schema = home.client.get("/openapi.json").json()["components"]["schemas"]["explanation"]
    assert problems(schema, answer.json()) == []
    reasons = [term["reason"] for term in answer.json()["terms"]]
    assert len(reasons) == len(set(reasons))
    assert "usual demand at this time of the week" in reasons


def test_an_answer_is_computed_once(home: Explained) -> None:
    """Asked again it needs no store, and nothing of the issue any more; of another ledger it is asked anew."""
    path = home.path(home.cell())
    first = home.client.get(path)
    for digest in list(home.stores.blobs.digests(Retention.FEATURES)):
        home.stores.blobs.remove(digest)
    assert first.content == home.client.get(path).content
    assert 410 == Explained(home.stores).client.get(path).status_code


def test_what_is_held_is_answered_at_once(home: Explained) -> None:
    """With the region watched, a first answer goes through a thread and the next one does not."""
    home.context.watch()
    home.context.refresh("small")
    threads: list[str] = []
    run = home.context.threads.run
    home.context.threads.run = lambda work: (threads.append("used"), run(work))[1]  # type: ignore[method-assign,func-returns-value]
    for expected in (["used"], ["used"]):
        assert 200 == home.client.get(home.path(home.cell())).status_code
        assert expected == threads
    assert 422 == home.client.get(home.path("dr5")).status_code


def test_models_are_loaded_before_anybody_asks(home: Explained) -> None:
    """The watcher loads the model of the newest issue; one that is gone or damaged stops it not, and is said to who asks."""
    assert Watcher(home.context).round()
    [digest] = home.issues[-1].models
    assert home.context.explanations.models.find(digest) is not None
    again = Explained(home.stores)
    home.stores.blobs.remove(digest)
    assert Watcher(again.context).round()
    assert 410 == again.client.get(again.path(again.cell())).status_code


def test_features_that_are_gone_are_named_with_the_way_out(home: Explained) -> None:
    """An issue whose matrix was damaged or is no longer stored is 410 and names the command; what no trained model made needs none."""
    [file] = (home.stores.settings.home / "blobs").rglob(home.issues[-1].features_digest.hex())
    file.write_bytes(b"lost")
    for _ in range(2):
        answer = home.client.get(home.path(home.cell()))
        body = answer.json()
        assert (410, "urn:ridecast:problem:features-gone", "target") == (answer.status_code, body["type"], body["field"])
        assert "those of the newest 36 slots are" in body["detail"]
        assert f"`ridecast explain --region small {home.cell()} 2024-03-31T07:20 --horizon 15` computes them" in body["detail"]
        file.unlink(missing_ok=True)
    assert 200 == home.client.get(home.path(home.cell(0, own=False), 0)).status_code


@pytest.mark.parametrize(("field", "name"), [("models", "model-gone"), ("blob", "chunks-gone")])
def test_other_blobs_that_are_gone(home: Explained, field: str, name: str) -> None:
    """A model that is absent, or expired chunks, are 410 and name the blob."""
    path, value = home.path(home.cell(-5), -5), getattr(home.issues[-5], field)
    digest = value if isinstance(value, bytes) else value[0]
    home.stores.blobs.remove(digest)
    answer = home.client.get(path)
    assert (410, f"urn:ridecast:problem:{name}") == (answer.status_code, answer.json()["type"])
    assert digest.hex() in answer.json()["detail"]


def test_a_model_of_another_version_is_named(home: Explained, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that this version cannot use is 410, with the reason, and neither an internal error nor an explanation."""

    def refuse(artefact: bytes, horizons: tuple[int, ...]) -> None:
        raise ContractError("model: expected a feature table of version 1, 2, got 9")

    monkeypatch.setattr(explanations, "load_model", refuse)
    answer = home.client.get(home.path(home.cell()))
    assert (410, "urn:ridecast:problem:model-unusable") == (answer.status_code, answer.json()["type"])
    assert answer.json()["detail"].endswith("needs another version of Ridecast: model: expected a feature table of version 1, 2, got 9")


def test_what_was_never_forecast_is_refused(home: Explained) -> None:
    """A cell that is not in the issue, a horizon or a target that is none, each with the field that is wrong."""
    for path, status, field in (
        (home.path("s00000"), 404, "cell"),
        (home.path("u33d"), 422, "cell"),
        (home.path(home.cell(), horizon_min=20), 422, "horizon_min"),
        (home.path(home.cell(), horizon_min="015"), 422, "horizon_min"),
        (home.path(home.cell()).replace("2024-", "2034-"), 409, "target"),
        (home.path(home.cell()).replace("2024-", "2014-"), 404, "target"),
        (home.path(home.cell()) + "?measure=trips", 422, "measure"),
    ):
        answer = home.client.get(path)
        assert (status, field) == (answer.status_code, answer.json().get("field")), answer.text


def test_a_fallback_needs_no_model(town: Town, client: Client) -> None:
    """A cell that no trained model served has its profile as the base and one term, whatever else is stored."""
    columns = town.columns(town.newest)
    for row in np.flatnonzero(columns.fallback != OWN).tolist():
        target = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime((town.newest + 1) * 300))
        body = client.get(f"/v1/regions/nyc/forecasts/{cell_text(int(columns.cells[row]), 6)}/{target}/15/explanation").json()
        assert (int(columns.baseline[row, 0]) / 1000, int(columns.mean[row, 0]) / 1000) == (body["base"]["rides"], body["served"])
        assert 1 == len(body["terms"])


def test_only_the_latest_are_held() -> None:
    """What was used last stays, what was not goes, and what could not be made is tried again."""
    latest: Latest[int, str] = Latest(2)
    made: list[int] = []

    def make(number: int) -> str:
        made.append(number)
        return str(number)

    for number in (1, 2, 1, 3, 1, 2):
        assert str(number) == latest.get(number, lambda number=number: make(number))  # type: ignore[misc]
    assert [1, 2, 3, 2] == made
    assert latest.find(3) is None
    with pytest.raises(ZeroDivisionError):
        latest.get(9, lambda: str(1 // 0))
    assert latest.find(9) is None
