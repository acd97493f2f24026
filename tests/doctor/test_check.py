"""The round of checks: nothing is touched, what fails says so, and a person can read what comes out."""

import random

import numpy as np
import pandas as pd
import pytest
import torch
from doctor.faults import blobs, learner, mlp, split
from helpers import copied, same
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tipsai import DataLoaders
from tipsai.data.block import CategoryBlock
from tipsai.data.datablock import DataBlock
from tipsai.doctor import CHECKS, Check, Findings, Verdict
from tipsai.doctor.fit_few import blank
from tipsai.doctor.flow import fresh_uniform
from tipsai.text import TextDataLoaders, text_classifier_learner


def run(seed=0, **options):
    return learner(split(*blobs(seed)), mlp(seed), seed, **options)


def test_codes_are_unique_and_every_check_names_a_tip():
    from tipsai.tabular.table import TableBlock
    from tipsai.text.blocks import TextBlock
    from tipsai.tips import TIPS
    from tipsai.vision.blocks import ImageBlock

    everything = [*CHECKS, *TableBlock.checks, *TextBlock.checks, *ImageBlock.checks]
    codes = {check.code for check in everything}
    assert len(codes) == len(everything)
    for check in everything:
        assert check.tip in TIPS, f"{check.code}: {check.tip}"
        assert f"{check.code}" in TIPS[check.tip].applied, f"tips.py: {check.tip} does not name {check.code}"
        assert set(check.unless) <= codes | {"error"}, check.code


class Checked(CategoryBlock):
    """A field whose kind brings checks of its own."""

    checks = (
        Check(
            "of-the-field",
            "data",
            "DA12",
            lambda ctx: {"rows": ctx.dls.train.n_items},
            lambda f: [Verdict("advice", "data")],
        ),
        Check(
            "of-its-training",
            "training",
            "MO04",
            lambda r: {} if r.ended else None,
            lambda f: [Verdict("advice", "fit")],
        ),
    )


def test_checks_of_the_datas_blocks_are_made_once_and_can_be_silenced():
    x, y = blobs(0)
    dls = DataBlock((Checked(), Checked())).dataloaders([(int(k), int(k)) for k in y], bs=32)
    model = nn.Sequential(nn.Embedding(3, 3), nn.Flatten(1))
    learn = learner(dls, model, 0)
    only = [check.code for check in CHECKS]
    assert [f.message for f in learn.check(silent=only, progress=False)] == ["data"]
    assert learn.check(silent=[*only, "of-the-field"], progress=False) == []
    learn.fit(1, progress=False)
    assert [f.message for f in learn.findings if f.code == "of-its-training"] == ["fit"]


def test_a_check_before_or_between_fits_changes_no_bit():
    def dropout():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))

    plain, checked = (learner(split(*blobs(0)), dropout(), 0) for _ in range(2))
    for learn in (plain, checked):
        if learn is checked:
            learn.check(progress=False)
        learn.fit_one_cycle(2, progress=False)
        if learn is checked:
            learn.check(progress=False)
        learn.fit_one_cycle(1, progress=False)
    assert same(plain.model.state_dict(), checked.model.state_dict())
    for a, b in zip(plain.opt.state.values(), checked.opt.state.values(), strict=True):
        assert same(a, b)
    assert [row["valid_loss"] for row in plain.history] == [row["valid_loss"] for row in checked.history]


def test_weights_modes_gradients_and_generators_are_left_alone():
    learn = run()
    learn.model[1].eval()
    before = copied(learn.model)
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    expected = torch.rand(3), random.random(), np.random.rand()
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    learn.check(progress=False)
    drawn = torch.rand(3), random.random(), np.random.rand()
    assert torch.equal(drawn[0], expected[0]) and drawn[1:] == expected[1:]
    assert same(learn.model.state_dict(), before)
    assert not learn.model[1].training and learn.model[0].training
    assert all(p.grad is None for p in learn.model.parameters()) and learn.opt is None and not learn.test_looks


def test_a_torch_loader_with_a_generator_of_its_own_goes_on_in_the_same_order():
    x, y = blobs(0)
    data = TensorDataset(x, y)
    loader = DataLoader(data, 32, shuffle=True, generator=torch.Generator().manual_seed(3))
    learn = learner(DataLoaders.from_loaders(loader, DataLoader(data, 64)), mlp(0), 0)
    before = loader.generator.get_state()
    learn.check(progress=False)
    assert torch.equal(loader.generator.get_state(), before)


def test_targets_of_the_test_stay_closed():
    x, y = blobs(0, 800)
    learn = learner(split(x[:600], y[:600], test=(x[600:], y[600:])), mlp(0), 0)
    assert learn._context(learn.model).sample("test").y == ()


def test_an_optimizer_function_that_holds_on_to_the_model_moves_nothing():
    model = mlp(0)
    learn = learner(split(*blobs(0)), model, 0, opt=lambda groups: torch.optim.SGD(model.parameters(), 0.1))
    learn.fit_one_cycle(1, progress=False)
    before = copied(model)
    learn.check(progress=False)
    assert same(model.state_dict(), before), "a stale gradient was applied"


def test_a_check_that_fails_is_named_and_the_others_go_on():
    def broken(ctx):
        raise KeyError("nothing here")

    bad = Check("bad", "data", "TR22", broken, lambda figures: ())
    x, y = blobs(0)
    learn = learner(DataLoaders.from_tensors((x, y)), mlp(0), 0, checks=[bad])
    found = learn.check(progress=False)
    assert [f.code for f in found] == ["no-validation"]
    assert found.failed == {"bad": "KeyError: 'nothing here'"}


def test_a_check_of_ones_own_speaks_and_can_be_silenced():
    def measure(ctx):
        return {"rows": ctx.dls.train.n_items}

    def judge(figures):
        yield Verdict("advice", f"{figures['rows']} rows", figures, "Get more.")

    own = Check("few-rows", "data", "AR03", measure, judge, "a book")
    learn = run(checks=[own])
    found = learn.check(progress=False)
    assert [(f.code, f.tip, f.severity, f.source, f.evidence) for f in found] == [
        ("few-rows", "AR03", "advice", "a book", {"rows": 450})
    ]
    assert learn.findings == found
    assert learn.check(silent=["few-rows"], progress=False) == [] == learn.findings


def test_findings_print_as_a_table_the_gravest_first():
    learn = learner(split(*blobs(0)), nn.Sequential(mlp(0), nn.Softmax(1)), 0)
    learn.dls.valid = None
    text = str(learn.check(progress=False))
    lines = text.splitlines()
    assert lines[0].split() == ["severity", "tip", "code", "what", "was", "found"]
    assert lines[1].startswith("error") and "outputs" in lines[1] and "Return logits" in lines[2]
    assert lines[3].startswith("warning") and "no-validation" in lines[3]
    assert str(Findings()) == "nothing found"


def test_what_follows_from_a_fault_is_not_told_again():
    learn = learner(split(*blobs(0)), nn.Sequential(mlp(0), nn.ReLU(), nn.Softmax(1)), 0)
    assert [f.code for f in learn.check(progress=False)] == ["outputs"]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny_data_are_no_reason_to_fail(n):
    x, y = blobs(0)
    learn = learner(DataLoaders.from_tensors((x[:n], y[:n]), (x[n : 2 * n], y[n : 2 * n])), mlp(0), 0)
    assert not learn.check(progress=False).failed


def test_columns_are_called_by_their_names():
    import pandas as pd

    from tipsai.tabular import TabularDataLoaders, tabular_learner

    x, y = blobs(0, noise=2.0)
    frame = pd.DataFrame(x.numpy()).rename(columns=str).assign(ward=[f"ward {i % 4}" for i in range(len(x))])
    frame = frame.assign(bill=y.numpy() * 100.0 + np.arange(len(x)) % 7, target=[f"class {k}" for k in y.tolist()])
    learn = tabular_learner(TabularDataLoaders.from_df(frame, target="target", seed=0), seed=0)
    (found,) = [f for f in learn.check(progress=False) if f.code == "leaking-column"]
    assert "input column 'bill' alone" in found.message


def test_a_notebook_shows_a_table_in_which_nothing_is_markup():
    findings = Findings(
        [
            Check(
                "odd", "data", "DA12", lambda c: {}, lambda f: [Verdict("error", "a < b & c", fix="<b>x</b>")]
            ).findings({})[0]
        ]
    )
    shown = findings._repr_html_()
    assert "a &lt; b &amp; c" in shown and "&lt;b&gt;x" in shown and shown.count("<tr>") == 2
    assert Findings()._repr_html_() == "<p>nothing found</p>"


def test_a_last_layer_that_starts_at_zero_is_no_rectifier():
    from doctor.faults import line

    model = mlp(0, 10, 1)
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    assert "outputs" not in [f.code for f in learner(split(*line(0)), model, 0).check(progress=False)]


def test_rows_that_say_nothing_are_blank():
    table = torch.tensor([[0.0] * 6, [3.0] * 6, [0.0] * 5 + [1.0]])
    codes = torch.tensor([[7, 7], [7, 7], [7, 7]])
    assert blank((table, codes)).tolist() == [True, True, False]
    assert blank((table, codes, torch.empty(3, 0))).tolist() == [True, True, False]
    assert blank((table,)).tolist() == [False] * 3, "few numbers may be alike by chance"
    assert blank((table, torch.tensor([[1, 2], [5, 5], [5, 5]]))).tolist() == [False, True, False]


def test_what_is_sent_through_the_model_is_no_batch_of_empty_texts():
    """Batches of texts hold texts of about one length, so that empty ones come together."""
    words = "the a of quick brown fox jumps over lazy dog".split()
    rng = np.random.default_rng(0)
    full = [" ".join(rng.choice(words[:5] if i % 2 else words[5:], 12)) for i in range(200)]
    texts = pd.DataFrame({"text": [*full, *[""] * 120], "label": ["a" if i % 2 else "b" for i in range(320)]})
    for seed in range(6):
        dls = TextDataLoaders.from_df(texts, "text", "label", seed=seed)
        learn = text_classifier_learner(dls, seed=seed, device="cpu")
        assert not {"zero-gradient", "fit-few"} & {f.code for f in learn.check(progress=False)}


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_outputs_that_differ_by_rounding_alone_do_not_depend_on_the_input(steps):
    """Kernels treat the rows at the end of a batch otherwise, and round otherwise: by a step or two of float32."""

    class Blind(nn.Module):
        def __init__(self):
            super().__init__()
            self.said = nn.Parameter(torch.tensor([1.9, -0.4, 0.3]))

        def forward(self, x):
            said = self.said.expand(len(x), 3)
            return torch.cat([said[:1], said[1:] * (1 + steps * torch.finfo(torch.float32).eps)])

    found = learner(split(*blobs(0)), Blind(), 0).check(progress=False)
    assert "ignores-input" in [f.code for f in found]


def test_a_fresh_layer_is_known_wherever_it_is():
    """What is compared is made on the layer's own device, which need not be the one where tensors are made."""
    layer = torch.nn.Linear(30, 40)
    with torch.device("meta"):
        assert fresh_uniform(layer.weight) and not fresh_uniform(layer.weight * 2)
