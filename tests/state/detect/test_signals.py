"""Signals: what makes two the same, and what a signal may not say."""

import dataclasses

import pytest

from schemas.errors import ContractError
from state.detect.signals import RANK, Severity, Signal, fields_of

SILENT = Signal("silence", "outage", "nyc", "partition:3", 9, 7, 0, Severity.CRITICAL, True, 0.0, 4.0, "rides", "None came.")


def test_a_signal_that_ends_has_the_key_of_the_one_that_began() -> None:
    """The key does not depend on time, severity, value or whether the signal still holds."""
    over = dataclasses.replace(SILENT, slot=30, firing=False, value=3.0, severity=Severity.INFO, message="They come again.")
    assert over.key == SILENT.key == "silence/outage/nyc/partition:3"
    assert fields_of(over)["severity"] == "info"


def test_a_signal_does_not_start_after_it_was_seen() -> None:
    """A start later than the slot at which it was seen is refused."""
    with pytest.raises(ContractError, match="starts at slot 10, after slot 9"):
        dataclasses.replace(SILENT, since_slot=10)


def test_severities_have_an_order() -> None:
    """Critical concerns a person more than a warning, and a warning more than information."""
    assert sorted(RANK, key=RANK.__getitem__) == [Severity.INFO, Severity.WARNING, Severity.CRITICAL]
