"""YAML as bounded data: plain values alone, and what is too large, too deep or refers to itself is refused at once.

A few lines of YAML can stand for more nodes than there is memory (aliases of aliases), or for themselves. Nodes are
counted as they would be read out, before anything is made of them.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

LARGEST = 256 * 1024
"""Characters."""
MOST_NODES = 10_000
"""Keys and values, aliases as often as they are used."""
DEEPEST = 32
"""Mappings and lists inside each other."""
PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null", "merge")}
LONGEST_NUMBER = 40
"""Characters of a number; Python reads no integer of more than 4,300 digits and prints none."""


def parse(text: str) -> tuple[Any, dict[str, int]]:
    """The document (None for an empty one) and the line of each dotted key.

    Raises:
        yaml.YAMLError: no YAML, not plain, too large, or a key that is given twice.
    """
    if len(text) > LARGEST:
        raise yaml.YAMLError(f"longer than {LARGEST:,} characters")
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        lines: dict[str, int] = {}
        _walk(node, "", lines)
        return (None if node is None else loader.construct_document(node)), lines
    except (ValueError, LookupError) as error:  # `!!int x`, `!!bool maybe`
        raise yaml.YAMLError(f"not what its tag says: {error}") from error
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads `1e-3` as text; here it is the number that everyone means."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = self.nodes = 0
        self.sizes: dict[str, int] = {}
        """Anchor → the nodes below it, once it is closed."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) and event.anchor in self.anchors:
            if event.anchor not in self.sizes:
                raise _refused(event, f"*{event.anchor} contains itself")
            self._count(self.sizes[event.anchor], event)
            return super().compose_node(parent, index)
        before = self.nodes
        self._count(1, event)
        self.depth += 1
        if self.depth > DEEPEST:
            raise _refused(event, f"nested more than {DEEPEST} deep")
        node: Any = super().compose_node(parent, index)
        if node.tag not in PLAIN:
            raise _refused(event, f"{node.tag} is no plain value")
        self.depth -= 1
        if getattr(event, "anchor", None):
            self.sizes[event.anchor] = self.nodes - before
        return node

    def _count(self, more: int, event: Any) -> None:
        self.nodes += more
        if self.nodes > MOST_NODES:
            raise _refused(event, f"more than {MOST_NODES:,} keys and values")

    def number(self, node: Any) -> Any:
        """A number of a length that a person writes."""
        if len(node.value) > LONGEST_NUMBER:
            raise _refused(node, f"a number of {len(node.value):,} characters")
        return self.construct_yaml_int(node) if node.tag.endswith(":int") else self.construct_yaml_float(node)


def _refused(place: Any, why: str) -> yaml.YAMLError:
    return yaml.YAMLError(f"line {place.start_mark.line + 1}: {why}")


for kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{kind}", _Loader.number)
_Loader.yaml_implicit_resolvers = {  # a name such as 2026-11-22 is text
    first: [(tag, text) for tag, text in known if tag in PLAIN]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _walk(node: Any, prefix: str, lines: dict[str, int]) -> None:
    """The line of each key, which is text; YAML would take the last of two equal keys without a word."""
    if not isinstance(node, yaml.MappingNode):
        return
    own: set[str] = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.YAMLError(f"line {line}: a key must be text")
        if key.value in own and key.value != "<<":
            raise yaml.YAMLError(f"line {line}: '{prefix}{key.value}' is given twice")
        own.add(key.value)
        if key.value != "<<":
            key.tag = "tag:yaml.org,2002:str"  # YAML 1.1 takes `on: maps` for `true: maps`
        lines[f"{prefix}{key.value}"] = line
        _walk(value, f"{prefix}{key.value}.", lines)
