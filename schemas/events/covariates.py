"""The covariates of a region: what is known from outside of it, one row per name with a fixed meaning.

A value is for a time (`valid_at`) and became known at another (`known_at`), before it if it is a forecast. A file gives both.
"""

from dataclasses import dataclass

S_PER_HOUR = 3_600
MILLI = 1_000


@dataclass(frozen=True, slots=True)
class Covariate:
    """One covariate.

    Attributes:
        name: As in files and records.
        meaning: Description, with what `valid_at` stands for.
        unit: Of its values.
        least, most: Bounds of a value; another one is a mistake in the file.
        skewed: Mostly zero, at times large: features use the logarithm of 1 and the value.
    """

    name: str
    meaning: str
    unit: str
    least: float
    most: float
    skewed: bool = False


COVARIATES: tuple[Covariate, ...] = (
    Covariate("precipitation_mm", "rain, and snow as water, in the hour that ends at valid_at", "mm", 0.0, 500.0, skewed=True),
    Covariate("snow_mm", "fresh snow in the hour that ends at valid_at", "mm", 0.0, 1_000.0, skewed=True),
    Covariate("temperature_c", "air temperature at valid_at", "degrees Celsius", -90.0, 60.0),
    Covariate("wind_m_s", "mean wind in the hour that ends at valid_at", "m/s", 0.0, 120.0),
)
NAMES: tuple[str, ...] = tuple(row.name for row in COVARIATES)


def covariate_named(name: str) -> Covariate | None:
    """The row of a name; None if there is none.

    >>> covariate_named("wind_m_s").unit, covariate_named("moon")
    ('m/s', None)
    """
    return next((row for row in COVARIATES if row.name == name), None)
