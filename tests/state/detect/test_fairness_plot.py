"""The picture of fairness: well-formed, one dot for each class with enough data, in the order of its values."""

import dataclasses
from xml.etree import ElementTree

import pytest

from schemas.configuration.areas import Groups
from state.detect.fairness import MEASURES, UNDER, FairnessSums, fairness
from state.detect.fairness_plot import fairness_svg
from tests.state.detect.samples import counted, groups_of, issues

SVG = "{http://www.w3.org/2000/svg}"


def test_every_class_has_a_dot_in_every_panel() -> None:
    """Dots stand where the values order them, each with its numbers as a title."""
    found = fairness(counted(issues(1, low_factor=0.8)), seed=1, draws=50)
    picture = ElementTree.fromstring(fairness_svg(found, 15))
    dots = picture.findall(f"{SVG}circle")
    rows = [row for row in found.rows if row.horizon_min == 15]
    assert len(MEASURES) * len(rows) == len(dots)
    place = [measure.name for measure in MEASURES].index(UNDER)
    across = [float(dot.attrib["cx"]) for dot in dots[place * len(rows) : (place + 1) * len(rows)]]
    values = [row.estimates[UNDER].value or 0.0 for row in rows]
    assert sorted(range(4), key=values.__getitem__) == sorted(range(4), key=across.__getitem__)
    titles = [title.text or "" for title in picture.iter(f"{SVG}title")]
    assert f"{values[0]:.1%} (95 %: " in titles[1 + place * len(rows)]


@pytest.mark.parametrize("days", [0, 2])
def test_classes_with_too_little_data_have_no_dot(days: int) -> None:
    """Their names are shown, and nothing else."""
    picture = ElementTree.fromstring(fairness_svg(fairness(counted(issues(2, days=days)), seed=2, draws=10), 30))
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert {"income: low", "transit: near"} <= set(texts)
    assert [] == picture.findall(f"{SVG}circle")


def test_names_cannot_break_the_page() -> None:
    """A class with the characters of markup is shown as text."""
    names = (("<b>", "\"&'<script>"),)
    sums = FairnessSums(names, (15,))
    for issue in issues(3, days=5):
        if issue.horizon == 0:
            codes = groups_of(len(issue.outcomes.truth)).codes[:1]
            sums.add(issue.day, 0, Groups(names, codes * 0), issue.outcomes)
    picture = ElementTree.fromstring(fairness_svg(fairness(sums, seed=3, draws=10), 15))
    assert "<b>: \"&'<script>" in [text.text for text in picture.iter(f"{SVG}text")]
    assert [] == picture.findall(f".//{SVG}script")


def test_a_long_name_is_cut_and_kept_as_a_title() -> None:
    """What does not fit is shown shorter, whole under the pointer, and never as markup."""
    found = fairness(counted(issues(1, low_factor=0.8)), seed=1, draws=20)
    name = "<script>" + "🚕" * 50
    rows = tuple(dataclasses.replace(row, attribute="quarter", name=name) for row in found.rows)
    picture = ElementTree.fromstring(fairness_svg(dataclasses.replace(found, rows=rows), 15))
    labels = [text for text in picture.iter(f"{SVG}text") if text.find(f"{SVG}title") is not None]
    assert {f"quarter: {name}"} == {label.findtext(f"{SVG}title") for label in labels}
    assert {f"quarter: {name}"[:27] + "…"} == {label.text for label in labels}
