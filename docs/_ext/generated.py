"""Directives of these pages whose content is read from the program.

``config-reference``, ``ignored-sections``, ``method-table``, ``unserved-methods``,
``event-list``, ``error-table``, ``daemon-options`` and ``command-options`` take neither
arguments nor content.  ``pages`` is a ``toctree`` whose patterns may match nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import rst
from commands import all_commands, daemon_options
from configkeys import all_keys
from docutils import nodes
from docutils.statemachine import StringList
from errortable import all_errors
from methods import served_methods, unserved_names
from sphinx.application import Sphinx
from sphinx.directives.other import TocTree
from sphinx.util.docutils import SphinxDirective
from sphinx.util.matching import patfilter

from moltbot_gw.ws.hub import EVENTS


def _method_table() -> Iterable[str]:
    header = ("Method", "Needs", "Parameters", "What it does")
    rows = [
        (
            f"``{one.name}``",
            one.needs,
            ", ".join(f"``{name}``" for name in one.params),
            one.text,
        )
        for one in served_methods()
    ]
    return rst.table(header, rows)


def _error_table() -> Iterable[str]:
    header = ("Status", "``code``", "``type``", "When")
    rows = [
        (str(one.status), f"``{one.code}``", f"``{one.type}``", one.text)
        for one in all_errors()
    ]
    return rst.table(header, rows)


def _names(names: Iterable[str]) -> Iterable[str]:
    return [", ".join(f"``{name}``" for name in names) + "."]


_SOURCES: dict[str, Callable[[], Iterable[str]]] = {
    "config-reference": lambda: rst.config_reference(all_keys()),
    "ignored-sections": lambda: rst.ignored_sections(all_keys()),
    "method-table": _method_table,
    "unserved-methods": lambda: _names(unserved_names()),
    "event-list": lambda: _names(EVENTS),
    "error-table": _error_table,
    "daemon-options": lambda: rst.option_list(
        ("twistd", "moltbot-gateway"), daemon_options()
    ),
    "command-options": lambda: rst.command_list(all_commands()),
}


def source_of(name: str) -> str:
    """Return what the directive *name* stands for, as reStructuredText."""
    return "\n".join(_SOURCES[name]())


class Generated(SphinxDirective):
    """A directive whose own name says what it is replaced with."""

    def run(self) -> list[nodes.Node]:
        """Parse what was generated in the place of the directive."""
        return self.parse_text_to_nodes(
            source_of(self.name), allow_section_headings=True
        )


class Pages(TocTree):
    """A list of pages in which a pattern may stand for pages that do not exist yet."""

    option_spec = TocTree.option_spec

    def run(self) -> list[nodes.Node]:
        """Leave out the patterns without a page, of which Sphinx would warn."""
        found = [line for line in self.content if self._has_pages(line.strip())]
        self.content = StringList(found, "pages")
        self.options["glob"] = True
        return super().run()

    def _has_pages(self, pattern: str) -> bool:
        return "*" not in pattern or bool(patfilter(self.env.found_docs, pattern))


def setup(app: Sphinx) -> dict[str, Any]:
    """Be a Sphinx extension."""
    for name in _SOURCES:
        app.add_directive(name, Generated)
    app.add_directive("pages", Pages)
    return {"parallel_read_safe": True}
