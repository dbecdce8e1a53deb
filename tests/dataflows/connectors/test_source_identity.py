"""The identity of a source as text: what runs record now, and what earlier releases recorded."""

from dataclasses import fields

import pytest
from hypothesis import given, strategies as st

from dataflows.connectors.source_identity import SourceIdentity
from schemas.errors import DamagedError

IDENTITIES = st.builds(SourceIdentity, **{field.name: st.text(max_size=20) for field in fields(SourceIdentity)})

OLD = {  # As RunStarted.source was written before it was JSON.
    "": SourceIdentity(),
    "files=rides": SourceIdentity(files="rides"),
    "files=my rides of may origin=0123456789abcdef": SourceIdentity(files="my rides of may", origin="0123456789abcdef"),
    "cluster=MkU3OEVBNTcwNTJENDM2Qk topic=rides.raw topic_id=lxYcQ1mbQhm3FqGtYQvYtw": SourceIdentity(
        cluster="MkU3OEVBNTcwNTJENDM2Qk", topic="rides.raw", topic_id="lxYcQ1mbQhm3FqGtYQvYtw"
    ),
}


@given(identity=IDENTITIES)
def test_json_gives_the_identity_back(identity: SourceIdentity) -> None:
    """Whatever the names hold, spaces and equal signs included, the recorded text gives the same fields."""
    assert identity == SourceIdentity.from_text(identity.to_json())


@pytest.mark.parametrize("text", OLD)
def test_an_old_line_still_reads(text: str) -> None:
    """What earlier releases recorded gives its fields, and the same line for a person."""
    assert OLD[text] == SourceIdentity.from_text(text)
    assert text == OLD[text].line()


def test_the_text_is_canonical() -> None:
    """Names are sorted, empty fields are left out, and nothing is escaped that need not be."""
    assert '{"files":"تهران","origin":"ab"}' == SourceIdentity(origin="ab", files="تهران").to_json()


def test_a_later_field_does_not_stop_an_older_reader() -> None:
    """A name that this version does not know is left out."""
    assert SourceIdentity(topic="rides.raw") == SourceIdentity.from_text('{"region_of_broker":"eu","topic":"rides.raw"}')


@pytest.mark.parametrize("text", ['{"topic":', '{"topic":7}'])
def test_broken_json_is_damage(text: str) -> None:
    """Text that begins as JSON and is none is told as it came."""
    with pytest.raises(DamagedError, match="source identity: expected"):
        SourceIdentity.from_text(text)


def test_fields_decide_whether_it_may_be_the_same_log() -> None:
    """Another topic id, another directory, or nothing in common: not the same; a moved directory is."""
    first, again = SourceIdentity(cluster="c", topic="t", topic_id="1"), SourceIdentity(cluster="c", topic="t", topic_id="2")
    assert first.may_be(first)
    assert not first.may_be(again)
    assert not first.may_be(SourceIdentity(files="t"))
    assert not SourceIdentity().may_be(SourceIdentity())
    assert SourceIdentity(files="a", origin="x").may_be(SourceIdentity(files="b", origin="x"))
    assert not SourceIdentity(files="a", origin="x").may_be(SourceIdentity(files="a", origin="y"))
