import pytest
import torch
from helpers import Boom, boom, learner, mlp
from torch import nn

from tipsai import Batch
from tipsai.summary import summarize


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 4)
        self.head = nn.Linear(4, 10)
        self.head.weight = self.embed.weight
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.head(self.embed(x))


def test_tied_parameters_count_once():
    found = summarize(Tied(), Batch((torch.zeros(2, 5, dtype=torch.long),), ()))
    assert [(la.name, la.n_parameters) for la in found.layers] == [("embed", 40), ("head", 10), ("scale", 3)]
    assert found.n_parameters == found.n_trainable == 53 and found.parameter_bytes == 212


def test_layers_have_their_shapes_and_activations_their_size():
    found = summarize(mlp(), Batch((torch.zeros(7, 5),), ()))
    assert [la.kind for la in found.layers] == ["Linear", "ReLU", "Dropout", "Linear"]
    assert [la.shape for la in found.layers] == ["[7, 8]", "[7, 8]", "[7, 8]", "[7, 3]"]
    assert found.activation_bytes == 4 * 7 * (8 + 8 + 8 + 3) and found.n_rows == 7


def test_frozen_layers_are_marked():
    learn = learner(splitter=lambda m: [list(m[0].parameters()), list(m[1:].parameters())])
    learn.freeze()
    found = learn.summary()
    assert [la.trainable for la in found.layers] == [False, False, False, True]
    assert (found.n_parameters, found.n_trainable) == (75, 27)
    first, *_, last = str(found).split("\n\n")[0].splitlines()[2:]
    assert first.endswith("no") and last.endswith("yes")
    assert "75 parameters, 27 of them trained; 300 bytes of weights" in str(found)


def test_a_model_that_is_one_layer_has_a_row():
    found = summarize(nn.Linear(3, 2), Batch((torch.zeros(1, 3),), ()))
    assert [(la.name, la.n_parameters) for la in found.layers] == [("Linear", 8)]


@pytest.mark.parametrize("fails", [False, True])
def test_modes_and_hooks_are_put_back(fails):
    model = mlp(dropout=0.5)
    model[2].eval()
    modes = [m.training for m in model.modules()]
    bad = model[3].register_forward_pre_hook(lambda *args: boom()) if fails else None
    batch = Batch((torch.zeros(7, 5),), ())
    if fails:
        with pytest.raises(Boom):
            summarize(model, batch)
        bad.remove()
    else:
        summarize(model, batch)
    assert [m.training for m in model.modules()] == modes
    assert not any(m._forward_hooks for m in model.modules())
