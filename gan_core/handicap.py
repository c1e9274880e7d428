"""What holds a discriminator back: instance noise, augmentation, and a gate on its accuracy.

Each attaches to any method. What is decided from scores is decided between steps, from figures that
the trainer has averaged, so that all processes decide alike and no step waits for a GPU.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from gan_core import augmentation, sampling
from gan_core.precision import upcast
from gan_core.routing import Progress

_NOISE: dict[str, Callable[[Tensor], Tensor]] = {
    "normal": lambda x: sampling.normal(*x.shape, like=x),
    "uniform": lambda x: 2 * sampling.uniform(*x.shape, like=x) - 1,
}
_SIGN_WINDOW = 4  # steps; ADA takes its sign over as many minibatches


class Handicap:
    """noise: added to what D is shown, at the start of the run; 0: off. Standard deviation of
        "normal" noise, largest amount of "uniform" noise; pictures are in [-1, 1].

    noise_kind: its distribution.
    noise_on: "both" reals and fakes, in D's turn and in G's, so that their distributions overlap
        (Sønderby et al. 2017); "real": reals alone.
    noise_until: share of the run, above 0 and up to 1, over which it falls to 0 in a straight line.
    augment: what is done to reals and fakes before the noise, see ``gan_core.augmentation``; all
        three in DiffAugment (Zhao et al. 2020). Nothing: off.
    augment_target: 0: every picture is augmented. Else with a probability that starts at 0 and
        rises whenever the mean sign of D's scores of reals is above the target, falls when below
        (ADA, Karras et al. 2020, section 3, where it is 0.6).
    augment_images: training images in which that probability goes from 0 to 1.
    balance: accuracy, up to 1, from which on D is not trained on a class, real or fake, until it
        falls below again; each class has its own accuracy. 0: off. No paper's, and advised against
        (ganhacks, item 11): look at "skipped real" and "skipped fake" in the log.
    balance_window: steps over which accuracies are averaged.

    Deviations from ADA: augmentations are these few; the sign is a running mean over about 4 steps
    that moves the probability at each, where ADA's is the mean of 4 minibatches and moves it at
    every 4th; the probability is at most 1.
    """

    def __init__(
        self,
        *,
        noise: float = 0.0,
        noise_kind: Literal["normal", "uniform"] = "normal",
        noise_on: Literal["both", "real"] = "both",
        noise_until: float = 1.0,
        augment: tuple[Literal["colour", "translation", "cutout"], ...] = (),
        augment_target: float = 0.0,
        augment_images: int = 500_000,
        balance: float = 0.0,
        balance_window: int = 100,
    ) -> None:
        if not noise >= 0 or not 0 < noise_until <= 1:
            raise ValueError(
                "noise must be 0 or more and noise_until above 0 and at most 1, not "
                f"{noise}, {noise_until}"
            )
        if noise_kind not in _NOISE or noise_on not in ("both", "real"):
            raise ValueError(
                f"noise_kind {noise_kind!r}, noise_on {noise_on!r}: choose normal or uniform, "
                "both or real"
            )
        augmentation.check(augment)
        if not 0 <= augment_target < 1 or augment_images < 1:
            raise ValueError(
                "augment_target must be 0 or more and below 1, augment_images 1 or more, not "
                f"{augment_target}, {augment_images}"
            )
        if augment_target and not augment:
            raise ValueError(
                f"augment_target = {augment_target} needs something to adapt: set augment = "
                "['colour', 'translation', 'cutout'], say"
            )
        if not 0 <= balance <= 1 or balance_window < 1:
            raise ValueError(
                "balance must be from 0 to 1 and balance_window 1 or more, not "
                f"{balance}, {balance_window}"
            )
        self.noise, self.noise_until, self.noise_on = noise, noise_until, noise_on
        self.draw, self.level = _NOISE[noise_kind], noise
        self.augment, self.augment_target = augment, augment_target
        self.augment_images, self.balance = augment_images, balance
        self.windows = {
            "accuracy real": balance_window,
            "accuracy fake": balance_window,
            "sign real": _SIGN_WINDOW,
        }
        # Running means start at 0: no class is skipped and no augmentation rises unmeasured.
        self.means = dict.fromkeys(self.windows, 0.0)
        self.p = 0.0 if augment_target else 1.0
        self.images = self.adjusted = 0  # training images before this step, and when p last moved

    def check(self, boundary: float | None) -> None:
        """ValueError if what is asked for needs a boundary between scores of reals and of fakes.

        There is none (None) where scores have no zero, a Wasserstein critic's, or are energies.
        """
        active = [name for name in ("balance", "augment_target") if getattr(self, name)]
        if active and boundary is None:
            raise ValueError(
                f"{' and '.join(active)} count scores on the right side of a boundary, and this "
                "system's scores have none: set 0, or a loss such as 'vanilla' or 'hinge'"
            )

    def begin(self, progress: Progress) -> None:
        """Told where training stands before every step."""
        done = progress.step / (self.noise_until * max(progress.steps, 1))
        self.level = self.noise * max(1 - done, 0.0)
        self.images = progress.images

    def show(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """What D is trained on; the very tensors where nothing is active.

        Any shape, batch first; only pictures [B, C, H, W] can be augmented.
        """
        return self._noisy(self._augmented(real)), self.show_fake(fake)

    def show_fake(self, fake: Tensor) -> Tensor:
        """What D is shown of fakes, in G's turn as in its own."""
        fake = self._augmented(fake)
        return self._noisy(fake) if self.noise_on == "both" else fake

    def _augmented(self, x: Tensor) -> Tensor:
        return augmentation.augment(x, self.augment, self.p) if self.augment else x

    def _noisy(self, x: Tensor) -> Tensor:
        if self.level == 0:
            return x
        x = upcast(x)
        return x + self.level * self.draw(x)

    def weights(self) -> tuple[float, float]:
        """Of D's loss of reals and of fakes: 0 while that class is skipped, else 1.

        The optimiser still takes its step, by momentum at least.
        """
        real, fake = (
            0.0 if self.balance and self.means[name] >= self.balance else 1.0
            for name in ("accuracy real", "accuracy fake")
        )
        return real, fake

    def figures(self, real: Tensor, fake: Tensor, boundary: float | None) -> dict[str, Tensor]:
        """Scalars without gradient, to be logged and observed, of D's scores of what it was shown.

        accuracy: share of scores on their side of the boundary, which itself is on neither.
        skipped: 1 where the class's loss has no weight, so that its mean is the skip rate.
        sign real, augmentation: ADA's r_t, and the probability.
        """
        if not (self.balance or self.augment_target):
            return {}
        assert boundary is not None, "check() refuses it"
        real, fake = upcast(real.detach()), upcast(fake.detach())
        figures: dict[str, Tensor] = {}
        if self.balance:
            on_real, on_fake = self.weights()
            figures |= {
                "accuracy real": (real > boundary).to(real.dtype).mean(),
                "accuracy fake": (fake < boundary).to(fake.dtype).mean(),
                "skipped real": real.new_full((), 1 - on_real),
                "skipped fake": real.new_full((), 1 - on_fake),
            }
        if self.augment_target:
            figures |= {
                "sign real": torch.sign(real - boundary).mean(),
                "augmentation": real.new_full((), self.p),
            }
        return figures

    def observe(self, logs: Mapping[str, float]) -> None:
        """Follow the figures of a finished step; those of a skipped batch are missing."""
        for name in self.windows.keys() & logs.keys():
            self.means[name] += (logs[name] - self.means[name]) / self.windows[name]
        if self.augment_target and "sign real" in logs:
            # Of this step itself the next counts the images: only begin() tells how many.
            move = (self.images - self.adjusted) / self.augment_images
            rises = self.means["sign real"] > self.augment_target
            self.p = min(max(self.p + (move if rises else -move), 0.0), 1.0)
            self.adjusted = self.images

    def state_dict(self) -> dict[str, Any]:
        return {**self.means, "augmentation": self.p, "adjusted": self.adjusted}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.means = {name: state[name] for name in self.windows}
        self.p, self.adjusted = state["augmentation"], state["adjusted"]
