"""Small ways to lose or repeat what enters and leaves: producers, sinks, event files, delivery."""

from tests.mutant_lists.mutant import Mutant

PRODUCER, SINKS, DELIVERY = "dataflows/connectors/kafka/producer.py", "dataflows/connectors/sinks.py", "dataflows/connectors/delivery.py"
CONTAINERS, WRITER = "dataflows/connectors/files/containers.py", "dataflows/connectors/files/writer.py"
UNSENT = "tests/dataflows/connectors/kafka/test_producer.py"
FILES = "tests/dataflows/connectors/test_sinks.py"
LATE = "tests/dataflows/connectors/test_delivery.py"
LOGGED = "tests/dataflows/connectors/files/test_ridelog.py"

MUTANTS = (
    Mutant(
        "failed deliveries count as delivered",
        PRODUCER,
        "        if error is None:\n            self._delivered += 1\n        else:\n            self._error = error",
        "        self._delivered += 1",
        (UNSENT,),
    ),
    Mutant("events without an answer count as delivered", PRODUCER, "if self._delivered != self._queued:", "if False:", (UNSENT,)),
    Mutant("errors of deliveries not raised", PRODUCER, "        if self._error is not None:", "        if False:", (UNSENT,)),
    Mutant("timestamps in seconds", PRODUCER, "logged_at_us // 1_000)", "logged_at_us // 1_000_000)", (UNSENT,)),
    Mutant("an issue written again over its file", SINKS, "if names and name <= names[-1]:", "if names and name < names[-1]:", (FILES,)),
    Mutant(
        "cursor at the newest issue, not behind it",
        SINKS,
        '.removesuffix(".avro")) + 1 if names',
        '.removesuffix(".avro")) if names',
        (FILES,),
    ),
    Mutant(
        "oldest issues kept, newest removed", SINKS, "[*names, name][: -self._keep_issues]", "[*names, name][self._keep_issues :]", (FILES,)
    ),
    Mutant(
        "retired cells not in the header",
        SINKS,
        "for key, value in messages if value is None]",
        "for key, value in messages if value]",
        (FILES,),
    ),
    Mutant(
        "a repeat before its event",
        DELIVERY,
        "turns[again] + 1]",
        "turns[again] - 1]",
        (LATE,),
        argued="A repeat comes at least a millisecond after its event, and among events of one time one less keeps its place.",
    ),
    Mutant(
        "events logged before they happened",
        DELIVERY,
        "return -(-times_us // US_PER_MS) * US_PER_MS",
        "return times_us // US_PER_MS * US_PER_MS",
        (LATE,),
    ),
    Mutant(
        "released with an event still to come",
        DELIVERY,
        "until_us, sorter=order)",
        'until_us, side="right", sorter=order)',
        (LATE,),
        argued="What is still to come has a later turn than all that is held, so that at the same time it comes after it anyway.",
    ),
    Mutant("file's marker not looked at", CONTAINERS, "!= container.sync_marker:", "!= container.sync_marker and False:", (LOGGED,)),
    Mutant("half a block read", CONTAINERS, "        if stop > size_bytes:", "        if stop > size_bytes + SYNC_BYTES:", (LOGGED,)),
    Mutant("half a block left by a killed writer", WRITER, "self.file.truncate(segment.scanned_bytes)", "pass", (LOGGED,)),
    Mutant("second segment begins at zero", WRITER, "self._begin(first + start)", "self._begin(first)", (LOGGED,)),
    Mutant(
        "partition of a negative hash",
        "schemas/events/partitioner.py",
        "_LOW_31_BITS = ",
        "_LOW_31_BITS = 1 + ",
        ("tests/schemas/events/test_partitioner.py",),
    ),
)
