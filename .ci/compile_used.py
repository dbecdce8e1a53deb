"""Imports what Ridecast imports, so that its bytecode is compiled now and not at the first start.

`pip install` would compile every module of every package, a quarter of the environment, of which a twentieth is ever
imported. Usage: python compile_used.py [FURTHER-MODULES...]
"""

import importlib
import importlib.util
import os
import pkgutil
import sys

OURS = ("schemas", "state", "ledger", "dataflows", "api", "ridecast")
# Imported inside functions, when they are first needed.
LATE = (
    "holidays",
    "matplotlib.pyplot",
    "mlflow.tracking",
    "optuna",
    "pandas",
    "redis",
    "river.linear_model",
    "river.preprocessing",
    "scipy.special",
    "xgboost",
)

# Modules of ours that need an extra, and the package that it installs.
EXTRAS = {"ridecast.open_feature": "openfeature"}


def main(further: list[str]) -> None:
    """Import every module of ours, and those named."""
    print("compiling what is imported; up to half a minute", flush=True)
    sys.dont_write_bytecode = False  # PYTHONDONTWRITEBYTECODE is meant for a checkout
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for name in OURS:
        for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            needed = EXTRAS.get(module.name)
            if not module.name.endswith("__main__") and (needed is None or importlib.util.find_spec(needed) is not None):
                importlib.import_module(module.name)
    for name in (*LATE, *further):
        if importlib.util.find_spec(name.split(".")[0]) is not None:
            importlib.import_module(name)


if __name__ == "__main__":
    main(sys.argv[1:])
