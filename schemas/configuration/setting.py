"""One setting: its name, type, bounds and form, and how its value is read from text or from a file.

`schemas.configuration.settings` has the table of all settings.
"""

import re
from dataclasses import dataclass

from schemas.configuration.addresses import masked, parse_address
from schemas.configuration.kafka_client import FILE_SUFFIX, read_secret
from schemas.errors import ConfigError

PREFIX = "RIDECAST_"

Value = str | int | float


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table: a setting and its allowed values.

    Attributes:
        name: Field of `Settings`; its environment variable is RIDECAST_ and the name in capitals.
        default: Value when it is not set; its type is the setting's type.
        unit: Unit of a number, "" for text.
        low: Smallest number allowed.
        high: Largest number allowed.
        meaning: One line of description.
        form: Regular expression that a text must fully match, "" for any text.
        expected: The form in words, for the error message.
        secret: The text is an address that may contain a password: it is masked when shown, and a file may hold it
            (`file_variable`).
    """

    name: str
    default: Value
    unit: str
    low: float | None
    high: float | None
    meaning: str
    form: str = ""
    expected: str = "text"
    secret: bool = False

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return PREFIX + self.name.upper()

    @property
    def file_variable(self) -> str:
        """Name of the variable that names a file with the value, for secrets."""
        return self.variable + FILE_SUFFIX

    @property
    def bound(self) -> str:
        """The allowed values as text."""
        return self.expected if isinstance(self.default, str) else f"{_short(self.low)} to {_short(self.high)}"

    def parse(self, text: str, *, where: str) -> Value:
        """Parse a text to a value.

        Raises:
            ConfigError: not of the setting's type, out of its bounds or not of its form.

        >>> Setting("api_port", 8000, "", 0, 65_535, "port").parse("8080", where="RIDECAST_API_PORT")
        8080
        """
        if isinstance(self.default, str):
            if self.form and not re.fullmatch(self.form, text):
                raise ConfigError(f"{where}: expected {self.expected}, got {(masked(text) if self._is_address(text) else text)!r}")
            if self.secret and text:
                parse_address(text, where=where)
            return text
        whole = isinstance(self.default, int)
        try:
            number = int(text) if whole else float(text)
        except ValueError as cause:
            kind = "a whole number" if whole else "a number"
            raise ConfigError(f"{where}: expected {kind} {self.bound}{self._of_unit()}, got {text!r}") from cause
        if self.low is None or self.high is None or not self.low <= number <= self.high:
            raise ConfigError(f"{where}: expected {self.bound}{self._of_unit()}, got {text}")
        return number

    def read_file(self, path: str) -> Value:
        """Read the value of a secret from a file.

        Raises:
            ConfigError: the file cannot be read, or holds something else; its contents are not shown.
        """
        text = read_secret(path, self.file_variable)
        if not re.fullmatch(self.form, text):
            raise ConfigError(f"{self.file_variable}: expected {self.expected} in {path!r}, got another text (not shown)")
        return self.parse(text, where=self.file_variable)

    def _is_address(self, text: str) -> bool:
        return self.secret or "://" in text or "@" in text

    def _of_unit(self) -> str:
        return f" {self.unit}" if self.unit else ""


def _short(number: float | None) -> str:
    return "" if number is None else f"{number:,.15g}"
