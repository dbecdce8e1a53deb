"""Small ways to miscount rides: intake, deduplication, cuts, and the closing of slots."""

from tests.mutant_lists.mutant import Mutant

INTAKE, SEEN, OPEN = "state/counting/intake.py", "state/counting/seen.py", "state/counting/slots.py"
EVIDENCE = "state/counting/evidence.py"
EVIDENCED = "tests/state/counting/test_evidence.py"
SLOTS = "tests/state/counting/test_slots.py"
RULES = "tests/state/counting/test_rules.py"
PARTIALS = "tests/state/counting/test_partials.py"
AGAIN = "tests/state/counting/test_seen.py"
EXCUSES = "tests/state/counting/test_excuses.py"
BOTH = "tests/state/counting/test_two_measures.py"
OTHERS = "tests/state/counting/test_other_regions.py"

MUTANTS = (
    Mutant("skew taken off instead of added", INTAKE, "YEAR_2100_US) + skew_s", "YEAR_2100_US) - skew_s", (RULES,)),
    Mutant("first moment of 2100 accepted", INTAKE, "at >= YEAR_2100_US", "at > YEAR_2100_US", (RULES,)),
    Mutant("last broken rule named, not the first", INTAKE, "verdict[broken & (verdict == _OK)]", "verdict[broken]", (RULES,)),
    Mutant("duplicates accepted", INTAKE, "accepted = valid & ~duplicate", "accepted = valid", (SLOTS,)),
    Mutant("rejected events remembered as seen", INTAKE, "if every else (batch.offset[valid], batch.event_hash[valid])", "", (SLOTS,)),
    Mutant("cuts without issue lateness", INTAKE, "(largest_us - self.region.issue_lateness_s * US_PER_S)", "largest_us", (SLOTS,)),
    Mutant(
        "cuts by the latest event, not the largest",
        EVIDENCE,
        "np.maximum.accumulate(np.concatenate([[self.us], kth]))",
        "np.concatenate([[self.us], kth])",
        (SLOTS,),
    ),
    Mutant("the window is forgotten between batches", EVIDENCE, "all_times[len(times) :], ", "self._times, ", (EVIDENCED,)),
    Mutant("the broker's time needs others", EVIDENCE, "np.where(by_broker, np.maximum(kth, times), kth)", "kth", (EVIDENCED,)),
    Mutant(
        "evidence is lost by a resume",
        EVIDENCE,
        "np.where(ahead[np.arange(len(events)), first], self.offsets[events + first], otherwise)",
        "otherwise",
        (EVIDENCED,),
    ),
    Mutant(
        "rides too far ahead held",
        OPEN,
        "(far := rows.slot >= limit[rows.piece]).any()",
        "(far := rows.slot > limit[rows.piece]).any()",
        (EVIDENCED,),
    ),
    Mutant("rides too far ahead hold up a resume", OPEN, "(limit is None or slot < limit[piece])", "True", (EVIDENCED,)),
    Mutant("a ride too far ahead counts after a resume", INTAKE, "masked |= (offset < until) & (slot >= limit)", "pass", (EVIDENCED,)),
    Mutant("the earlier limit forgotten by a resume", EVIDENCE, "(cut_of(start - 1), start + hold_slots)", "(None, 0)", (EVIDENCED,)),
    Mutant("partitions agree on fewer events", OPEN, "times[needed - 1]", "times[0]", (EVIDENCED,)),
    Mutant("a stray at the end closes slots", OPEN, " <= END_REACH_US", "", (EVIDENCED,)),
    Mutant(
        "a bounded run closes only what is evidenced",
        OPEN,
        "max([reached, *(us for us in recent if",
        "max([reached, *(us for us in recent[:0] if",
        (EVIDENCED,),
    ),
    Mutant(
        "ride at a cut counted below it",
        INTAKE,
        'piece = np.searchsorted(cuts, offset, side="right")',
        "piece = np.searchsorted(cuts, offset)",
        (SLOTS,),
        argued="The event at a cut has the largest time so far, so its slot is not below the cut: it is late in neither piece.",
    ),
    Mutant(
        "event at a cut tallied below it", INTAKE, 'np.searchsorted(cuts, fresh, side="right")', "np.searchsorted(cuts, fresh)", (SLOTS,)
    ),
    Mutant("counted again after a resume", INTAKE, "keep &= ~masked", "pass", (SLOTS,)),
    Mutant("masked by offset alone", INTAKE, " & (slot <= self.closed_through)", "", (SLOTS,)),
    Mutant("totals again after a resume", INTAKE, "new_from = max(self.counted_until, from_offset)", "new_from = from_offset", (SLOTS,)),
    Mutant(
        "rides before the start counted",
        INTAKE,
        "keep = ~(elsewhere | other_kind | no_end | early)",
        "keep = ~(elsewhere | other_kind | no_end)",
        (SLOTS, BOTH),
    ),
    Mutant(
        "rides of another region counted",
        INTAKE,
        "keep = ~(elsewhere | other_kind | no_end | early)",
        "keep = ~(other_kind | no_end | early)",
        (BOTH,),
    ),
    Mutant("wrong clocks of other regions move cuts", INTAKE, "(foreign & timely)", "foreign", (OTHERS,)),
    Mutant("ids of two regions make duplicates", INTAKE, "<< np.uint64(48)", "* np.uint64(0)", (OTHERS,)),
    Mutant("events of other regions rejected", INTAKE, "verdict[batch.region == OTHER_REGION] = _OK", "pass", (OTHERS,)),
    Mutant("events of other regions with wrong times not in the totals", INTAKE, "if untimely.any():", "if False:", (OTHERS,)),
    Mutant("trip ends at the place of pickup", INTAKE, "if self.at_end.any():", "if False:", (BOTH,)),
    Mutant("trip ends outside the region counted", INTAKE, "no_end[ended] = ~inside(", "no_end[ended] &= ~inside(", (BOTH,)),
    Mutant("measures counted as one", INTAKE, " + measure.astype(np.uint64)", "", (BOTH,)),
    Mutant("an id may recur at the horizon", SEEN, "<= self.horizon)", "< self.horizon)", (AGAIN,)),
    Mutant("generation before not asked", SEEN, "known[missing] = self._before.find(heads[missing])", "pass", (AGAIN,)),
    Mutant(
        "first offset remembered, not the last",
        SEEN,
        "self._present.put(sorted_ids[last], sorted_offsets[last])",
        "self._present.put(sorted_ids[first], sorted_offsets[first])",
        (AGAIN,),
    ),
    Mutant("an id whose hash is zero is always known", SEEN, "np.where(ids == _EMPTY, np.uint64(1), ids)", "ids", (AGAIN,)),
    Mutant(
        "stale generation asked",
        SEEN,
        " if number == self._number + 1 else _Generation()",
        "",
        (AGAIN,),
        argued="Offsets are compared with the horizon too, so what a stale generation knows never makes a duplicate; it only costs memory.",
    ),
    Mutant(
        "correction counted for another measure", OPEN, "mine = (within == slot) & (measures == measure)", "mine = within == slot", (BOTH,)
    ),
    Mutant("counts of the first measure only", OPEN, "self._counts[slot].append((measure,", "self._counts[slot].append((0,", (BOTH,)),
    Mutant(
        "corrections of another slot", OPEN, "mine = (within == slot) & (measures == measure)", "mine = measures == measure", (SLOTS, BOTH)
    ),
    Mutant(
        "hole in the offsets accepted",
        OPEN,
        "if partial.from_offset != lane.position:",
        "if partial.from_offset < lane.position:",
        (PARTIALS,),
    ),
    Mutant(
        "gap not told",
        OPEN,
        "if partial.gap_until > partial.from_offset:",
        "if False:",
        (PARTIALS,),
    ),
    Mutant(
        "an excuse excuses others",
        OPEN,
        "max(lane.own_uncut for lane",
        "max(lane.first_uncut for lane",
        (SLOTS,),
        argued="An excuse never reaches beyond what some partition, or all together, have reached, so that both maxima are the same.",
    ),
    Mutant(
        "old news of standing idle",
        OPEN,
        "(lane is updated and lane.standing is Standing.IDLE)",
        "lane.standing is Standing.IDLE",
        (SLOTS,),
    ),
    Mutant(
        "late for an excused slot, counted in it",
        OPEN,
        "late = rows.slot < uncut[rows.piece]",
        "late = rows.slot < partial.first_uncut[rows.piece]",
        (SLOTS,),
    ),
    Mutant(
        "resume behind a ride of an open slot",
        OPEN,
        "open_from = min(lane.lowest.values(), default=cut.offset)",
        "open_from = cut.offset",
        (SLOTS,),
    ),
    Mutant(
        "largest time forgotten at a quiet end",
        OPEN,
        "max(lane.largest_us, int(partial.largest_us[-1]))",
        "int(partial.largest_us[-1])",
        (SLOTS,),
        argued="The evidenced time in a partial runs on from the one before, so it never falls.",
    ),
)
