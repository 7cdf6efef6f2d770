"""Registries: built-in entries by name, and entries from plug-ins.

A plug-in is an installed distribution with an entry point in the group :data:`GROUP`. The entry
point is a function without arguments that calls ``gan_metrics.plugins.register_…``. Entry points
are loaded once per process, when a registry is listed or does not contain a name; looking up a
built-in name never loads them.
"""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar, cast

from gan_metrics.errors import UsageError, unknown_name
from gan_metrics.utils.imports import import_object

__all__ = ["GROUP", "Origin", "Plugin", "Registry", "load_plugins", "origin_of_call"]

GROUP = "gan_metrics.plugins"
"""The group of entry points."""

_Entry = TypeVar("_Entry")


@dataclass(frozen=True)
class Origin:
    """The source of an entry.

    Attributes:
        name: The distribution; or the module that registered the entry without an entry point.
        version: Version of the distribution; ``None`` without an entry point.
    """

    name: str
    version: str | None = None

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name} {self.version}"

    def to_json(self) -> dict[str, str | None]:
        """Return plain JSON values."""
        return {"name": self.name, "version": self.version}


@dataclass(frozen=True)
class Plugin:
    """One entry point of a plug-in.

    Attributes:
        name: Name of the entry point.
        origin: Its distribution.
        error: Why it could not be loaded; ``None`` if it was loaded.
    """

    name: str
    origin: Origin
    error: str | None = None


class Registry(Mapping[str, _Entry]):
    """A mapping of names to entries, in the order of registration.

    Args:
        kind: Kind of the entries, for messages, such as ``"metric"``.
        entries: The built-in entries; a string ``"module:attribute"`` is imported at first use. Or
            a function that returns the entries, called at the first look-up.

    Examples:
        >>> colors = Registry("color", {"red": (255, 0, 0)})
        >>> colors["red"]
        (255, 0, 0)
        >>> colors.find("rde")
        Traceback (most recent call last):
            ...
        gan_metrics.errors.UsageError: unknown color 'rde'. Did you mean red?
    """

    def __init__(
        self,
        kind: str,
        entries: Mapping[str, _Entry | str] | Callable[[], Mapping[str, _Entry | str]],
    ) -> None:
        self.kind = kind
        self._own = entries
        self._origins: dict[str, Origin] = {}

    @functools.cached_property
    def _entries(self) -> dict[str, _Entry | str]:
        return dict(self._own() if callable(self._own) else self._own)

    @property
    def view(self) -> Mapping[str, _Entry]:
        """Return this mapping without the methods that change it."""
        return MappingProxyType(self)

    def add(self, name: str, entry: _Entry, origin: Origin, reserved: Iterable[str] = ()) -> None:
        """Add an entry.

        Args:
            name: Its name.
            entry: The entry; adding the same object again does nothing.
            origin: The source of the entry.
            reserved: Other names that must not be used, such as aliases.

        Raises:
            UsageError: If the name is not text, or is used by another entry.
        """
        if not isinstance(name, str) or not name.strip():
            raise UsageError(f"the name of a {self.kind} must be text, not {name!r}")
        if name in self._entries and self._entries[name] is entry:
            return
        if name in self._entries or name in reserved:
            owner = self._origins.get(name)
            by = "built in" if owner is None else f"registered by {owner}"
            raise UsageError(f"the {self.kind} {name!r} is {by}; choose another name")
        self._entries[name] = entry
        self._origins[name] = origin
        _ADDED.append((self, name))

    def remove(self, name: str) -> None:
        """Remove an added entry."""
        del self._origins[name], self._entries[name]

    def find(self, name: str, others: Iterable[str] = ()) -> _Entry:
        """Return the entry of a name.

        Args:
            name: The name.
            others: Further known names, for the suggestion.

        Raises:
            UsageError: If there is no such entry; the message suggests the nearest names.
        """
        if name in self:
            return self[name]
        raise unknown_name(self.kind, name, [*self, *others])

    def origin(self, name: str) -> Origin | None:
        """Return the source of an entry; ``None`` if it is built in."""
        return self._origins.get(name)

    def built_in(self) -> dict[str, _Entry]:
        """Return the built-in entries by name; loads no plug-in."""
        return {name: self[name] for name in self._entries if name not in self._origins}

    def registered(self) -> list[str]:
        """Return the names of all entries so far; loads no plug-in."""
        return list(self._entries)

    def __getitem__(self, name: str) -> _Entry:
        if not self._has(name):
            raise KeyError(name)
        entry = self._entries[name]
        if isinstance(entry, str) and ":" in entry:
            entry = self._entries[name] = cast(_Entry, import_object(entry))
        return cast(_Entry, entry)

    def __contains__(self, name: object) -> bool:
        return self._has(name)

    def __iter__(self) -> Iterator[str]:
        load_plugins()
        return iter(list(self._entries))

    def __len__(self) -> int:
        load_plugins()
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<Registry of {self.kind}: {', '.join(self._entries)}>"

    def _has(self, name: object) -> bool:
        """Whether an entry exists; plug-ins are loaded before the answer is no."""
        if not isinstance(name, str) or not name:
            return False
        if name not in self._entries:
            load_plugins()
        return name in self._entries


_ADDED: list[tuple[Registry[Any], str]] = []
"""Entries added to the registries, in order."""
_LOCK = threading.RLock()
_FOUND: list[Plugin] = []
_LOADING: list[Origin] = []
"""The distribution whose entry point is being loaded; empty if none is."""
_STARTED: list[bool] = []
"""Set once the entry points are loaded or being loaded."""


def load_plugins() -> list[Plugin]:
    """Return the installed plug-ins, and load them on the first call in a process.

    A plug-in that cannot be loaded registers nothing, and causes one warning. With
    ``GAN_METRICS_PLUGINS=0`` plug-ins are not searched.
    """
    from gan_metrics import settings  # slow to import, not needed for --help

    with _LOCK:  # other threads wait; the loading thread may look up
        if not _STARTED:
            _STARTED.append(True)
            if settings.plugins_enabled():
                _FOUND.extend(_loaded())
        return list(_FOUND)


def _loaded() -> list[Plugin]:
    import importlib.metadata

    points = []
    for point in importlib.metadata.entry_points(group=GROUP):
        of = point.dist
        origin = Origin(point.module if of is None else of.name, None if of is None else of.version)
        points.append((origin.name, point.name, origin, point))
    found = []
    for *_, origin, point in sorted(points, key=lambda row: row[:2]):
        _LOADING.append(origin)
        before, error = len(_ADDED), None
        try:
            point.load()()
        except (Exception, SystemExit) as raised:  # plug-ins may raise anything
            error = f"{type(raised).__name__}: {raised}"
            while len(_ADDED) > before:
                registry, name = _ADDED.pop()
                registry.remove(name)
        finally:
            _LOADING.pop()
        if error is not None:
            warnings.warn(
                f"the plug-in {point.name} of {origin} could not be loaded ({error}); what it "
                "provides is unavailable. GAN_METRICS_PLUGINS=0 turns plug-ins off",
                RuntimeWarning,
                stacklevel=2,
            )
        found.append(Plugin(point.name, origin, error))
    return found


def origin_of_call(module: str) -> Origin:
    """Return the source of the entry that is being registered.

    Args:
        module: Module of the caller, for calls outside of an entry point.
    """
    return _LOADING[-1] if _LOADING else Origin(module)
