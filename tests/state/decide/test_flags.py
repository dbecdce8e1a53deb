"""Feature flags: what a definition may say, which rule decides, and how keys are shared out."""

import hashlib
import json

import pytest
from hypothesis import given, strategies as st

from schemas.errors import UsageError
from schemas.records.records import FlagSet
from state.decide.flag_text import parse_flag, text_of
from state.decide.flags import Code, Evaluated, Failed, Reason, evaluate, place_milli
from state.decide.known_flags import known_flags, say

BASE = {"variants": {"on": True, "off": False}, "default": "off"}
RULES = [
    {"regions": ["nyc"], "cells": ["dr5ru"], "variant": "on"},
    {"regions": ["nyc"], "split": [{"variant": "on", "share_milli": 250}, {"variant": "off", "share_milli": 750}]},
    {"regions": ["tehran"], "variant": "on"},
]

# Flag, targeting key, place among 1,000, computed with `printf 'FLAG\0KEY' | sha256sum`: the first 16 digits x 1000 >> 64.
VECTORS = [("new-page", "rider-1", 583), ("new-page", "rider-2", 883), ("other", "rider-1", 940), ("new-page", "é🚕", 22)]


def flag(**changes: object) -> str:
    """A definition."""
    return json.dumps(BASE | changes)


@pytest.mark.parametrize(("key", "target", "place"), VECTORS)
def test_places_are_those_of_the_documented_hash(key: str, target: str, place: int) -> None:
    """The place is the first 16 hexadecimal digits of the digest as a share of 2^64, in thousandths, rounded down."""
    digits = hashlib.sha256(f"{key}\0{target}".encode()).hexdigest()[:16]
    assert place == int(digits, 16) * 1000 // 2**64 == place_milli(key, target)


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({}, ("off", Reason.DEFAULT)),
        ({"region": "paris"}, ("off", Reason.DEFAULT)),
        ({"region": "tehran"}, ("on", Reason.TARGETING_MATCH)),
        ({"region": "nyc", "cell": "dr5ru7"}, ("on", Reason.TARGETING_MATCH)),
        ({"region": "nyc", "cell": "DR5RU7"}, ("on", Reason.TARGETING_MATCH)),
        ({"region": "nyc", "cell": "dr5rsj", "targetingKey": "rider-1"}, ("off", Reason.SPLIT)),
        ({"region": "nyc", "targetingKey": "rider-1", "more": [1]}, ("off", Reason.SPLIT)),
    ],
)
def test_the_first_rule_that_matches_decides(context: dict[str, object], expected: tuple[str, Reason]) -> None:
    """Regions and beginnings of cells are conditions; what no rule matches has the default."""
    found = evaluate(parse_flag("new-page", flag(rules=RULES)), context)
    assert isinstance(found, Evaluated)
    assert expected == (found.variant, found.reason)
    assert BASE["variants"][found.variant] is found.value  # type: ignore[index]


def test_flags_without_rules_and_disabled_flags() -> None:
    """Without rules a flag is static; disabled, it has its default whatever its rules say."""
    static = evaluate(parse_flag("f", flag(default="on")), {"region": "nyc"})
    assert Evaluated(True, "on", Reason.STATIC) == static
    assert Evaluated(False, "off", Reason.DISABLED) == evaluate(parse_flag("f", flag(state="disabled", rules=RULES)), {"region": "tehran"})


@pytest.mark.parametrize(
    ("context", "code"),
    [
        ({"region": "nyc"}, Code.TARGETING_KEY_MISSING),
        ({"region": 3}, Code.INVALID_CONTEXT),
        ({"cell": None}, Code.INVALID_CONTEXT),
        ({"targetingKey": 1.0}, Code.INVALID_CONTEXT),
    ],
)
def test_contexts_that_cannot_be_used(context: dict[str, object], code: Code) -> None:
    """A share needs a targeting key; what rules look at must be text."""
    found = evaluate(parse_flag("f", flag(rules=RULES)), context)
    assert isinstance(found, Failed)
    assert code is found.code


def test_a_record_that_cannot_be_read_is_a_parse_error() -> None:
    """What a newer release may have recorded spoils no other flag."""
    records = [FlagSet(flag=key, definition=text, set_at_us=1, author="", reason="") for key, text in (("a", flag()), ("b", '{"new": 1}'))]
    flags = known_flags(enumerate(records))
    assert isinstance(say(flags, "a", {}), Evaluated)
    assert [Code.PARSE_ERROR, Code.FLAG_NOT_FOUND] == [found.code for key in "bc" if isinstance(found := say(flags, key, {}), Failed)]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=30), st.integers(0, 1000), st.integers(0, 1000))
def test_a_growing_share_keeps_whom_it_has(keys: list[str], one: int, two: int) -> None:
    """Who gets the first variant of a split at a share gets it at every larger one, and nobody does at none."""

    def whom(share: int) -> set[str]:
        split = [{"variant": "on", "share_milli": share}, {"variant": "off", "share_milli": 1000 - share}]
        made = parse_flag("f", flag(rules=[{"split": split}]))
        return {key for key in keys if evaluate(made, {"targetingKey": key}) == Evaluated(True, "on", Reason.SPLIT)}

    assert whom(min(one, two)) <= whom(max(one, two))
    assert (set(), set(keys)) == (whom(0), whom(1000))


@pytest.mark.parametrize(("key", "target", "place"), VECTORS)
def test_a_share_ends_below_its_place(key: str, target: str, place: int) -> None:
    """A key gets the first variant from a share on that is larger than its place."""
    for share, variant in ((place, "off"), (place + 1, "on")):
        split = [{"variant": "on", "share_milli": share}, {"variant": "off", "share_milli": 1000 - share}]
        found = evaluate(parse_flag(key, flag(rules=[{"split": split}])), {"targetingKey": target})
        assert isinstance(found, Evaluated)
        assert variant == found.variant


def test_shares_are_met_and_independent_between_flags() -> None:
    """Of 20,000 keys a share of 250 gets 24 to 26 in a hundred, and two flags agree as often as chance has it."""
    keys = [f"rider-{number}" for number in range(20_000)]
    one, two = ([place_milli(name, key) < 250 for key in keys] for name in ("one", "two"))
    assert 4_800 <= sum(one) <= 5_200
    assert 1_150 <= sum(a and b for a, b in zip(one, two, strict=True)) <= 1_350


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "expected JSON"),
        ("[]", "expected an object, got []"),
        ("[" * 100_000, "expected JSON"),
        ('{"variants": {"a": NaN}, "default": "a"}', "NaN is not a number of JSON"),
        ('{"variants": {"a": 1e999}, "default": "a"}', "variant a: expected true, false, a finite number"),
        ('{"variants": {"a": 1}, "variants": {"a": 2}, "default": "a"}', "names a member twice"),
        ('{"variants": {"a": null}, "default": "a"}', "variant a: expected"),
        ('{"variants": {"a": 1, "b": "x"}, "default": "a"}', "values of one type, got integer, string"),
        ('{"variants": {}, "default": "a"}', "1 to 64 variants"),
        ('{"variants": {"a b": 1}, "default": "a b"}', "names of at most 64 letters"),
        ('{"default": "a"}', "variants: expected a value, got none"),
        (flag(default="other"), 'default: expected one of on, off, got "other"'),
        (flag(state="ENABLED"), "state: expected one of enabled, disabled"),
        (flag(more=1), "expected the members"),
        (flag(rules={}), "rules: expected a list"),
        (flag(rules=[{}]), "rule 1: expected either a variant or a split, got neither"),
        (flag(rules=[{"variant": "on", "split": []}]), "got both"),
        (flag(rules=[{"variant": "on"}, {"variant": "x"}]), "rule 2: variant: expected one of on, off"),
        (flag(rules=[{"variant": "on", "regions": []}]), "regions: expected a list of 1 to 64"),
        (flag(rules=[{"variant": "on", "regions": ["atlantis"]}]), "regions: expected some of nyc, tehran, got 'atlantis'"),
        (flag(rules=[{"variant": "on", "cells": ["dr5a"]}]), "rule 1: cells: cell: expected geohash letters"),
        (flag(variants={"on": "\ud800"}, default="on"), "expected text that UTF-8 can hold"),
        (flag(variants={"on": {"a": "\ud800"}}, default="on"), "expected text that UTF-8 can hold"),
        (flag(rules=[{"split": [{"variant": "on", "share_milli": 900}]}]), "split: expected shares that add up to 1000, got 900"),
        (flag(rules=[{"split": [{"variant": "on", "share_milli": 1000.0}]}]), "share_milli: expected a whole number from 0 to 1000"),
        (flag(rules=[{"split": [{"variant": "on", "share_milli": True}]}]), "share_milli: expected a whole number"),
        (flag(rules=[{"split": [{"variant": "on", "share_milli": -1}]}]), "share_milli: expected a whole number"),
    ],
)
def test_a_broken_definition_is_refused(text: str, words: str) -> None:
    """One line names the member that is wrong."""
    with pytest.raises(UsageError) as refused:
        parse_flag("new-page", text, ("nyc", "tehran"))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_keys_and_sizes_have_bounds() -> None:
    """A key of another form, and a definition that is too long for an entry."""
    for key in ("", "a b", "x" * 65, "-a", "a/b", "é"):
        with pytest.raises(UsageError, match="expected a key"):
            parse_flag(key, flag())
    with pytest.raises(UsageError, match="at most 16384 bytes"):
        text_of(parse_flag("f", json.dumps({"variants": {"a": "x" * 20_000}, "default": "a"})))


@given(
    st.dictionaries(st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True), st.floats(-1e9, 1e9) | st.integers(-9, 9), min_size=1, max_size=4)
)
def test_the_canonical_text_reads_to_the_same_flag(variants: dict[str, float]) -> None:
    """What is recorded gives the same flag, and the same text."""
    first = next(iter(variants))
    made = parse_flag("f", json.dumps({"variants": variants, "default": first, "rules": [{"variant": first}]}))
    assert parse_flag("f", text_of(made)) == made
    assert text_of(parse_flag("f", text_of(made))) == text_of(made)
