"""Small ways to run wrongly: pumps, resuming, recording, publishing."""

from tests.mutant_lists.mutant import Mutant

PUBLISH, PUMP = "dataflows/stream/publish.py", "dataflows/stream/pump.py"
RESUME, RECORD, RUN = "dataflows/stream/resume.py", "dataflows/stream/record.py", "dataflows/stream/region_run.py"
REFRESH, FILLED = "ledger/views/online/refresh.py", "tests/ledger/views/online/test_refresh.py"
OWN_ENTRY = "has_entry(ledger, issue.log, held.index, held.entry)"
TOLD = "tests/dataflows/stream/test_publish.py"
PUMPED = "tests/dataflows/stream/test_pump.py"
RECORDED = "tests/dataflows/stream/test_record.py"
RESUMED = "tests/dataflows/stream/test_region_run.py"
PLANNED = "tests/dataflows/stream/test_resume.py"
CHANGED = "tests/simulation/test_changed_files.py"
LOCAL = "tests/dataflows/stream/test_local.py"

REPLACED = "tests/dataflows/connectors/kafka/test_changed_outputs.py"
HELD_AFTER = "tests/simulation/test_held_after_a_change.py"
TWO_LOGS = "tests/simulation/test_rejects_of_two_logs.py"

MUTANTS = (
    Mutant(
        "published twice after a restart between two measures",
        PUBLISH,
        "[issue for issue in newest if issue.index >= self._published.index]",
        "newest if newest and newest[-1].index >= self._published.index else []",
        (TOLD,),
    ),
    Mutant(
        "tombstone for a cell that came back",
        PUBLISH,
        "sorted(self._retired(self._published.index, behind.index) - served)",
        "sorted(self._retired(self._published.index, behind.index))",
        (TOLD,),
    ),
    Mutant("tombstone of the first measure only", PUBLISH, 'names = ("", *self._region.measures[1:])', 'names = ("",)', (TOLD,)),
    Mutant(
        "published under the key of another measure",
        PUBLISH,
        "further = record.measure != region.measures[0]",
        "further = False",
        (TOLD,),
    ),
    Mutant("a sink that is ahead accepted", PUBLISH, "if cursor > size:", "if False:", (TOLD,)),
    Mutant(
        "cursor behind a cut that is gone",
        PUBLISH,
        'cursor, root = continued.database_size, b""',
        'cursor, root = cursor, b""',
        (TOLD,),
    ),
    Mutant("a sink of another ledger accepted", PUBLISH, "if root and not has_root(", "if False and not has_root(", (TOLD,)),
    Mutant("what another ledger stored is served on", REFRESH, OWN_ENTRY, "True", (FILLED,)),
    Mutant(
        "what a faster publisher stored is replaced", REFRESH, " or has_entry(ledger, issue.log, held.index, held.entry)", "", (FILLED,)
    ),
    Mutant(
        "sent to a replaced topic",
        "dataflows/connectors/kafka/forecasts.py",
        "if changes := self._topics.changes():",
        "if changes := []:",
        (REPLACED,),
    ),
    Mutant("cuts of a replaced log", RESUME, "closed(slot) if slot >= since_slot else None", "closed(slot)", (HELD_AFTER,)),
    Mutant("rejects of two logs mixed", PUMP, "source.identity().incarnation().to_json()", '""', (TWO_LOGS,)),
    Mutant("idle without asking the end", PUMP, "if self._reader.end() > position:", "if False:", (PUMPED,)),
    Mutant("silence told at every step", PUMP, " or now - self._told_at < self._limits.progress_every_s", "", (PUMPED,)),
    Mutant("silence from the last idle time on", PUMP, "self._quiet_since, self.idle = None, False", "self.idle = False", (PUMPED,)),
    Mutant("read beyond the pinned end", PUMP, "raw.offsets[-1] >= self._end", "raw.offsets[-1] > self._end", (PUMPED,)),
    Mutant("deduplication not warmed", PUMP, "max(0, open_from - rules.dedup_horizon_events)", "open_from", (PUMPED,)),
    Mutant("a gap told for every start", PUMP, "if FROM_LOWEST != point.open_from < lowest", "if point.open_from < lowest", (PUMPED,)),
    Mutant("resume at the cut", RESUME, "cut.open_from, cut.cut, self.last", "cut.cut, cut.cut, self.last", (RESUMED,)),
    Mutant(
        "a source with other partitions accepted",
        RESUME,
        "if removed and not resumed.replaced:",
        "if False:",
        (RESUMED,),
    ),
    Mutant("another log resumed at the old offsets", RESUME, "if not self.replaced:", "if True:", (PLANNED,)),
    Mutant("deduplication of another log taken for warmed", RESUME, "[] if changed else ledger", "ledger", (PLANNED,)),
    Mutant("an earlier log's horizon taken for this one's", RESUME, "moved.index + 1 if moved is not None else 0", "0", (PLANNED,)),
    Mutant("what an added partition has lost is no gap", RESUME, "if self.replaced else 0", "if True else 0", (PLANNED,)),
    Mutant("the last start believed over a recorded change", RESUME, "and started.may_be(after)", "", (PLANNED,)),
    Mutant("closed without asking for the source", RUN, "            self._confirm()\n", "            pass\n", (PLANNED,)),
    Mutant(
        "a change of the source recorded twice",
        RUN,
        "payloads = payloads[self._appended :]",
        "pass",
        (f"{CHANGED}::test_an_added_partition_is_read_from_its_start",),
    ),
    Mutant(
        "a source that ends earlier accepted",
        RESUME,
        "(expected := plan.points[partition].counted_until) > end",
        "(expected := plan.points[partition].counted_until) > end + 10**9",
        (f"{CHANGED}::test_a_log_that_lost_its_end_is_refused_with_the_remedy",),
    ),
    Mutant(
        "target a slot early", RECORD, "(outcome.closed.slot + 1) * region.slot_us", "outcome.closed.slot * region.slot_us", (RECORDED,)
    ),
    Mutant("large counts kept inline", RECORD, "if len(body) > INLINE_LIMIT_BYTES:", "if len(body) > 4 * INLINE_LIMIT_BYTES:", (RECORDED,)),
    Mutant("one table for two measures", RECORD, "to_table(name, c.slots", "to_table(region.measures[0], c.slots", (RECORDED,)),
    Mutant(
        "root of the chunks' bytes",
        RECORD,
        "root([leaf_hash(chunk) for chunk in chunks])",
        "root([leaf_hash(chunk) for chunk in chunks[:1]])",
        (RECORDED, RESUMED),
    ),
    Mutant("own floating point may differ", RUN, "stored.index >= self._ours_from or ", "", (RESUMED,)),
    Mutant("a difference of counts is an environment's", RUN, " or stored.kind not in FLOATING)", ")", (RESUMED,)),
)
