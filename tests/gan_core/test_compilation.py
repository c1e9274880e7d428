import copy

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from gan_core import compilation
from gan_core.blocks.normalisation import InstanceNorm2d
from gan_core.kernels import dispatch, pixel_norm, sample_norm
from gan_core.losses.penalties import gradient_penalty
from translate.networks.patch import PatchDiscriminator

CPU = torch.device("cpu")


def test_auto_is_off() -> None:
    assert [compilation.resolve(name, CPU) for name in ("auto", "off")] == ["off", "off"]
    assert compilation.resolve("on", torch.device("cuda")) == "on"
    with pytest.raises(ValueError, match="compile 'yes': choose auto, on, off"):
        compilation.resolve("yes", CPU)


def test_a_cpu_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: name if name == "clang++" else None)
    assert compilation.resolve("on", CPU) == "on"
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ValueError, match=r"needs g\+\+ or clang\+\+"):
        compilation.resolve("on", CPU)


def test_a_network_is_compiled_once_whatever_ran_beside_it() -> None:
    """What is kept of the operations that ran is not to be looked at again by torch.compile."""
    compilation.prepare()
    counter = CompileCounter()
    net = nn.Sequential(nn.Conv2d(2, 4, 3), InstanceNorm2d(4))
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    x = torch.randn(2, 2, 8, 8)
    for beside in (lambda: None, lambda: pixel_norm(x), lambda: sample_norm(x)):
        beside()
        compiled(x)
    assert counter.frame_count == 1
    assert dispatch.ran()["instance_norm"].startswith("reference: ")


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
