"""`GET /v1/jobs`: the jobs, as the log says now, without what only operators may see; and their metrics."""

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from api.jobs import OPERATIONS
from ledger.store.log import Ledger
from ledger.store.recording import Recorder
from schemas.records.record_codec import encode
from schemas.records.records import JOBS_LOG, JobFailed, JobLeased, JobScheduled, Record
from state.decide.schedule import run_id
from tests.api.json_schema import problems
from tests.api.town import Town

NIGHTLY = JobScheduled(
    name="nightly",
    job="report",
    arguments=("--to", "/secret/place"),
    cron="30 3 * * *",
    timezone="UTC",
    region="",
    every_slots=0,
    overlap="skip",
    catch_up="once",
    timeout_s=60,
    retries=0,
    backoff_s=60,
    from_us=1_400_000_000_000_000,
    from_slot=-1,
    author="operator",
    reason="",
)
INTERVAL = "2014-05-14T03:30:00Z"
RUN = run_id("nightly", INTERVAL)


def record(ledger: Ledger, records: list[Record]) -> None:
    """Append to the log of jobs."""
    Recorder(ledger, JOBS_LOG).append(ledger.head(JOBS_LOG).size, [encode(one) for one in records])


def test_jobs_are_listed_with_their_newest_run(growing_town: Town) -> None:
    """A job that failed is listed with its state, its next time and no argument, error or host; a job nobody can time is listed too."""
    client = growing_town.client()
    assert [] == client.get("/v1/jobs").json()["jobs"]
    leased = JobLeased(run=RUN, name="nightly", interval=INTERVAL, owner="host 7", token=1, attempt=1, at_us=5, until_us=9)
    failed = JobFailed(
        run=RUN, token=1, attempt=1, at_us=7, duration_ms=2, error="/secret: no space", tail="/secret: no space", retry_after_s=-1
    )
    record(growing_town.ledger, [NIGHTLY, leased, failed, replace(NIGHTLY, name="mars", timezone="Mars/Olympus")])
    answer = client.get("/v1/jobs")
    assert [] == problems(OPERATIONS[0].body, answer.json())
    nightly, mars = answer.json()["jobs"]
    assert ("nightly", "report", "cron 30 3 * * *, UTC", "failed") == (
        nightly["name"],
        nightly["job"],
        nightly["schedule"],
        nightly["run"]["state"],
    )
    assert nightly["next_due"].endswith("T03:30:00Z")
    assert mars["next_due"] is None
    assert "Mars/Olympus" in mars["unusable"]
    assert not [hidden for hidden in ("secret", "host") if hidden in answer.text]


def test_metrics_say_what_became_of_a_job(growing_town: Town) -> None:
    """The state of the newest run is one series of value 1 among zeros."""
    leased = JobLeased(run=RUN, name="nightly", interval=INTERVAL, owner="host 7", token=1, attempt=1, at_us=5_000_000, until_us=9)
    record(growing_town.ledger, [NIGHTLY, leased])
    text = growing_town.client().get("/metrics").text
    found = {(s.name, *s.labels.values()): s.value for family in text_string_to_metric_families(text) for s in family.samples}
    assert (1, 0) == (found["ridecast_job_run", "nightly", "leased"], found["ridecast_job_run", "nightly", "failed"])
    assert 5 == found["ridecast_job_run_changed_seconds", "nightly"]
