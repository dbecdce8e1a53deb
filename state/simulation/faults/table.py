"""The table of faults: every kind that `ridecast simulate --fault` takes, and the parameters that all of them take."""

from state.simulation.faults.arrivals import KINDS_OF_ARRIVALS
from state.simulation.faults.breaks import KINDS_OF_BREAKS
from state.simulation.faults.clocks import KINDS_OF_CLOCKS
from state.simulation.faults.demand import KINDS_OF_DEMAND
from state.simulation.faults.kinds import FaultKind
from state.simulation.faults.places import KINDS_OF_PLACES

FAULTS: dict[str, FaultKind] = {
    kind.name: kind for kind in (*KINDS_OF_DEMAND, *KINDS_OF_PLACES, *KINDS_OF_CLOCKS, *KINDS_OF_BREAKS, *KINDS_OF_ARRIVALS)
}
TIME_PARAMETERS = {
    "from": "its beginning: a local time, a time in UTC with a Z, or +2d6h30m after the start of the simulation",
    "until": "its end, likewise; or",
    "hours": "its length",
}
