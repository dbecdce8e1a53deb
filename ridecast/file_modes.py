"""Who may read the files that a process makes: only its user, except for exports, which are for others."""

import os

OWNER_ONLY = 0o077  # folders get mode 700, files 600

_given: list[int] = []  # the mask before `owner_only`


def owner_only() -> None:
    """From now on this process and all that it starts make files that only their user can read: rides are personal data."""
    _given.append(os.umask(OWNER_ONLY))


def as_given() -> None:
    """Make files as the user's own mask says, for what is made to be passed on."""
    if _given:
        os.umask(_given.pop())
