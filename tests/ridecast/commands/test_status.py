"""`ridecast status`: what a home holds, in four tables."""

import re
from dataclasses import replace
from pathlib import Path

from dataflows.stream.stores import open_stores
from ledger.views.append import append_shared
from ridecast.options import settings_of_home
from schemas.records.records import CONTROL_LOG
from state.forecast.routes import GLOBAL_SCOPE
from tests.dataflows.jobs.test_promoting import trained
from tests.ridecast.conftest import REGION, UNTIL, Call, Small
from tests.ridecast.test_failures import head_of


def test_it_shows_regions_models_and_logs(small: Small, call: Call) -> None:
    """Region with its dates and champion, the model with its rows, and every log with its size and root."""
    done = call("status", "--home", small.home)
    assert (0, "") == (done.status, done.err)
    rows = [[cell.strip() for cell in line.strip("│ \n").split("│")] for line in done.out.splitlines() if line.startswith("│")]
    (region, newest, run), (model,) = ([row for row in rows if row[place] == REGION] for place in (0, 1))
    assert [UNTIL, "2025-04-08 00:00 +0330", "observed", f"requests: {model[0]}"] == [region[1], *region[3:]]
    assert ["requests", "glm-xgboost-poisson"] == model[2:4]
    [events] = re.findall(r"([\d,]+) events", small.made["run"].err.splitlines()[-1])
    assert ["newest 288 slots", events, events, "0", "0"] == newest[1:6]
    assert [events, events, "0", "0", newest[6]] == run[2:7]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC to \d\d:\d\d:\d\d", run[1])
    assert re.fullmatch(r"[\d,]+ days", newest[7])
    head = head_of(small.home)
    logs = {row[0]: row[1:] for row in rows if len(row) == 3}
    assert {"control", "region/tehran", "runs"} == set(logs)
    assert [f"{head.size:,}", head.root.hex()[:16]] == logs["region/tehran"]


def test_errors_of_the_last_day_begin_with_the_busiest_cells(small: Small, call: Call) -> None:
    """A row per band and horizon, all cells last, each with the error of the baseline; the model's period is in local time."""
    done = call("status", "--home", small.home)
    rows = [[cell.strip() for cell in line.strip("│ \n").split("│")] for line in done.out.splitlines() if line.startswith("│")]
    errors = [row for row in rows if row[0] in ("busy", "medium", "quiet", "all")]
    assert [["15", "30", "60"]] * (len(errors) // 3) == [[row[1] for row in errors[i : i + 3]] for i in range(0, len(errors), 3)]
    bands = list(dict.fromkeys(row[0] for row in errors))
    assert ("all", sorted(bands, key=("busy", "medium", "quiet", "all").index)) == (bands[-1], bands)
    assert all(re.fullmatch(r"\d+\.\d{3} \(\d+\.\d{3}\)", row[4]) for row in errors)
    assert re.search(r"│ 2025-\d\d-\d\d 00:00 to 2025-\d\d-\d\d 00:00 │", done.out)


def test_a_home_without_models_serves_the_baseline(tmp_path: Path, call: Call) -> None:
    """A region that was just bootstrapped has no slot and no champion yet."""
    call("bootstrap", "--region", "nyc", "--until", "2014-05-01", "--home", tmp_path, "--no-history")
    (row,) = (line for line in call("status", "--home", tmp_path).out.splitlines() if " nyc " in line)
    assert ["nyc", "2014-05-01", "0", "", "", "pickups: baseline only"] == [cell.strip() for cell in row.strip("│").split("│")]


def test_a_model_of_several_regions_was_trained_on_a_period_in_utc(tmp_path: Path, call: Call) -> None:
    """It belongs to no region whose local time it could use; `ridecast models` says the same."""
    call("bootstrap", "--region", "nyc", "--until", "2014-05-01", "--home", tmp_path, "--no-history")
    stores = open_stores(settings_of_home(home=str(tmp_path)))
    append_shared(stores.ledger, CONTROL_LOG, replace(trained(bytes(32)), region=GLOBAL_SCOPE, first_slot=288, until_slot=576))
    stores.close()
    for name in ("status", "models"):
        assert "1970-01-02T00:00:00Z to 1970-01-03T00:00:00Z" in call(name, "--home", tmp_path).out
