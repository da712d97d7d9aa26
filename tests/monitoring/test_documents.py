"""The dashboard, the rules and the manual speak of figures that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from moltbot_gw.errors import ProviderOverloaded
from moltbot_gw.events import Usage
from tests.monitoring.support import Figures, Watched

DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD = json.loads((DOCS / "monitoring" / "grafana.json").read_text())
MANUAL = (DOCS / "monitoring.rst").read_text()
RULES = (DOCS / "monitoring" / "alerts.yml").read_text()
VARIABLES = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
FROM_PROMETHEUS = {"up"}
LABELS_OF_PROMETHEUS = {"instance", "job"}


@pytest.fixture
def busy(watched: Watched) -> Figures:
    """All figures of a gateway in which everything has happened once."""
    _, call = watched.chat(stream=True)
    call.say("hello")
    used = Usage(prompt_tokens=2, completion_tokens=1, cached_tokens=1)
    call.finish(usage=used)
    _, call = watched.chat()
    call.fail(ProviderOverloaded("later"))
    health = watched.provider_health
    error = ProviderOverloaded("later")
    health.failed("script", "script/model", health.begin(), error)
    watched.scrape()
    return watched.figures()


def panels() -> list[dict[str, Any]]:
    return list(DASHBOARD["panels"])


def expressions() -> Iterator[str]:
    for panel in panels():
        yield from (target["expr"] for target in panel.get("targets", ()))


def selectors(text: str) -> Iterator[Any]:
    """Return every selector of series in the PromQL *text*, which must be valid."""
    text = text.replace("$__rate_interval", "5m")
    found: list[Any] = []
    stack: list[Any] = [promql_parser.parse(text)]
    while stack:
        node = stack.pop()
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        for name in ("expr", "lhs", "rhs", "vector_selector", "args", "param"):
            child = getattr(node, name, None)
            stack += child if isinstance(child, list) else [child] if child else []
    assert found, text
    return iter(found)


def check(text: str, figures: Figures) -> None:
    """Fail if *text* asks for a figure or a label that does not exist."""
    for selector in selectors(text):
        if selector.name in FROM_PROMETHEUS:
            continue
        assert selector.name in figures.names, selector.name
        known = {
            label for labels in figures.samples(selector.name) for label, _ in labels
        }
        asked = {matcher.name for matcher in selector.matchers.matchers}
        assert asked <= known | LABELS_OF_PROMETHEUS, (selector.name, asked)


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_the_dashboard_asks_for_what_there_is(expression: str, busy: Figures) -> None:
    check(expression, busy)
    used = set(re.findall(r"\$(\w+)", expression)) - {"__rate_interval"}
    assert used <= VARIABLES


def test_the_dashboards_variables_come_from_what_there_is(busy: Figures) -> None:
    queries = [v["definition"] for v in DASHBOARD["templating"]["list"][1:]]
    for query in queries:
        match = re.fullmatch(r"label_values\((\w+), (\w+)\)", query)
        assert match is not None, query
        known = {label for labels in busy.samples(match[1]) for label, _ in labels}
        assert match[2] in known | LABELS_OF_PROMETHEUS


def test_the_dashboard_is_well_formed() -> None:
    assert len({panel["id"] for panel in panels()}) == len(panels())
    assert DASHBOARD["templating"]["list"][0]["type"] == "datasource"
    for panel in panels():
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        assert panel["title"]
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
            assert target["legendFormat"]
        refs = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(refs)) == len(refs)


def test_no_panel_lies_over_another() -> None:
    for one, other in combinations((panel["gridPos"] for panel in panels()), 2):
        apart_x = (
            one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        )
        apart_y = (
            one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        )
        assert apart_x or apart_y


def test_legends_name_labels_that_their_expression_keeps() -> None:
    for panel in panels():
        for target in panel.get("targets", ()):
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            kept = set(
                re.findall(
                    r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))
                )
            )
            if kept:
                assert named <= kept, target


@pytest.mark.parametrize("rule", re.findall(r"^ +expr: (.+)$", RULES, re.M))
def test_the_rules_ask_for_what_there_is(rule: str, busy: Figures) -> None:
    check(rule, busy)


def test_every_rule_has_an_expression_and_says_what_is_wrong() -> None:
    counts = [
        len(re.findall(f" {word}: ", RULES)) for word in ("alert", "expr", "summary")
    ]
    assert counts == [counts[0]] * 3


def test_the_manual_lists_every_figure_of_ours_and_no_other(busy: Figures) -> None:
    ours = {
        re.sub(r"_(total|info)$", "", family)
        for family in busy.families
        if family.startswith("moltbot_")
    }
    listed = re.findall(r"^``(moltbot_\w+)``", MANUAL, re.M)
    assert len(set(listed)) == len(listed)
    assert {re.sub(r"_(total|info)$", "", name) for name in listed} == ours
    assert set(listed) <= busy.names | {
        re.sub(r"_bucket$", "", name) for name in busy.names
    }


def test_the_manual_lists_the_labels_of_each_figure(busy: Figures) -> None:
    for name, labels in re.findall(
        r"^``(moltbot_\w+)`` +(?:``([\w, ]+)``)?", MANUAL, re.M
    ):
        found = busy.samples(name) or busy.samples(f"{name}_count")
        known = {label for sample in found for label, _ in sample}
        assert set(filter(None, labels.split(", "))) == known, name
