"""load_learner: what an exported file gives back, and what it must never do."""

import importlib
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from tipsai import DataLoaders, Learner, container, load, load_learner
from tipsai.core.errors import ArtifactError, SettingError
from tipsai.tabular import TabularDataLoaders, tabular_learner

N = 60
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame({"a": RNG.normal(size=N), "b": np.array(["u", "v"])[RNG.integers(0, 2, N)]})
FRAME["y"] = np.where(FRAME["a"] > 0, "up", "down")


def loaders(**options):
    return TabularDataLoaders.from_df(FRAME, "y", **options)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.tips"
    learn = tabular_learner(loaders(), n_members=2, width=16, seed=0, metrics="accuracy")
    learn.fit_one_cycle(1, progress=False)
    learn.export(path)
    return path, learn


def changed(path, tmp_path, change):
    """A copy with other documents, sealed as a whole file is."""
    documents, tensors = container.read(path)
    change(documents)
    container.write(tmp_path / "changed.tips", documents, tensors)
    return tmp_path / "changed.tips"


def test_history_metrics_and_seed_come_back(exported):
    path, learn = exported
    again = load_learner(path)
    assert again.history == learn.history and list(again.metrics) == ["accuracy"] and again.seed == 0


def test_it_can_be_exported_again(exported, tmp_path):
    path, learn = exported
    load_learner(path).export(tmp_path / "again.tips")
    pd.testing.assert_frame_equal(load_learner(tmp_path / "again.tips").predict(FRAME), learn.predict(FRAME))


def test_with_dls_it_trains_further_with_the_loss_of_its_builder(exported):
    path, learn = exported
    again = load_learner(path, dls=loaders())
    assert again.validate() == pytest.approx(learn.validate())
    before = again.validate()["valid_loss"]
    again.fit_one_cycle(5, progress=False)
    assert again.validate()["valid_loss"] < before


def test_dls_that_encode_otherwise_are_refused(exported):
    path, _ = exported
    for dls in (loaders(kinds={"b": "skip"}), TabularDataLoaders.from_df(FRAME.assign(a=FRAME["a"] * 2), "y")):
        with pytest.raises(SettingError, match="dls encode their fields in another way.*Make dls with like="):
            load_learner(path, dls=dls)


def test_without_dls_fit_says_what_is_missing(exported):
    again = load_learner(exported[0])
    with pytest.raises(SettingError, match="no train data"):
        again.fit_one_cycle(1, progress=False)
    with pytest.raises(SettingError, match="no valid data"):
        again.validate()


@pytest.mark.parametrize("size", [0, 1, 100, 0.5, -1])
def test_a_truncated_file_is_named(exported, tmp_path, size):
    data = exported[0].read_bytes()
    cut = tmp_path / "cut.tips"
    cut.write_bytes(data[: size if isinstance(size, int) else len(data) // 2])
    with pytest.raises(ArtifactError, match=r"cut.tips.*(truncated|changed).*[Ee]xport it anew"):
        load_learner(cut)


@pytest.mark.parametrize("at", [0.05, 0.3, 0.6, 0.95])
def test_a_changed_byte_is_found(exported, tmp_path, at):
    data = bytearray(exported[0].read_bytes())
    data[int(at * len(data))] ^= 1
    path = tmp_path / "changed.tips"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="changed.tips"):
        load_learner(path)


def test_a_newer_format_is_named(exported, tmp_path):
    path = changed(exported[0], tmp_path, lambda d: d["manifest"].update(format_version=999))
    with pytest.raises(ArtifactError, match=r"has format 999; this version reads up to \d+. Upgrade: pip install -U"):
        load_learner(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["manifest"]["builder"].update(name="os:system"),
        lambda d: d["manifest"]["builder"].update(name="tipsai.learner:Learner"),
        lambda d: d["processors"][0].update(type="subprocess:Popen"),
        lambda d: d["processors"][1].update(type="builtins:eval"),
    ],
)
def test_a_name_that_is_in_no_table_is_refused_and_not_imported(exported, tmp_path, change, monkeypatch):
    path = changed(exported[0], tmp_path, change)
    asked = set()

    def watched(name):
        asked.add(name)
        return importlib.import_module(name)

    monkeypatch.setattr(load, "importlib", SimpleNamespace(import_module=watched))
    with pytest.raises(ArtifactError, match="which this version does not know. Upgrade"):
        load_learner(path)
    assert asked <= {place.split(":")[0] for place in (*load.BUILDERS.values(), *load.BLOCKS.values())}


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["manifest"].pop("builder"),
        lambda d: d["manifest"]["builder"].update(arguments={"width": 3}),
        lambda d: d["manifest"]["builder"]["arguments"].update(width=8),
        lambda d: d["processors"].pop(),
        lambda d: d["processors"][0]["state"].pop("columns"),
        lambda d: d.pop("processors"),
        lambda d: d["manifest"].update(kind="save"),
        lambda d: d["manifest"].update(builder=None),
    ],
)
def test_a_damaged_manifest_is_a_typed_error(exported, tmp_path, change):
    with pytest.raises(ArtifactError, match="changed.tips"):
        load_learner(changed(exported[0], tmp_path, change))


def test_a_missing_file(tmp_path):
    with pytest.raises(ArtifactError, match="no file .*none.tips"):
        load_learner(tmp_path / "none.tips")


def test_a_hand_made_model_is_passed_in(tmp_path):
    x, y = torch.randn(20, 3), torch.arange(20) % 2
    dls = DataLoaders.from_tensors((x, y), (x, y))
    learn = Learner(dls, torch.nn.Linear(3, 2), seed=0)
    learn.export(tmp_path / "m.tips")
    with pytest.raises(ArtifactError, match=r"hand-made Linear; pass an instance: load_learner\(path, model=Linear"):
        load_learner(tmp_path / "m.tips")
    again = load_learner(tmp_path / "m.tips", torch.nn.Linear(3, 2), dls)
    torch.testing.assert_close(again.get_preds()[0], learn.get_preds()[0])
    with pytest.raises(ArtifactError, match="does not fit"):
        load_learner(tmp_path / "m.tips", torch.nn.Linear(4, 2))


def test_a_device_that_is_not_there(exported):
    with pytest.raises(SettingError, match="device 'cuda:99' is not on this machine.*Use 'auto' or 'cpu'"):
        load_learner(exported[0], device="cuda:99")


def test_predictions_in_another_process_are_the_same(exported, tmp_path):
    path, learn = exported
    FRAME.to_parquet(tmp_path / "rows.parquet")
    code = f"""
import json, pandas as pd
from tipsai import load_learner
print(json.dumps(load_learner({str(path)!r}).predict(pd.read_parquet({str(tmp_path / "rows.parquet")!r}))["p_up"].tolist()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    np.testing.assert_allclose(json.loads(done.stdout), learn.predict(FRAME)["p_up"], atol=1e-6)


def test_a_reloaded_model_trains_further_on_new_rows(tmp_path):
    rng = np.random.default_rng(0)
    first = pd.DataFrame({"a": rng.normal(size=300), "c": rng.choice(["x", "y", "z"], 300)})
    first["t"] = np.where(first.a + (first.c == "x") > 0, "yes", "no")
    learn = tabular_learner(TabularDataLoaders.from_df(first, "t"), n_members=1, width=16, seed=0)
    learn.fit_one_cycle(2, progress=False)
    learn.export(tmp_path / "m.tips")
    later = first.assign(a=first.a * 3 + 1, c="y")  # other statistics, fewer categories
    dls = TabularDataLoaders.from_df(later, "t", like=load_learner(tmp_path / "m.tips").dls)
    again = load_learner(tmp_path / "m.tips", dls=dls)
    pd.testing.assert_frame_equal(again.predict(first), learn.predict(first))
    before = again.validate()["valid_loss"]
    again.fit_one_cycle(3, progress=False)
    assert again.validate()["valid_loss"] < before and len(again.history) == 5
    with pytest.raises(SettingError, match="like is given, so kinds, ignore, task and text would be ignored"):
        TabularDataLoaders.from_df(later, "t", like=again.dls, kinds={"a": "skip"})
