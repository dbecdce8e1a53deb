"""The feature flags that the control log defines, read and ready to be evaluated."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas.errors import UsageError
from schemas.records.records import FlagSet
from state.decide.flag_text import parse_flag
from state.decide.flags import Code, Context, Evaluated, Failed, Flag, evaluate


@dataclass(frozen=True, slots=True)
class Known:
    """A flag that is defined.

    Attributes:
        flag: As it was read; or why this release cannot read it.
        index: Of its entry in the control log.
    """

    flag: Flag | Failed
    index: int

    def say(self, context: Context) -> Evaluated | Failed:
        """What the flag says for a context."""
        return evaluate(self.flag, context) if isinstance(self.flag, Flag) else self.flag


Flags = Mapping[str, Known]


def known_flags(defined: Iterable[tuple[int, FlagSet]]) -> dict[str, Known]:
    """Key -> flag, of records that define flags, with their indexes in the control log."""
    return {record.flag: Known(_read(record), index) for index, record in defined}


def fold_flag(flags: Flags, index: int, record: FlagSet) -> Flags:
    """The flags after one more record, by key; those given stay as they are."""
    others = {key: known for key, known in flags.items() if key != record.flag}
    return dict(sorted({**others, **known_flags([(index, record)])}.items())) if record.definition else others


def say(flags: Flags, key: str, context: Context) -> Evaluated | Failed:
    """What a flag says for a context; that it is not known, if it is not.

    >>> say({}, "new-page", {}).code.value
    'FLAG_NOT_FOUND'
    """
    if key not in flags:
        return Failed(Code.FLAG_NOT_FOUND, f"flag: expected one of {', '.join(flags) or 'none'}, got {key[:80]!r}")
    return flags[key].say(context)


def document(flags: Flags, key: str, found: Evaluated | Failed, log: str) -> dict[str, object]:
    """What a flag says, as JSON in the form of OpenFeature's remote evaluation protocol."""
    if isinstance(found, Failed):
        return {"key": key, "errorCode": str(found.code), "errorDetails": found.details}
    metadata = {"log": log, "index": flags[key].index}
    return {"key": key, "value": found.value, "variant": found.variant, "reason": str(found.reason), "metadata": metadata}


def _read(record: FlagSet) -> Flag | Failed:
    try:
        return parse_flag(record.flag, record.definition)
    except UsageError as wrong:  # a newer Ridecast recorded it
        return Failed(Code.PARSE_ERROR, str(wrong))
