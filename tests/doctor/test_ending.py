"""What a trained model shows: baselines, gaps, labels; what is silenced; what must train something."""

import logging

import pytest
import torch
from doctor.faults import blobs, convnet, draws, learner, line, mlp, pictures, sequences, split, tokens
from doctor.gallery_ending import Logarithm, partly_wrong, rings, shuffled
from helpers import copied, same
from torch import nn
from torch.utils.data import Dataset

from tipsai import DataLoaders, Learner
from tipsai.core.errors import NonFiniteLossError, SettingError
from tipsai.doctor import CHECKS
from tipsai.doctor.baselines import _pairs
from tipsai.doctor.features import simple_features
from tipsai.doctor.judged import difference, mean_interval
from tipsai.losses import CrossEntropy


def trained(dls, model, seed=0, epochs=10, **options):
    learn = learner(dls, model, seed, **options)
    learn.fit_one_cycle(epochs, progress=False)
    return learn


def said(learn, code):
    return [f for f in learn.findings if f.code == code]


# --- intervals ------------------------------------------------------------------------------------------------------


def test_an_interval_holds_the_truth_as_often_as_it_says():
    held = gap = 0
    for seed in range(100):
        a = torch.rand(100, generator=draws(seed), dtype=torch.float64)
        b = torch.rand(100, generator=draws(seed + 1000), dtype=torch.float64) + 0.3
        _, low, high = mean_interval(a)
        held += low <= 0.5 <= high
        value, low, high = difference(a, b)
        gap += low <= 0.3 <= high
        assert low < value < high
    assert 88 <= held <= 99 and 88 <= gap <= 99


# --- baselines ------------------------------------------------------------------------------------------------------


def test_baselines_are_measured_on_a_healthy_run_and_said_nothing_of():
    learn = trained(split(*blobs(0, 1200)), mlp(0))
    assert not said(learn, "baselines")
    figures = learn.findings.measured["baselines"]
    assert figures["measure"] == "error" and figures["n"] == 256
    value, low, high = figures["model"]
    assert low <= value <= high < 0.3 < figures["baselines"]["the most frequent class"]
    assert figures["better"]["the most frequent class"][1] > 0
    assert set(figures["baselines"]) == {"the most frequent class", "a linear model", "the nearest neighbours"}


def test_a_linear_model_that_is_far_better_is_a_warning_and_one_a_little_better_advice():
    (found,) = said(trained(split(*rings(0)), nn.Linear(2, 2)), "baselines")
    assert found.severity == "warning" and "the nearest neighbours gets the error 0.0%" in found.message
    severities = {
        f.severity for seed in range(3) for f in said(trained(split(*line(seed)), mlp(seed, 10, 1)), "baselines")
    }
    assert "warning" not in severities


def test_a_language_model_stands_beside_pairs_of_tokens():
    from doctor.faults import TinyLM, seeded

    learn = trained(split(*tokens(0)), seeded(0, TinyLM))
    figures = learn.findings.measured["baselines"]
    assert figures["measure"] == "loss" and set(figures["baselines"]) == {"the shares alone", "pairs of tokens"}
    assert figures["model"][0] < figures["baselines"]["the shares alone"]
    early = learner(split(*tokens(0)), seeded(0, TinyLM), 0)
    early.fit(0.1, 1e-4, progress=False)
    assert (
        "pairs of tokens" in said(early, "baselines")[0].message or "no better" in said(early, "baselines")[0].message
    )


def test_pairs_are_probabilities():
    x = torch.randint(5, (20, 8), generator=draws(0))
    y = torch.randint(5, (20, 8), generator=draws(1))
    new = torch.arange(6)[:, None].expand(6, 6)  # every token, one of them never seen
    p = _pairs(x, y, new, torch.arange(6).expand(6, 6))
    assert torch.allclose(p.sum(1), torch.ones(6, dtype=torch.float64)) and bool((p > 0).all())
    counted = ((x == 2) & (y == 3)).sum() / (x == 2).sum()
    assert abs(float(p[2, 3]) - float(counted)) < 0.1


def test_what_has_no_simple_answer_is_left_alone():
    def by_hand(model, batch):
        return nn.functional.cross_entropy(model(batch.x[0]), batch.y[0])

    learn = trained(split(*blobs(0)), mlp(0), compute_loss=by_hand)
    assert not learn.findings and not {"baselines", "gaps"} & learn.findings.measured.keys()
    few = trained(split(*blobs(0, 80), bs=16), mlp(0))
    assert "baselines" not in few.findings.measured, "twenty rows say nothing"
    alone = trained(DataLoaders.from_tensors(blobs(0), bs=32), mlp(0))
    assert "gaps" not in alone.findings.measured


def test_simple_features():
    codes, x = torch.tensor([[0, 2], [1, 0], [0, 1]]), torch.tensor([[1.0], [2.0], [3.0]])
    a, b = simple_features((codes, x), (codes + 5, x))
    assert a.shape == (3, 6) and torch.allclose(a.mean(0), torch.zeros(6, dtype=torch.float64))
    assert torch.equal(b[:, -1], a[:, -1]), "numbers are standardised by the first"
    assert len({tuple(row) for row in b[:, :-1].tolist()}) == 1, "codes that were not seen have no column"
    assert simple_features((x,), (torch.ones(3, 2),)) is None
    assert simple_features((x / 0,), (x,)) is None
    assert simple_features((torch.ones(3, 4),), (torch.ones(3, 4),)) is None, "nothing varies"
    words = torch.tensor([[1, 1, 2] * 200, [3, 3, 3] * 200, [0, 1, 2] * 200])
    counts, _ = simple_features((words,), (words,))
    assert counts.shape[1] == 4, "of many tokens their counts"
    big = torch.rand(3, 1, 40, 40)
    assert simple_features((big,), (big,))[0].shape[1] <= 64


# --- gaps -----------------------------------------------------------------------------------------------------------


def test_the_stage_of_a_run_is_told_from_errors_in_evaluation_mode():
    (under,) = said(trained(split(*rings(0)), nn.Linear(2, 2)), "gaps")
    assert "does not fit its training data" in under.message and "larger model" in under.fix
    x, y = blobs(0, 240, 40, 3, 3.0)
    (over,) = said(trained(split(x, y, bs=16), mlp(0, 40, width=256, depth=2), epochs=40), "gaps")
    assert "knows its training data better" in over.message and "regularise" in over.fix
    assert over.evidence["splits"]["train"][0] < 0.01 < over.evidence["gaps"]["variance"][1]
    x, y = blobs(0, noise=0.6)
    short = [f for f in said(trained(split(x, y), mlp(0), epochs=2, lr=3e-4), "gaps") if "does not fit" in f.message]
    assert "train longer" in short[0].fix


def test_the_test_is_judged_only_once_it_is_open():
    x, y = blobs(0, 1200)
    y[900:] = partly_wrong(y[900:], 3, 0.5, 0)
    learn = trained(split(x[:900], y[:900], test=(x[900:], y[900:])), mlp(0))
    assert "test" not in learn.findings.measured["gaps"]["splits"] and not said(learn, "test-gap")
    learn.test()
    (found,) = said(learn, "test-gap")
    assert found.severity == "warning" and "the test is met worse than validation" in found.message
    assert learn.findings.measured["gaps"]["splits"]["test"][3] == 256
    assert list(learn.test_looks.values()) == [1], "the doctor's own look is the same one"


def test_an_honest_test_is_no_gap():
    x, y = blobs(0, 1200)
    learn = trained(split(x[:900], y[:900], test=(x[900:], y[900:])), mlp(0))
    learn.test()
    assert not said(learn, "test-gap") and "validation" in learn.findings.measured["gaps"]["gaps"]


def test_units_are_the_targets_own():
    import pandas as pd

    from tipsai.tabular import TabularDataLoaders, tabular_learner

    x, y = line(0, 900)
    frame = pd.DataFrame(x.numpy()).rename(columns=str).assign(price=y[:, 0].numpy() * 1000 + 5000)
    learn = tabular_learner(TabularDataLoaders.from_df(frame, target="price", seed=0), seed=0)
    learn.fit_one_cycle(2, progress=False)
    value = learn.findings.measured["gaps"]["splits"]["valid"][0]
    assert value == pytest.approx(learn.validate()["valid_loss"], rel=0.2) and value > 1000


# --- when, and what is left out -------------------------------------------------------------------------------------


def test_the_end_is_judged_when_asked_for_and_again_after_more_training():
    learn = learner(split(*blobs(0)), mlp(0), 0)
    assert not learn.findings.measured
    learn.fit_one_cycle(1, progress=False)
    first = learn.findings.measured["gaps"]["splits"]["valid"][0]
    learn.fit_one_cycle(8, progress=False)
    assert learn.findings.measured["gaps"]["splits"]["valid"][0] < first
    learn.fit_one_cycle(1, progress=False)
    before, mode = copied(learn.model), learn.model.training
    assert learn.findings.measured and same(before, copied(learn.model)) and learn.model.training is mode


def test_a_longer_training_speaks_unasked(said, monkeypatch):
    monkeypatch.setattr("tipsai.learner.LONG", 0.0)
    x, y = blobs(0)
    trained(split(x, shuffled(y, 0)), mlp(0))
    assert "warning: the model is no better than guessing" in said()


def test_a_short_one_does_not(said):
    x, y = blobs(0)
    trained(split(x, shuffled(y, 0)), mlp(0))
    assert "guessing" not in said()


def test_nothing_is_judged_where_the_doctor_is_off():
    learn = learner(split(*blobs(0)), mlp(0), 0)
    learn.fit_one_cycle(1, progress=False, doctor=False)
    assert not learn.findings.measured


@pytest.mark.parametrize("code", ["baselines", "gaps"])
def test_each_can_be_silenced_by_its_code(code):
    x, y = blobs(0)
    y = shuffled(y, 0)
    assert said(trained(split(x, y), mlp(0)), code)
    assert not said(trained(split(x, y), mlp(0), silent=[code]), code)


def test_a_training_check_can_be_silenced(said):
    learn = trained(split(*blobs(0)), mlp(0), lr=0.2, silent="learning-rate")
    assert "learning-rate" not in [f.code for f in learn.findings] and "learning rate" not in said()


def test_an_unknown_code_is_refused():
    with pytest.raises(SettingError, match="no check 'imbalence'. Did you mean 'imbalance'"):
        learner(split(*blobs(0)), mlp(0), 0, silent=["imbalence"])
    with pytest.raises(SettingError, match="no check 'first_loss'"):
        learner(split(*blobs(0)), mlp(0), 0).check(silent=["first_loss"])


def test_end_checks_do_not_move_randomness():
    learn = trained(split(*blobs(0)), mlp(0), epochs=1)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    assert learn.findings.measured and torch.equal(torch.rand(3), expected)


def test_every_end_check_is_made_on_pictures_and_sequences():
    for learn in (
        trained(split(*pictures(0)), convnet(0), epochs=3),
        trained(split(*sequences(0)), nn.Sequential(nn.Flatten(), nn.Linear(32, 2)), epochs=3),
    ):
        assert not learn._judged().failed
        ends = {check.code for check in CHECKS if check.stage == "end" or check.again}
        assert {"baselines", "gaps", "label-errors"} <= learn.findings.measured.keys() <= ends


# --- what is not finite ---------------------------------------------------------------------------------------------


class Breaking(nn.Module):
    """A layer that divides by what becomes zero for one item."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(12, 16), nn.Linear(16, 3)
        self.guard = Logarithm()

    def forward(self, x):
        return self.head(torch.relu(self.body(x)) + 0 * self.guard(x[:, :1] + 100))


def test_the_layer_that_broke_is_named_in_training(caplog):
    x, y = blobs(0)
    x[200, 0] = -200.0
    learn = learner(split(x, y), Breaking(), 0)
    with caplog.at_level(logging.WARNING, logger="tipsai"), pytest.raises(NonFiniteLossError):
        learn.fit(2, progress=False)
    (found,) = [f for f in learn.findings if f.code == "non-finite-values"]
    assert (
        found.severity == "error" and "the output of guard (Logarithm)" in found.message and "in batch" in found.message
    )


def test_divergence_is_told_from_a_broken_layer():
    learn = Learner(split(*line(0)), mlp(0, 10, 1), opt="sgd", lr=1e25, seed=0, device="cpu")
    with pytest.raises(NonFiniteLossError):
        learn.fit(3, progress=False, clip=None)
    (found,) = [f for f in learn.findings if f.code == "non-finite-values"]
    assert "training diverged" in found.message and "Lower the rate" in found.fix


# --- thorough -------------------------------------------------------------------------------------------------------


class Recorded(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def test_inputs_without_use_are_found_by_training_without_them():
    x, y = blobs(0)
    learn = learner(split(x, shuffled(y, 0)), mlp(0), 0)
    before = copied(learn.model)
    (found,) = [f for f in learn.check(thorough=True, progress=False) if f.code == "zeroed-inputs"]
    assert found.severity == "warning" and "every input zeroed" in found.message
    assert same(before, copied(learn.model))
    healthy = learner(split(x, y), mlp(0), 0)
    assert not healthy.check(thorough=True, progress=False).failed
    assert healthy.doctor.measured["zeroed-inputs"]["gain"][1] > 0 and not [
        f for f in healthy.findings if f.severity != "advice"
    ]
    assert "zeroed-inputs" not in learner(split(x, y), mlp(0), 0).check(progress=False).measured


def test_weights_that_do_harm_are_found_by_training_without_them():
    from dataclasses import replace

    x, y = blobs(0)
    spoilt = mlp(0, depth=3)
    with torch.no_grad():
        for layer in spoilt:
            if isinstance(layer, nn.Linear):
                layer.weight.copy_(layer.weight.sign() * 0.3)  # all alike
                layer.bias.sub_(1.0)
    learn = learner(split(x, y), spoilt, 0, lr=1e-3)
    assert not [f for f in learn.check(thorough=True, progress=False) if f.code == "negative-transfer"]
    learn.transfer = replace(learn.transfer, pretrained=True)
    (found,) = [f for f in learn.check(thorough=True, progress=False) if f.code == "negative-transfer"]
    assert "from scratch" in found.message
    useful = mlp(0)
    trained(split(x, y), useful, epochs=6)
    learn = learner(split(x, y), useful, 0, lr=1e-4)
    learn.transfer = replace(learn.transfer, pretrained=True)
    assert not [f for f in learn.check(thorough=True, progress=False) if f.code == "negative-transfer"]


def test_a_shift_that_only_the_model_sees():
    """Test pictures have a texture that no coarse feature shows."""
    g = draws(0)
    x = torch.randn(1200, 1, 12, 12, generator=g)
    y = torch.randint(3, (1200,), generator=g)
    cells = x[900:].view(300, 1, 4, 3, 4, 3).movedim(3, 4).flatten(4).sort().values  # each 3x3 cell keeps what it has
    x[900:] = cells.view(300, 1, 4, 4, 3, 3).movedim(3, 4).reshape(300, 1, 12, 12)
    learn = learner(split(x[:900], y[:900], test=(x[900:], y[900:])), convnet(0), 0)
    found = learn.check(thorough=True, progress=False)
    assert "valid-test-shift" not in [f.code for f in found]
    assert "valid-test-shift-embedded" in [f.code for f in found]
    assert not learn.test_looks
    alike = learner(split(x[:900], y[:900], test=(x[700:900], y[700:900])), convnet(0), 0)
    assert "valid-test-shift-embedded" not in [f.code for f in alike.check(thorough=True, progress=False)]


def test_cross_entropy_of_tokens_that_do_not_count():
    """Targets of -100 are left out of every figure."""
    from doctor.faults import TinyLM, seeded

    x, y = tokens(0)
    y[:, :8] = -100
    learn = trained(split(x, y), seeded(0, TinyLM), loss_fn=CrossEntropy(), epochs=2)
    figures = learn.findings.measured["baselines"]
    assert 0 < figures["baselines"]["pairs of tokens"] < figures["baselines"]["the shares alone"]
