"""Small ways to model demand wrongly: trees, quiet cells, intervals, the online learner."""

from tests.mutant_lists.mutant import Mutant

BOOSTED, QUIET = "state/models/boosted.py", "state/models/quiet.py"
INTERVALS, ONLINE = "state/models/intervals.py", "state/models/online.py"
SERVED = "tests/state/forecast/test_served_by_value.py"
TRAINED = "tests/state/forecast/test_training_by_value.py"
PARTS = "tests/state/demand/test_seasons_by_value.py"
STEPS = "tests/state/models/test_online_by_value.py"
WIDTHS = "tests/state/models/test_intervals.py"
GLM, CHAIN, FITTING, RECURSIVE = (f"state/models/{name}.py" for name in ("glm", "chain", "chain_fitting", "recursive"))
LINEAR, CHAINED, FILTERED = (f"tests/state/models/test_{name}.py" for name in ("glm", "chain", "recursive"))
NETWORK, NETWORK_FIT, BESIDE = (f"state/models/{name}.py" for name in ("network", "network_fitting", "chain_network"))
WHOLE, FITTED, BOTH = (f"tests/state/models/test_{name}.py" for name in ("network", "network_fitting", "chain_network"))

MUTANTS = (
    Mutant("means of a hundredth of the least", BOOSTED, "LEAST_MEAN, MOST_MEAN = 1e-4", "LEAST_MEAN, MOST_MEAN = 1e-6", (SERVED,)),
    Mutant("served means not clipped", BOOSTED, "return np.clip(out, LEAST_MEAN, MOST_MEAN)", "return out", (SERVED,)),
    Mutant(
        "trained means not clipped",
        BOOSTED,
        "np.clip(np.asarray(means, np.float64), LEAST_MEAN, MOST_MEAN)",
        "np.asarray(means, np.float64)",
        (SERVED,),
    ),
    Mutant("margin in the inverse proportion", BOOSTED, "(horizons[i] / ahead[nearest])", "(ahead[nearest] / horizons[i])", (SERVED,)),
    Mutant("margin of the shortest profile", BOOSTED, "abs(ahead[place] - horizons[i])", "ahead[place]", (SERVED,)),
    Mutant(
        "every booster from the first margin",
        BOOSTED,
        "offset(features, self.about.horizons, i)",
        "offset(features, self.about.horizons, 0)",
        (SERVED, TRAINED),
    ),
    Mutant("three times the learning rate of trees", BOOSTED, '"eta": 0.1', '"eta": 0.3', (TRAINED,)),
    Mutant("half the rounds", BOOSTED, "ROUNDS = 120", "ROUNDS = 60", (TRAINED,)),
    Mutant("squares instead of Poisson counts", BOOSTED, '"count:poisson"', '"reg:squarederror"', (TRAINED,)),
    Mutant("trees without their margins", BOOSTED, "label=rides, base_margin=margin", "label=rides", (TRAINED,)),
    Mutant("quiet below twice the rate", QUIET, "QUIET_PER_15_MIN = 0.05", "QUIET_PER_15_MIN = 0.1", (SERVED,)),
    Mutant("half the children of a parent", QUIET, "CHILDREN = 32", "CHILDREN = 16", (PARTS,)),
    Mutant("ten times the weight of the parent", QUIET, "CELL_RIDES = 0.3", "CELL_RIDES = 3.0", (PARTS,)),
    Mutant("hardly any weight of the region", QUIET, "SHAPE_RIDES = 12.0", "SHAPE_RIDES = 1.2", (PARTS,)),
    Mutant("narrow shape of a quiet cell", QUIET, "WIDEN_MIN = 30", "WIDEN_MIN = 15", (PARTS,)),
    Mutant("last hour and last day exchanged", QUIET, "parts[1] * weights[:, 1, None]", "parts[1] * weights[:, 2, None]", (SERVED,)),
    Mutant("shape widened on one side", QUIET, "(2 * widen + h)", "(widen + h)", (PARTS,)),
    Mutant(
        "rate over slots of an outage too", QUIET, "/ max(history.observed_slots(start, until), 1)", "/ (until - start)", (PARTS, SERVED)
    ),
    Mutant(
        "mix by the total of all parts", QUIET, "sum(axis=1) / totals", "sum(axis=1) / totals.sum()", ("tests/state/models/test_quiet.py",)
    ),
    Mutant("dispersion upside down", INTERVALS, "1000 * excess / squares", "1000 * squares / excess", (WIDTHS,)),
    Mutant("Poisson part left in the dispersion", INTERVALS, "(truth - means) ** 2 - means)", "(truth - means) ** 2)", (WIDTHS,)),
    Mutant("dispersion bounded at 2", INTERVALS, "20_000)", "2_000)", (WIDTHS,)),
    Mutant("an interval of 90 %", INTERVALS, "= 100, 500, 900", "= 50, 500, 950", (SERVED,)),
    Mutant("quantile one too high", INTERVALS, "betaincinv(size, below + 1.0, p)", "betaincinv(size, below + 2.0, p)", (WIDTHS,)),
    Mutant("Poisson quantile one too high", INTERVALS, "gammainccinv(below + 1.0, p)", "gammainccinv(below + 2.0, p)", (WIDTHS,)),
    Mutant("learning rate 100 times too high", ONLINE, "LEARNING_RATE = 0.0002", "LEARNING_RATE = 0.02", (STEPS,)),
    Mutant("rate of the intercept 10 times too high", ONLINE, "INTERCEPT_RATE = 0.001", "INTERCEPT_RATE = 0.01", (STEPS,)),
    Mutant("errors not clipped", ONLINE, "\nCLIP = 4.0", "\nCLIP = 400.0", (STEPS,)),
    Mutant("region forgets in a week", ONLINE, "\nFORGET_DAYS = 1.0", "\nFORGET_DAYS = 7.0", (STEPS,)),
    Mutant("cells forget in a day", ONLINE, "CELL_FORGET_DAYS = 2.0", "CELL_FORGET_DAYS = 1.0", (STEPS,)),
    Mutant("no error weighs two rides", ONLINE, "CELL_RIDES = 20.0", "CELL_RIDES = 2.0", (STEPS,)),
    Mutant("corrections to a quarter", ONLINE, "LEAST_FACTOR, MOST_FACTOR = 0.5", "LEAST_FACTOR, MOST_FACTOR = 0.25", (STEPS,)),
    Mutant("a prediction enters whole", ONLINE, "share = self.weight_milli / 1000", "share = 1.0", (STEPS,)),
    Mutant("weight beyond one", ONLINE, "min(max(gain / size, 0.0), 1.0)", "max(gain / size, 0.0)", (STEPS,)),
    Mutant("long horizons for all", ONLINE, "long = i / max(self._horizons - 1, 1)", "long = 1.0", (STEPS,)),
    Mutant("region's rides for its means", ONLINE, "self._region[3] += expected", "self._region[3] += total", (STEPS,)),
    Mutant("middle horizon for the last", ONLINE, "if outcome.horizon == self._horizons - 1:", "if outcome.horizon == 0:", (STEPS,)),
    Mutant(
        "gain of the prediction's size alone",
        ONLINE,
        "(step * (outcome.truth - outcome.means)).sum()",
        "(step * outcome.truth).sum()",
        (STEPS,),
    ),
    Mutant("inputs of the linear model not clipped", GLM, "np.clip(values, -CLIP, CLIP, out=values)", "pass", (LINEAR,)),
    Mutant("unknown inputs at the bound", GLM, "values[np.isnan(values)] = 0.0", "values[np.isnan(values)] = CLIP", (LINEAR,)),
    Mutant("a tenth of the penalty", GLM, "PENALTY = 100.0", "PENALTY = 10.0", (LINEAR,)),
    Mutant("two Newton steps", GLM, "STEPS = 7", "STEPS = 2", (LINEAR,)),
    Mutant("the intercept penalised", GLM, "np.append(np.full(k, penalty), 0.0)", "np.full(k + 1, penalty)", (LINEAR,)),
    Mutant("rows of the linear model weighted alike", GLM, "x.T @ (w * (y - mean))", "x.T @ (y - mean)", (LINEAR,)),
    Mutant("coefficients with the noise of a fit", GLM, "np.round(beta, DECIMALS)", "np.round(beta, 17)", (LINEAR,)),
    Mutant(
        "trees from the profile",
        CHAIN,
        "link.columns, features, logs, link.shares(logs), beside)",
        "link.columns, features, 0.0 * logs, link.shares(logs), beside)",
        (CHAINED,),
    ),
    Mutant("means of a chain not clipped", CHAIN, "np.clip(np.asarray(means, np.float64), LEAST_MEAN, MOST_MEAN)", "means", (CHAINED,)),
    Mutant("columns of a chain not compared", CHAIN, "if table.names != names:", "if False:", (CHAINED,)),
    Mutant("trees whole", CHAIN, "logs + share * np.asarray(added", "logs + np.asarray(added", (CHAINED,)),
    Mutant("half of the trees served", FITTING, "data, rounds)", "data, rounds // 2)", ("tests/state/forecast/test_chain_training.py",)),
    Mutant("hidden values not clipped", NETWORK, "np.clip(values, -MOST_HIDDEN, MOST_HIDDEN, out=values)", "pass", (WHOLE,)),
    Mutant(
        "hidden values not rounded",
        NETWORK,
        "values *= np.float32(2.0**-bits)\n    np.rint(values, out=values)",
        "values *= np.float32(2.0**-bits)",
        (WHOLE,),
    ),
    Mutant(
        "unknown inputs of a network at the bound",
        NETWORK,
        "values[np.isnan(values)] = 0.0",
        "values[np.isnan(values)] = MOST_INPUT",
        (WHOLE,),
    ),
    Mutant("sums beyond what is exact", NETWORK, "if largest > EXACT:", "if largest > 2**40:", (WHOLE,)),
    Mutant("constants left out of the largest sum", NETWORK, " + np.abs(constants.astype(np.int64))", "", (NETWORK,)),
    Mutant(
        "slopes instead of differences explain a network",
        NETWORK,
        "np.divide(risen, moved, out=np.zeros_like(moved), where=moved != 0.0)",
        "1.0",
        (WHOLE,),
    ),
    Mutant(
        "errors of a network not on a grid",
        NETWORK_FIT,
        "np.clip(np.rint(error / SLOPE_STEP) * SLOPE_STEP, -MOST_SLOPE, MOST_SLOPE)",
        "error",
        (FITTED,),
    ),
    Mutant("no slope below zero", NETWORK_FIT, "np.where(total > 0, 1.0, SLOPE)", "np.where(total > 0, 1.0, 0.0)", (FITTED,)),
    Mutant("weights of a network never decay", NETWORK_FIT, "of *= 1.0 - rate * decay", "pass", (FITTED,)),
    Mutant("a network kept although it is worse", BESIDE, "found if after < before else", "found if after != before else", (BOTH,)),
    Mutant("trees whole beside a network", BESIDE, "share=fit.tree_share * (1.0 - fit.network_share)", "share=fit.tree_share", (BOTH,)),
    Mutant("a network that does not fade", CHAIN, "self._shares(self.network.share, logs) if", "self.network.share if", (BOTH,)),
    Mutant("no error weighs two rides in a decayed one", RECURSIVE, "\nRIDES = 20.0", "\nRIDES = 2.0", (FILTERED,)),
    Mutant("regressions that forget in a day", RECURSIVE, "FORGET_DAYS = 7.0", "FORGET_DAYS = 1.0", (FILTERED,)),
    Mutant("hardly any ridge", RECURSIVE, "RIDGE = 200.0", "RIDGE = 2.0", (FILTERED,)),
    Mutant("solved at every close", RECURSIVE, "SOLVE_EVERY = 6", "SOLVE_EVERY = 1", (FILTERED,)),
    Mutant("levels that last a day", RECURSIVE, "CHANGE_MIN = 120", "CHANGE_MIN = 1440", (FILTERED,)),
    Mutant("what the model followed is done twice", RECURSIVE, "own - (np.log(level) - of_region)", "0.0 * own", (FILTERED,)),
    Mutant("surges never doubted", RECURSIVE, "SURGE_PRIOR = 100.0", "SURGE_PRIOR = 1e9", (FILTERED,)),
    Mutant("each window of the filter whole", RECURSIVE, "part = 1.0 / max(1.0, ", "part = 1.0 / min(1.0, ", (FILTERED,)),
    Mutant(
        "the region moved by a cell's surge",
        RECURSIVE,
        "_expected(self._table[_FILTER:, places]) * outcome.means",
        "outcome.means",
        (FILTERED,),
    ),
)
