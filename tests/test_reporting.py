"""Learner.report: what of a run stands on the page."""

import base64
import io
import math

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import At, Boom, boom, classes, copied, dataloaders, learner, mlp, same
from PIL import Image
from report.made import Page
from torch import nn

from tipsai import CategoryBlock, DataLoaders, Learner, reporting, toys
from tipsai.core.errors import OutputError
from tipsai.core.finding import Finding
from tipsai.report import html
from tipsai.tabular import TabularDataLoaders, tabular_learner
from tipsai.text import TextDataLoaders, language_model_learner, text_classifier_learner
from tipsai.vision import ImageDataLoaders, vision_learner


def page(learn, tmp_path, **options):
    path = learn.report(tmp_path / "report.html", **options)
    text = path.read_text(encoding="utf-8")
    return Page(text), text


def pictures(made):
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(a["src"].split(",")[1])))) for a in made.all("img")]


def test_a_run_of_raw_tensors(tmp_path):
    learn = learner(model=mlp(norm=True), metrics=["accuracy"])
    learn.check(progress=False)
    learn.fit_one_cycle(6, progress=False)
    made, text = page(learn, tmp_path, title="Three classes", command="python train.py")
    assert (
        made.text("h1") == ["Three classes"]
        and "Looked at: the data; the untrained model; training; the trained model." in text
    )
    assert [h for h in made.text("h2") if h != "Findings"] == [
        "Curves",
        "Activations and gradients",
        "Update ratios",
        "Gaps",
        "Baselines",
        "Confusion",
        "Calibration",
        "Worst examples",
        "Configuration",
        "How to reproduce",
    ]
    titles = made.text("title")
    for title in ("Loss", "Validation accuracy", "Learning rate", "Momentum (β1 for Adam)", "Norm of the gradient"):
        assert title in titles
    accuracy = learn.validate()["valid_accuracy"]
    assert reporting.figures({"valid_accuracy": accuracy}, learn.history)[0].history[-1] == accuracy
    assert "python train.py" in made.text("code") and "<dt>seed</dt><dd>1</dd>" in text
    assert "x0" in made.text("th"), "rows of few numbers are shown"
    assert "one_cycle" in text and "<td>yours; the default is" in text


def test_rate_and_momentum_are_kept_over_all_fits_and_through_a_checkpoint(tmp_path):
    learn = learner(opt="sgd")
    learn.fit_one_cycle(2, progress=False, checkpoint=tmp_path / "run")
    learn.fit(1, 0.01, progress=False)
    kept = learn.recorder
    assert len(kept.lrs) == len(kept.moms) == len(kept.losses) == learn.n_steps == 18
    assert max(kept.lrs) == pytest.approx(0.02, rel=0.05) and kept.lrs[-1] == pytest.approx(0.01)
    assert (
        kept.moms[0] == pytest.approx(0.95, abs=0.01)
        and min(kept.moms[:12]) < 0.87
        and kept.moms[-1] == pytest.approx(0.9)
    )
    state = kept.state_dict()
    other = type(kept)()
    other.load_state_dict(state)
    assert (other.lrs, other.moms, other.losses) == (kept.lrs, kept.moms, kept.losses)
    old = {name: value for name, value in state.items() if name not in ("lrs", "moms")}
    other.load_state_dict(old)
    assert not other.lrs and other.losses == kept.losses, "a checkpoint of before has none"


def test_what_an_error_cut_off_is_not_mixed_up_with_the_next_fit():
    learn = learner()
    with pytest.raises(Boom):
        learn.fit(2, progress=False, callbacks=[At(8, boom, "after_backward")])
    learn.fit(1, progress=False)
    assert len(learn.recorder.lrs) == len(learn.recorder.losses)


def test_an_optimizer_without_momentum(tmp_path):
    learn = learner(opt=lambda groups: torch.optim.Adagrad(groups, lr=0.01))
    learn.fit(2, progress=False)
    made, _ = page(learn, tmp_path)
    assert all(math.isnan(m) for m in learn.recorder.moms) and "Momentum (β1 for Adam)" not in made.text("title")


def test_looks_are_numbers_one_a_look():
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    with torch.no_grad():
        model[0].bias[:4] = -100.0
    learn = learner(model=model)
    learn.fit(4, progress=False)
    looks = reporting.looks(learn.doctor.record)
    n = len(looks.steps)
    assert n >= 8 and list(looks.updates) == ["0.weight", "2.weight", "4.weight"]
    assert looks.dead == {"relu 1": pytest.approx([0.5] * n)} and list(looks.saturated) == ["tanh 2"]
    assert list(looks.spread) == ["relu 1", "tanh 2"] and all(len(v) == n for v in looks.spread.values())
    assert all(isinstance(v, float) and v > 0 for values in looks.spread.values() for v in values)


def test_without_validation_doctor_or_training(tmp_path):
    learn = learner(dataloaders(n_valid=0))
    made, text = page(learn, tmp_path)
    assert "The doctor did not look at this run." in text and "There is no validation split" in text
    assert made.text("h2") == ["Configuration", "How to reproduce"]
    learn.fit(1, progress=False, doctor=False)
    made, _ = page(learn, tmp_path)
    assert made.text("h2") == ["Curves", "Configuration", "How to reproduce"] and learn.doctor.record is None


def test_a_loss_of_batches_is_told(tmp_path):
    learn = learner(compute_loss=lambda model, batch: nn.functional.cross_entropy(model(*batch.x), *batch.y))
    learn.fit(1, progress=False)
    _, text = page(learn, tmp_path)
    assert "Items are not shown: compute_loss gives the loss of a batch" in text


def test_the_test_stays_closed_and_stands_there_once_it_was_opened(tmp_path):
    x, y = classes(200)
    dls = DataLoaders.from_tensors((x[:100], y[:100]), (x[100:150], y[100:150]), (x[150:], y[150:]), bs=20)
    learn = learner(dls, metrics=["accuracy"])
    learn.fit(1, progress=False)
    made, _ = page(learn, tmp_path)
    assert not learn.test_looks and "test accuracy" not in made.text("dt")
    accuracy = learn.test()["test_accuracy"]
    made, text = page(learn, tmp_path)
    assert list(learn.test_looks.values()) == [1] and made.text("dt")[0] == "test accuracy"
    assert f"<dd>{accuracy:.4g}</dd>" in text or accuracy == 1.0


def test_a_report_changes_nothing(tmp_path):
    runs = [learner(model=mlp(dropout=0.3)) for _ in range(2)]
    for learn, told in zip(runs, (True, False), strict=True):
        learn.fit(1, progress=False)
        before = torch.get_rng_state()
        if told:
            page(learn, tmp_path)
        assert torch.equal(before, torch.get_rng_state()) and learn.model.training
        learn.fit(1, progress=False)
    assert same(*(copied(learn.model) for learn in runs))


def test_what_checks_measured_is_drawn(tmp_path):
    learn = learner()
    learn.doctor.measured = {
        "gaps": {
            "measure": "cross-entropy",
            "splits": {"train": [0.1, 0.05, 0.2, 90]},
            "gaps": {"bias": [0.1, 0.05, 0.2]},
        },
        "baselines": {"measure": "error", "model": [0.1, 0.0, 0.2], "baselines": {"chance": 0.6}, "better": {}},
    }
    learn.doctor.found.append(Finding("fit-few", "TR02", "error", "it cannot learn.", {"first": 1.0, "least": 0.9}))
    made, text = page(learn, tmp_path)
    assert {"Findings", "Gaps", "Baselines"} <= set(made.text("h2")) and "1 error" in text


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        learner().report(tmp_path / "file" / "report.html")


# --- modalities -------------------------------------------------------------------------------------------------------


def test_a_table_shows_its_rows(tmp_path):
    frame = pd.DataFrame(toys.table(300, seed=0).frame)
    target = frame.columns[-1]
    learn = tabular_learner(TabularDataLoaders.from_df(frame, target=target, seed=0), seed=0, device="cpu")
    learn.fit_one_cycle(2, progress=False)
    made, _ = page(learn, tmp_path)
    assert set(map(str, frame.columns.drop(target))) <= set(made.text("th"))
    assert "width" in made.text("td"), "the settings of the modality"


def test_pictures_are_shown_as_the_model_sees_them(tmp_path):
    toy = toys.images(60, size=24, n_classes=3, seed=0)
    for i, (x, y) in enumerate(zip(toy.x, toy.y.tolist(), strict=True)):
        folder = tmp_path / "data" / f"kind{y}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x.permute(1, 2, 0).numpy()).save(folder / f"{i}.png")
    learn = vision_learner(ImageDataLoaders.from_folder(tmp_path / "data", seed=0), device="cpu", seed=0)
    learn.fit_one_cycle(1, progress=False)
    made, text = page(learn, tmp_path)
    shown = pictures(made)
    n_valid = learn.dls.valid.n_items
    assert len(shown) >= min(12, n_valid) and all(p.shape[:2] == tuple(learn.dls.blocks[0].size) for p in shown)
    top = learn.interpret().top_losses(1)
    x = next(learn.dls.as_evaluated([learn.dls.valid.plain().at(top["position"].tolist())])).x[0][0]
    np.testing.assert_array_equal(shown[0], learn.dls.blocks[0].pixels(x))
    assert "kind0" in text and str(tmp_path) not in text.split("How to reproduce")[0], "names of files, not folders"


def test_masks_are_laid_over_their_pictures(tmp_path):
    toy = toys.images(24, size=24, n_classes=2, seed=0)
    for kind in ("images", "masks"):
        (tmp_path / "leaves" / kind).mkdir(parents=True)
    for i, x in enumerate(toy.x):
        Image.fromarray(x.permute(1, 2, 0).numpy()).save(tmp_path / f"leaves/images/{i}.png")
        Image.fromarray((x[0] > 128).byte().numpy()).save(tmp_path / f"leaves/masks/{i}.png")
    learn = vision_learner(
        ImageDataLoaders.from_folder(tmp_path / "leaves", seed=0), pretrained=False, device="cpu", seed=0
    )
    made, text = page(learn, tmp_path)
    shown = pictures(made)
    height, width = learn.dls.blocks[0].size
    assert shown and all(p.shape[:2] == (height, 2 * width + 2) for p in shown), "target and prediction side by side"
    assert "Confusion" in made.text("h2") and "IoU" in text and "target may be wrong" not in text


def test_points_are_marked(tmp_path):
    toy = toys.images(16, size=24, n_classes=2, seed=0)
    (tmp_path / "pets").mkdir()
    for i, x in enumerate(toy.x):
        Image.fromarray(x.permute(1, 2, 0).numpy()).save(tmp_path / f"pets/{i}.png")
    frame = pd.DataFrame({"file": [f"pets/{i}.png" for i in range(16)], "nose_x": 6.0, "nose_y": range(4, 20)})
    dls = ImageDataLoaders.from_df(
        frame, "file", ["nose_x", "nose_y"], root=tmp_path, task="points", valid=0.25, seed=0
    )
    learn = vision_learner(dls, pretrained=False, device="cpu", seed=0)
    made, _ = page(learn, tmp_path)
    plain = learn.dls.blocks[0].pixels(next(learn.dls.as_evaluated([learn.dls.valid.plain().at([0])])).x[0][0])
    assert pictures(made) and all(p.shape == plain.shape and (p != plain).any() for p in pictures(made))


def test_raw_pictures_are_shown(tmp_path):
    toy = toys.images(60, size=16, n_classes=3, seed=0)
    x = toy.x.float() / 255 - 0.5
    dls = DataLoaders.from_tensors((x[:40], toy.y[:40]), (x[40:], toy.y[40:]), bs=8)
    learn = Learner(dls, nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 3)), device="cpu", seed=0)
    made, _ = page(learn, tmp_path)
    assert len(pictures(made)) >= 12 and pictures(made)[0].shape == (16, 16, 3)


def test_texts_are_shown(tmp_path):
    frame = pd.DataFrame(
        {"text": [f"{'good' if i % 2 else 'bad'} film, and long enough to be a text {i}" for i in range(80)]}
    )
    frame["mood"] = ["up" if i % 2 else "down" for i in range(80)]
    learn = text_classifier_learner(TextDataLoaders.from_df(frame, "text", "mood", seed=0), device="cpu", seed=0)
    learn.fit_one_cycle(1, progress=False)
    made, _ = page(learn, tmp_path)
    shown = made.text("blockquote")
    assert shown and all(text in set(frame["text"]) for text in shown)


def test_a_language_model_shows_the_windows_it_fares_worst_with(tmp_path):
    words = " ".join(str(i * i % 97) for i in range(3000))
    (tmp_path / "numbers.txt").write_text(words)
    dls = TextDataLoaders.language_model(tmp_path / "numbers.txt", tokenizer="char", block_size=32, bs=16)
    learn = language_model_learner(dls, n_layers=1, n_heads=1, dim=16, device="cpu", seed=0)
    learn.fit_one_cycle(0.5, progress=False)
    made, text = page(learn, tmp_path)
    assert len(made.text("blockquote")) == 6 and all(t in words for t in made.text("blockquote"))
    assert "validation bits per byte" in made.text("dt") and "Confusion" not in made.text("h2")


def test_regression_and_labels(tmp_path):
    x = torch.randn(120, 4)
    for y in (x[:, :2] * 3, x[:, :3] > 0):
        dls = DataLoaders.from_tensors((x[:80], y[:80]), (x[80:], y[80:]), bs=16)
        learn = Learner(dls, nn.Linear(4, y.shape[1]), device="cpu", seed=0, lr=0.1)
        learn.fit(2, progress=False)
        made, _ = page(learn, tmp_path)
        assert "Worst examples" in made.text("h2") and len(made.all("table")) >= 2


def test_the_command_line_of_a_script_is_kept_and_that_of_a_prompt_is_not(monkeypatch):
    import sys

    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__file__", "train.py", raising=False)
    monkeypatch.setattr(sys, "argv", ["train.py", "--out", "a b"])
    assert reporting.command() == "python train.py --out 'a b'"
    monkeypatch.setattr(sys, "argv", ["/usr/bin/tipsai", "train", "x.csv"])
    assert reporting.command() == "tipsai train x.csv"
    monkeypatch.setattr(sys, "argv", ["/somewhere/ipykernel_launcher.py", "-f", "x.json"])
    assert reporting.command() == ""
    monkeypatch.delattr(main, "__file__")
    assert reporting.command() == ""
    assert html(reporting.Report()).count("<pre>") == 0


def test_class_names_come_from_the_block(tmp_path):
    pred = torch.eye(3).repeat(8, 1) * 4
    dls = DataLoaders.from_tensors((pred, torch.arange(24) % 3), (pred, torch.arange(24) % 3), bs=8)
    from tipsai import Block

    dls.blocks = (Block(), CategoryBlock(["ant", "bee", "cat"]))
    learn = Learner(dls, nn.Identity(), lr=0.1, device="cpu", seed=0)
    _, text = page(learn, tmp_path)
    assert "ant: 100% of 8 met; bee: 100% of 8 met; cat: 100% of 8 met." in text
