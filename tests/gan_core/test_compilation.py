import copy

import pytest
import torch
from torch import Tensor, nn

from gan_core import compilation
from gan_core.losses.penalties import gradient_penalty
from translate.networks.patch import PatchDiscriminator


def test_auto_is_off() -> None:
    assert [compilation.resolve(name) for name in ("auto", "on", "off")] == ["off", "on", "off"]
    with pytest.raises(ValueError, match="compile 'yes': choose auto, on, off"):
        compilation.resolve("yes")


@pytest.mark.slow
def test_a_compiled_critic_under_a_penalty() -> None:
    """Equal losses and gradients; the penalty's second order goes round the compiled graph."""
    torch.manual_seed(0)
    plain = PatchDiscriminator(3, 32, filters=4, layers=2, norm="layer")
    compiled = copy.deepcopy(plain)
    compilation.compile_([compiled])
    real, fake, mix = torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 32), torch.rand(2)

    def loss(critic: nn.Module) -> Tensor:
        slope = gradient_penalty(critic, real, fake, mix)
        return critic(fake).mean() - critic(real).mean() + 10 * slope

    losses = [loss(critic) for critic in (plain, compiled)]
    for each in losses:
        each.backward()
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-6)
    for p, q in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-6)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
