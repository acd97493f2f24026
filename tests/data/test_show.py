"""Items as people look at them: the same items by position, tables of rows, figures of pictures."""

import builtins
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as hyp
from matplotlib.backends.backend_agg import FigureCanvasAgg
from torch import nn

from tipsai import Batch, CategoryBlock, DataBlock, DataLoaders, Learner, RegressionBlock, plot, toys
from tipsai.core.errors import MissingExtraError, SettingError
from tipsai.data import show
from tipsai.data.block import Block
from tipsai.data.loaders import ForeignLoader, ItemLoader, RowLoader, TensorRows
from tipsai.tabular import TabularDataLoaders, tabular_learner


class Picture(Block):
    """Draws what it is given."""

    draws = True

    def draw(self, axes, value, predicted=False):
        axes.imshow(value[0].numpy(), extent=(-1, 1, 1, -1))


def _pictures(n=12):
    """Loaders of tiny pictures of two classes."""
    y = torch.arange(n) % 2
    x = y[:, None, None, None] + torch.rand(n, 1, 6, 8, generator=torch.Generator().manual_seed(0)) / 4
    dls = DataLoaders.from_tensors((x, y), (x, y), (x, y), bs=4)
    dls.blocks = (Picture(), CategoryBlock(["dark", "bright"]))
    return dls


def _titles(fig):
    return [ax.get_title() for ax in fig.axes]


# --- items by position --------------------------------------------------------------------------------------------------


def _loaders():
    x, y = torch.arange(20.0)[:, None], torch.arange(20)
    data = [(x[i], y[i]) for i in range(20)]
    return RowLoader(TensorRows((x,), (y,)), 6, shuffle=True), ItemLoader(data, 6, shuffle=True)


@pytest.mark.parametrize("loader", _loaders(), ids=["rows", "items"])
def test_items_are_had_by_position_and_in_their_own_order(loader):
    batch = loader.at([7, 0, 7])
    assert batch.x[0][:, 0].tolist() == [7, 0, 7] == batch.y[0].tolist()
    assert torch.cat([b.y[0] for b in loader.plain().batches()]).tolist() == list(range(20))
    assert loader.shuffle, "the loader itself stays as it is"


def test_items_come_without_augmentation():
    block = DataBlock((Block(), CategoryBlock()), item_aug=lambda x: x + 100)
    dls = block.dataloaders([(float(i), i % 2) for i in range(20)], bs=4)
    assert float(dls.train.at([3]).x[0]) < 100
    assert max(float(b.x[0].max()) for b in dls.train.plain().batches()) < 100
    assert min(float(b.x[0].min()) for b in dls.train.batches()) >= 100


def test_a_loader_of_ones_own_gives_no_item_by_position():
    loader = ForeignLoader(torch.utils.data.DataLoader([(torch.zeros(2), 0)] * 4, 2))
    assert loader.plain() is loader
    with pytest.raises(
        SettingError, match="this DataLoader gives batches in its own order, and no item by its position"
    ):
        loader.at([0])


@given(sizes=hyp.lists(hyp.integers(1, 5), min_size=1, max_size=6), n=hyp.integers(1, 12))
def test_the_first_rows_of_batches(sizes, n):
    rows = torch.arange(sum(sizes))
    batches = [Batch((part,), (part,)) for part in rows.split(sizes)]
    assert show.first(iter(batches), n).x[0].tolist() == rows[:n].tolist()


# --- names --------------------------------------------------------------------------------------------------------------


@given(text=hyp.text(max_size=60), most=hyp.integers(4, 30))
def test_a_shortened_name_fits(text, most):
    assert len(show.short(text, most)) <= most
    assert show.short(text, 60) == text


def test_names_that_would_look_alike_are_told_apart():
    names = [f"a_long_name_of_class_{i}_of_a_hundred" for i in range(3)]
    assert show.told_apart(names) == ["…0…", "…1…", "…2…"]
    assert show.told_apart(["cat", "dog"]) == ["cat", "dog"]
    assert show.told_apart(["american_staffordshire_terrier"])[0].startswith("american_…")


@given(n=hyp.integers(1, 60), most=hyp.integers(1, 12))
def test_rows_of_a_grid_are_filled_evenly(n, most):
    columns = show.balanced(n, most)
    assert 1 <= columns <= most
    assert -(-n // columns) == -(-n // most)


def test_each_class_has_a_colour_of_its_own():
    for n in (1, 8, 30, 100):
        made = plot.colours(n)
        assert len(set(made)) == n == len(made)
        assert all(len(c) == 7 and int(c[1:], 16) >= 0 for c in made)


# --- tables -------------------------------------------------------------------------------------------------------------


def test_rows_are_shown_as_a_table():
    toy = toys.table(200)
    dls = TabularDataLoaders.from_df(toy.frame, target=toy.target)
    frame = dls.show_batch(5)
    assert list(frame) == ["target", "area_m2", "built", "district", "lift", "balcony_m2", "listed"] and len(frame) == 5
    assert set(frame["target"]) <= {"yes", "no"} and frame["area_m2"].isin(toy.frame["area_m2"]).all()
    results = tabular_learner(dls, seed=0, device="cpu", width=8, depth=1).show_results(4)
    assert list(results)[:2] == ["target", "prediction"] and len(results) == 4
    assert set(results["prediction"]) <= {"yes", "no"}


def test_tensors_are_shown_as_numbers_or_told_by_their_shape():
    x, y = torch.randn(10, 3), torch.randint(0, 2, (10,))
    dls = DataLoaders.from_tensors((x, y), (x, y), bs=4)
    frame = dls.show_batch(9, split="valid")
    assert list(frame) == ["target", "x0", "x1", "x2"]
    np.testing.assert_allclose(frame["x1"], x[:9, 1])
    assert frame["target"].tolist() == y[:9].tolist()
    long = torch.randn(10, 3, 40)
    shown = DataLoaders.from_tensors((long, y), (long, y)).show_batch(2)
    assert shown["x"][0].startswith("[3, 40] torch.float32")


def test_numbers_are_shown_in_their_units():
    block = RegressionBlock(["height"]).fit([100.0, 300.0])
    y = torch.stack([block.encode(v) for v in (100.0, 260.0)])
    dls = DataLoaders.from_tensors((y, y), (y, y))
    dls.blocks = (Block(), block)
    results = Learner(dls, nn.Identity(), lr=0.1, device="cpu").show_results()
    np.testing.assert_allclose(sorted(results["target"]), [100, 260], rtol=1e-5)
    np.testing.assert_allclose(results["prediction"], results["target"], rtol=1e-5)
    assert block.show(y[1]) == "height 260"


def test_a_column_named_like_one_of_ours_is_told_apart():
    frame = show.with_rows({"loss": [1.0]}, {"loss": [2.0], "age": [3]})
    assert frame.loc[0].to_dict() == {"loss": 1.0, "loss (row)": 2.0, "age": 3}


# --- figures ------------------------------------------------------------------------------------------------------------


def test_a_batch_of_pictures_is_drawn_as_the_model_sees_it():
    dls = _pictures()
    dls.batch_tfms = (lambda batch, draw: Batch((batch.x[0] + (10 if draw else 0),), batch.y),)
    fig = dls.show_batch(5)
    assert fig.get_suptitle() == "training items as the model sees them" and len(fig.axes) == 5
    assert set(_titles(fig)) == {"dark", "bright"}
    assert fig.axes[0].images[0].get_array().min() > 9
    plain = dls.show_batch(5, split="valid")
    assert plain.axes[0].images[0].get_array().max() < 9
    assert _titles(plain) == ["dark", "bright", "dark", "bright", "dark"]


def test_what_is_shown_of_a_batch_follows_from_seed_and_epoch():
    dls = _pictures(40)
    same, again, other = (_titles(dls.show_batch(9, epoch=epoch)) for epoch in (1, 1, 2))
    assert same == again != other


def test_results_are_red_where_they_are_wrong():
    dls = _pictures()
    dark = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    with torch.no_grad():
        dark[1].weight.zero_()
        dark[1].bias.copy_(torch.tensor([1.0, 0.0]))
    learn = Learner(dls, dark, lr=0.1, device="cpu")
    for fig in (learn.show_results(12), learn.interpret().plot_top_losses(12)):
        assert {ax.get_title().splitlines()[0] for ax in fig.axes} == {"dark → dark", "bright → dark"}
        for ax in fig.axes:
            assert (ax.title.get_color() == show.WRONG) == ax.get_title().startswith("bright")
    assert "73%, loss 0.31" in {ax.get_title().splitlines()[1] for ax in learn.interpret().plot_top_losses(12).axes}
    assert _titles(learn.show_results(3)) == _titles(learn.show_results(3))


def test_figures_leave_nothing_behind(tmp_path):
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    learn = Learner(_pictures(), nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), lr=0.1, device="cpu", seed=0)
    interp = learn.interpret()
    figures = [interp.plot_top_losses(3), interp.plot_least_certain(2), interp.plot_confusion(True)]
    for i, fig in enumerate([*figures, learn.show_results(2), learn.dls.show_batch(2)]):
        fig.savefig(tmp_path / f"{i}.png")
        assert fig._repr_png_().startswith(b"\x89PNG")
    assert pyplot.get_fignums() == before


@pytest.mark.parametrize("n, normalize", [(2, False), (2, True), (12, True), (30, False), (60, False)])
def test_a_confusion_matrix_fits_its_figure(n, normalize, tmp_path):
    values = np.random.default_rng(0).poisson(0.3, (n, n)) + np.diag(np.full(n, 12_345))
    values[0] = 0  # a class without any items
    names = [f"a_class_of_some_length_{i}" for i in range(n)]
    fig = show.confusion(pd.DataFrame(values, index=names, columns=names), normalize)
    fig.savefig(tmp_path / "matrix.png")  # which also lays it out
    (ax,) = fig.axes
    assert len(ax.get_xticklabels()) == min(n, show.MOST_CLASSES)
    texts = [text.get_text() for text in ax.texts]
    assert ("12k" in texts) != normalize and (not normalize or any(t in ("100", "100.0") for t in texts))
    assert ("the 40 classes with the most mistakes, of 60" in fig.get_suptitle()) == (n == 60)
    width, height = fig.get_size_inches() * fig.dpi
    renderer = FigureCanvasAgg(fig).get_renderer()
    boxes = [label.get_window_extent(renderer) for label in (*ax.get_xticklabels(), *ax.get_yticklabels())]
    assert all(0 <= b.x0 and b.x1 <= width and 0 <= b.y0 and b.y1 <= height for b in boxes)
    spans = sorted((b.x0, b.x1) for b in boxes[: len(boxes) // 2])
    assert all(right <= left for (_, right), (left, _) in zip(spans, spans[1:], strict=False)), "labels overlap"


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
    real = builtins.__import__

    def no_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_matplotlib)
    with pytest.raises(MissingExtraError, match=r"plots need matplotlib: pip install 'tipsai\[plot\]'"):
        _pictures().show_batch(2)
    with pytest.raises(MissingExtraError, match="plots need matplotlib"):
        show.confusion(pd.DataFrame([[1]]))


@pytest.mark.parametrize(
    "split, said",
    [("test", r"expected 'train' or 'valid'; test data are opened by learn.test"), ("all", "split is 'all'")],
)
def test_other_splits_are_not_shown(split, said):
    with pytest.raises(SettingError, match=said):
        _pictures().show_batch(split=split)
