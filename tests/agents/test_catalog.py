from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.agents.catalog import Catalog, KnownModel, ModelRef
from moltbot_gw.config import Cost
from tests.config.support import load

OWN = ModelRef("local", "own")
PROVIDERS = {
    "zeta": {"baseUrl": "http://z/v1", "models": [{"id": "z", "name": "Zed"}]},
    "Local": {
        "baseUrl": "http://x/v1",
        "models": [
            {"id": "team/b", "name": "Beta"},
            {
                "id": "a",
                "name": "Alpha",
                "input": ["text", "image"],
                "reasoning": True,
                "contextWindow": 1000,
                "cost": {"input": 1, "output": 2, "cacheRead": 3, "cacheWrite": 4},
            },
        ],
    },
}


def catalog_of(folder: Path, providers: Any = None, **listed: Any) -> Catalog:
    tree = {
        "agents": {"defaults": {"models": listed}},
        "models": {"providers": PROVIDERS if providers is None else providers},
    }
    return Catalog(load(folder, tree).config)


def test_models_come_by_provider_and_name(tmp_path: Path) -> None:
    models = catalog_of(tmp_path).models
    assert [str(known.ref) for known in models] == ["local/a", "local/team/b", "zeta/z"]


def test_nothing_configured_means_no_models(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, {})
    assert (catalog.models, dict(catalog.aliases)) == ([], {})


@pytest.mark.parametrize(
    ("compat", "takes"),
    [({}, True), ({"supportsTools": True}, True), ({"supportsTools": False}, False)],
)
def test_model_takes_tools_unless_its_entry_says_no(
    tmp_path: Path, compat: dict[str, bool], takes: bool
) -> None:
    model = {"id": "m", "name": "M", "compat": compat}
    catalog = catalog_of(tmp_path, {"p": {"baseUrl": "http://x", "models": [model]}})
    assert catalog.find("p/m").takes_tools is takes
    assert catalog.find("p/unheard").takes_tools


def test_entry_says_what_is_known_of_a_model(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path)
    ref = catalog.find("local/a")
    assert ref == ModelRef("local", "a", True, True, 1000)
    assert catalog.details(ref) == KnownModel(
        ref=ref,
        name="Alpha",
        input=("text", "image"),
        cost=Cost(input=1, output=2, cache_read=3, cache_write=4),
    )
    assert catalog.details(ModelRef("local", "unheard")) is None


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("local/a", "local/a"),
        (" LOCAL/a ", "local/a"),
        ("local/team/b", "local/team/b"),
        ("local/A", "local/A"),
        ("unheard/x", "unheard/x"),
        ("claude-x", "anthropic/claude-x"),
        ("fast", "zeta/z"),
        ("  FAST ", "zeta/z"),
        ("fast/x", "fast/x"),
    ],
)
def test_model_is_found_by_its_name(tmp_path: Path, text: str, ref: str) -> None:
    catalog = catalog_of(tmp_path, **{"zeta/z": {"alias": "Fast"}, "local/a": {}})
    assert str(catalog.find(text)) == ref


def test_only_known_models_take_images_and_reason(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path)
    assert catalog.find("local/A") == ModelRef("local", "A")


@pytest.mark.parametrize(
    ("text", "allowed"),
    [("zeta/z", True), ("local/team/b", True), ("zeta/unheard", False), ("x/y", False)],
)
def test_without_a_list_every_configured_model_may_be_asked_for(
    tmp_path: Path, text: str, allowed: bool
) -> None:
    catalog = catalog_of(tmp_path)
    assert catalog.allows(catalog.find(text), OWN) is allowed


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("zeta/z", True),
        ("ZETA/z", True),
        ("fast", True),
        ("claude-x", True),
        ("far/away", True),
        ("local/a", False),
        ("local/team/b", False),
    ],
)
def test_with_a_list_only_its_members_may(
    tmp_path: Path, text: str, allowed: bool
) -> None:
    listed: Any = {"Zeta/z": {"alias": "fast"}, "claude-x": {}, "far/away": {}}
    catalog = catalog_of(tmp_path, **listed)
    assert catalog.allows(catalog.find(text), OWN) is allowed


@pytest.mark.parametrize("listed", [{}, {"zeta/z": {}}])
def test_agents_own_model_may_always_be_asked_for(
    tmp_path: Path, listed: dict[str, Any]
) -> None:
    assert catalog_of(tmp_path, **listed).allows(OWN, OWN)
