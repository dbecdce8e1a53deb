"""The table of kinds is complete and agrees with the classes, the schema files and the index."""

import dataclasses
import typing

import pytest

from schemas.errors import ContractError
from schemas.records.kinds import KINDS, ROWS, BlobContent, ClosePart, kind_of_record, names_in
from schemas.records.record_codec import place_in, schema_of
from schemas.records.records import BLOB_RECORDS, RECORDS, SlotClosed


def test_every_record_has_one_row() -> None:
    """Each class of the union of records has exactly one row, and no row has a class outside it."""
    assert len(RECORDS) == len(ROWS) == len(KINDS)
    assert set(RECORDS) == {row.record for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_names_fields_that_its_record_has(row: typing.Any) -> None:
    """What a row says is indexed, shown or a blob is a field of the class, and a digest field is bytes or a tuple of bytes."""
    types = typing.get_type_hints(row.record)
    assert {*row.indexed, *row.shown, *(field for field, _ in row.blobs)} <= {field.name for field in dataclasses.fields(row.record)}
    assert row.shown
    assert {types[field] for field, _ in row.blobs} <= {bytes, tuple[bytes, ...]}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_index_is_what_the_row_says(row: typing.Any) -> None:
    """An entry is found by slot and subject exactly where its class has such fields, which the row states."""
    names = {field.name for field in dataclasses.fields(row.record)}
    assert set(row.indexed) == names & {"slot", "measure"}
    assert schema_of(row.record)["namespace"] == f"ridecast.v{row.version}"


def test_only_consequences_hold_floating_point() -> None:
    """Counts are equal in every environment: what may differ in the last bit stands after the slot in a close."""
    assert {row.close for row in ROWS if row.floating} == {ClosePart.AFTER}
    assert ("SlotClosed",) == names_in(ClosePart.SLOT)
    assert {"counts", "chunks", "model", "snapshot"} == {what.value for row in ROWS for _, what in row.blobs} == set(BlobContent)


def test_a_class_without_a_row_is_refused() -> None:
    """Asking for a class that no log holds says where its row is missing."""
    blob: typing.Any = BLOB_RECORDS[0]
    with pytest.raises(ContractError, match=r"CountTable: expected a row in schemas/records/kinds\.py, found none"):
        kind_of_record(blob)
    assert place_in(b"no record")[0] not in KINDS
    assert kind_of_record(SlotClosed).record is SlotClosed
