"""`GET /v1/alerts`: open alerts, as the log says now."""

from api.alerts import OPERATIONS
from ledger.store.recording import Recorder
from schemas.records.record_codec import encode
from schemas.records.records import ALERTS_LOG, AlertOpened
from state.decide.alert_decisions import QUIET_US
from tests.api.json_schema import problems
from tests.api.town import Town
from tests.state.decide.incidents import Told, seen

START_US = 1_400_000_000_000_000


def test_an_alert_is_listed_once_it_is_recorded(growing_town: Town) -> None:
    """The list is empty at first, and has an alert as documented after it was appended."""
    client = growing_town.client()
    assert [] == client.get("/v1/alerts").json()["alerts"]
    told = Told()
    [opened] = told.tell([seen("surge", START_US)])
    assert isinstance(opened, AlertOpened)
    Recorder(growing_town.ledger, ALERTS_LOG).append(0, [encode(record) for record in told.log])
    answer = client.get("/v1/alerts").json()
    assert [(opened.alert, "open", "surge")] == [(one["alert"], one["state"], one["kind"]) for one in answer["alerts"]]
    assert [] == problems(OPERATIONS[0].body, answer)


def test_one_alert_is_found_by_its_id_and_after_its_end(growing_town: Town) -> None:
    """An alert has an address of its own; resolved ones are listed on demand; others are named in the problem."""
    client = growing_town.client()
    told = Told()
    [opened] = told.tell([seen("surge", START_US)])
    assert isinstance(opened, AlertOpened)
    told.tell([seen("surge", START_US + 1, firing=False)])
    late_us = START_US + 2 + QUIET_US
    told.decide({"": late_us, "nyc": late_us})
    Recorder(growing_town.ledger, ALERTS_LOG).append(0, [encode(record) for record in told.log])
    assert [] == client.get("/v1/alerts").json()["alerts"]
    listed = client.get("/v1/alerts?state=resolved").json()
    assert [] == problems(OPERATIONS[0].body, listed)
    one = client.get(f"/v1/alerts/{opened.alert}").json()
    assert [one] == listed["alerts"]
    assert ("resolved", opened.alert) == (one["state"], one["alert"])
    assert [] == problems(OPERATIONS[1].body, one)
    assert (404, "alert") == (client.get("/v1/alerts/none").status_code, client.get("/v1/alerts/none").json()["field"])
    assert 422 == client.get("/v1/alerts?state=closed").status_code
