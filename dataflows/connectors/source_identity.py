"""Identity of the ride log that a source reads: named fields, and the text in which a run records them."""

import json
import re
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum

from schemas.errors import DamagedError


class Relation(StrEnum):
    """What the identity of a ride log says about the log that was read before."""

    SAME = "same"  # nothing speaks against it
    RECREATED = "recreated"  # another log under the same name: deleted and created again
    UNSURE = "unsure"  # a directory of another name, and not both declare an origin: perhaps moved
    OTHER = "other"  # another cluster, topic or directory: perhaps a wrong address


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceIdentity:
    """Distinguishes ride logs, also those with the same name; a field that a source does not know is empty.

    Attributes:
        files: Name of the directory of event files.
        origin: Digest of the origin that a directory declares.
        cluster: Id of the Kafka cluster.
        topic: Name of the topic.
        topic_id: Id of the topic: it changes when the topic is recreated under the same name.
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
        """The identity in one line, for display; it is not parsed.

        >>> SourceIdentity(topic="rides.raw", cluster="c1").line()
        'cluster=c1 topic=rides.raw'
        """
        return " ".join(f"{name}={value}" for name, value in self.known().items())

    def to_json(self) -> str:
        """Canonical JSON, as stored in `RunStarted.source`: sorted names, only known fields.

        >>> SourceIdentity(topic="rides.raw", cluster="c1").to_json()
        '{"cluster":"c1","topic":"rides.raw"}'
        """
        return json.dumps(self.known(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> "SourceIdentity":
        """The identity that a run recorded: JSON, or the line that earlier releases wrote. Unknown names are ignored.

        Raises:
            DamagedError: it starts like JSON, but is not an object of strings.

        >>> SourceIdentity.from_text("cluster=c1 topic=rides.raw") == SourceIdentity.from_text('{"topic":"rides.raw","cluster":"c1"}')
        True
        """
        if text.startswith("{"):
            try:
                found = json.loads(text)
            except ValueError as cause:
                raise DamagedError(f"source identity: expected JSON, got {text!r}") from cause
            if not all(isinstance(value, str) for value in found.values()):
                raise DamagedError(f"source identity: expected only strings, got {text!r}")
        else:
            found = dict(re.findall(r"(\w+)=(.*?)(?= \w+=|$)", text))
        return cls(**{field.name: found[field.name] for field in fields(cls) if field.name in found})

    def incarnation(self) -> "SourceIdentity":
        """Only what says which log an offset belongs to: a directory that declares its origin may be moved.

        >>> SourceIdentity(files="moved", origin="ab").incarnation() == SourceIdentity(origin="ab")
        True
        """
        return replace(self, files="") if self.origin else self

    def may_be(self, other: "SourceIdentity") -> bool:
        """Whether both may be the same log: they have a known field in common, and all common fields are equal.

        A directory may be moved: if both know the origin, the name is ignored.

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

    def relation(self, now: "SourceIdentity") -> Relation:
        """How the log that is read now relates to this one, which was read before.

        >>> before = SourceIdentity(cluster="c1", topic="rides.raw", topic_id="a")
        >>> before.relation(SourceIdentity(cluster="c1", topic="rides.raw", topic_id="b"))
        <Relation.RECREATED: 'recreated'>
        >>> before.relation(SourceIdentity(cluster="c2", topic="rides.raw", topic_id="a"))
        <Relation.OTHER: 'other'>
        """
        if self.may_be(now):
            return Relation.SAME
        if self.topic and now.topic:
            return Relation.RECREATED if (self.cluster, self.topic) == (now.cluster, now.topic) else Relation.OTHER
        if self.files and now.files:
            if self.origin and now.origin:
                return Relation.RECREATED if self.files == now.files else Relation.OTHER
            return Relation.UNSURE
        return Relation.OTHER
