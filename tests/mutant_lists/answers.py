"""Small ways to answer wrongly: the API and the online store."""

from tests.mutant_lists.mutant import Mutant

FORECASTS, ROWS, HISTORY = "api/forecasts.py", "api/forecast_rows.py", "api/history.py"
ASKED = "tests/api/test_forecasts.py"
COUNTED = "tests/api/test_history.py"
PREPARED = "api/prepared.py"
NEWEST, FRESH = "tests/api/test_newest.py", "tests/api/test_freshness.py"
HELD, STRANGERS = "tests/api/test_connections.py", "tests/api/test_strangers.py"
STALE = "tests/ledger/views/online/test_redis.py"

MUTANTS = (
    Mutant("top sorted by the first horizon", FORECASTS, "-columns.mean[:, horizon]", "-columns.mean[:, 0]", (ASKED,)),
    Mutant("top of the quietest", FORECASTS, "np.argsort(-columns.mean", "np.argsort(columns.mean", (ASKED,)),
    Mutant("prepared top sorted by the first horizon", PREPARED, "mean[:, horizon or 0]", "mean[:, 0]", (ASKED,)),
    Mutant("prepared top of the quietest", PREPARED, "(-self.columns.mean", "(self.columns.mean", (ASKED,)),
    Mutant(
        "prepared horizon of the first one ignored",
        PREPARED,
        "if horizon is None else self._horizons[",
        "if not horizon else self._horizons[",
        (ASKED,),
    ),
    Mutant(
        "prepared model named for the baseline",
        PREPARED,
        "model_of(record, challenged=by_other) if fallback in BY_MODEL else None",
        "model_of(record, challenged=by_other)",
        (ASKED,),
    ),
    Mutant("compressed with the age of the first answer", PREPARED, "last is None or last.said != said", "last is None", (ASKED,)),
    Mutant("another ledger's chunks served", "api/newest.py", "if issue.entry != stored.payload or", "if", (NEWEST,)),
    Mutant("chunks served without their digest", "api/newest.py", "or digest != stored.record.blob", "", (NEWEST,)),
    Mutant("slow requests are never ended", "api/connections.py", "return self._since_s < since_s", "return False", (HELD,)),
    Mutant(
        "the newest connection makes room",
        "api/connections.py",
        "next(iter(self.waiting), None)",
        "next(reversed(self.waiting), None)",
        (HELD,),
    ),
    Mutant("slow readers are kept", "api/connections.py", "if now_s - since_s > self.response_s", "if False", (HELD,)),
    Mutant(
        "threads left behind are forgotten", "api/threads.py", "self._threads + self._waiting:", "10**6:", ("tests/api/test_threads.py",)
    ),
    Mutant("hosts shown to strangers", "api/ledger_entries.py", "if redacted and isinstance", "if False and isinstance", (STRANGERS,)),
    Mutant("gzip sent to who refuses it", "api/answers.py", '"*", 0.0))) > 0', '"*", 0.0))) >= 0', (STRANGERS,)),
    Mutant("a silent stream is live", "ledger/views/freshness.py", "if slots <= stale_after_slots:", "if True:", (FRESH,)),
    Mutant("a silent stream is ready", "api/health.py", "age.slots > limit", "False", (FRESH,)),
    Mutant(
        "horizon_min of the first horizon ignored", ROWS, "if horizon is None else [horizon]", "if not horizon else [horizon]", (ASKED,)
    ),
    Mutant(
        "the model named for the baseline", ROWS, "challenged=by_other) if fallback in BY_MODEL else None", "challenged=by_other)", (ASKED,)
    ),
    Mutant("lower for upper in answers", ROWS, '"lower": lower[h]', '"lower": upper[h]', (ASKED,)),
    Mutant(
        "target of the slot itself", FORECASTS, "slot = target_us // region.slot_us - 1", "slot = target_us // region.slot_us", (ASKED,)
    ),
    Mutant("known before it was issued", FORECASTS, "if known_us is not None and known_us < view.visible_us(slot):", "if False:", (ASKED,)),
    Mutant("known without issue lateness", FORECASTS, "(known_us - view.region.issue_lateness_s * US_PER_S)", "known_us", (ASKED,)),
    Mutant(
        "what may change kept for ever",
        FORECASTS,
        "CachePolicy.IMMUTABLE if selected.fixed else",
        "CachePolicy.IMMUTABLE if True else",
        (ASKED,),
    ),
    Mutant("stale answers not marked", FORECASTS, "stale = age is not None and age.stale", "stale = False", (ASKED,)),
    Mutant(
        "cells in order of codes, not as asked",
        FORECASTS,
        "cells = np.array(wanted, np.uint64)",
        "cells = np.array(sorted(wanted), np.uint64)",
        (ASKED,),
    ),
    Mutant(
        "any version is held",
        "api/answers.py",
        'return "*" in held or etag',
        "return bool(if_none_match) or etag",
        ("tests/api/test_app.py", ASKED),
    ),
    Mutant("corrections left out of history", HISTORY, "counted[slot][0] + rides", "counted[slot][0]", (COUNTED,)),
    Mutant("rides of all measures in history", HISTORY, "if table.measure == measure:", "if True:", (COUNTED,)),
    Mutant(
        "truth of an outage is zero",
        "api/tracks.py",
        "fact is None or fact.status is SlotStatus.UNOBSERVED",
        "fact is None",
        ("tests/api/test_tracks.py",),
    ),
    Mutant(
        "healthy without its stores",
        "api/health.py",
        "    if any(context.probes.needed(name) for name in failed):",
        "    if False:",
        ("tests/api/test_health.py",),
    ),
    Mutant(
        "chunk read under a stale index", "ledger/views/online/redis.py", "if place == contents.place:", "if place is not None:", (STALE,)
    ),
    Mutant(
        "older issue put over a newer",
        "ledger/views/online/memory.py",
        "if issue.place <= self.newest(*place) and",
        "if issue.place == self.newest(*place) and",
        ("tests/contract/test_store.py",),
    ),
)
