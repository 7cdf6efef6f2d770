"""A module imports from lower floors, and without circles from its own package."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import gan_metrics

ROOT = Path(gan_metrics.__file__).parent
FLOORS = {
    "errors": 0,
    "specs": 0,
    "extras": 0,
    "protocols": 0,
    "locations": 0,
    "streams": 0,
    "texts": 0,
    "citations": 0,
    "methods": 1,
    "arithmetic": 1,
    "generators": 1,
    "images": 1,
    "value_ranges": 1,
    "preprocess": 1,
    "resampling": 1,
    "moments": 1,
    "communication": 1,
    "digests": 1,
    "downloads": 1,
    "results": 1,
    "backbones": 2,
    "metrics": 2,
    "cache": 2,
    "redis_cache": 2,
    "rows": 1,
    "features": 3,
    "chunks": 3,
    "ray_chunks": 3,
    "extraction": 3,
    "feature_files": 3,
    "options": 3,
    "sides": 3,
    "agreement": 3,
    "embedding": 3,
    "merging": 3,
    "stats": 3,
    "peer_files": 3,
    "references": 3,
    "npz": 1,
    "pickled_arrays": 1,
    "pickles": 1,
    "stored_moments": 1,
    "plan": 3,
    "cautions": 3,
    "measurement": 4,
    "scoring": 4,
    "per_image": 4,
    "findings": 5,
    "history": 1,
    "per_class": 4,
    "labels": 3,
    "evaluation": 4,
    "comparison": 5,
    "reproduction": 5,
    "attribution": 4,
    "perceptual": 4,
    "matches": 4,
    "inspection": 4,
    "maps": 4,
    "report": 5,
    "training": 5,
    "integrations": 6,
    "demo": 5,
    "cli": 7,
    "__main__": 8,
}
MODULES = sorted(
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in ROOT.rglob("*.py")
)


def imports_of(module: str) -> set[str]:
    """Every module of the package that a module imports, also inside functions."""
    path = ROOT.parent / (module.replace(".", "/") + ".py")
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in MODULES else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{module}: relative import"
    return {name for name in found if name.partition(".")[0] == "gan_metrics"}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def test_every_module_has_a_floor() -> None:
    assert {room(m) for m in MODULES} - {"__init__"} == set(FLOORS)


@pytest.mark.parametrize("module", [m for m in MODULES if m != "gan_metrics.__init__"])
def test_imports_go_down(module: str) -> None:
    for imported in imports_of(module):
        if room(imported) in ("", room(module)):
            continue
        here, there = FLOORS[room(module)], FLOORS[room(imported)]
        assert there <= here, f"{module} (floor {here}) imports {imported} (floor {there})"


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Some circle of a graph, or nothing."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path, node]
        if node not in done:
            for target in sorted(graph.get(node, ())):
                if found := visit(target, [*path, node]):
                    return found
            done.add(node)
        return []

    for node in graph:
        if found := visit(node, []):
            return found
    return []


def test_the_circle_finder_finds_circles() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["a", "b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_circles_between_modules_nor_between_rooms() -> None:
    modules = {m: {i for i in imports_of(m) if i != m} for m in MODULES}
    modules["gan_metrics.__init__"] = set()
    assert circle(modules) == []
    rooms: dict[str, set[str]] = {}
    for module, imported in modules.items():
        rooms.setdefault(room(module), set()).update(room(i) for i in imported)
    assert circle({r: targets - {r, ""} for r, targets in rooms.items()}) == []


def test_only_the_images_package_touches_pillow() -> None:
    for module in MODULES:
        text = (ROOT.parent / (module.replace(".", "/") + ".py")).read_text()
        if module not in ("gan_metrics.images.decode", "gan_metrics.images.encode"):
            assert "from PIL" not in text, module
