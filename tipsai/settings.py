"""Settings with their origin: what is in force, what the default would be, and where it comes from."""

from dataclasses import dataclass, fields
from typing import Any

from tipsai.core.text import table


@dataclass(frozen=True, slots=True)
class Setting:
    """One choice that a run was made with."""

    name: str
    value: Any
    default: Any
    source: str = ""

    @property
    def overridden(self) -> bool:
        return bool(self.value != self.default)


class Settings(dict[str, Setting]):
    """Settings by name; prints as a table."""

    def note(self, name: str, value: Any, default: Any, source: str = "") -> None:
        self[name] = Setting(name, value, default, source)

    def __str__(self) -> str:
        rows = [
            [
                s.name,
                _brief(s.value),
                "default" if not s.overridden else f"yours (default {_brief(s.default)})",
                s.source,
            ]
            for s in self.values()
        ]
        return table(rows, ["setting", "value", "from", "source"])

    __repr__ = __str__


def _brief(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = getattr(value, "__name__", None) or str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def choose(defaults: Any, given: dict[str, Any], into: Settings | None = None) -> dict[str, Any]:
    """The fields of a defaults dataclass, with those that were given (not None) put in their place.

    Each field's metadata may hold "source"; every choice is noted in `into`.
    """
    chosen = {}
    for f in fields(defaults):
        default = getattr(defaults, f.name)
        value = given.get(f.name)
        chosen[f.name] = default if value is None else value
        if into is not None:
            into.note(f.name, chosen[f.name], default, f.metadata.get("source", ""))
    return chosen
