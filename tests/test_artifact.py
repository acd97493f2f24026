import json
import zipfile

import pytest
import torch
from helpers import copied, dataloaders, learner, mlp, same
from torch import nn

from tipsai import container, load_learner
from tipsai.artifact import data_fingerprint, git_commit
from tipsai.core.errors import ArtifactError, OutputError


@pytest.fixture
def exported(tmp_path):
    learn = learner(metrics=["accuracy"])
    learn.fit(1, progress=False)
    learn.export(tmp_path / "m.tips")
    return learn, tmp_path / "m.tips"


def test_a_hand_made_model_is_passed_in_and_predicts_the_same(exported):
    learn, path = exported
    x = torch.randn(30, 5)
    again = load_learner(path, model=mlp(seed=9), device="cpu")
    assert again.history == learn.history and again.seed == learn.seed
    assert torch.equal(learn.get_preds(learn.dls.test_dl(x))[0], learn.predict(x))
    again = load_learner(path, model=mlp(seed=9), dls=dataloaders(), device="cpu")
    assert torch.equal(again.predict(x), learn.predict(x)) and again.validate() == learn.validate()


def test_without_the_model_the_error_says_how_to_pass_it(exported):
    with pytest.raises(
        ArtifactError, match=r"holds a hand-made Sequential; pass an instance: load_learner\(path, model="
    ):
        load_learner(exported[1])


@pytest.mark.parametrize("model", [mlp(n_out=4), nn.Linear(5, 3)])
def test_a_model_that_does_not_fit_is_refused(exported, model):
    with pytest.raises(
        ArtifactError, match=r"(?s)m\.tips does not fit \(RuntimeError.*or pass the model it was made from"
    ):
        load_learner(exported[1], model=model)


def test_training_further_needs_data_and_goes_on_with_some(exported):
    learn, path = exported
    with pytest.raises(ValueError, match="there is no train data; give some"):
        load_learner(path, model=mlp(), device="cpu").fit(1, progress=False)
    again = load_learner(path, model=mlp(), dls=dataloaders(), device="cpu")
    again.fit(1, progress=False)
    assert [row["epoch"] for row in again.history] == [1, 2]


def test_looks_at_test_data_travel_in_the_artifact(exported):
    learn, path = exported
    learn.dls.test = learn.dls.valid
    learn.test()
    learn.export(path)
    assert load_learner(path, model=mlp(), device="cpu").test_looks == learn.test_looks != {}


def test_an_artifact_holds_data_only(exported):
    with zipfile.ZipFile(exported[1]) as archive:
        assert archive.namelist() == ["manifest.json", "processors.json", "model.safetensors"]
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["kind"] == "artifact" and manifest["builder"] is None and manifest["metrics"] == ["accuracy"]
    assert manifest["versions"]["torch"] == torch.__version__ and manifest["git_commit"] == git_commit()


def test_names_that_this_version_does_not_know_are_refused(tmp_path):
    manifest = {"format_version": 1, "kind": "artifact", "builder": {"name": "os:system", "arguments": {}}}
    documents = {"manifest": manifest, "processors": None}
    container.write(tmp_path / "a.tips", documents, {"model": {}})
    with pytest.raises(ArtifactError, match="names 'os:system', which this version does not know"):
        load_learner(tmp_path / "a.tips")
    documents["processors"] = [{"type": "Evil", "state": {}}] * 2
    container.write(tmp_path / "a.tips", documents, {"model": {}})
    with pytest.raises(ArtifactError, match="names 'Evil'"):
        load_learner(tmp_path / "a.tips")


@pytest.mark.parametrize("missing", ["builder", "kind"])
def test_a_manifest_with_something_missing_is_an_error(tmp_path, missing):
    manifest = {"format_version": 1, "kind": "artifact", "builder": None, "model_class": "M"}
    del manifest[missing]
    container.write(tmp_path / "a.tips", {"manifest": manifest, "processors": None}, {"model": {}})
    with pytest.raises(ArtifactError, match="a.tips (does not fit|holds the kind None, no exported model)"):
        load_learner(tmp_path / "a.tips")


def test_save_and_load_bring_back_weights_optimizer_and_history(tmp_path):
    first = learner(model=mlp(dropout=0.2))
    first.fit(1, progress=False)
    first.save(tmp_path / "s.tips")
    again = learner(model=mlp(dropout=0.2, seed=5))
    again.load(tmp_path / "s.tips")
    assert same(copied(again.model), copied(first.model)) and again.history == first.history
    again.n_fits = first.n_fits
    for learn in (first, again):
        learn.fit(1, progress=False)
    assert same(copied(again.model), copied(first.model)) and again.history == first.history


def test_an_untrained_learner_can_be_saved(tmp_path):
    first, again = learner(), learner(model=mlp(seed=5))
    first.save(tmp_path / "s.tips")
    again.load(tmp_path / "s.tips")
    assert same(copied(again.model), copied(first.model)) and again.opt is None


def test_load_refuses_other_kinds_and_other_models(tmp_path):
    learn = learner()
    learn.export(tmp_path / "m.tips")
    with pytest.raises(
        ArtifactError,
        match="holds the kind 'artifact'; load takes what learn.save wrote, load_learner what learn.export",
    ):
        learn.load(tmp_path / "m.tips")
    learn.save(tmp_path / "s.tips")
    with pytest.raises(
        ArtifactError, match="holds the kind 'save', no exported model; give a file that learn.export wrote"
    ):
        load_learner(tmp_path / "s.tips")
    with pytest.raises(ArtifactError, match="(?s)does not fit this learner: .*size mismatch"):
        learner(model=mlp(n_out=4)).load(tmp_path / "s.tips")


def test_tied_weights_stay_tied_through_an_artifact(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.up = nn.Linear(5, 3, bias=False), nn.Linear(3, 3)
            self.again = nn.Linear(3, 3)
            self.again.weight = self.up.weight

        def forward(self, x):
            return self.again(self.up(self.down(x)).relu())

    learn = learner(model=Tied())
    learn.fit(1, progress=False)
    learn.export(tmp_path / "m.tips")
    again = load_learner(tmp_path / "m.tips", model=Tied(), device="cpu")
    assert again.model.again.weight is again.model.up.weight and same(copied(again.model), copied(learn.model))


def test_an_artifact_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        learner().export(tmp_path / "file" / "m.tips")


def test_a_fingerprint_follows_the_data():
    first, again = dataloaders().train, dataloaders().train
    assert data_fingerprint(first) == data_fingerprint(again) != data_fingerprint(dataloaders(95).train)
    again.rows.x[0][7, 1] += 1
    assert data_fingerprint(first) != data_fingerprint(again) and data_fingerprint(None) == ""


def test_outside_a_repository_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit() == ""
    monkeypatch.setenv("PATH", "")
    assert git_commit() == ""
