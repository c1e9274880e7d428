"""The autoencoders against their papers' layers, one by one, and hand counts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_core.networks.autoencoder import BEGANAutoencoder, BEGANGenerator, ConvAutoencoder
from gan_core.networks.dcgan import DCGANGenerator
from gan_core.networks.encoder import DCGANEncoder

SMALL = {"latent": 5, "filters": 2}
Build = Callable[..., Any]


def convolutional(*arguments: Any, **keywords: Any) -> ConvAutoencoder:
    return ConvAutoencoder(*arguments, **{**SMALL, "init_gain": 0.3, **keywords})


def began(*arguments: Any, **keywords: Any) -> BEGANAutoencoder:
    return BEGANAutoencoder(*arguments, **{**SMALL, **keywords})


def began_generator(*arguments: Any, **keywords: Any) -> BEGANGenerator:
    return BEGANGenerator(*arguments, **{**SMALL, **keywords})


both = pytest.mark.parametrize("build", [convolutional, began])
every = pytest.mark.parametrize("build", [convolutional, began, began_generator])


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def shake(net: nn.Module) -> Any:
    for p in net.parameters():
        nn.init.normal_(p, 0.0, 0.3)
    return net


# Both autoencoders.


@both
@pytest.mark.parametrize("aspect", [(1, 1), [2, 3]])
@pytest.mark.parametrize("size", [16, 32, 64, 128, 256, 512])
@pytest.mark.parametrize("channels", [1, 4])
def test_shapes_without_numbers(
    channels: int, size: int, aspect: tuple[int, int], build: Build
) -> None:
    rows, columns = aspect
    with torch.device("meta"):
        D = build(channels, size, aspect)
        x = torch.empty(2, channels, size * rows, size * columns)
        reconstruction, code = D(x, codes=True)
        assert D(x).shape == reconstruction.shape == x.shape
    assert code.shape == (2, 5)
    assert D.numbers == x[0].numel()


@both
def test_halves_can_be_called_alone(build: Build) -> None:
    torch.manual_seed(0)
    D, x = build(3, 16, (1, 2)).eval(), torch.randn(2, 3, 16, 32)
    reconstruction, code = D(x, codes=True)
    assert torch.equal(D(x), reconstruction)
    assert torch.equal(D.encode(x), code)
    assert torch.equal(D.decode(code), reconstruction)
    assert (reconstruction[0] - reconstruction[1]).abs().max() > 1e-3


@both
def test_the_code_is_all_that_passes(build: Build) -> None:
    D, x = build(1, 16, latent=1).eval().double(), torch.randn(2, 1, 16, 16).double()
    jacobian = torch.autograd.functional.jacobian(lambda x: D(x).flatten(), x[:1])
    singular = torch.linalg.svdvals(jacobian.reshape(256, 256))
    assert singular[0] > 1e-6
    assert singular[1] < 1e-9 * singular[0]


@both
def test_an_autoencoder_learns(build: Build) -> None:
    """Pictures that differ in three numbers, of which a code of five has room."""
    torch.manual_seed(0)
    D = build(1, 16, filters=4)
    basis = F.interpolate(torch.randn(3, 1, 4, 4), size=16, mode="bilinear")
    x = torch.tanh(torch.einsum("bn,nchw->bchw", torch.randn(32, 3), basis))
    optimizer = torch.optim.Adam(D.parameters(), 1e-2)
    errors = []
    for _ in range(60):
        error = (D(x) - x).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.3 * x.square().mean() < errors[0]


@every
def test_numbers_in_16_bits(build: Build) -> None:
    torch.manual_seed(0)
    net = build(1, 16)
    x = torch.randn(4, 5) if build is began_generator else torch.randn(4, 1, 16, 16)
    exact = net(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert (net(x) - exact).abs().max() < 0.05 * exact.abs().max()


@every
def test_gradients_reach_every_parameter_and_the_picture_twice(build: Build) -> None:
    torch.manual_seed(0)
    net = shake(build(1, 16)).double().eval()
    x = torch.randn(1, 5) if build is began_generator else torch.randn(1, 1, 16, 16)
    x = x.double().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: net(x).square().mean(), (x,), fast_mode=True)
    net(x).square().sum().backward()
    for name, p in net.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().max() > 0, name


@every
@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((3, 8), {}, "size must be a power of two from 16 to 512, not 8"),
        ((3, 48), {}, "size must be a power of two from 16 to 512, not 48"),
        ((3, 16, (0, 1)), {}, "aspect must be rows and columns"),
        ((3, 16), {"latent": 0}, "latent must be 1 or more, not 0"),
        ((3, 16), {"filters": 0}, "filters must be 1 or more, not 0"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: tuple[Any, ...], keywords: dict[str, Any], message: str, build: Build
) -> None:
    with pytest.raises(ValueError, match=message):
        build(*arguments, **keywords)


# EBGAN's.


def test_halves_of_the_convolutional_one() -> None:
    for kernel, norm in ((4, "batch"), (5, "layer")):
        torch.manual_seed(0)
        D = convolutional(3, 32, (1, 2), kernel=kernel, norm=norm)
        shape = {"filters": 2, "kernel": kernel, "norm": norm}
        halves = {
            "encode": DCGANEncoder(3, 32, 5, (1, 2), **shape),  # type: ignore[arg-type]
            "decode": DCGANGenerator(3, 32, aspect=(1, 2), latent=5, **shape),  # type: ignore[arg-type]
        }
        for name, half in halves.items():
            assert str(getattr(D, name)) == str(half)
            half.load_state_dict(getattr(D, name).state_dict())


def test_parameters_of_the_convolutional_one() -> None:
    """At 32 pixels 2, 4 and 8 channels; a bias where no batch norm follows."""
    down = (3 * 2 * 16 + 2) + (2 * 4 * 16 + 2 * 4) + (4 * 8 * 16 + 2 * 8) + (16 * 8 + 1) * 5
    up = (5 * 8 * 16 + 2 * 8) + (8 * 4 * 16 + 2 * 4) + (4 * 2 * 16 + 2 * 2) + (2 * 3 * 16 + 3)
    assert parameters(convolutional(3, 32)) == down + up


def test_reconstructions_lie_in_the_pictures_range() -> None:
    torch.manual_seed(0)
    D = shake(convolutional(3, 16))
    assert 0.9 < D(100 * torch.randn(8, 3, 16, 16)).abs().max() <= 1


def test_first_weights_of_the_convolutional_one() -> None:
    torch.manual_seed(0)
    D = ConvAutoencoder(3, 32, init_gain=0.1)
    for name, p in D.named_parameters():
        if name.endswith("bias"):
            assert p.abs().max() == 0, name
        elif p.ndim > 1:
            assert p.std().item() == pytest.approx(0.1, rel=3.6 / p.numel() ** 0.5), name


# BEGAN's.


def test_parameters_of_began() -> None:
    """Resolutions 8, 16 and 32, n = 2: the encoder has n, 2n and 3n channels."""
    n, latent = 2, 5

    def conv(width: int, wider: int) -> int:
        return 9 * width * wider + wider

    generator = (latent + 1) * 64 * n + 6 * conv(n, n) + conv(n, 3)
    assert parameters(began_generator(3, 32)) == generator
    encoder = (
        conv(3, n)
        + (conv(n, n) + conv(n, n) + conv(n, n))  # two, and the halving
        + (conv(n, 2 * n) + conv(2 * n, 2 * n) + conv(2 * n, 2 * n))
        + (conv(2 * n, 3 * n) + conv(3 * n, 3 * n))
        + (64 * 3 * n + 1) * latent
    )
    assert parameters(began(3, 32)) == encoder + generator
    wide = parameters(began_generator(3, 32, (2, 3)))
    assert wide - generator == 5 * (latent + 1) * 64 * n, "the first grid alone"


def elu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, x.exp() - 1)


def weights(net: nn.Module) -> list[Tensor]:
    return list(net.parameters())


def by_hand(z: Tensor, values: list[Tensor], grid: tuple[int, int], doublings: int) -> Tensor:
    """BEGAN's decoder from the paper's figure 1; ``values``: weight, bias, weight, ..."""
    pairs = list(zip(values[::2], values[1::2], strict=True))
    x = (z @ pairs[0][0].T + pairs[0][1]).reshape(len(z), -1, *grid)
    for level in range(doublings + 1):
        if level > 0:
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        for weight, bias in pairs[1 + 2 * level : 3 + 2 * level]:
            x = elu(F.conv2d(x, weight, bias, padding=1))
    return F.conv2d(x, *pairs[-1], padding=1)


def test_the_generator_layer_by_layer() -> None:
    torch.manual_seed(0)
    G = shake(began_generator(3, 32, (1, 2))).double()
    z = torch.randn(2, 5, dtype=torch.float64)
    x = G(z)
    assert x.shape == (2, 3, 32, 64)
    assert torch.allclose(x, by_hand(z, weights(G), (8, 16), 2), rtol=1e-10, atol=1e-10)
    assert x.abs().max() > 1.5, "no tanh at the end"
    assert torch.equal(G(z, torch.tensor([0, 1])), x), "labels are ignored"
    assert G.latent == 5


def test_the_autoencoder_layer_by_layer() -> None:
    torch.manual_seed(0)
    D = shake(began(1, 32)).double()
    x = torch.randn(2, 1, 32, 32, dtype=torch.float64)
    reconstruction, code = D(x, codes=True)
    values = weights(D.encode)
    *convolutions, last = zip(values[::2], values[1::2], strict=True)
    h, halved = x, []
    for place, (weight, bias) in enumerate(convolutions):
        stride = 2 if place in (3, 6) else 1
        h = elu(F.conv2d(h, weight, bias, stride, padding=1))
        halved += [h.shape[1:]] if stride == 2 else []
    assert halved == [(2, 16, 16), (4, 8, 8)]
    assert h.shape == (2, 6, 8, 8)
    assert torch.allclose(code, h.flatten(1) @ last[0].T + last[1], rtol=1e-10, atol=1e-10)
    expected = by_hand(code, weights(D.decode), (8, 8), 2)
    assert torch.allclose(reconstruction, expected, rtol=1e-10, atol=1e-10)
    assert code.abs().max() > 1.5, "no activation of the embedding"


def test_the_generator_is_the_decoder() -> None:
    """Of the same layers, so that weights can go from one to the other."""
    G, D = began_generator(3, 64, (2, 1)), began(3, 64, (2, 1))
    D.decode.load_state_dict(G.state_dict())
    z = torch.randn(2, 5)
    assert torch.equal(D.decode(z), G(z))


def test_first_weights_of_began() -> None:
    """Xavier: 2 / (what goes in + what goes out), each counted as a sum's terms."""
    torch.manual_seed(0)
    D = BEGANAutoencoder(3, 16, filters=32)
    for name, p in D.named_parameters():
        if name.endswith("bias"):
            assert p.abs().max() == 0, name
        else:
            out, into, *kernel = p.shape
            expected = (2 / ((into + out) * (9 if kernel else 1))) ** 0.5
            assert p.std().item() == pytest.approx(expected, rel=3.6 / p.numel() ** 0.5), name
