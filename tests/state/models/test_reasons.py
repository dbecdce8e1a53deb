"""Explanations add up to the served number, and their terms are Shapley values."""

import math
import warnings
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from schemas.errors import ContractError, DamagedError
from schemas.events.rides import Float32s, Float64s
from schemas.records.records import FALLBACKS, Fallback
from state.demand.feature_table import Feature, FeatureTable
from state.demand.features import FIRST_TABLE, matrix_bytes, matrix_of
from state.demand.groups import STARTS, Group, group_of
from state.demand.tables import TABLES
from state.forecast.explanation import explain_modelled
from state.models.boosted import Boosted, tree_contributions
from state.models.chain import Chain, margin
from state.models.reasons import (
    FOUR_WEEKS,
    LIMITS,
    MODEL,
    MODELS,
    ONLINE,
    Contributions,
    Explanation,
    Mixed,
    explain_fallback,
    explain_model,
    logarithmic_mean,
)
from tests.state.model_city import HOURLY
from tests.state.models.explained_town import ISSUES, mixed_cells, town_issues, town_trained, town_trees

TABLE = FeatureTable(1, (Feature("rate_month", "", lambda w: 1.0), Feature("city_long", "", lambda w: 1.0)))
OWN = FALLBACKS.index(Fallback.NONE)


class Given:
    """A model with the contributions and the mean that a test gives, in two features."""

    table = TABLE

    def __init__(self, profile: float, average: float, features: tuple[float, float], mean: float | None = None) -> None:
        self._found = Contributions(np.array([profile]), np.array([average]), np.array([features]))
        self._mean = math.exp(profile + average + sum(features)) if mean is None else mean

    def means(self, features: Float32s) -> Float64s:
        """The mean, for one cell and horizon."""
        return np.array([[self._mean]])

    def contributions(self, features: Float32s, i: int) -> Contributions:
        """The given ones."""
        return self._found


def explained(model: Given, served_milli: int, *, rate: float = 4.0, horizon_min: int = 30) -> Explanation:
    """The explanation of one cell with a rate per hour."""
    [found] = explain_model(model, np.array([[rate, 7.0]], np.float32), 0, horizon_min, np.array([served_milli]))
    return found


def logs(found: Explanation) -> dict[str, float]:
    """Reason -> log of its term."""
    return {term.reason: term.log for term in found.terms}


def total(found: Explanation) -> float:
    """Base and terms, added up."""
    return found.base + math.fsum(term.rides for term in found.terms)


# --- sums ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["trees", "chain", "network"])
def test_terms_add_up_to_every_served_number(kind: str) -> None:
    """For a thousand forecasts of the town, base and terms give the served number far below 1/1000 ride."""
    checked, corrected = 0, 0
    for issue in town_issues(kind):
        own = issue.columns.fallback == OWN
        for i, horizon_min in enumerate(HOURLY.horizons_min):
            served = issue.columns.mean[own, i]
            mixed = mixed_cells(kind, issue, i)
            explained_all = explain_model(town_trained(kind), issue.matrix, i, horizon_min, served, mixed)
            for found, milli, mix in zip(explained_all, served.tolist(), mixed, strict=True):
                assert milli / 1000 == found.served
                assert mix.reason in logs(found)
                assert abs(total(found) - found.served) < 1e-9
                assert all(abs(sum(p.rides for p in t.parts) - t.rides) < 1e-9 for t in found.terms if t.reason in tuple(Group)[1:])
                corrected += logs(found)[ONLINE] != 0.0
                checked += 1
    assert checked >= 1_000
    assert corrected >= 50


def test_the_terms_multiply_in_the_log() -> None:
    """Base times the exponentials of all terms is the corrected mean; the rest is rounding."""
    issue = town_issues()[-1]
    own = issue.columns.fallback == OWN
    for found in explain_model(town_trees(), issue.matrix, 0, 60, issue.columns.mean[own, 0], mixed_cells("trees", issue, 0)):
        assert abs(found.base * math.exp(sum(term.log for term in found.terms)) - found.served) < 1e-3


def test_a_forecast_without_errors_has_no_correction() -> None:
    """Before the first window has ended nothing is corrected: what differs is called rounding, and is less than 1/1000 ride."""
    issue = town_issues()[0]
    own = issue.columns.fallback == OWN
    assert issue.weight_milli == 0
    for found in explain_model(town_trees(), issue.matrix, 0, 60, issue.columns.mean[own, 0], mixed_cells("trees", issue, 0)):
        assert logs(found)[ONLINE] == 0.0
        [limits] = [term for term in found.terms if term.reason == LIMITS]
        assert abs(limits.rides) < 0.001


def test_the_ensemble_is_a_term_of_its_own() -> None:
    """A model of 2, corrected to 3 and mixed with a profile of 1, is explained as a correction by 3/2 and an ensemble by 2.7/3."""
    mixed = Mixed({"model": 0.1, "corrected": 0.8, "profile": 0.1}, 1.0)
    model, rates = Given(math.log(2.0), 0.0, (0.0, 0.0)), np.array([[2.0, 7.0]], np.float32)
    [found] = explain_model(model, rates, 0, 60, np.array([2_700]), [mixed])
    assert pytest.approx(math.log(1.5)) == logs(found)[ONLINE]
    assert pytest.approx(math.log(0.9)) == logs(found)[mixed.reason]
    [unknown] = explain_model(model, rates, 0, 60, np.array([2_700]), [Mixed({"model": 0.5, "corrected": 0.0, "profile": 0.5}, 1.0)])
    assert logs(unknown)[ONLINE] == 0.0
    assert abs(total(found) - 2.7) < 1e-9
    assert abs(total(unknown) - 2.7) < 1e-9


def test_terms_by_value() -> None:
    """Each reason has the log that the contributions give it, and rides by the logarithmic mean of served number and base."""
    found = explained(Given(math.log(3.0), 0.1, (0.2, -0.5)), 4_000)
    mean = 3.0 * math.exp(0.1 + 0.2 - 0.5)
    assert (2.0, FOUR_WEEKS, 4.0) == (found.base, found.base_is, found.served)
    expected = {Group.USUAL: math.log(1.5), MODEL: 0.1, Group.EARLIER: 0.2, Group.CITY: -0.5, ONLINE: math.log(4.0 / mean), LIMITS: 0.0}
    assert pytest.approx(expected, abs=1e-12) == logs(found)
    for term in found.terms:
        assert pytest.approx(term.log * 2.0 / math.log(2.0), abs=1e-12) == term.rides
    assert sorted(found.terms, key=lambda term: -abs(term.rides)) == list(found.terms)
    [city] = [term for term in found.terms if term.reason == Group.CITY]
    [part] = city.parts
    assert ("city_long", 7.0, -0.5) == (part.feature, part.value, part.log)


@pytest.mark.parametrize(("mean", "served_milli"), [(2.5, 2_500), (2.5004, 2_500), (2.4995, 2_500), (0.0003, 0), (1e-4, 0)])
def test_rounding_is_no_correction(mean: float, served_milli: int) -> None:
    """A number that is the mean rounded to 1/1000 ride has no online term; the rest is in the term of rounding."""
    found = explained(Given(math.log(mean), 0.0, (0.0, 0.0)), served_milli)
    assert logs(found)[ONLINE] == 0.0
    assert abs(total(found) - served_milli / 1000) < 1e-12


def test_a_correction_to_nothing_still_adds_up() -> None:
    """A mean that was corrected to below half of 1/1000 ride is served as zero; the terms stay finite and add up."""
    found = explained(Given(math.log(0.5), 0.0, (0.0, 0.0)), 0)
    assert pytest.approx(math.log(1e-4 / 0.5)) == logs(found)[ONLINE]
    assert abs(total(found)) < 1e-12


def test_a_limited_mean_has_a_term_for_its_limit() -> None:
    """Where the mean was raised to its least value, the terms of the model do not add up, and the limit says by how much."""
    found = explained(Given(math.log(1e-6), 0.0, (0.0, 0.0), mean=1e-4), 0)
    assert pytest.approx(math.log(100)) == logs(found)[LIMITS]
    assert abs(total(found)) < 1e-12


def test_a_cell_without_rides_in_four_weeks_has_a_finite_base() -> None:
    """A base of zero is raised to a ten-thousandth of a ride, so that its log exists."""
    found = explained(Given(0.0, 0.0, (0.0, 0.0)), 1_000, rate=0.0)
    assert 1e-4 == found.base
    assert abs(total(found) - 1.0) < 1e-12


@pytest.mark.parametrize("served", [2_000, 2_001, 1_999, 2_000_000])
def test_a_served_number_near_its_base(served: int) -> None:
    """The logarithmic mean is exact where number and base are equal or nearly so."""
    found = explained(Given(math.log(served / 1000), 0.3, (-0.3, 0.0)), served)
    assert abs(total(found) - served / 1000) < 1e-9 * served


def test_the_logarithmic_mean_is_smooth() -> None:
    """Around equality the two formulas agree, so that there is no step between them."""
    for log in (0.9e-6, 1.1e-6, 1e-4, 0.5):
        assert pytest.approx(math.expm1(log) / log, rel=1e-9) == logarithmic_mean(math.exp(log), 1.0)


# --- what cannot be explained ---------------------------------------------------------------------------


def test_terms_that_do_not_add_up_are_refused() -> None:
    """A model whose contributions miss its mean raises; nobody is shown terms that explain another number."""
    with pytest.raises(ContractError, match=r"expected terms that add up to the log of the mean 1\.098612, got 0\.693147"):
        explained(Given(math.log(2.0), 0.0, (0.0, 0.0), mean=3.0), 3_000)


def test_a_matrix_of_another_table_is_refused() -> None:
    """A matrix with more columns than the model has features raises and says both numbers."""
    with pytest.raises(ContractError, match="expected a matrix of 2 features, got 3"):
        explain_model(Given(0.0, 0.0, (0.0, 0.0)), np.ones((1, 3), np.float32), 0, 60, np.array([1_000]))


def test_a_matrix_of_another_issue_is_refused() -> None:
    """A matrix with more or fewer rows than the issue has cells with a model is not taken for its own."""
    issue = town_issues()[0]
    row = int(np.flatnonzero(issue.columns.fallback == OWN)[0])
    with pytest.raises(ContractError, match=f"expected a matrix with a row for each of {len(issue.matrix)} cells, got 1 rows"):
        explain_modelled(issue.columns, row, 0, town_trees(), issue.matrix[:1])


@pytest.mark.parametrize("cut", [0, 10, 16, 100])
def test_bytes_that_are_no_matrix_are_refused(cut: int) -> None:
    """A matrix that lost bytes raises, whole ones come back to the last bit."""
    data = matrix_bytes(town_issues()[0].matrix)
    assert matrix_bytes(matrix_of(data)) == data
    with pytest.raises(DamagedError, match=f"got {cut} bytes"):
        matrix_of(data[:cut])


@pytest.mark.parametrize("fallback", [fallback for fallback in Fallback if fallback is not Fallback.NONE])
def test_a_fallback_has_one_term(fallback: Fallback) -> None:
    """A number that no trained model of the region made is the profile and one term, named for its model; zeros too."""
    for baseline, served in ((1_200, 700), (0, 3), (5, 0), (0, 0)):
        found = explain_fallback(fallback, baseline, served)
        assert [MODELS[fallback]] == [term.reason for term in found.terms]
        assert (baseline / 1000, served / 1000) == (found.base, found.served)
        assert abs(total(found) - served / 1000) < 1e-12
        assert math.isfinite(found.terms[0].log)


def test_a_chain_has_the_terms_of_both_its_models() -> None:
    """Where the trees say nothing a term is the coefficient times the standardised input; a share of the trees' own is added."""
    matrix, chain = town_issues("chain")[-1].matrix, town_trained("chain")
    assert isinstance(chain, Chain)
    link = chain._links[1]
    found = chain.contributions(matrix, 1)
    average, of_trees = tree_contributions(chain._boosters[1], np.ascontiguousarray(matrix[:, list(link.columns)]))
    logs = link.glm.log_means(matrix, margin(matrix, chain.table, chain.about.horizons, 1))
    share = 1.0 / (1.0 + np.exp(logs) / link.half_rides)
    assert share.min() < share.max() < 1.0
    assert np.abs(share * average + link.glm.intercept - found.average).max() < 1e-12
    expected = np.zeros(matrix.shape)
    for column, centre, scale, coefficient in zip(link.glm.columns, link.glm.centres, link.glm.scales, link.glm.coefficients, strict=True):
        values = np.clip((matrix[:, column].astype(np.float64) - centre) / scale, -6.0, 6.0)
        expected[:, column] = coefficient * np.where(np.isnan(values), 0.0, values)
    for place, column in enumerate(link.columns):
        expected[:, column] += share * of_trees[:, place]
    assert np.abs(expected - found.features).max() < 1e-12
    assert np.abs(np.log(chain.means(matrix)[:, 1]) - found.profile - found.average - found.features.sum(axis=1)).max() < 1e-4


# --- groups --------------------------------------------------------------------------------------------


def test_every_feature_has_a_group() -> None:
    """Each column of every table is shown somewhere; each start of a name is used."""
    for table in TABLES.values():
        assert len(table) == len(table.groups)
        assert "rate_month" in table.names  # the base
    assert Group.EARLIER == group_of("lag_1440")
    assert Group.CELL == group_of("lag_15")
    with pytest.raises(ContractError, match="feature moon_phase: expected a group"):
        group_of("moon_phase")
    row = replace(FIRST_TABLE.features[0], name="moon_phase", group=Group.CALENDAR)
    assert (Group.CALENDAR,) == FeatureTable(9, (row,)).groups
    assert set(Group) == {group for table in TABLES.values() for group in table.groups}
    names = {name for table in TABLES.values() for name in table.names}
    assert [] == [start for start in STARTS if not any(name.startswith(start) for name in names)]


# --- Shapley values --------------------------------------------------------------------------------------


def test_contributions_of_trees_have_the_sums_of_an_independent_library() -> None:
    """The shap package, by interventions on a background, explains the same difference between each row and the average."""
    with warnings.catch_warnings(action="ignore", category=PendingDeprecationWarning):  # of its plots
        import shap

    matrix = town_issues()[-1].matrix
    booster = town_trees()._boosters[0]
    explainer = shap.TreeExplainer(booster, matrix[:10], feature_perturbation="interventional")
    theirs = explainer.shap_values(matrix).sum(axis=1)
    _, ours = tree_contributions(booster, matrix)
    averages = ours.sum(axis=1) - theirs  # Each side compares with an average of its own, the same for all rows.
    assert np.ptp(averages) < 1e-5
    assert np.ptp(theirs) > 0.1
    found = tree_contributions(booster, matrix)
    logs_of_trees = found[0] + found[1].sum(axis=1)
    background = float(logs_of_trees[:10].mean())  # what an intervention on every feature gives
    assert np.abs(theirs + background - logs_of_trees).max() < 1e-5


def test_contributions_are_shapley_values() -> None:
    """On small trees they equal the definition, added up over all subsets of the features."""
    import xgboost

    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(400, 4)).astype(np.float32)
    rides = rng.poisson(np.exp(0.5 * inputs[:, 0] + (inputs[:, 1] > 0) * inputs[:, 2]))
    data = xgboost.DMatrix(inputs, label=rides, base_margin=np.zeros(len(inputs), np.float32))
    booster = xgboost.train({"objective": "count:poisson", "max_depth": 3, "eta": 0.5, "seed": 1, "nthread": 1}, data, 4)
    nodes = _nodes(booster)
    average, found = tree_contributions(booster, inputs[:6])
    for row in range(6):
        for feature in range(4):
            others = [other for other in range(4) if other != feature]
            value = 0.0
            for size in range(4):
                weight = math.factorial(size) * math.factorial(3 - size) / math.factorial(4)
                for some in combinations(others, size):
                    with_it, without = (_expected(nodes, inputs[row], {*some, *more}) for more in ((feature,), ()))
                    value += weight * (with_it - without)
            assert abs(value - found[row, feature]) < 1e-5
        assert abs(_expected(nodes, inputs[row], set()) - average[row]) < 1e-5


def test_no_rows_have_no_contributions() -> None:
    """An issue without cells of its own model is explained too: there is nothing to explain."""
    empty = np.empty((0, len(FIRST_TABLE)), np.float32)
    assert explain_model(town_trees(), empty, 0, 60, np.empty(0, np.int64)) == []
    assert (0, len(FIRST_TABLE)) == Boosted.contributions(town_trees(), empty, 0).features.shape


def test_the_town_was_observed() -> None:
    """The issues that these tests explain exist and have cells with a model of their own and others."""
    assert ISSUES == len(town_issues())
    codes = np.concatenate([issue.columns.fallback for issue in town_issues()])
    assert set(codes.tolist()) >= {OWN}


Nodes = list[dict[str, dict[str, Any]]]


def _nodes(booster: Any) -> Nodes:
    """Per tree: id -> row of the booster's table."""
    trees: dict[int, dict[str, dict[str, Any]]] = {}
    for row in booster.trees_to_dataframe().to_dict("records"):
        trees.setdefault(row["Tree"], {})[row["ID"]] = row
    return [trees[number] for number in sorted(trees)]


def _expected(nodes: Nodes, values: Float32s, known: set[int]) -> float:
    """The sum of the trees if only some features are known: at a split on another one, both sides by their cover."""

    def of(tree: dict[str, dict[str, Any]], at: str) -> float:
        row = tree[at]
        if row["Feature"] == "Leaf":
            return float(row["Gain"])
        feature = int(row["Feature"].removeprefix("f"))
        if feature in known:
            return of(tree, row["Yes"] if values[feature] < row["Split"] else row["No"])
        yes, no = tree[row["Yes"]], tree[row["No"]]
        return float((yes["Cover"] * of(tree, row["Yes"]) + no["Cover"] * of(tree, row["No"])) / (yes["Cover"] + no["Cover"]))

    return sum(of(tree, next(iter(tree))) for tree in nodes)
