"""What stays behind when a model moves; "meta" stands in for a GPU."""

import pytest
import torch
from helpers import dataloaders, learner, mlp
from torch import nn

from tipsai.core.device import left_behind, on_one_device
from tipsai.core.errors import SettingError

META = torch.device("meta")


class Net(nn.Module):
    """Holds more than torch knows of."""

    def __init__(self, **extra):
        super().__init__()
        self.first = nn.Linear(5, 8)
        self.inner = nn.Module()
        for name, value in extra.items():
            setattr(self.inner, name, value)
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        x = self.first(x)
        for layer in getattr(self.inner, "layers", ()):
            x = layer(x)
        return self.last(x * getattr(self.inner, "scale", 1.0))


def test_layers_in_a_list_and_plain_tensors_are_left_behind():
    net = Net(
        layers=[nn.Linear(8, 8)],
        scale=torch.ones(8),
        by_name={"a": torch.ones(1)},
        ready=(torch.ones(1, device=META),),
        n=3,
    )
    net.inner.known = nn.ModuleList([nn.Linear(8, 8)])
    net.inner.again = [net.inner.known[0]]  # what torch knows of moves, wherever else it is kept
    net.inner.register_buffer("kept", torch.ones(8))
    assert left_behind(net.to(META), META) == ["inner.layers", "inner.scale", "inner.by_name"]
    assert left_behind(Net(layers=[nn.Linear(8, 8)], scale=torch.ones(8)), torch.device("cpu")) == []


@pytest.mark.parametrize("extra", [{"layers": [nn.Linear(8, 8)]}, {"scale": torch.ones(8)}], ids=["layers", "tensor"])
@pytest.mark.parametrize("run", ["fit", "lr_find", "validate", "get_preds"])
def test_a_model_that_is_on_two_devices_is_told_what_stayed(extra, run):
    learn = learner(model=Net(**extra), device="meta")
    # the doctor looks at values, which meta has none of
    arguments = {"n_epochs": 1, "progress": False, "doctor": False} if run == "fit" else {}
    with pytest.raises(SettingError, match=rf"'inner\.{next(iter(extra))}' did not go to meta.*ModuleList"):
        getattr(learn, run)(**arguments)


def test_what_fails_for_another_reason_is_left_as_it_is():
    net = Net(layers=[nn.Linear(8, 8)]).to(META)
    with pytest.raises(RuntimeError, match="reduction dim"), on_one_device(net, META):
        net.first(torch.ones(2, 4, device=META))
    with pytest.raises(RuntimeError, match="expected device"), on_one_device(mlp().to(META), META):
        nn.Linear(5, 3)(torch.ones(2, 5, device=META))


def test_a_model_that_fetches_what_it_keeps_elsewhere_is_left_alone():
    class Fetching(Net):
        def forward(self, x):
            return self.last(self.first(x) * self.inner.scale.to(x.device))

    net = Fetching(scale=torch.ones(8)).to(META)
    with on_one_device(net, META):
        assert net(torch.ones(2, 5, device=META)).shape == (2, 3)


def test_a_loss_of_ones_own_moves_with_the_model():
    class Weighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("weight", torch.tensor([1.0, 2.0, 1.0]))

        def forward(self, pred, target):
            return nn.functional.cross_entropy(pred, target, self.weight)

    loss = Weighted()
    learner(dataloaders(), loss_fn=loss, device="meta")
    assert loss.weight.device == META
