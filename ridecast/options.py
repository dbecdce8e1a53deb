"""Options that several commands share, and what they turn into."""

import os
from collections.abc import Callable
from typing import Any

import click

from schemas.regions import Region, load_region, shipped_regions
from schemas.settings import Settings

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

home: Decorator = click.option("--home", metavar="DIR", help="Where everything embedded lives. [RIDECAST_HOME, default: home]")
region: Decorator = click.option(
    "--region",
    "region_name",
    required=True,
    metavar="NAME|FILE",
    help=f"A region that ships ({', '.join(shipped_regions())}) or a JSON file.",
)
rides: Decorator = click.option(
    "--rides", metavar="DIR|kafka://HOST:PORT/TOPIC", help="Where ride events are: a directory, or a broker and topic. [RIDECAST_RIDES]"
)


def settings_of(**given: object) -> Settings:
    """Settings from the environment, under what the command line gave."""
    return Settings.from_env(os.environ, given)


def region_of(name: str) -> Region:
    """The region that `--region` names."""
    return load_region(name)
