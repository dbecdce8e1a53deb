"""Secret values that this process knows, and their removal from text.

Whoever reads a secret (a setting, a file, a client property) passes it to `hide`. Errors, the output of children and
standard error pass through `clean`, because a library may repeat in a message what it was given. Values that are printed
on purpose are masked where they are taken apart, in `schemas.configuration.addresses` and `schemas.configuration.kafka_client`.
"""

import re
from collections.abc import Collection, Iterator

MASK = "***"
SHORTEST = 4  # characters; a shorter secret is in too many words to be replaced wherever it occurs
LONG_LINE = 16  # characters; shorter lines of a secret of several lines, such as the last of a key, say nothing
PUBLIC = ("ridecast",)  # never replaced: a password that equals a public word would make every message unreadable

_HEX = re.compile(r"%[0-9A-F]{2}")  # some libraries write small letters
_known: frozenset[str] = frozenset()
_pattern: re.Pattern[str] | None = None


def hide(*secrets: str, public: Collection[str] = ()) -> None:
    """Replace these values in all text that is cleaned from now on.

    Args:
        secrets: Values, as given or decoded; those shorter than four characters are ignored.
        public: Words that are shown anyway, such as user names and hosts; a secret that equals one is ignored.

    >>> hide("hunter2/x")
    >>> clean("no access with hunter2/x or hunter2%2Fx")
    'no access with *** or ***'
    """
    global _known, _pattern
    found = {form for secret in secrets if secret not in public for form in forms(secret) if form not in PUBLIC}
    if found <= _known:
        return
    _known |= found
    # The longest first: one secret may be the beginning of another.
    _pattern = re.compile("|".join(re.escape(form) for form in sorted(_known, key=lambda form: (-len(form), form))))


def clean(text: str) -> str:
    """The text without any known secret."""
    return _pattern.sub(MASK, text) if _pattern is not None else text


def forms(secret: str) -> Iterator[str]:
    """How a secret may appear in text: as it is, percent-encoded, escaped by Python or JSON, encoded as base64.

    >>> sorted(forms("a b/c"))
    ['YSBiL2M=', 'a b/c', 'a%20b%2Fc', 'a%20b%2fc', 'a%20b/c', 'a+b%2Fc', 'a+b%2fc']
    """
    # Every start of the command line imports this module, and most of them know no secret.
    import json
    from base64 import b64encode
    from urllib.parse import quote, quote_plus

    lines = [line for line in secret.splitlines() if len(line) >= LONG_LINE and not line.startswith("-----")] if "\n" in secret else []
    for value in (secret, *lines):
        found = {
            value,
            quote(value, safe=""),
            quote(value),
            quote_plus(value),
            repr(value)[1:-1],
            repr(value.encode())[2:-1],
            json.dumps(value)[1:-1],
            json.dumps(value, ensure_ascii=False)[1:-1],
            b64encode(value.encode()).decode(),
        }
        found |= {_HEX.sub(lambda code: code[0].lower(), form) for form in found}
        yield from (form for form in found if len(form) >= SHORTEST)
