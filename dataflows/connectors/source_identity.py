"""Which log of rides a source reads: named fields, and the text under which a run records them."""

import json
import re
from dataclasses import asdict, dataclass, fields

from schemas.errors import DamagedError


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceIdentity:
    """What tells one log of rides from another under the same name; a field that a source does not know is empty.

    Attributes:
        files: Name of the directory of event files.
        origin: Digest of what a directory says that it was made from.
        cluster: Id of the Kafka cluster.
        topic: Name of the topic.
        topic_id: Id of the topic: one that is made anew under the same name has another.
    """

    files: str = ""
    origin: str = ""
    cluster: str = ""
    topic: str = ""
    topic_id: str = ""

    def known(self) -> dict[str, str]:
        """The fields that are not empty, by name."""
        return {name: value for name, value in sorted(asdict(self).items()) if value}

    def line(self) -> str:
        """The identity in one line for a person; it is not parsed.

        >>> SourceIdentity(topic="rides.raw", cluster="c1").line()
        'cluster=c1 topic=rides.raw'
        """
        return " ".join(f"{name}={value}" for name, value in self.known().items())

    def to_json(self) -> str:
        """Canonical JSON, as `RunStarted.source` holds it: sorted names, known fields only.

        >>> SourceIdentity(topic="rides.raw", cluster="c1").to_json()
        '{"cluster":"c1","topic":"rides.raw"}'
        """
        return json.dumps(self.known(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> "SourceIdentity":
        """The identity that a run recorded: JSON, or the line that earlier releases wrote. Unknown names are left out.

        Raises:
            DamagedError: it looks like JSON, and is no object of texts.

        >>> SourceIdentity.from_text("cluster=c1 topic=rides.raw") == SourceIdentity.from_text('{"topic":"rides.raw","cluster":"c1"}')
        True
        """
        if text.startswith("{"):
            try:
                found = json.loads(text)
            except ValueError as cause:
                raise DamagedError(f"identity of a source: expected JSON, got {text!r}") from cause
            if not all(isinstance(value, str) for value in found.values()):
                raise DamagedError(f"identity of a source: expected texts only, got {text!r}")
        else:
            found = dict(re.findall(r"(\w+)=(.*?)(?= \w+=|$)", text))
        return cls(**{field.name: found[field.name] for field in fields(cls) if field.name in found})

    def may_be(self, other: "SourceIdentity") -> bool:
        """Whether both may name the same log: they have a field in common, and nothing that both of them know differs.

        A directory may be moved: where both know what it was made from, its name does not matter.

        >>> SourceIdentity(files="rides", origin="ab").may_be(SourceIdentity(files="moved", origin="ab"))
        True
        >>> SourceIdentity(files="rides").may_be(SourceIdentity(files="other", origin="ab"))
        False
        """
        if self.origin and other.origin:
            return self.origin == other.origin
        mine, theirs = self.known(), other.known()
        common = mine.keys() & theirs.keys()
        return bool(common) and all(mine[name] == theirs[name] for name in common)
