"""An exported model says of raw items what the learner says, or a finding says that it does not."""

import pytest
import torch

from tipsai import toys
from tipsai.tabular import TabularDataLoaders, tabular_learner
from tipsai.text import TextDataLoaders, language_model_learner, text_classifier_learner
from tipsai.verification import verify
from tipsai.vision import ImageDataLoaders, vision_learner


@pytest.fixture
def table():
    frame = toys.table(300, seed=0).frame
    learn = tabular_learner(TabularDataLoaders.from_df(frame, target=frame.columns[-1], seed=0), seed=0, device="cpu")
    learn.fit_one_cycle(1, progress=False)
    return learn


def test_a_table_with_its_order_unseen_and_missing_values(table, tmp_path, caplog):
    table.export(tmp_path / "model.tips")
    caplog.clear()
    assert verify(table, tmp_path / "model.tips") == [] and not caplog.records


def test_another_models_file_is_found(table, tmp_path):
    table.export(tmp_path / "model.tips")
    with torch.no_grad():
        for p in table.model.parameters():
            p.mul_(1.5)
    (found,) = verify(table, tmp_path / "model.tips")
    assert found.severity == "error" and found.tip == "DA10" and found.evidence["the same items"] > 1e-3


def test_what_is_lost_on_the_way_is_found(table, tmp_path, monkeypatch):
    """A number's scale that does not travel."""
    from tipsai.tabular.columns import Number

    kept = Number.to_dict
    monkeypatch.setattr(Number, "to_dict", lambda self: {**kept(self), "median": 0.0, "scale": 1.0})
    table.export(tmp_path / "model.tips")
    (found,) = verify(table, tmp_path / "model.tips")
    assert "the learner does" in found.message


def test_a_damaged_file_is_found(table, tmp_path):
    (tmp_path / "model.tips").write_bytes(b"nothing")
    (found,) = verify(table, tmp_path / "model.tips")
    assert "cannot be used" in found.message


def test_pictures_and_texts(tmp_path):
    made = toys.images(40, size=16, n_classes=2, seed=0)
    for i, (picture, label) in enumerate(zip(made.x, made.y, strict=True)):
        folder = tmp_path / "pictures" / str(int(label))
        folder.mkdir(parents=True, exist_ok=True)
        from torchvision.transforms.functional import to_pil_image

        to_pil_image(torch.as_tensor(picture)).save(folder / f"{i}.png")
    learn = vision_learner(
        ImageDataLoaders.from_folder(tmp_path / "pictures", size=16, bs=8, seed=0), width=8, seed=0, device="cpu"
    )
    learn.export(tmp_path / "p.tips")
    assert learn.dls.raw_items(3) and verify(learn, tmp_path / "p.tips") == []

    import pandas as pd

    frame = pd.DataFrame(
        {"text": [f"{'good' if i % 2 else 'bad'} thing {i}" for i in range(80)], "y": [i % 2 for i in range(80)]}
    )
    learn = text_classifier_learner(
        TextDataLoaders.from_df(frame, text="text", target="y", seed=0), seed=0, device="cpu"
    )
    learn.export(tmp_path / "t.tips")
    assert learn.dls.raw_items(3) and verify(learn, tmp_path / "t.tips") == []

    dls = TextDataLoaders.language_model("to be or not to be " * 100, tokenizer="char", block_size=16, bs=4)
    learn = language_model_learner(dls, n_layers=1, n_heads=2, dim=16, seed=0, device="cpu")
    learn.export(tmp_path / "l.tips")
    assert learn.dls.raw_items(3) is None and verify(learn, tmp_path / "l.tips") == []
