"""Digest of the environment that floating-point results depend on: interpreter, wheels, CPU features, time zones."""

import hashlib
import platform
import sys
from importlib import metadata

from schemas.zones import zones_digest

PACKAGES = ("numpy", "scipy", "pandas", "river", "xgboost-cpu", "tzdata")


def describe_environment() -> str:
    """One line that names everything the digest covers."""
    packages = " ".join(f"{name}={metadata.version(name)}" for name in PACKAGES)
    cpu = ",".join(sorted(name for name, has in cpu_features().items() if has))
    zones = zones_digest().hex()[:16]  # of the files: a version says what was installed, not what is read
    return f"python={platform.python_version()} {sys.platform} {platform.machine()} {packages} zones={zones} cpu={cpu}"


def cpu_features() -> dict[str, bool]:
    """Whether this CPU has each feature that NumPy knows.

    `numpy.show_config` shows only groups of features; single features have only a private name in NumPy.
    """
    from numpy._core._multiarray_umath import __cpu_features__  # type: ignore[import-not-found]

    return dict(__cpu_features__)


def environment_digest() -> bytes:
    """SHA-256 of `describe_environment`.

    >>> len(environment_digest())
    32
    """
    return hashlib.sha256(describe_environment().encode()).digest()
