"""Small ways to write or read bytes wrongly: varints, chunks, messages, cells."""

from tests.mutant_lists.mutant import Mutant

VARINTS, CHUNKS, MESSAGES = "schemas/encoding/varints.py", "schemas/forecasts/chunks.py", "schemas/forecasts/messages.py"
CELLS, PARTITIONS = "schemas/events/cells.py", "schemas/events/partitioner.py"
LONGS = "tests/schemas/encoding/test_varints.py"
READ = "tests/schemas/forecasts/test_chunks.py"
SENT = "tests/schemas/forecasts/test_messages.py"
BOTH = "tests/dataflows/stream/test_publish.py::test_two_measures_of_a_cell_do_not_replace_each_other"
PLACES = "tests/schemas/events/test_cells.py"

MUTANTS = (
    Mutant("padded varint accepted", VARINTS, "overlong = (last == 0) | (left", "overlong = (left", (LONGS,)),
    Mutant("varint of eleven bytes accepted", VARINTS, "(left > MAX_BYTES) | ", "", (LONGS,)),
    Mutant("varint of 65 bits accepted", VARINTS, " | ((left == MAX_BYTES) & (last > 1))", "", (LONGS,)),
    Mutant("last varint may break off", VARINTS, "if not len(stops) or stops[-1] != len(data) - 1:", "if not len(stops):", (LONGS,)),
    Mutant(
        "varint of 128 in one byte",
        VARINTS,
        "long = np.flatnonzero(rest >= np.uint64(128))",
        "long = np.flatnonzero(rest > np.uint64(128))",
        (LONGS,),
    ),
    Mutant("chunks of 32 cells", CHUNKS, "CHUNK_CELLS = 16", "CHUNK_CELLS = 32", (READ,)),
    Mutant(
        "a cell twice in an issue", CHUNKS, "(self.cells[1:] > self.cells[:-1]).all()", "(self.cells[1:] >= self.cells[:-1]).all()", (READ,)
    ),
    Mutant(
        "first cell of a chunk found in the one before", CHUNKS, 'np.uint64(cell), side="right")) - 1', "np.uint64(cell))) - 1", (READ,)
    ),
    Mutant("bytes after a chunk accepted", CHUNKS, " or source.tell() != len(chunk)", "", (READ,)),
    Mutant(
        "cell of another chunk in its place",
        CHUNKS,
        "if index < 0 or cell not in _cells_of(self.chunks[index]).tolist():",
        "if index < 0:",
        (READ,),
    ),
    Mutant("negative fallback accepted", CHUNKS, "(arrays[-1] < 0).any() or ", "", (READ,)),
    Mutant("rides in 1/1024", MESSAGES, '[:, place] / 1000, "<f8"', '[:, place] / 1024, "<f8"', (SENT,)),
    Mutant("a model named where none served", MESSAGES, 'digest if fallback in BY_MODEL else ""', "digest", (SENT,)),
    Mutant("two measures under one key", MESSAGES, 'measure = issued.measure if further else ""', 'measure = ""', (BOTH,)),
    Mutant(
        "upper and lower exchanged in messages",
        MESSAGES,
        '"median", "lower", "upper", "baseline")',
        '"median", "upper", "lower", "baseline")',
        (SENT,),
    ),
    Mutant("parent two letters up", CELLS, "np.uint64(5 * levels)", "np.uint64(10 * levels)", (PLACES,)),
    Mutant("longitude ends at the antimeridian", CELLS, "(i + di) % (1 << lon_bits)", "np.clip(i + di, 0, (1 << lon_bits) - 1)", (PLACES,)),
    Mutant("polygons with an even number of crossings", CELLS, "odd ^= crosses", "odd |= crosses", (PLACES,)),
)
