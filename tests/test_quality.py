"""The tools that read the code, and what may not be imported."""

import ast
import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tipsai

ROOT = Path(__file__).parents[1]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def tool(name: str) -> str:
    """The program beside this Python, else the one on the path."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"{name} is not installed: pip install -e '.[dev]'"
    return found


@pytest.mark.parametrize(
    "name, arguments",
    [("ruff", ["check", "."]), ("mypy", []), ("lint-imports", [])],
    ids=["ruff", "mypy", "lint-imports"],
)
def test_tool_finds_nothing(name, arguments):
    done = run(tool(name), *arguments)
    assert done.returncode == 0, f"{name} {' '.join(arguments)}\n{done.stdout}{done.stderr}"


def test_the_extra_all_holds_what_the_other_extras_hold():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = {name: set(text.split("\n")) - {""} for name, text in setup["options.extras_require"].items()}
    assert extras["all"] == set().union(*(held for name, held in extras.items() if name not in ("all", "dev")))
    assert extras["all"] < extras["dev"]


def test_the_lazy_names_agree_in_all_three_places():
    tree = ast.parse((ROOT / "tipsai/__init__.py").read_text())
    (guarded,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    typed = {node.module: {alias.name for alias in node.names} for node in guarded.body}
    assert typed == {home: set(names) for home, names in tipsai._HOMES.items()}
    named = [name for names in tipsai._HOMES.values() for name in names]
    assert len(named) == len(set(named)), "a name has one home"
    assert sorted(named) == sorted(tipsai.__all__)
    assert set(dir(tipsai)) == {*tipsai.__all__, "__version__"}


@pytest.mark.parametrize("name", tipsai.__all__)
def test_every_lazy_name_resolves(name):
    assert getattr(tipsai, name).__name__ == name


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'tipsai' has no attribute 'Lerner'"):
        tipsai.Lerner  # noqa: B018


@pytest.mark.parametrize(
    "statement, absent",
    [
        ("import tipsai", ("torch", "torchvision", "pandas", "matplotlib")),
        ("from tipsai import Learner, DataLoaders", ("torchvision", "pandas", "matplotlib", "sklearn")),
        ("from tipsai import " + ", ".join(tipsai.__all__), ("torchvision", "pandas", "matplotlib")),
        ("from tipsai.tabular import tabular_learner", ("torchvision", "matplotlib", "sklearn")),
        ("from tipsai import toys; toys.images(4); toys.text(9)", ("torchvision", "pandas", "matplotlib")),
    ],
)
def test_importing_brings_no_more_than_is_needed(statement, absent):
    done = run(sys.executable, "-c", f"{statement}\nimport sys\nprint(*(m for m in {absent!r} if m in sys.modules))")
    assert done.returncode == 0, done.stderr
    assert not done.stdout.split(), f"{statement} imports {done.stdout.split()}"
