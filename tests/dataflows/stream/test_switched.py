"""Switches of a running region: trained models off and on again, and publishing paused; a replay sees the same."""

import contextlib
import time
from pathlib import Path

from dataflows.audit.replay_report import Verdict
from dataflows.audit.verification import VerifyOptions, verify_stores
from dataflows.jobs.parameters import set_parameter, unset_parameter
from dataflows.jobs.promoting import hindrance
from dataflows.stream.publish import Publisher
from dataflows.stream.publish_process import open_forecasts
from ledger.views.regions import region_of
from schemas.records.record_codec import decode
from schemas.records.records import ForecastIssued, ParameterSet, SlotClosed
from tests.dataflows.audit.replays import replay
from tests.dataflows.stream.test_local import killed_after
from tests.simulation.homes import Learned
from tests.simulation.runs import LOG, Place, copied, payloads_at, run_here


def now_us() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1_000


def switch(place: Place, name: str, value: str, region: str = "small") -> None:
    """Set a switch as the command does; take its value back if the value is empty."""
    stores = place.open()
    try:
        if value:
            set_parameter(stores.ledger, name, value, now_us, region=region, author="test", reason="a test")
        else:
            unset_parameter(stores.ledger, name, now_us, region=region, author="test", reason="a test")
    finally:
        stores.close()


def run_slots(place: Place, slots: int) -> list[ForecastIssued]:
    """Close some slots, then end as a kill would; the issues of these slots."""
    before = len(payloads_at(place))
    with contextlib.suppress(KeyboardInterrupt, Exception):
        run_here(place, killed_after(slots), batch_events=20, snapshot_every_s=99)
    return [record for record in map(decode, payloads_at(place)[before:]) if isinstance(record, ForecastIssued)]


def test_trained_models_can_be_switched_off(learned: Learned, tmp_path: Path) -> None:
    """From the next close on the baseline serves and the issue says why; on again, the model serves; replay and verify agree."""
    place, digest = copied(learned.place, tmp_path / "home"), learned.second.record.model
    assert {(digest,)} == {issued.models for issued in run_slots(place, 2)}
    switch(place, "trained_models", "off", region="")
    without = run_slots(place, 3)
    stores = place.open()
    assert "by the parameter trained_models" in hindrance(stores, "small")
    stores.close()
    assert {((), (("champion", "off"),))} == {(issued.models, tuple(issued.reasons.items())) for issued in without}
    assert len(without) >= 3
    switch(place, "trained_models", "", region="")
    assert {((digest,), ())} == {(issued.models, tuple(issued.reasons)) for issued in run_slots(place, 2)}
    again = replay(place)
    assert {Verdict.IDENTICAL: len(again.slots)} == again.verdicts, again.first_bad
    stores = place.open()
    assert "" == hindrance(stores, "small")
    reports = verify_stores(stores, VerifyOptions(deep=True), lambda *_: lambda *_: None)
    stores.close()
    assert [()] * len(reports) == [report.problems for report in reports]


def test_a_change_while_a_run_is_live_takes_effect_at_the_next_close(learned: Learned, tmp_path: Path) -> None:
    """A close that cites a control log without the change has the model, every later one has not."""
    place = copied(learned.place, tmp_path / "home")
    count = 0

    def on_slot(report: object) -> None:
        nonlocal count
        count += 1
        if count == 3:
            switch(place, "trained_models", "off")
        if count == 6:
            raise KeyboardInterrupt

    before = len(payloads_at(place))
    with contextlib.suppress(KeyboardInterrupt):
        run_here(place, on_slot, batch_events=20)
    stores = place.open()
    [(changed_at, _)] = [(one.index, one.record) for one in stores.ledger.scan("control", kind=ParameterSet)]
    size, seen = 0, []
    for stored in stores.ledger.scan(LOG, before):
        if isinstance(stored.record, SlotClosed):
            size = stored.record.control_size
        if isinstance(stored.record, ForecastIssued):
            seen.append((size > changed_at, bool(stored.record.models)))
    stores.close()
    assert {(False, True), (True, False)} == set(seen)
    assert 6 == len(seen)
    again = replay(place)
    assert {Verdict.IDENTICAL: len(again.slots)} == again.verdicts, again.first_bad


def test_publishing_can_be_paused(learned: Learned, tmp_path: Path) -> None:
    """Paused, nothing is published and nothing is lost: with a backlog of all, every issue comes once when it goes on."""
    place = copied(learned.place, tmp_path / "home")
    stores = place.open()
    sink = open_forecasts(stores.settings, "small")
    publisher = Publisher(stores.ledger, stores.blobs, sink, region_of(stores.ledger, "small"), "all")
    while publisher.step():
        pass
    published = sink.cursor(LOG)
    set_parameter(stores.ledger, "publishing", "off", now_us, region="small", author="test", reason="a test")
    issued = run_slots(place, 3)
    assert [0, 0] == [publisher.step(), publisher.step()]
    assert published == sink.cursor(LOG)
    unset_parameter(stores.ledger, "publishing", now_us, region="small", author="test", reason="a test")
    assert len(issued) == publisher.step()
    assert published < sink.cursor(LOG)
    sink.close()
    stores.close()
