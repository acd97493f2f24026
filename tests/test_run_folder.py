"""What a run's folder remembers, and when a run may begin or go on in it. The command line's own tests go through it, too."""

import json
import math

import pytest

from tipsai import run_folder
from tipsai.core.errors import OutputError, ResumeError, SettingError


def given(**changed):
    return dict.fromkeys(run_folder.REMEMBERED) | {"data": "train.csv", "seed": 3} | changed


def test_a_new_run_writes_nothing_and_remembers_what_was_given(tmp_path):
    folder, config = run_folder.open_run(given(), str(tmp_path / "run"), False)
    assert folder == tmp_path / "run" and not folder.exists() and config == given()


def test_the_folder_is_named_for_the_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, _ = run_folder.open_run(given(data="some/table.csv"), None, False)
    assert folder.parts[0] == "runs" and folder.name.startswith("table-20")


@pytest.mark.parametrize("name", run_folder.FILES)
def test_what_a_run_left_is_not_lost(name, tmp_path):
    (tmp_path / name).write_text("{}")
    with pytest.raises(OutputError, match=f"already holds a run \\({name}\\)"):
        run_folder.open_run(given(), str(tmp_path), False)


def test_going_on_takes_what_was_remembered_and_refuses_what_differs(tmp_path):
    run_folder.write_json(tmp_path / "config.json", given(n_epochs=5))
    _, config = run_folder.open_run(given(seed=None), str(tmp_path), True)
    assert config == given(n_epochs=5)
    with pytest.raises(ResumeError, match="seed: 3 in the run, 4 now"):
        run_folder.open_run(given(seed=4), str(tmp_path), True)
    with pytest.raises(SettingError, match="--resume needs --out"):
        run_folder.open_run(given(), None, True)
    with pytest.raises(ResumeError, match="holds no run to go on with"):
        run_folder.open_run(given(), str(tmp_path / "none"), True)


def test_json_knows_no_infinity(tmp_path):
    run_folder.write_json(tmp_path / "a.json", {"a": math.nan, "b": math.inf, "c": 0.5})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": None, "b": None, "c": 0.5}
    assert run_folder.read_json(tmp_path / "a.json")["c"] == 0.5
