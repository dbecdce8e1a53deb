"""Small ways to break the verifier of the ledger."""

from tests.mutant_lists.mutant import Mutant

VERIFY = "tests/ledger/check/test_verify.py"
TILES = "tests/ledger/check/test_tile_check.py"
TREES = "tests/ledger/formats/test_merkle.py"
WHOLE = "tests/dataflows/audit/test_verification.py"
HANDS = "tests/faults/test_tampering.py"
DEEP = "tests/dataflows/audit/test_deep.py"
EVIDENCE = "tests/ledger/check/test_evidence.py"
SKIM = "tests/schemas/records/test_record_skim.py"
SPEAK = "tests/ridecast/commands/test_verify.py"


MUTANTS = (
    Mutant("wrong prefix of a leaf", "ledger/formats/merkle.py", 'b"\\x00" + payload', 'b"\\x01" + payload', (TREES,)),
    Mutant(
        "wrong prefix in a batch of nodes",
        "ledger/formats/merkle.py",
        'sha256(b"\\x01" + left + right).digest() for',
        'sha256(b"\\x00" + left + right).digest() for',
        (TREES,),
    ),
    Mutant("odd node dropped from a batch", "ledger/formats/merkle.py", "nodes[-1:] if len(nodes) % 2 else []", "[]", (TREES,)),
    Mutant("batch begun off its boundary", "ledger/formats/merkle.py", "if self.size % (1 << TILE_HEIGHT) or len", "if len", (TREES,)),
    Mutant("stored leaf hash not compared", "ledger/check/verify.py", "if found != leaf:", "if False:", (VERIFY,)),
    Mutant(
        "place in the index not compared",
        "ledger/check/verify.py",
        "if (seen.kind, seen.slot, seen.subject) != (kind, slot, subject):",
        "if seen.kind != kind:",
        (VERIFY,),
    ),
    Mutant(
        "entry of the wrong type passed over",
        "ledger/check/verify.py",
        'self.add_problem(index, f"expected bytes, got {type(payload).__name__}")',
        "pass",
        (VERIFY,),
    ),
    Mutant(
        "last page skipped",
        "ledger/check/verify.py",
        "for start in range(0, there, PAGE_ENTRIES):",
        "for start in range(0, there - PAGE_ENTRIES, PAGE_ENTRIES):",
        (VERIFY,),
    ),
    Mutant(
        "last entry skipped",
        "ledger/check/verify.py",
        "stop = min(start + PAGE_ENTRIES, there)",
        "stop = min(start + PAGE_ENTRIES, there - 1)",
        (VERIFY,),
    ),
    Mutant(
        "missing entries not named",
        "ledger/check/verify.py",
        "self.add_problem(self.frontier.size, _missing(self.frontier.size, index - 1))",
        "pass",
        (VERIFY,),
    ),
    Mutant("missing tail not named", "ledger/check/verify.py", "self.add_problem(there, _missing(there, size - 1))", "pass", (VERIFY,)),
    Mutant("size of the log ignored", "ledger/check/verify.py", "if (count, largest) != (size, size - 1):", "if False:", (VERIFY,)),
    Mutant(
        "stored frontier ignored",
        "ledger/check/verify.py",
        "if stored != self.frontier.to_bytes():",
        "if len(stored) != len(self.frontier.to_bytes()):",
        (VERIFY,),
    ),
    Mutant(
        "stored nodes ignored",
        "ledger/check/verify.py",
        "if self.nodes.at(level, at) != node:",
        "if self.nodes.at(level, at) is None:",
        (VERIFY,),
    ),
    Mutant(
        "nodes that the tree has not, ignored",
        "ledger/store/statements.py",
        "behind = NODES.c.index >=",
        "behind = NODES.c.index < -",
        (VERIFY,),
    ),
    Mutant("SQLite's own check ignored", "ledger/check/verify.py", 'if fault != "ok":', "if False:", (VERIFY,)),
    Mutant("missing checkpoint accepted", "ledger/check/verify.py", "if not found:", "if found is None:", (VERIFY,)),
    Mutant(
        "refused checkpoint accepted",
        "ledger/check/verify.py",
        "self.add_problem(None, f\"{CHECKPOINT}: {str(refusal).partition(f'. {WAY_OUT}')[0]}\")",
        "pass",
        (VERIFY,),
    ),
    Mutant(
        "kept checkpoint ahead of the log accepted",
        "ledger/check/stored_checkpoints.py",
        "if known.size > size:",
        "if known.size > size + 10_000:",
        (VERIFY,),
    ),
    Mutant(
        "root of a kept checkpoint ignored",
        "ledger/check/stored_checkpoints.py",
        "elif not self._agrees(one):",
        "elif False:",
        (VERIFY, TILES),
    ),
    Mutant(
        "roots at kept sizes not looked at",
        "ledger/check/stored_checkpoints.py",
        "            self.look(frontier)\n            at +=",
        "            at +=",
        (VERIFY,),
    ),
    Mutant(
        "signature of a kept checkpoint ignored",
        "ledger/check/stored_checkpoints.py",
        "        open_note(text, verifiers)\n",
        "        parse_note(text)\n",
        (VERIFY,),
    ),
    Mutant(
        "signature of an export's checkpoint ignored",
        "ledger/check/tile_check.py",
        "parse_checkpoint(open_note(text, verifiers).text)",
        "parse_checkpoint(text)",
        (TILES,),
    ),
    Mutant("blobs checked in full batches only", "ledger/check/verify.py", "self._hand_over()\n        while", "while", (VERIFY,)),
    Mutant("blob's digest not compared", "ledger/store/blobs.py", "if found != digest:", "if False:", (VERIFY, HANDS)),
    Mutant(
        "missing blob accepted",
        "ledger/check/verify.py",
        "elif not fault.missing or fault.named.what != SNAPSHOT:",
        "elif not fault.missing:",
        (VERIFY,),
    ),
    Mutant("root over chunks not compared", "ledger/check/blob_check.py", "if found != named.root:", "if False:", (VERIFY,)),
    Mutant(
        "models of an issue not looked for",
        "schemas/records/kinds.py",
        '(("blob", BlobContent.CHUNKS), ("models", BlobContent.MODEL))',
        '(("blob", BlobContent.CHUNKS),)',
        (VERIFY,),
    ),
    Mutant("answers of a pool not read", "ledger/check/verify.py", "while self._answers:", "while False:", (VERIFY,)),
    Mutant("hash of a tile not compared", "ledger/check/tile_check.py", "if leaf != expected:", "if False:", (TILES,)),
    Mutant("upper tiles not compared", "ledger/check/tile_check.py", "if expected != stored:", "if False:", (TILES,)),
    Mutant("last bundle skipped", "ledger/check/tile_check.py", "range(-(-size // TILE_WIDTH))", "range(size // TILE_WIDTH)", (TILES,)),
    Mutant("right edge of the tiles skipped", "ledger/check/tile_check.py", "    check.edge()\n", "", (TILES,)),
    Mutant(
        "log without a database forgotten",
        "dataflows/audit/verification.py",
        "if one.checkpoint.size\n",
        "if one.checkpoint.size > 100\n",
        (WHOLE,),
    ),
    Mutant(
        "logs known from checkpoints only, forgotten",
        "dataflows/audit/verification.py",
        "stems = {file_stem(log) for log in stores.ledger.guard.files.logs()}\n",
        "stems: set[str] = set()\n",
        (WHOLE,),
    ),
    Mutant(
        "expiry of any slot believed", "dataflows/audit/verification.py", "one.from_slot <= named.slot < one.until_slot", "True", (WHOLE,)
    ),
    Mutant(
        "another log's export accepted",
        "dataflows/audit/verification.py",
        'if not checkpoint.origin.endswith(f"/{log}"):',
        "if not checkpoint.origin:",
        (WHOLE,),
    ),
    Mutant("integer state not compared", "dataflows/audit/deep.py", "if folded.integers != recorded.integers:", "if False:", (DEEP,)),
    Mutant("model state not compared", "dataflows/audit/deep.py", "if ours and folded.models != recorded.models:", "if False:", (DEEP,)),
    Mutant(
        "integer decoded without its sign",
        "schemas/records/record_skim.py",
        "return (byte >> 1) ^ -(byte & 1), at + 1",
        "return byte >> 1, at + 1",
        (SKIM,),
    ),
    Mutant("damage ends with 0", "ridecast/commands/ledger/verify.py", "DAMAGED if any(", "DAMAGED if all(", (SPEAK,)),
    Mutant("evidence not compared", "ledger/check/evidence.py", "if found != record.evidence:", "if False:", (EVIDENCE,)),
    Mutant("evidence not looked for", "ledger/check/verify.py", "if seen.kind == LogContinued.__name__:", "if False:", (EVIDENCE,)),
)
