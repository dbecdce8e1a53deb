"""Answers that were just given, to repeat them: within one second the same question about the same data has the same answer."""

from collections.abc import Hashable

from starlette.requests import Request
from starlette.responses import Response

MOST_ANSWERS = 1_024
LARGEST_BYTES = 16 << 20  # of all answers together
HEADERS = frozenset((b"accept", b"accept-encoding", b"if-none-match"))  # on which an answer depends, besides its address

Key = tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]]


class RecentAnswers:
    """Answers for one state of the data at one second; used from the event loop only."""

    def __init__(self) -> None:
        self._token: Hashable = None
        self._answers: dict[Key, Response] = {}
        self._size_bytes = 0

    def find(self, token: Hashable, request: Request) -> Response | None:
        """The answer to the same question.

        Args:
            token: Changes when any answer may: with the data, and each second.
            request: The question.
        """
        if token != self._token:
            self._token, self._answers, self._size_bytes = token, {}, 0
            return None
        return self._answers.get(_key(request))

    def keep(self, request: Request, answer: Response) -> None:
        """Keep an answer until the token changes, if there is room."""
        size_bytes = len(answer.body)
        if len(self._answers) < MOST_ANSWERS and self._size_bytes + size_bytes <= LARGEST_BYTES:
            self._answers[_key(request)] = answer
            self._size_bytes += size_bytes


def _key(request: Request) -> Key:
    scope = request.scope
    return scope["raw_path"], scope["query_string"], tuple([header for header in scope["headers"] if header[0] in HEADERS])
