"""The way from environment and files to one checked `Config`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .environ import ENV_FILE, ENV_SETTINGS, add_env_block, load_environ
from .include import Document, read_document
from .issues import ConfigError, Fault, Issue, Place, dotted
from .legacy import find_later, find_legacy
from .model import Config
from .notices import find_notices
from .paths import config_path, expand_home, is_path_value, state_dir
from .rules import check_rules
from .substitute import substitute
from .tree import find_value, map_strings
from .validate import validate

MAX_ISSUES = 100
"""As many are told at once; the rest is counted."""


@dataclass(frozen=True, kw_only=True)
class LoadedConfig:
    """A configuration, and what was learned on the way to it.

    *exists* is False when there is no file at *path* and everything is default.
    *environ* is the environment with ``.env`` and the ``env`` block: API keys are
    looked up here.  *notices* are lines for the log, one per part that has no effect.
    *files* are *path*, what it includes, and ``.env``, whether they are there or not.
    """

    config: Config
    path: Path
    exists: bool
    environ: Mapping[str, str] = field(repr=False)
    notices: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CheckedDocument:
    """A valid document: its *tree* as the model took it, with all secrets in clear."""

    tree: Any = field(repr=False)
    config: Config
    environ: Mapping[str, str] = field(repr=False)


def load_config(
    environ: Mapping[str, str], home: Path, *, path: Path | None = None
) -> LoadedConfig:
    """Read, check and return the configuration; nothing global is changed.

    *path* is a file that must exist; without it the usual places are searched, and a
    missing file means defaults.  Raises `ConfigError`, and nothing else, for whatever
    is wrong with the files.
    """
    main = path or config_path(environ, home)
    document = read_document(main)
    state = state_dir(environ, home)
    if document is not None:
        files = (*document.texts, state / ENV_FILE)
        try:
            checked = check_document(document, main, environ, home)
        except ConfigError as error:
            raise ConfigError(error.path, error.issues, files) from None
        return LoadedConfig(
            config=checked.config,
            path=main,
            exists=True,
            environ=checked.environ,
            notices=find_notices(checked.tree),
            files=files,
        )
    if path is not None:
        raise ConfigError(main, (Issue("", "the file does not exist", main),))
    return LoadedConfig(
        config=Config(),
        path=main,
        exists=False,
        environ=load_environ(environ, state),
        files=(main, state / ENV_FILE),
    )


def check_document(
    document: Document, main: Path, environ: Mapping[str, str], home: Path
) -> CheckedDocument:
    """Check *document* as the content of *main*; raises `ConfigError` only."""
    state = state_dir(environ, home)
    variables = add_env_block(load_environ(environ, state), document.tree)
    tree, missing = substitute(document.tree, variables)
    _refuse(missing, main, document)
    tree = _expand_paths(tree, home)
    config = _check(tree, main, document, state)
    return CheckedDocument(tree=tree, config=config, environ=variables)


def _check(tree: Any, main: Path, document: Document, state: Path) -> Config:
    _refuse([*find_legacy(tree), *find_later(tree)], main, document)
    config, faults = validate(tree)
    _refuse([*faults, *_bad_variables(tree)], main, document)
    assert config is not None, "no configuration and no fault"
    _refuse(check_rules(config, state), main, document)
    return config


def _expand_paths(tree: Any, home: Path) -> Any:
    def expand(text: str, place: Place) -> str:
        return expand_home(text, home) if is_path_value(place) else text

    return map_strings(tree, expand)


def _bad_variables(tree: Any) -> list[Fault]:
    """Return a fault per variable of the ``env`` block that is not a string.

    The block's type cannot say it: it has two settings beside any number of variables.
    """
    block = find_value(tree, ("env",))
    if not isinstance(block, dict):
        return []
    return [
        Fault(("env", name), "expected a string")
        for name, value in block.items()
        if name not in ENV_SETTINGS and not isinstance(value, str)
    ]


def _refuse(faults: Sequence[Fault], main: Path, document: Document) -> None:
    issues = [_located(fault, document) for fault in faults[:MAX_ISSUES]]
    if len(faults) > MAX_ISSUES:
        issues.append(Issue("", f"and {len(faults) - MAX_ISSUES} more"))
    if issues:
        raise ConfigError(main, tuple(issues))


def _located(fault: Fault, document: Document) -> Issue:
    keys = [name for name in fault.place if isinstance(name, str)]
    file, line = document.locate(keys[-1]) if keys else (None, None)
    return Issue(dotted(fault.place), fault.message, file, line)
