"""Small ways to lose or accept entries wrongly: logs, checkpoints, blobs, notes."""

from tests.mutant_lists.mutant import Mutant

LOG, GUARD, BLOBS = "ledger/store/log.py", "ledger/store/guard.py", "ledger/store/blobs.py"
NOTE, PROOF, WITNESS = "ledger/formats/note.py", "ledger/formats/proof.py", "ledger/formats/witness.py"
APPENDS = "tests/contract/test_ledger.py"
BOOTS = "tests/ledger/store/test_guard.py"
HELD = "tests/contract/test_blobs.py"
SIGNED = "tests/ledger/formats/test_note.py"
PROVED = "tests/ledger/formats/test_proof.py"

OWNERS, OWNED = "ledger/store/ownership.py", "tests/ledger/store/test_holding.py"

MUTANTS = (
    Mutant("a home with another key accepted", OWNERS, "if owner is not None and owner.key != mine.key:", "if False:", (OWNED,)),
    Mutant("a new home on an old database accepted", OWNERS, "if owner is None and not self._files.logs() and", "if False and", (OWNED,)),
    Mutant(
        "the API waits as long as a writer",
        "ledger/store/limits.py",
        "return Limits(settings.read_timeout_s, settings.read_timeout_s)",
        "return Limits(settings.read_timeout_s, settings.write_timeout_s)",
        ("tests/ledger/store/test_limits.py",),
    ),
    Mutant("other content at the same place accepted", LOG, "if ours != theirs:", "if False:", (APPENDS,)),
    Mutant("half of a rerun accepted", LOG, "if stop < expected_size + len(leaves):", "if False:", (APPENDS,)),
    Mutant("writer ahead of the log accepted", LOG, "if expected_size > size:", "if False:", (APPENDS,)),
    Mutant("largest entry refused", LOG, "if len(payload) > LARGEST_ENTRY_BYTES:", "if len(payload) >= LARGEST_ENTRY_BYTES:", (APPENDS,)),
    Mutant("damaged entry served", LOG, "if leaf_hash(payload) != leaf:", "if False:", (APPENDS,)),
    Mutant(
        "a scan repeats the last of a page",
        LOG,
        "start = page[-1].index + 1",
        "start = max(start + 1, page[-1].index)",
        (APPENDS, "tests/ledger/views/test_closes.py"),
    ),
    Mutant(
        "database behind its checkpoint accepted",
        GUARD,
        "            )\n        try:\n            frontier = self._ledger.frontier_at(log, known.size)",
        "            ) if False else None\n        try:\n            frontier = self._ledger.frontier_at(log, min(known.size, size))",
        (BOOTS,),
    ),
    Mutant("root of the checkpoint not compared", GUARD, "if frontier.root() != known.root:", "if False:", (BOOTS,)),
    Mutant("stored root not compared", GUARD, "elif stored.root() != checked.root():", "elif False:", (BOOTS,)),
    Mutant("what is read back not hashed", GUARD, "if index != checked.size or found != leaf:", "if index != checked.size:", (BOOTS,)),
    Mutant("checkpoint that lost its log's growth", GUARD, "self._grown.update(due[position:])", "pass", (BOOTS,)),
    Mutant("damaged blob served", BLOBS, "    if found != digest:", "    if False:", (HELD,)),
    Mutant("damaged blob not healed by putting it again", BLOBS, " and found[1].read_bytes() == data", "", (HELD,)),
    Mutant("shorter retention wins", BLOBS, "RANK[found[0]] >= RANK[retention]", "RANK[found[0]] <= RANK[retention]", (HELD,)),
    Mutant(
        "file of a killed writer is a blob",
        BLOBS,
        "if len(path.name) == 64:",
        "if True:",
        (HELD,),
        argued="Names of unfinished files are no hexadecimal numbers, so that they are passed over all the same.",
    ),
    Mutant("cosignatures stand for the log's own", PROOF, "if not by_log:", "if False:", (PROVED,)),
    Mutant("quorum one too low", PROOF, "if len(others) < quorum:", "if len(others) + 1 < quorum:", (PROVED,)),
    Mutant("any log speaks for a region", PROOF, 'checkpoint.origin.endswith(f"/{log}")', "True", (PROVED,)),
    Mutant("any extra bytes after a proof's fields", PROOF, "or _encode_extra(fields) != extra", "", (PROVED,)),
)
