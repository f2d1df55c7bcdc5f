"""Generators of SHIP that need no pretraining: what its trained ones must clear. Ours, not the paper's.

`shift`: the class's text moved over the modality gap, plus a real residual of a random base image,

    x~ = unit(unit(t0_c + mean_b m_b - mean_b t0_b) + x_i - m_{y_i})

with m_b the mean image of base class b, t0 the hand-written text features and x_i one view of a few-shot image.

`gaussian`: x~ = unit(mu_c + e), e ~ N(0, S), with S the shrunk within-class covariance of the base images and mu_c made
up of the images nearest to the text, and the text, as GaussianLDA does it (core/gaussian.py).

Both are functions of a latent z ~ N(0, I), as trained generators are. Their state is saved and loaded like that of
trained ones, so a target of transfer draws from the residuals, or the covariance, of its source.
"""

from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import nn

from ..core.files import UserError
from ..core.gaussian import NEIGHBOURS, mean_near_text, means_of, shrunk_covariance
from ..core.model.prompts import PHOTO, encode_classes
from ..core.randomness import seed_all
from .framework import Framework
from .training import GeneratorTraining


class TrainingFreeGenerator(nn.Module):
    """z [B, k] and class names -> unit features [B, d].

    A subclass has `fit(features, classes)`, which takes what it needs from a FeatureSet of `classes` (ClassTokens) into
    the buffers (a saved state may fill them too), and `centres(texts)`: where classes with the text features [C, d]
    lie [C, d].
    """

    STATE: tuple[str, ...] = ()  # names of the buffers; their shapes depend on the data

    share = 1.0  # of the images of a full run that it is fitted on

    def __init__(self, backbone, templates):
        super().__init__()
        self.backbone, self.templates, self._texts = [backbone], templates, WeakKeyDictionary()
        for name in self.STATE:
            self.register_buffer(name, torch.zeros(0))

    def texts(self, classes):
        """t0 [C, d] of `classes`, float32."""
        return encode_classes(self.backbone[0], self.templates, classes.names).float()

    def of(self, classes):
        """`centres` of `classes`, made once for each of them."""
        if classes not in self._texts:
            self._texts[classes] = self.centres(self.texts(classes))
        return self._texts[classes]

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        for name in self.STATE:
            shape = state_dict[prefix + name].shape
            setattr(self, name, getattr(self, name).new_empty(shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class ShiftGenerator(TrainingFreeGenerator):
    STATE = ("offset", "residuals")
    latent_dim = 1  # its place among all values says which residual

    def fit(self, features, classes):
        means = means_of(features.mean(), features.labels, len(classes))
        self.offset = means.mean(0) - self.texts(classes).mean(0)
        self.residuals = features.features - means[features.labels.repeat_interleave(features.views)]

    def centres(self, texts):
        return F.normalize(texts + self.offset, dim=-1)

    def forward(self, z, labels, classes):
        count = len(self.residuals)
        which = (torch.special.ndtr(z[:, 0].double()) * count).long().clamp(max=count - 1)
        return F.normalize(self.of(classes)[labels] + self.residuals[which], dim=-1)


class GaussianGenerator(TrainingFreeGenerator):
    STATE = ("support", "factor")

    @property
    def latent_dim(self):
        return len(self.factor)

    def fit(self, features, classes):
        self.support = features.mean()
        residuals = self.support - means_of(self.support, features.labels, len(classes))[features.labels]
        if not residuals.any():
            raise UserError(
                "TRAINER.SHIP.GENERATOR gaussian needs a covariance, and every class has one image: give "
                "DATASET.NUM_SHOTS 2 or more, or use shift"
            )
        self.factor = torch.linalg.cholesky(shrunk_covariance(residuals)).float()

    def centres(self, texts):
        return mean_near_text(texts, self.support, round(NEIGHBOURS * self.share))

    def forward(self, z, labels, classes):
        return F.normalize(self.of(classes)[labels] + z @ self.factor.t(), dim=-1)


GENERATORS = {"shift": ShiftGenerator, "gaussian": GaussianGenerator}


class TrainingFree(Framework):
    """A generator without anything that trains it."""

    def __init__(self, kind, backbone, templates):
        super().__init__()
        self.generator = GENERATORS[kind](backbone, templates or [PHOTO])


class Fitting(GeneratorTraining):
    """In place of pretraining. The hand-written prompts of t0 are saved too: a loaded generator keeps its own."""

    def run(self):
        """-> (generator, report)."""
        seed_all(self.seed, "generator", "init")
        framework = self.build().to(self.device)
        framework.generator.share = self.trainer.task.share
        with torch.no_grad():
            framework.generator.fit(self.features, self.classes)
        framework.requires_grad_(False).eval()
        settings = {**self.settings(), "templates": framework.generator.templates}
        self._save_final(self._state(framework, [], settings, [], 0))
        return framework.generator, self._report(framework.generator, [])
