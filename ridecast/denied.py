"""Why the system denied access to a path: which part of it, to whom that belongs, and who asked."""

import os
import pwd
import stat
from pathlib import Path


def denied(path: str | bytes | None) -> str:
    """The part of a path that this user may not use, with its owner and mode, and the remedy; empty if that cannot be found out.

    Args:
        path: The path of the failed call.

    >>> denied(None)
    ''
    """
    if path is None:
        return ""
    place = Path(os.fsdecode(path)).absolute()
    for part in (*reversed(place.parents), place):
        try:
            found = part.stat()
        except OSError:
            return ""
        wanted = os.R_OK | os.X_OK if stat.S_ISDIR(found.st_mode) else os.R_OK
        if not os.access(part, wanted, effective_ids=os.access in os.supports_effective_ids):
            break
    owner, asked = user_name(found.st_uid), user_name(os.geteuid())
    mode = f"mode {stat.S_IMODE(found.st_mode):04o}"
    if owner == asked:
        return f"{part} does not allow it ({mode})"
    return f"user {asked} may not use {part}, which belongs to {owner} ({mode}): run as {owner}, or change the owner"


def user_name(number: int) -> str:
    """The name of a user, or its number if it has none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
