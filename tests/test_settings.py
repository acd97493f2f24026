from dataclasses import dataclass, field

import pytest
from helpers import learner

from tipsai.settings import Settings, choose


@dataclass(frozen=True)
class Defaults:
    width: int = field(default=64, metadata={"source": "Somebody 2001"})
    share: float = 1 / 3


def test_what_was_given_takes_the_defaults_place():
    noted = Settings()
    assert choose(Defaults(), {"width": 128, "share": None}, noted) == {"width": 128, "share": 1 / 3}
    assert noted["width"].overridden and not noted["share"].overridden
    assert noted["width"].source == "Somebody 2001"


def test_zero_and_false_are_given_values():
    assert choose(Defaults(), {"width": 0})["width"] == 0


def test_the_table_tells_yours_from_the_defaults():
    noted = Settings()
    choose(Defaults(), {"width": 128}, noted)
    width, share = str(noted).splitlines()[2:]
    assert "128" in width and "yours (default 64)" in width and "Somebody 2001" in width
    assert "0.3333" in share and "yours" not in share


def test_long_values_are_cut():
    noted = Settings()
    noted.note("name", "x" * 99, "x" * 99)
    assert "x" * 37 + "..." in str(noted) and "x" * 41 not in str(noted)


@pytest.mark.parametrize(
    ("options", "name", "shown"),
    [
        ({"lr": 0.5}, "lr", "0.5"),
        ({"wd": 0.3}, "wd", "0.3 yours (default 0.01)"),
        ({"opt": "sgd"}, "opt", "sgd yours (default adamw)"),
        ({"seed": 7}, "seed", "7 yours (default drawn)"),
        ({"precision": "bf16"}, "precision", "bf16 yours (default auto)"),
        ({"lr": None}, "lr (base)", "0.0003 default"),
        ({"lr": None}, "lr factor for size", "20 default TR01, 75 parameters"),
    ],
)
def test_explain_prints_what_was_overridden(capsys, options, name, shown):
    learner(**options).explain()
    lines = {line.split("  ")[0]: " ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    assert shown in lines[name] and ("yours" in lines[name]) == (options != {"lr": None})


def test_with_nothing_given_everything_is_the_default(capsys):
    from helpers import dataloaders, mlp

    from tipsai import Learner

    Learner(dataloaders(), mlp()).explain()
    out = capsys.readouterr().out
    assert "yours" not in out and all(code in out for code in ("TR01", "TR04", "TR07", "TR11", "TR12", "TR17"))
