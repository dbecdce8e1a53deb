"""Which blobs the entries of every released schema name, read without decoding them."""

import pytest

from ledger.check.blob_check import blobs_of_entry, blobs_of_record
from schemas.records.record_codec import decode
from schemas.records.record_skim import skim
from tests.schemas.record_golden import encoded, released_records, sample

SCHEMAS = released_records()


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_look_names_the_blobs_that_decoding_names(name: str) -> None:
    """Verification and retention, which skim, find every blob of an entry, in any released version and whatever its field is called."""
    payload = encoded(SCHEMAS[name], sample(SCHEMAS[name], 3, {}))
    named = [(blob.what, blob.digest) for blob in blobs_of_entry(0, skim(payload))]
    assert list(blobs_of_record(decode(payload))) == named
