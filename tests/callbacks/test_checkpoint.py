import logging

import pytest
from helpers import At, Boom, boom, copied, learner, same

from tipsai import EMA, CSVLogger, FunctionLogger, KeepBest, container
from tipsai.callbacks.checkpoint import compare
from tipsai.core import loop
from tipsai.core.errors import ArtifactError, OutputError, ResumeError, SettingError


@pytest.fixture
def fetch_always(monkeypatch):
    monkeypatch.setattr(loop, "FETCH_SECONDS", -1.0)


def _interrupted(path, **options):
    learn = learner(**options)
    with pytest.raises(Boom):
        learn.fit_one_cycle(3, checkpoint=path, checkpoint_seconds=0, progress=False, callbacks=[At(8, boom)])


def test_checkpoints_fall_on_every_step_and_epoch_where_that_was_asked_for(tmp_path, fetch_always):
    path, steps = tmp_path / "c.tips", []

    class Look(At):
        def after_log(self, st):
            steps.append(container.read(path)[0]["state"]["$items"][0][1])

    learner().fit(1, checkpoint=path, checkpoint_seconds=0, callbacks=[Look(0, None, order=101)], progress=False)
    counters = [container.unpack(tree, {}) for tree in steps]
    assert [c["step"] for c in counters] == [1, 2, 3, 4, 5, 6, 6]


def test_within_an_epoch_checkpoints_keep_their_distance(tmp_path, fetch_always):
    path, saved = tmp_path / "c.tips", []

    class Look(At):
        def after_log(self, st):
            saved.append(path.exists())

        def after_epoch(self, st):
            saved.append(path.exists())

    learner().fit(1, checkpoint=path, checkpoint_seconds=1e6, callbacks=[Look(0, None, order=101)], progress=False)
    assert saved == [*[False] * 7, True]


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"lr": 0.5}, "lr: [0.02] in the checkpoint, [0.5] now"),
        ({"wd": 0.1}, "wd: 0.01 in the checkpoint, 0.1 now"),
        ({"opt": "sgd"}, "opt: 'adamw' in the checkpoint, 'sgd' now"),
        ({"seed": 2}, "seed: 1 in the checkpoint, 2 now"),
        ({"precision": "bf16"}, "precision: 'fp32' in the checkpoint, 'bf16' now"),
    ],
)
def test_a_changed_learner_is_refused_with_the_difference(tmp_path, change, shown):
    path = tmp_path / "c.tips"
    learner().fit(1, checkpoint=path, progress=False)
    with pytest.raises(ResumeError) as caught:
        learner(**change).fit(1, checkpoint=path, resume=True, progress=False)
    assert shown in str(caught.value) and str(caught.value).count("\n  ") == 1
    assert "start anew without resume" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"n_epochs": 2}, "n_steps: 6 in the checkpoint, 12 now"),
        ({"accumulate": 2}, "accumulate: 1 in the checkpoint, 2 now"),
        ({"clip": None}, "clip: 1.0 in the checkpoint, None now"),
    ],
)
def test_a_changed_fit_is_refused_with_the_difference(tmp_path, change, shown):
    path = tmp_path / "c.tips"
    learner().fit(1, checkpoint=path, progress=False)
    with pytest.raises(ResumeError) as caught:
        learner().fit(**{"n_epochs": 1, "checkpoint": path, "resume": True, "progress": False} | change)
    assert shown in str(caught.value)


def test_other_data_are_refused(tmp_path):
    path = tmp_path / "c.tips"
    learner().fit(1, checkpoint=path, progress=False)
    other = learner()
    other.dls.train.rows.x[0][3, 2] += 1
    with pytest.raises(ResumeError, match="\n  data: "):
        other.fit(1, checkpoint=path, resume=True, progress=False)


def test_other_callbacks_are_refused_before_anything_is_taken_over(tmp_path):
    path = tmp_path / "c.tips"
    _interrupted(path, callbacks=[FunctionLogger(dict)])
    learn = learner(callbacks=[CSVLogger(tmp_path / "history.csv")])
    before = copied(learn.model)
    with pytest.raises(ResumeError, match=r"checkpoint has callbacks \[.*'FunctionLogger'.*this run \[.*'CSVLogger'"):
        learn.fit_one_cycle(3, checkpoint=path, resume=True, callbacks=[At(0, None)], progress=False)
    assert same(copied(learn.model), before) and learn.history == []


def test_a_callback_with_other_settings_is_refused(tmp_path):
    path = tmp_path / "c.tips"
    _interrupted(path, callbacks=[EMA(0.99)])
    learn = learner(callbacks=[EMA(0.9)])
    with pytest.raises(ResumeError, match=r"callbacks: .*0\.99.* in the checkpoint, .*0\.9.* now"):
        learn.fit_one_cycle(3, checkpoint=path, resume=True, callbacks=[At(0, None)], progress=False)
    other = learner(callbacks=[KeepBest()])
    with pytest.raises(ResumeError, match="EMA.* in the checkpoint, .*KeepBest.* now"):
        other.fit_one_cycle(3, checkpoint=path, resume=True, callbacks=[At(0, None)], progress=False)


def test_a_damaged_checkpoint_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "c.tips"
    learner().fit(1, checkpoint=path, progress=False)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="c.tips.*was changed"):
        learner().fit(1, checkpoint=path, resume=True, progress=False)


def test_an_exported_model_is_no_checkpoint(tmp_path):
    learn = learner()
    learn.export(tmp_path / "m.tips")
    with pytest.raises(
        ArtifactError, match=r"holds the kind 'artifact', no checkpoint; give the file that fit\(checkpoint=...\) wrote"
    ):
        learn.fit(1, checkpoint=tmp_path / "m.tips", resume=True, progress=False)


def test_without_a_checkpoint_resume_starts_at_the_beginning(tmp_path):
    plain, resumed = learner(), learner()
    plain.fit(1, progress=False)
    resumed.fit(1, checkpoint=tmp_path / "c.tips", resume=True, progress=False)
    assert same(copied(plain.model), copied(resumed.model))


def test_resume_without_a_path_is_refused():
    with pytest.raises(SettingError, match="resume=True needs checkpoint=PATH"):
        learner().fit(1, resume=True, progress=False)


def test_a_folder_is_refused_before_training(tmp_path):
    with pytest.raises(SettingError, match=r"is a folder; give a file, such as '.*run\.ckpt'"):
        learner().fit(1, checkpoint=tmp_path, progress=False)


def test_a_run_that_was_complete_is_not_trained_again(tmp_path):
    path = tmp_path / "c.tips"
    first, again = learner(), learner()
    first.fit(2, final="best", checkpoint=path, progress=False)
    again.fit(2, final="best", checkpoint=path, resume=True, callbacks=[], progress=False)
    assert same(copied(first.model), copied(again.model)) and again.history == first.history


def test_other_versions_are_a_warning(tmp_path, monkeypatch, caplog):
    path = tmp_path / "c.tips"
    learner().fit(1, checkpoint=path, progress=False)
    now = container.versions()
    monkeypatch.setattr(container, "versions", lambda: now | {"torch": "9.9"})
    with caplog.at_level(logging.WARNING, "tipsai"):
        learner().fit(1, checkpoint=path, resume=True, progress=False)
    assert f"torch {now['torch']} -> 9.9" in caplog.text and "last bits" in caplog.text


def test_a_checkpoint_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        learner().fit(1, checkpoint=tmp_path / "file" / "c.tips", progress=False)


def test_compare_shows_every_difference_and_nothing_else():
    compare({"a": 1}, {"a": 1})
    with pytest.raises(ResumeError) as caught:
        compare({"a": 1, "b": [2], "c": 3}, {"a": 1, "b": [4], "d": 5})
    shown = str(caught.value).splitlines()[1:4]
    assert [line.strip() for line in shown] == [
        "b: [2] in the checkpoint, [4] now",
        "c: 3 in the checkpoint, None now",
        "d: None in the checkpoint, 5 now",
    ]
