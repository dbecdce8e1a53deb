"""A small witness over HTTP (C2SP tlog-witness): stores each log's newest checkpoint, and cosigns only its continuations.

The decisions are in `ledger.formats.witness`; the socket, the clock and the files are here. Its folder holds
`<digest of origin>.txt`, the newest note that it cosigned, and `evidence/`, submissions signed by a known log that
were not proved to continue it.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import assert_never

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from api.connections import Connections, places
from api.serve import bind, limited_server
from ledger.formats.checkpoint import Checkpoint, parse_checkpoint
from ledger.formats.keys import Signer, Verifier
from ledger.formats.note import open_note
from ledger.formats.witness import SIZE_MEDIA_TYPE, Cosigned, Refusal, Refused, Submission, check_submission, consider, parse_submission
from ledger.store.files import locked, make_folder, write_durably
from ledger.store.tables import translated
from ledger.views.follow import Stop
from schemas.errors import DamagedError, StoreUnavailable

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 256
LARGEST_SUBMISSION_BYTES = 64 * 1024  # 63 hashes and a note of 100 signatures are less than half of it


class Witness:
    """The state of a witness; processes and threads may share its folder.

    Args:
        folder: Folder of its state; a witness that loses it must get a new key.
        signer: The witness's own key, as a cosigner.
        verifiers: Keys of the logs that it watches.
        clock: Seconds since 1970, UTC.
    """

    def __init__(self, folder: Path, signer: Signer, verifiers: Sequence[Verifier], clock: Callable[[], float]) -> None:
        self._folder, self._signer, self._verifiers, self._clock = folder, signer, tuple(dict.fromkeys(verifiers)), clock
        with translated(str(folder)):
            make_folder(folder / "evidence")

    def submit(self, body: bytes) -> Cosigned | Refusal:
        """Handle one submission; a cosigned checkpoint is on disk when this returns.

        Raises:
            DamagedError: the stored state cannot be read.
            StoreUnavailable: the disk refuses.
        """
        try:
            submission = parse_submission(body.decode("utf-8"))
        except (DamagedError, UnicodeDecodeError) as damage:
            return Refusal(Refused.MALFORMED, str(damage))
        found = check_submission(submission, self._verifiers)
        if isinstance(found, Refusal):
            return found
        path = self._folder / f"{hashlib.sha256(found.origin.encode()).hexdigest()}.txt"
        # From reading the last checkpoint until the new one is on disk, no other process may cosign for this origin.
        with translated(str(path)), locked(path.with_suffix(".lock")):
            answer = consider(submission, found, self._last(path, found.origin), self._signer, int(self._clock()))
            match answer:
                case Cosigned():
                    write_durably(path, answer.note.encode())
                case Refusal():
                    if answer.suspicious:
                        self._keep(found, submission)
                case _:
                    assert_never(answer)
        return answer

    def _last(self, path: Path, origin: str) -> Checkpoint | None:
        try:
            note = path.read_text("utf-8")
        except FileNotFoundError:
            return None
        # Checks its own signature: an edited file must not make it cosign a fork.
        found = parse_checkpoint(open_note(note, [self._signer.verifier]).text)
        if found.origin != origin:
            raise DamagedError(f"{path.name}: expected the origin {origin}, got {found.origin}")
        return found

    def _keep(self, found: Checkpoint, submission: Submission) -> None:
        # Named by the signed text, so that repeated submissions with other proofs do not fill the disk.
        name = hashlib.sha256(found.body().encode()).hexdigest()[:32]
        log.warning(
            "%s was not proved to continue its last cosigned checkpoint; the submission is kept as evidence/%s.txt", found.origin, name
        )
        write_durably(self._folder / "evidence" / f"{name}.txt", submission.text().encode())


def create_witness(witness: Witness) -> Starlette:
    """The application: only `POST /add-checkpoint`."""

    async def add_checkpoint(request: Request) -> Response:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > LARGEST_SUBMISSION_BYTES:
                return PlainTextResponse(f"expected at most {LARGEST_SUBMISSION_BYTES} bytes\n", 413)
        try:
            answer = await run_in_threadpool(witness.submit, bytes(body))
        except (StoreUnavailable, DamagedError) as failure:
            log.error("%s", failure)
            return PlainTextResponse("the witness cannot store its state, so it does not sign\n", 503)
        if isinstance(answer, Cosigned):
            log.info("cosigned %s at size %d", answer.checkpoint.origin, answer.checkpoint.size)
            return PlainTextResponse(answer.line)
        log.info("refused: %s", answer.why)
        if answer.size is not None:
            return Response(f"{answer.size}\n", int(answer.reason), {"content-type": SIZE_MEDIA_TYPE})
        return PlainTextResponse(f"{answer.why}\n", int(answer.reason))

    return Starlette(routes=[Route("/add-checkpoint", add_checkpoint, methods=["POST"])])


def serve_witness(
    host: str, port: int, folder: Path, signer: Signer, verifiers: Sequence[Verifier], stop: Stop, on_listening: Callable[[str], None]
) -> None:
    """Serve until told to stop, then return.

    Raises:
        RidecastError: the port is in use, or the folder cannot be used.
    """
    listener = bind(host, port)
    try:
        app = create_witness(Witness(folder, signer, verifiers, time.time))
        server = limited_server(app, Connections(places(MOST_CONNECTIONS)), "warning", stop)
        on_listening("http://{}:{}".format(*listener.getsockname()[:2]))
        server.run(sockets=[listener])
    finally:
        listener.close()
