import random

import numpy as np
import pytest
import torch
from helpers import At, Boom, boom, copied, dataloaders, learner, mlp, same

from tipsai import DataLoaders, Learner
from tipsai.core.errors import SettingError


def thirds(model):
    return [list(model[0].parameters()), list(model[1].parameters()), list(model[2:].parameters())]


def grouped(**options):
    return learner(model=mlp(norm=True, dropout=0.1), splitter=thirds, **options)


@pytest.mark.parametrize("n_workers", [0, None])
def test_the_same_seed_gives_the_same_weights_bit_for_bit(n_workers):
    def trained(seed, upset=0):
        x, y = dataloaders().train.rows.tensors()
        data = torch.utils.data.TensorDataset(x, y)
        dls = dataloaders() if n_workers is None else DataLoaders.from_datasets(data, data, bs=16, n_workers=n_workers)
        torch.manual_seed(upset)
        learn = learner(dls, mlp(dropout=0.3), seed=seed)
        learn.fit_one_cycle(2, progress=False)
        return copied(learn.model)

    assert same(trained(3), trained(3, upset=5)) and not same(trained(3), trained(4))


def test_the_callers_generators_are_left_alone():
    def state():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    learn = learner(model=mlp(dropout=0.3))
    before = state()
    learn.fit(1, progress=False)
    with pytest.raises(Boom):
        learn.fit(1, callbacks=[At(2, boom)], progress=False)
    learn.get_preds()
    assert state() == before


def test_without_a_seed_one_is_drawn_that_repeats_the_run():
    first = learner(model=mlp(dropout=0.3), seed=None)
    again = learner(model=mlp(dropout=0.3), seed=first.seed)
    for learn in (first, again):
        learn.fit(1, progress=False)
    assert same(copied(first.model), copied(again.model)) and learner(seed=None).seed != first.seed


def test_a_second_fit_goes_on():
    learn, seen = learner(opt="adam"), []
    learn.fit(2, progress=False)
    opt = learn.opt
    watch = At(1, lambda st: seen.append((st.total_epoch, float(st.opt.state[next(st.model.parameters())]["step"]))))
    learn.fit(1, callbacks=[watch], progress=False)
    assert learn.opt is opt and seen == [(2, 13.0)]
    assert [row["epoch"] for row in learn.history] == [1, 2, 3]
    assert learn.n_steps == len(learn.recorder.losses) == 18


def test_reset_opt_starts_the_optimizer_anew():
    learn, seen = learner(opt="adam"), []
    learn.fit(2, progress=False)
    watch = At(1, lambda st: seen.append(float(st.opt.state[next(st.model.parameters())]["step"])))
    learn.fit(1, callbacks=[watch], reset_opt=True, progress=False)
    assert seen == [1.0]


def test_every_epoch_of_every_fit_has_its_own_order():
    learn, seen = learner(lr=1e-9), []

    class Watch(At):
        def before_batch(self, st):
            if st.step_in_epoch == 0:
                seen.append(tuple(st.batch.y[0].tolist()))

    learn.fit(2, callbacks=[Watch(0, None)], progress=False)
    learn.fit(2, callbacks=[Watch(0, None)], progress=False)
    assert len(set(seen)) == 4


def test_frozen_groups_do_not_move_by_a_bit_and_then_they_do():
    learn = grouped(wd=0.1)
    start = copied(learn.model)
    learn.freeze()
    learn.fit_one_cycle(2, progress=False)
    frozen = copied(learn.model)
    assert all(torch.equal(frozen[name], start[name]) for name in start if not name.startswith("4"))
    assert not torch.equal(frozen["4.weight"], start["4.weight"])
    learn.unfreeze()
    learn.fit_one_cycle(1, progress=False)
    assert all(not torch.equal(t, frozen[name]) for name, t in learn.model.state_dict().items())


@pytest.mark.parametrize(("n", "trained"), [(0, "012"), (1, "12"), (2, "2"), (-1, "2"), (-2, "12"), (3, "")])
def test_freeze_to_counts_groups_from_either_end(n, trained):
    learn = grouped()
    learn.freeze_to(n)
    found = [all(p.requires_grad for p in group) for group in learn.layer_groups]
    assert "".join(str(i) for i, on in enumerate(found) if on) == trained


def test_fine_tune_trains_the_head_first_and_then_everything_at_graded_rates():
    learn, phases = grouped(), []

    class Watch(At):
        def after_backward(self, st):
            phases.append(
                (
                    [p.requires_grad for p in (g[0] for g in learn.layer_groups)],
                    {g["layer_group"]: g["lr"] for g in st.opt.param_groups},
                    {name: p.detach().clone() for name, p in st.model.named_parameters()},
                )
            )

    learn.fine_tune(2, 0.1, callbacks=[Watch(0, None)], progress=False)
    assert [flags for flags, *_ in phases] == [[False, False, True]] * 6 + [[True] * 3] * 12
    start, end = phases[0][2], phases[6][2]
    assert all(torch.equal(start[name], end[name]) for name in start if not name.startswith("4"))
    for _, rates, _ in phases[6:]:
        assert rates[2] / rates[0] == pytest.approx(100) and rates[2] / rates[1] == pytest.approx(10)
    assert max(rates[2] for _, rates, _ in phases[6:]) == pytest.approx(0.05, rel=0.05)
    assert len(learn.history) == 3


def test_fine_tune_without_layer_groups_is_refused():
    with pytest.raises(SettingError, match=r"needs layer groups, and the model has one. Give Learner\(..., splitter"):
        learner().fine_tune(1, progress=False)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"n_epochs": 0}, "n_epochs is 0; it must be above 0"),
        ({"n_epochs": None}, "n_epochs is not given"),
        ({"accumulate": 0}, "accumulate is 0"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"clip": -1.0}, "clip is -1.0"),
        ({"final": "first"}, "final is 'first'; expected 'last', 'best' or 'ema'"),
        ({"lr": [0.1, 0.1]}, "lr has 2 rates, and the model 1 layer groups"),
    ],
)
def test_arguments_of_fit_out_of_range_are_refused(options, says):
    with pytest.raises(SettingError, match=says):
        learner().fit(**{"n_epochs": 1, "progress": False} | options)


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (lambda: ([1], mlp()), {}, r"dls is a list; expected DataLoaders, for instance DataLoaders.from_tensors"),
        (lambda: (dataloaders(), torch.nn.Linear), {}, "expected an instance of torch.nn.Module"),
        (
            lambda: (dataloaders(), mlp()),
            {"loss_fn": torch.nn.functional.cross_entropy, "compute_loss": lambda model, batch: 0},
            "both loss_fn and compute_loss are given, and loss_fn would be ignored",
        ),
        (lambda: (dataloaders(), mlp()), {"device": "cuda:99"}, "device 'cuda:99' is not on this machine.*'cpu'"),
        (lambda: (dataloaders(), mlp()), {"device": "gpu"}, "device 'gpu' is not on this machine"),
    ],
)
def test_arguments_of_the_learner_that_cannot_be_are_refused(arguments, options, says):
    with pytest.raises(SettingError, match=says):
        Learner(*arguments(), **options)


def test_a_misspelt_event_is_an_error_before_training():
    cb = type("Mine", (At,), {"after_bach": lambda self, st: None})(0, None)
    with pytest.raises(TypeError, match="Did you mean after_batch|Did you mean before_batch|is no event"):
        learner(callbacks=[cb])


def test_the_model_is_the_very_module_that_was_given():
    model = mlp()
    assert learner(model=model).model is model


def test_training_without_validation_data_has_training_figures_only():
    learn = learner(dataloaders(n_valid=0))
    learn.fit(1, progress=False)
    assert set(learn.history[0]) == {"epoch", "train_objective"}
    with pytest.raises(SettingError, match="there is no valid data; give some"):
        learn.validate()


def test_predictions_stand_in_the_order_of_the_data():
    learn = learner(model=mlp(dropout=0.5))
    x, y = learn.dls.valid.rows.tensors()
    pred, target = learn.get_preds()
    learn.model.eval()
    assert torch.equal(target, y) and torch.equal(pred, learn.model(x).detach())
    assert torch.equal(learn.predict(x), pred)


def test_looks_at_test_data_are_counted(caplog):
    x, y = dataloaders().valid.rows.tensors()
    learn = learner(DataLoaders.from_tensors((x, y), (x, y), (x, y)))
    assert learn.test()["test_loss"] == pytest.approx(learn.validate()["valid_loss"])
    assert caplog.text == ""
    learn.test()
    assert list(learn.test_looks.values()) == [2] and "look 2 at the same test data" in caplog.text


def test_results_hold_the_figures_of_the_run():
    learn = learner(metrics="accuracy")
    learn.fit(2, progress=False)
    found = learn.results()
    assert found["train_objective"] == learn.history[-1]["train_objective"]
    assert found["valid_accuracy"] == learn.history[-1]["valid_accuracy"]
    assert (found["n_epochs"], found["n_steps"], found["n_parameters"]) == (2, 12, 75)
    x, y = learn.dls.train.rows.tensors()
    loss = torch.nn.functional.cross_entropy(learn.model(x), y).item()
    assert found["train_loss"] == pytest.approx(loss, rel=1e-5) and found["train_seconds"] > 0


def test_the_history_can_be_seen():
    learn = learner(metrics=["accuracy", "f1_macro"])
    learn.fit(2, progress=False)
    losses, figures = learn.plot_history().axes
    assert len(losses.lines[0].get_xdata()) == 12 and max(losses.lines[0].get_xdata()) == 2
    assert [line.get_label() for line in figures.lines] == ["accuracy", "f1_macro"]


def test_metrics_of_widely_different_size_have_axes_of_their_own():
    from tipsai import plot

    rows = [{"valid_loss": 2.0 / e, "valid_perplexity": 20.0 / e, "valid_bits_per_byte": 2.0 / e} for e in (1, 2)]
    loss, large, small = plot.history([3.0, 2.0], rows).axes
    assert [line.get_label() for line in large.lines + small.lines] == ["perplexity", "bits_per_byte"]
    assert set(large.get_xticks()) <= set(range(-5, 9)), "there is no half epoch to read a figure at"
    assert plot.alike({"valid_a": 1.0, "valid_b": 0.5}) == [["valid_a", "valid_b"]]
    assert plot.alike({name: 10.0**i for i, name in enumerate("abcd")}) == [["d"], ["c"], ["a", "b"]]
