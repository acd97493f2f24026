"""What holds of every builder, block and loader of pictures."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import At, same
from pictures import tree, write
from PIL import Image

from tipsai import load_learner
from tipsai.core import loop
from tipsai.core.interrupt import INTERRUPTED
from tipsai.data.block import Block
from tipsai.load import BLOCKS
from tipsai.vision import Augmentation, ImageBlock, ImageDataLoaders, MaskBlock, PointBlock, vision_learner

CPU = {"seed": 0, "device": "cpu"}


@pytest.fixture
def pets(tmp_path):
    return tree(tmp_path / "pets", "cat/*9.jpg", "dog/*8.png", shape=(12, 14))


@pytest.fixture
def scenes(tmp_path):
    for i in range(6):
        write(tmp_path / "scenes" / "images" / f"{i}.png", (32, 40))
        (tmp_path / "scenes" / "masks").mkdir(exist_ok=True)
        mask = np.zeros((32, 40), np.uint8)
        mask[i : i + 12, 5:20] = 4
        Image.fromarray(mask).save(tmp_path / "scenes" / "masks" / f"{i}.png")
    return tmp_path / "scenes"


# --- artifacts --------------------------------------------------------------------------------------------------------

BUILDERS = {
    "built in": ("classification", None, {"width": 8, "depth": 2, "act": "silu", "dropout": 0.1, "mixup": 0.2}),
    "torchvision's": ("classification", "squeezenet1_1", {"pretrained": False, "cutmix": 1.0}),
    "another": ("classification", "resnet18", {"pretrained": False}),
    "U-net, built in": ("segmentation", None, {"width": 8}),
    "U-net, torchvision's": ("segmentation", "resnet18", {"pretrained": False}),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_an_artifact_reloads_to_equal_predictions(name, tmp_path, request):
    """The same weights, and predictions at equal batch size to the last digits; the same task, blocks, sizes and arguments too."""
    task, arch, options = BUILDERS[name]
    root = request.getfixturevalue("pets" if task == "classification" else "scenes")
    dls = ImageDataLoaders.from_folder(root, bs=6, size=32, valid=0.0)
    learn = vision_learner(dls, arch, **options, **CPU)
    learn.fit(1, progress=False)
    learn.export(tmp_path / "m.tips")
    again = load_learner(tmp_path / "m.tips", device="cpu")
    assert again.builder == learn.builder and again.dls.task == task
    left, right = learn.get_preds(learn.dls.test_dl(root, bs=6))[0], again.get_preds(again.dls.test_dl(root, bs=6))[0]
    largest = float(left.abs().max())  # logits of some size: a reloaded model's convolutions may add in another order
    assert same(again.model.state_dict(), learn.model.state_dict())
    torch.testing.assert_close(left, right, atol=5e-6 * max(1.0, largest), rtol=1e-6)
    ours, theirs = learn.predict(root), again.predict(root)
    numbers = [column for column in ours if column != "prediction"]
    pd.testing.assert_frame_equal(ours[numbers], theirs[numbers], atol=1e-5, rtol=0)
    assert [type(b) for b in again.dls.blocks] == [type(b) for b in learn.dls.blocks]
    assert [b.to_dict() for b in again.dls.blocks] == [b.to_dict() for b in learn.dls.blocks]
    again.export(tmp_path / "n.tips")
    third = load_learner(tmp_path / "n.tips", device="cpu")
    assert same(third.model.state_dict(), learn.model.state_dict())


@pytest.mark.parametrize("flip", [0.0, 0.5])
def test_a_reloaded_model_looks_at_the_same_views(flip, pets, tmp_path):
    """Where a mirrored picture is of another class, as with digits, it stays out of the reloaded model's views as well."""
    dls = ImageDataLoaders.from_folder(pets, bs=6, valid=0.0, aug=Augmentation.small(flip=flip))
    learn = vision_learner(dls, width=8, **CPU)
    learn.export(tmp_path / "m.tips")
    again = load_learner(tmp_path / "m.tips", device="cpu")
    assert [look.flip for (look,) in again.dls.views] == [look.flip for (look,) in dls.views]
    assert any(look.flip for (look,) in dls.views) == (flip > 0)
    ours, theirs = (one.predict(pets, tta=True)["p_cat"] for one in (learn, again))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


# --- blocks -----------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
PICTURES = [RNG.integers(0, 256, (9, 11, 3), dtype=np.uint8) for _ in range(6)]
MASKS = [RNG.choice([0, 3, 9], (9, 11)).astype(np.uint8) for _ in range(6)]
POINTS = [RNG.uniform(-1, 1, 4).astype(np.float32) for _ in range(6)]
MADE = {
    "picture": (lambda: ImageBlock((8, 8)), PICTURES),
    "grey picture": (lambda: ImageBlock((8, 6), 1, 5, "pad", mirrored=False), PICTURES),
    "mask": (lambda: MaskBlock(), MASKS),
    "named mask": (lambda: MaskBlock([0, 3, 9], ["a", "b", "c"], 255), MASKS),
    "points": (lambda: PointBlock(["nose", "ear"]), POINTS),
}


def test_every_block_of_pictures_is_here():
    vision = {name for name, place in BLOCKS.items() if place.startswith("tipsai.vision.")}
    assert vision == {type(make()).__name__ for make, _ in MADE.values()}


@pytest.mark.parametrize("name", MADE)
def test_a_block_comes_back_from_plain_data(name):
    import json

    make, items = MADE[name]
    block = make().fit(items)
    state = json.loads(json.dumps(block.to_dict()))
    again = type(block).from_dict(state)
    assert again.to_dict() == block.to_dict() and again.n_out == block.n_out and again.outputs == block.outputs
    for item in items:
        assert torch.equal(again.encode(item), block.encode(item))
    for a, b in zip(
        again.collate([again.encode(i) for i in items]), block.collate(list(map(block.encode, items))), strict=True
    ):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", MADE)
def test_fitting_sees_training_items_alone(name, tmp_path):
    """Other validation pictures leave the blocks as they are; and encoding changes nothing of what was fitted."""
    make, items = MADE[name]
    block: Block = make().fit(items[:4])
    fitted = block.to_dict()
    for item in items:
        block.encode(item)
    assert block.to_dict() == fitted == make().fit(items[:4]).to_dict()


def test_loaders_fit_on_training_pictures_alone(tmp_path):
    found = []
    for part in ("bright", "dark"):
        root = tmp_path / part
        tree(root, "train/a/*3.png", "train/b/*3.png", shape=(8, 8), seed=1)
        for i in range(3):
            for name in ("valid", "test"):
                path = root / name / "ab"[i % 2] / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), "white" if part == "bright" else "black").save(path)
        for cache in (True, False):
            dls = ImageDataLoaders.from_folder(root, cache=cache, n_workers=0)
            found.append([block.to_dict() for block in dls.blocks])
    assert found[0] == found[2] and found[1] == found[3]


# --- batches ----------------------------------------------------------------------------------------------------------


def test_batches_are_a_function_of_seed_epoch_and_position(pets):
    """Whoever decodes: workers or this process, into memory or anew. And from any position on."""
    feeds = {}
    for name, options in {
        "cached": {"cache": True},
        "no workers": {"cache": False, "n_workers": 0},
        "two workers": {"cache": False, "n_workers": 2},
    }.items():
        dls = ImageDataLoaders.from_folder(pets, size=10, bs=4, seed=5, **options)
        feeds[name] = dls.feed("train", torch.device("cpu"))
    for seed, epoch in ((0, 0), (0, 1), (7, 0)):
        whole = {name: list(feed.batches(seed=seed, epoch=epoch)) for name, feed in feeds.items()}
        for batches in whole.values():
            assert all(torch.equal(a.y[0], b.y[0]) for a, b in zip(batches, whole["cached"], strict=True))
            assert all(torch.equal(a.x[0], b.x[0]) for a, b in zip(batches, whole["no workers"], strict=True))
        for name, feed in feeds.items():
            late = list(feed.batches(seed=seed, epoch=epoch, start=2))
            assert all(torch.equal(a.x[0], b.x[0]) for a, b in zip(late, whole[name][2:], strict=True))
    one, other = (next(feeds["cached"].batches(seed=seed)).x[0] for seed in (0, 7))
    assert not torch.equal(one, other)


def test_the_generators_of_this_process_play_no_part(pets):
    dls = ImageDataLoaders.from_folder(pets, bs=4, cache=False, n_workers=0)
    seen = []
    for _ in range(2):
        torch.rand(3), np.random.rand(3)
        seen.append(torch.cat([b.x[0] for b in dls.feed("train", torch.device("cpu")).batches(seed=1)]))
    assert torch.equal(*seen)


@pytest.mark.parametrize("n_workers", [0, 2])
def test_resuming_in_the_middle_of_an_epoch_is_exact(n_workers, pets, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "FETCH_SECONDS", 0.0)  # so that checkpoints fall on every step

    def learner():
        dls = ImageDataLoaders.from_folder(pets, bs=4, seed=2, cache=False, n_workers=n_workers)
        return vision_learner(dls, width=8, mixup=0.3, cutmix=1.0, **CPU)

    whole = learner()
    whole.fit_one_cycle(3, progress=False)
    options = {"checkpoint": tmp_path / "c.tips", "checkpoint_seconds": 0, "progress": False}
    steps = len(whole.dls.train)
    assert steps == 4
    part = learner()
    part.fit_one_cycle(3, callbacks=[At(steps + 2, lambda st: st.stop(INTERRUPTED))], **options)  # as Ctrl-C does
    assert part.n_steps == steps + 2
    rest = learner()
    rest.fit_one_cycle(3, callbacks=[At(0, None)], resume=True, **options)
    assert rest.n_steps == 3 * steps and same(rest.model.state_dict(), whole.model.state_dict())
    assert [row["train_objective"] for row in rest.history] == [row["train_objective"] for row in whole.history]


SPAWN = """
import logging, multiprocessing, sys
import torch
from tipsai.vision import ImageDataLoaders

if __name__ == "__main__":
    torch.set_num_threads(1)
    multiprocessing.set_start_method("spawn")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    batches = []
    for n in (1, 0):
        label = lambda path: path.parent.name
        dls = ImageDataLoaders.from_function(sys.argv[1], label, cache=False, n_workers=n, bs=8, valid=0.0)
        batches.append(list(dls.feed("train", torch.device("cpu")).batches(seed=3)))
        print(dls.train.workers.n)
    assert all(torch.equal(a.x[0], b.x[0]) and torch.equal(a.y[0], b.y[0]) for a, b in zip(*batches, strict=True))
"""


def test_workers_that_start_afresh(pets, tmp_path):
    """As on macOS and Windows: a lambda that labels was called before, so that workers need not get it."""
    (tmp_path / "script.py").write_text(SPAWN)
    command = [sys.executable, "-W", "error", str(tmp_path / "script.py"), str(pets)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert "read when needed" in done.stderr and done.stdout.split() == ["1", "0"]


def test_what_cannot_be_sent_to_workers_is_said(pets, caplog, monkeypatch):
    dls = ImageDataLoaders.from_folder(pets, cache=False, n_workers=2, bs=4, valid=0.0)
    dls.train.dataset.blocks[0].hook = lambda picture: picture
    monkeypatch.setattr("multiprocessing.get_start_method", lambda: "spawn")
    assert len(list(dls.train.batches())) == len(dls.train)
    assert "the items are decoded in this process, not in 2 workers: the dataset holds a lambda" in caplog.text
