"""Small ways to choose the wrong model, or to record and repeat the choice wrongly."""

from tests.mutant_lists.mutant import Mutant

ROUTES, ROUTER, RECORD = "state/forecast/routes.py", "dataflows/stream/routing.py", "dataflows/stream/record.py"
POOLING, BOOTSTRAP = "state/forecast/pooling.py", "dataflows/jobs/bootstrap.py"
ROUTED, STOOD_IN = "tests/dataflows/stream/test_routing.py", "tests/state/forecast/test_stand_ins.py"
POOLED, TOLD = "tests/dataflows/jobs/test_learn_global.py", "tests/api/test_routes.py"

MUTANTS = (
    Mutant(
        "any recorded reason believed",
        ROUTES,
        "issued.reasons.get(role)\n        return Why(why) if why in OBSERVED else None",
        "issued.reasons.get(role)\n        return Why(why) if why else None",
        (ROUTED,),
    ),
    Mutant("a held region served by others", ROUTES, "    if without is not None:\n", "    if False:\n", (ROUTED,)),
    Mutant("reasons of a route not recorded", RECORD, "reasons=dict(issue.skipped),", "reasons={},", (ROUTED,)),
    Mutant("roles not recorded", RECORD, "and issue.role is not Role.CHAMPION", "and False", (ROUTED,)),
    Mutant("a slow model used at once", ROUTER, "= slot + 1 + SLOW_SLOTS", "= slot + 1", (ROUTED,)),
    Mutant("an artefact in use not stored again", ROUTER, "if not self._blobs.has(digest):", "if False:", (ROUTED,)),
    Mutant("an older fold routed", ROUTES, "ROUTED_SINCE = 5", "ROUTED_SINCE = 4", (ROUTED,)),
    Mutant("large regions weigh more", POOLING, "total / (len(samples) * len(each.rows.slots))", "1.0", (POOLED,)),
    Mutant("a parent that is not there accepted", BOOTSTRAP, "or region.parent not in known:", "or False:", (POOLED,)),
    Mutant("a stand-in from the first slot on", "state/models/level.py", "STAND_IN_H = 3", "STAND_IN_H = 0", (STOOD_IN,)),
    Mutant("why not told", "api/forecast_rows.py", "if not found or fallback", "if True or fallback", (TOLD,)),
)
