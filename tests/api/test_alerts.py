"""`GET /v1/alerts`: open alerts, as the log says now."""

from api.alerts import OPERATIONS
from ledger.store.recording import Recorder
from schemas.records.record_codec import encode
from schemas.records.records import ALERTS_LOG, AlertOpened
from tests.api.json_schema import problems
from tests.api.town import Town
from tests.state.decide.incidents import Told, seen


def test_an_alert_is_listed_once_it_is_recorded(growing_town: Town) -> None:
    """The list is empty at first, and has an alert as documented after it was appended."""
    client = growing_town.client()
    assert [] == client.get("/v1/alerts").json()["alerts"]
    told = Told()
    [opened] = told.tell([seen("surge", 1_400_000_000_000_000)])
    assert isinstance(opened, AlertOpened)
    Recorder(growing_town.ledger, ALERTS_LOG).append(0, [encode(record) for record in told.log])
    answer = client.get("/v1/alerts").json()
    assert [(opened.alert, "open", "surge")] == [(one["alert"], one["state"], one["kind"]) for one in answer["alerts"]]
    assert [] == problems(OPERATIONS[0].body, answer)
