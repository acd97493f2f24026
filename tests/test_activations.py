import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from tipsai.activations import FUNCTIONS, Activation, relu_squared
from tipsai.core.errors import SettingError


def test_the_squared_rectifier_is_that_of_its_definition():
    x = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(relu_squared(x), F.relu(x).square())
    x.requires_grad_()
    assert gradcheck(relu_squared, x) and gradgradcheck(relu_squared, x)
    assert torch.equal(torch.vmap(relu_squared)(x), relu_squared(x))


def test_a_misspelt_name_is_answered():
    assert Activation("relu_squared").function is FUNCTIONS["relu_squared"]
    with pytest.raises(SettingError, match="no activation 'geluu'. Did you mean 'gelu'?"):
        Activation("geluu")
