"""Bodies of requests: what the documented schema does not allow is refused, and the problem names the field."""

import json

import pytest
from hypothesis import given, strategies as st

from api.json_body import require_checkable, require_valid
from api.problems import Problem
from schemas.errors import ContractError
from tests.api.json_schema import problems

SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 3, "pattern": "^[a-z]*$"},
        "count": {"type": "integer", "minimum": 0, "maximum": 9},
        "kind": {"type": "string", "enum": ["a", "b"]},
        "share": {"type": "number"},
        "flag": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
    },
    "required": ["name"],
    "additionalProperties": False,
}

WRONG = [
    ([], "body", "body: expected an object, got []"),
    ({}, "name", "name: expected a value, got none"),
    ({"name": ""}, "name", "name: expected at least 1 characters, got 0"),
    ({"name": "abcd"}, "name", "name: expected at most 3 characters, got 4"),
    ({"name": "A"}, "name", 'name: expected a text that matches ^[a-z]*$, got "A"'),
    ({"name": None}, "name", "name: expected a string, got null"),
    ({"name": "a", "count": True}, "count", "count: expected an integer, got true"),
    ({"name": "a", "count": 1.5}, "count", "count: expected an integer, got 1.5"),
    ({"name": "a", "count": -1}, "count", "count: expected at least 0, got -1"),
    ({"name": "a", "count": 10}, "count", "count: expected at most 9, got 10"),
    ({"name": "a", "kind": "c"}, "kind", 'kind: expected one of a, b, got "c"'),
    ({"name": "a", "share": "1"}, "share", 'share: expected a number, got "1"'),
    ({"name": "a", "flag": 1}, "flag", "flag: expected a boolean, got 1"),
    ({"name": "a", "tags": ["x", 2]}, "tags[1]", "tags[1]: expected a string, got 2"),
    ({"name": "a", "tags": ["x", "y", "z"]}, "tags", "tags: expected at most 2 items, got 3"),
    ({"name": "a", "other": 1}, "other", "other: no such member; known: name, count, kind, share, flag, tags"),
]


@pytest.mark.parametrize(("value", "field", "detail"), WRONG)
def test_a_wrong_value_is_named(value: object, field: str, detail: str) -> None:
    """Each rule of the schema refuses with the field that is to blame and what was expected."""
    with pytest.raises(Problem) as caught:
        require_valid(SCHEMA, value, "body")
    assert (422, field, detail) == (caught.value.status, caught.value.field, caught.value.detail)


def test_a_right_value_passes() -> None:
    """A value that the schema allows is not refused; an integer is a number."""
    require_valid(SCHEMA, {"name": "abc", "count": 9, "kind": "a", "share": 1, "flag": False, "tags": ["x", "y"]}, "body")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 12) | st.floats(allow_nan=False) | st.sampled_from(["", "a", "b"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "count", "kind", "x"]), inner, max_size=3),
    max_leaves=6,
)
PLAIN: dict[str, object] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "count": {"type": "integer"}, "kind": {"type": "string", "enum": ["a", "b"]}},
    "required": ["name"],
    "additionalProperties": False,
}


@given(value=VALUES)
def test_it_agrees_with_the_checker_of_documents(value: object) -> None:
    """What is let in is exactly what the checker that the tests hold answers against lets through."""
    refused = False
    try:
        require_valid(PLAIN, value, "body")
    except Problem:
        refused = True
    assert refused == bool(problems(PLAIN, value)), json.dumps(value)


@pytest.mark.parametrize(
    "schema",
    [{}, {"type": "string", "format": "date"}, {"anyOf": []}, {"type": "object", "properties": {"a": {"type": "array", "items": {}}}}],
)
def test_a_schema_that_says_more_is_refused(schema: dict[str, object]) -> None:
    """Nothing is documented for a body that is not checked."""
    with pytest.raises(ContractError, match="expected a schema with supported keywords"):
        require_checkable(schema, "test")
