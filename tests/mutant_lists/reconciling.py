"""Small ways to miss a difference from the ledger, or to repair what is right."""

from tests.mutant_lists.mutant import Mutant

RANGES, DIFFERENCES, ISSUES = "ledger/formats/ranges.py", "ledger/views/reconcile/differences.py", "ledger/views/reconcile/issues.py"
HASH, ONLINE = "ledger/views/reconcile/redis_hash.py", "ledger/views/reconcile/online.py"
OF_RANGES, OF_REDIS = "tests/ledger/formats/test_ranges.py", "tests/ledger/views/reconcile/test_online.py"

MUTANTS = (
    Mutant("values that run into each other", RANGES, 'b"%d:%b" % (len(value), value)', 'b"%b" % (value,)', (OF_RANGES,)),
    Mutant(
        "a key in the range before",
        RANGES,
        "lists[bisect_right(bounds, key)]",
        "lists[max(0, bisect_right(bounds, key) - 1)]",
        (OF_RANGES,),
    ),
    Mutant("only the first nodes below", RANGES, "min((at + 1) * FAN_OUT, wide)", "min(at * FAN_OUT + 1, wide)", (OF_RANGES,)),
    Mutant("one look is enough", DIFFERENCES, "if (one.key, one.reason, one.got) in known", "if known", (OF_REDIS,)),
    Mutant("a stale issue is right", ISSUES, "if place < newest.issue.place else None", "if False else None", (OF_REDIS,)),
    Mutant("a repair of whatever is there", HASH, "if seen(KEYS[1]) ~= ARGV[1] then return -1 end", "", (OF_REDIS,)),
    Mutant("a key that expires", ONLINE, "if look.ttl_ms >= 0:", "if look.ttl_ms >= 1 << 62:", (OF_REDIS,)),
    Mutant("keys of other homes", ONLINE, "if region not in self._known:", "if False:", (OF_REDIS,)),
)
