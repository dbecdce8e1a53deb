"""A log as C2SP tlog-tiles, for third-party clients: checkpoint, tiles, bundles; and consistency between two sizes.

Only entries covered by a signed checkpoint are served, so that responses cached for ever never change.
"""

import hashlib
import time

from starlette.requests import Request
from starlette.responses import Response

from api.answers import CachePolicy, answer, answer_bytes, unchanged
from api.context import ApiContext
from api.ledger_entries import LOG, REDACTED, log_of
from api.problems import Problem, bad_value
from api.resource import DIGEST, INTEGER, TEXT, JsonSchema, Operation, Parameter, array_of, bounded, record_of, whole_number
from ledger.formats.checkpoint import LARGEST_SIZE, parse_checkpoint
from ledger.formats.merkle import consistency_path, verify_consistency
from ledger.formats.note import parse_note
from ledger.formats.tiles import TILE_WIDTH, parse_path, require_tile
from ledger.store.stored_tiles import stored_nodes, stored_tile
from ledger.views.notes import covering_note
from schemas.errors import NotFound
from schemas.records.kinds import KINDS

REDACTED_LOGS = frozenset(str(KINDS[name].log) for name in REDACTED)  # whose entries are shown without some fields
NOTE = "text/plain"
OCTETS = "application/octet-stream"


def require_note(context: ApiContext, log: str, index: int = -1) -> str:
    """The newest signed checkpoint of a log that covers an entry; waits a moment for an entry that was just appended.

    Raises:
        Problem: 503, no checkpoint covers it after `ledger.views.notes.PATIENCE_S`.
    """
    note = covering_note(context.ledger, log, index, time.sleep, for_first=False)
    if note is None:
        has_none = context.ledger.guard.note(log) is None
        what = "it has no checkpoint yet" if has_none else f"no checkpoint covers entry {index} yet"
        raise Problem(503, "checkpoint-pending", f"log {log}: {what}; try again", field="log", headers={"retry-after": "1"})
    return note


def get_checkpoint(context: ApiContext, request: Request) -> Response:
    """GET /v1/ledger/{log}/checkpoint"""
    note = require_note(context, log_of(context, request))
    return answer_bytes(request, note.encode(), NOTE, CachePolicy.REVALIDATE, hashlib.sha256(note.encode()).hexdigest()[:32])


def get_tile(context: ApiContext, request: Request) -> Response:
    """GET /v1/ledger/{log}/tile/{level}/{path}, and the bundles of entries at level `entries`"""
    log = log_of(context, request)
    path = f"tile/{request.path_params.get('level', 'entries')}/{request.path_params['path']}"
    size = _covered(context, log)
    try:
        tile = parse_path(path)
        require_tile(tile, size)
    except NotFound as cause:
        raise Problem(404, "no-such-tile", str(cause), field="path", size=size) from None
    if tile.level is None and log in REDACTED_LOGS:
        detail = f"path: bundles of {log} hold names of hosts, versions or outputs; its hashes, proofs and checkpoints are served"
        raise Problem(403, "redacted", detail, field="path")
    # The tree up to the last entry below a tile determines its content.
    entries = (tile.index * TILE_WIDTH + tile.width) * TILE_WIDTH ** (tile.level or 0)
    version = context.ledger.root_at(log, entries).hex()[:32]
    if (same := unchanged(request, CachePolicy.IMMUTABLE, version)) is not None:
        return same
    return answer_bytes(request, stored_tile(context.ledger, log, tile), OCTETS, CachePolicy.IMMUTABLE, version)


def get_consistency(context: ApiContext, request: Request) -> Response:
    """GET /v1/ledger/{log}/consistency"""
    log = log_of(context, request)
    known = _covered(context, log)
    if "from" not in request.query_params:
        raise bad_value("from", "expected the size of the older checkpoint")
    size = whole_number(request, "to", known, 1, LARGEST_SIZE)
    old_size = whole_number(request, "from", 1, 1, LARGEST_SIZE)
    if size > known:
        raise Problem(404, "no-such-size", f"to: log {log} has a checkpoint of {known} entries, got {size}", field="to", size=known)
    if old_size > size:
        raise bad_value("from", f"expected at most {size}, got {old_size}")
    cache = CachePolicy.IMMUTABLE if "to" in request.query_params else CachePolicy.REVALIDATE
    root = context.ledger.root_at(log, size)
    version = f"{old_size}-{size}-{root.hex()[:32]}"
    if (same := unchanged(request, cache, version)) is not None:
        return same
    old_root = context.ledger.root_at(log, old_size)
    path = consistency_path(old_size, size, stored_nodes(context.ledger, log, size))
    verify_consistency(old_size, size, old_root, root, path)
    body = {
        "log": log,
        "from": {"size": old_size, "root": old_root.hex()},
        "to": {"size": size, "root": root.hex()},
        "path": [value.hex() for value in path],
    }
    return answer(request, body, cache, version)


def _covered(context: ApiContext, log: str) -> int:
    """Number of entries that a log's checkpoint covers."""
    return parse_checkpoint(parse_note(require_note(context, log))[0]).size


BYTES: JsonSchema = {"type": "string", "contentMediaType": OCTETS}
TILE_PATH: JsonSchema = {"type": "string", "pattern": r"^(x[0-9]{3}/){0,5}[0-9]{3}(\.p/[0-9]{1,3})?$"}
PATH = Parameter("path", "Index of the tile in groups of three digits, with .p/width if it is partial.", TILE_PATH, "path", "000.p/5")
HEAD = record_of(size=INTEGER, root=DIGEST)

OPERATIONS = (
    Operation(
        "/v1/ledger/{log:path}/checkpoint",
        "checkpoint",
        "The newest checkpoint of a log: a C2SP signed note",
        get_checkpoint,
        TEXT,
        (LOG,),
        (404, 406, 503),
        NOTE,
    ),
    Operation(
        "/v1/ledger/{log:path}/tile/entries/{path:path}",
        "bundle",
        "Up to 256 entries of a log (C2SP tlog-tiles)",
        get_tile,
        BYTES,
        (LOG, PATH),
        (403, 404, 406, 503),
        OCTETS,
    ),
    Operation(
        "/v1/ledger/{log:path}/tile/{level}/{path:path}",
        "tile",
        "Up to 256 hashes of a level of a log's tree (C2SP tlog-tiles)",
        get_tile,
        BYTES,
        (LOG, Parameter("level", "0 for hashes of entries; each higher level covers 256 times as many.", bounded(0, 5), "path", "0"), PATH),
        (403, 404, 406, 503),
        OCTETS,
    ),
    Operation(
        "/v1/ledger/{log:path}/consistency",
        "consistency",
        "Proof that a log of one size continues an older size of it (RFC 6962)",
        get_consistency,
        record_of(log=TEXT, to=HEAD, path=array_of(DIGEST), **{"from": HEAD}),
        (
            LOG,
            Parameter("from", "Size of the older checkpoint.", bounded(1, LARGEST_SIZE), example="1", required=True),
            Parameter("to", "Size of the newer one; default: the newest checkpoint's.", bounded(1, LARGEST_SIZE)),
        ),
        (404, 406, 422, 503),
    ),
)
