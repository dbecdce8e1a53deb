"""Defines and removes feature flags: appends to the control log what was decided from the log that it is appended to."""

from collections.abc import Callable

from ledger.store.log import Ledger
from ledger.views.append import append_decided
from ledger.views.parameters import flags_at, newest_us
from ledger.views.regions import bootstrapped_in
from schemas.errors import UsageError
from schemas.records.records import CONTROL_LOG, FlagSet
from state.decide.flag_text import check_key, parse_flag, text_of


def set_flag(ledger: Ledger, key: str, text: str, now_us: Callable[[], int], *, author: str, reason: str) -> FlagSet | None:
    """Record a definition of a flag; None, and nothing is recorded, if it is defined so already.

    Raises:
        UsageError: the definition is broken, or names a region that is not in this home.
    """
    definition = text_of(parse_flag(key, text, bootstrapped_in(ledger)))
    return _record(ledger, key, definition, now_us, author, reason)


def remove_flag(ledger: Ledger, key: str, now_us: Callable[[], int], *, author: str, reason: str) -> FlagSet | None:
    """Record that there is no such flag any more.

    Raises:
        UsageError: there is none.
    """
    return _record(ledger, check_key(key), "", now_us, author, reason)


def _record(ledger: Ledger, key: str, definition: str, now_us: Callable[[], int], author: str, reason: str) -> FlagSet | None:
    ledger.admit_all()
    made: list[FlagSet] = []

    def decide(size: int) -> list[FlagSet]:
        known = flags_at(ledger, size)
        if not definition and key not in known:
            raise UsageError(f"flag {key!r}: expected one of {', '.join(known) or 'none'}; nothing to remove")
        same = key in known and known[key].record.definition == definition
        set_at_us = max(now_us(), newest_us(ledger, size))  # as for parameters
        made[:] = [] if same else [FlagSet(flag=key, definition=definition, set_at_us=set_at_us, author=author, reason=reason)]
        return list(made)

    append_decided(ledger, CONTROL_LOG, decide)
    return made[0] if made else None
