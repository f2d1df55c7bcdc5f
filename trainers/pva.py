"""PVA: Improving Zero-Shot Generalization for CLIP with Variational Adapter (Lu et al., ECCV 2024,
https://doi.org/10.1007/978-3-031-72661-3_19).

A reconstruction: no code was found, and of the paper only the abstract could be read. Marks say where each part is
from: [P] that abstract, [S] a third party's summary, [C] our choice.

[P] Fine-tuned models take samples of novel classes for base ones. Two variational adapters with learnable textual
tokens align both modalities in one latent space. Then samples are separated by a similarity of latent features, and
each kind has an expert of its own; for novel classes a residual refines the adapters' output by CLIP's global features.
x are unit image features, t0 text features of the hand-written prompt, s is CLIP's logit scale, k the latent width:

    (P1)  t_c = unit(T({v_1 .. v_L, e_c}))                    tokens v in the frozen text encoder      [P], where: [C]
    (P2)  h = ReLU(W1 f + b1), mu = W2 h + b2, log s2 = W3 h + b3      one such network for x, one for t           [C]
    (P3)  z = mu + exp(log s2 / 2) eps                        one sample in training; evaluation: z = mu           [S]
    (P4)  l_ic = s cos(z^v_i, z^t_c)                          c trained: base, and with SHIP new                   [C]
    (P5)  L_CE = mean_i -log softmax(l_i)_{y_i}                                                                    [S]
    (P6)  L_KL = mean_i KL_k(x_i) + mean_c KL_k(t_c),  KL_k = 1/(2k) sum_j (mu_j^2 + s2_j - 1 - log s2_j)
    (P7)  L_al = mean_i 1/k (|mu_v(x_i) - mu_t(t_{y_i})|^2 + |s_v(x_i) - s_t(t_{y_i})|^2)
    (P8)  L = L_CE + KL_WEIGHT L_KL + ALIGN_WEIGHT L_al       three losses: [S]; their forms: [C], P7 as in CADA-VAE
    (P9)  P_c = unit(mean of mu_v(x_i), y_i = c)              base images, all views                               [C]
    (P10) S(x) = max_c cos(mu_v(x), P_c)                      base-like where S(x) >= eta              [P], form: [C]
    (P11) eta: the (1 - KEEP) quantile of S on few-shot validation images of base classes                          [C]
    (P12) base expert:  l_c = s cos(mu_v(x), mu_t(t_c))                                                            [C]
    (P13) novel expert: l_c = s cos(x^, t^_c),  x^ = unit(unit(mu_v(x)) + RESIDUAL x),
                                                t^_c = unit(unit(mu_t(t_c)) + RESIDUAL t0_c)           [P], form: [C]

Among base and novel names a step (SEPARATE) takes P12 where S(x) >= eta and P13 elsewhere, each with NEVER for the
names of the other kind. All names of a transfer's target are novel, all of domain generalization's are base. PVA_GATE
has GATE's judge in the place of S and eta. Ablations: VARIATIONAL False has z = mu, no P6 and no second term of P7;
SEPARATE False takes P12 for every name; RESIDUAL 0. With RESIDUAL to infinity novel names have zero-shot CLIP's logits.
Where a data set has no validation images, eta is chosen on training images.

S separates no better than prototypes of CLIP's own features do, on leave-classes-out of both shipped banks
(docs/findings.md); PVA_GATE has another judge in its place.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .coop import CoOpHead
from .coop_vpt import mean_kl
from .core import PromptTrainer, Range, UserError, encode_classes
from .core.gaussian import sums_of
from .core.heads import which_are_base
from .plugins import register_twins

NEVER = -1e4  # logit of a name on the losing side of the step


def squared_w2(mean: Tensor, log_variance: Tensor, other_mean: Tensor, other_log_variance: Tensor) -> tuple:
    """The two terms, each [B], of the squared 2-Wasserstein distance of diagonal Gaussians [B, k]: of the means, and of
    the standard deviations."""
    spread = (0.5 * log_variance).exp() - (0.5 * other_log_variance).exp()
    return (mean - other_mean).square().sum(-1), spread.square().sum(-1)


def with_residual(adapted: Tensor, clip: Tensor, weight: float) -> Tensor:
    """P13: the adapter's output [N, d], normalised, plus CLIP's unit features [N, d], back on the unit sphere."""
    return F.normalize(F.normalize(adapted, dim=-1) + weight * clip, dim=-1)


class Adapter(nn.Module):
    """P2: features [N, d] -> mu, log s2, each [N, k]; PyTorch's own initial values, log s2 around `start`."""

    def __init__(self, width: int, hidden: int, latent: int, start: float):
        super().__init__()
        self.hidden = nn.Linear(width, hidden)
        self.mean, self.log_variance = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        with torch.no_grad():
            self.log_variance.bias += start

    def forward(self, features):
        hidden = self.hidden(features).relu()
        return self.mean(hidden).float(), self.log_variance(hidden).float().clamp(-10, 10)


class PVAHead(CoOpHead):
    """Unit features [B, d] -> logits [B, C]; log probabilities where base and novel names are asked together.

    `is_base` [C] says which of its names are base ones. `prototypes` [C_b, k] and `eta` are set after training; before,
    eta is -inf, and the base expert answers among base and novel names.
    """

    JOINT = True  # log probabilities over all names

    def __init__(self, backbone, classnames, ctx, options, templates, base: int):
        """The first `base` names are the base ones."""
        super().__init__(backbone, classnames, ctx, chunk=options.CHUNK)
        self.options, self.templates, width = options, templates, backbone.embed_dim
        sizes = width, options.HIDDEN_DIM or width, options.LATENT_DIM or width
        self.visual, self.textual = (Adapter(*sizes, options.LOG_VARIANCE) for _ in range(2))
        self.register_buffer("is_base", torch.arange(len(classnames)) < base)
        self.register_buffer("prototypes", torch.zeros(base, sizes[-1]))
        self.register_buffer("eta", torch.tensor(float("-inf")))

    def class_weights(self):
        return None

    def for_classes(self, names):
        """The same head read with other names; one that a base class has is a base one."""
        mine = list(zip(self.classnames, self.is_base.tolist()))
        novel = [name for name, base in mine if not base]
        is_base = which_are_base(names, [] if list(names) == novel else [name for name, base in mine if base])
        head = super().for_classes(names)
        head._buffers = {**self._buffers, "is_base": is_base.to(self.is_base.device)}
        return head

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        """A saved head may have other numbers of names and of base classes."""
        for name in ("is_base", "prototypes"):
            self._buffers[name] = torch.empty_like(state_dict[prefix + name], device=self.ctx.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def sample(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """P3 in training."""
        if not self.options.VARIATIONAL:
            return mean
        return mean + (0.5 * log_variance).exp() * torch.randn(mean.shape).to(mean.device)

    def image_latents(self, features):
        """mu_v(x), unit norm [B, d]."""
        return F.normalize(self.visual(features)[0], dim=-1)

    def class_latents(self):
        """mu_t(t_c), unit norm, and t^_c, each [C, d]."""
        latents = F.normalize(self.textual(self.text_features())[0], dim=-1)
        hand_written = encode_classes(self.backbone, self.templates, self.classnames)
        return latents, with_residual(latents, hand_written, self.options.RESIDUAL)

    def similarity(self, features: Tensor) -> Tensor:
        """P10: S(x) [B]."""
        return (self.image_latents(features) @ self.prototypes.t()).amax(1)

    def experts(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """P12 and P13 over all names of the head, each [B, C]."""
        image, (classes, refined_classes) = self.image_latents(features), self.once("latents", self.class_latents)
        base = self.logit_scale * image @ classes.t()
        if not self.options.RESIDUAL:
            return base, base
        return base, self.logit_scale * with_residual(image, features, self.options.RESIDUAL) @ refined_classes.t()

    @property
    def separates(self) -> bool:
        """Whether there are base and novel names to choose between."""
        both = bool(self.is_base.any()) and not bool(self.is_base.all())
        return both and self.options.SEPARATE and bool(self.eta.isfinite())

    def base_score(self, features: Tensor, logits: Tensor) -> Tensor | None:
        """S(x) [N]; None where nothing is separated."""
        return self.similarity(features) if self.separates else None

    def forward(self, features):
        base, novel = self.experts(features)
        if self.separates:
            base_like = (self.similarity(features) >= self.eta)[:, None]
            return torch.where(base_like, base, novel).masked_fill(base_like != self.is_base, NEVER)
        return novel if self.options.SEPARATE and not self.is_base.any() else base


@register_twins
class PVA(PromptTrainer):
    SECTION = "PVA"
    OPTIONS = {
        "N_CTX": 4,
        "CTX_INIT": "a photo of a",
        "HIDDEN_DIM": 0,  # of both adapters; 0: d, the width of the features
        "LATENT_DIM": 0,  # k; 0: d, which the residual needs
        "KL_WEIGHT": 1e-3,
        "ALIGN_WEIGHT": 1.0,
        "RESIDUAL": 1.0,  # weight of CLIP's own features for novel names
        "LOG_VARIANCE": 0.0,  # where log s2 starts; far below 0 the sample's noise does not drown the small first means
        "KEEP": 0.95,  # share of the base classes' validation images that counts as base-like
        "VARIATIONAL": True,  # False: a deterministic mapping
        "SEPARATE": True,  # False: the base expert answers for every name
    }
    LIMITS = {"KEEP": Range(0, 1, above=True), "RESIDUAL": Range(0)}
    MODEL_NAME = "pva"
    REVISION = 2  # 1 drew synthetic features ahead of its own samples
    STEPS_DRAW = True  # the latents

    def build_head(self, classnames):
        base = len(self.task.real_classnames()) if self.task else 0
        ctx, templates, latent = self.initial_context(), self.announced_templates(), self.options.LATENT_DIM
        if self.options.RESIDUAL and latent not in (0, self.backbone.embed_dim):
            raise UserError(f"TRAINER.PVA.LATENT_DIM is {latent}, which the residual cannot have: set RESIDUAL 0")
        return PVAHead(self.backbone, classnames, ctx, self.options, templates, base)

    def set_head(self, head, classnames, training=True):
        """The head remembers which names are base. Of a target, whose images are not trained on, the task knows:
        label-only names are novel, others are the source's."""
        if self.task is not None and not self.task.real_classnames():
            known = not self.task.label_only_classnames()
            head.is_base = torch.full((len(classnames),), known, device=self.device)
        super().set_head(head, classnames, training)

    def compute_loss(self, features, labels):
        """P4 to P8."""
        head, options = self.head, self.options
        image, text = head.visual(features), head.textual(head.text_features())
        z_v, z_t = (F.normalize(head.sample(*latent), dim=-1) for latent in (image, text))
        logits = head.logit_scale * (z_v @ z_t.t())
        of_means, of_spreads = squared_w2(*image, *(part[labels] for part in text))
        distance = of_means + of_spreads if options.VARIATIONAL else of_means
        loss = F.cross_entropy(logits, labels) + options.ALIGN_WEIGHT * distance.mean() / image[0].shape[1]
        if options.VARIATIONAL:
            loss = loss + options.KL_WEIGHT * (mean_kl(*image) + mean_kl(*text))
        return loss, logits

    def tune(self):
        return "; ".join(filter(None, [self.separate(), super().tune()]))

    @torch.no_grad()
    def separate(self):
        """P9 and P11 -> a phrase that says on which images eta was chosen."""
        head, count = self.head, len(self.task.real_classnames())
        if not count or not self.options.SEPARATE:
            return ""
        train = self.train_set
        owner = train.labels.repeat_interleave(train.views)
        head.prototypes.copy_(F.normalize(sums_of(head.visual(train.features)[0], owner, count), dim=-1))
        if self.data.leaves_out:
            images, source = self.search_set()
            found = head.similarity(images.first())
        else:
            source = "training images, each taken out of its prototype"
            latents, labels = head.image_latents(train.mean()), train.labels
            found = latents @ head.prototypes.t()
            without = F.normalize(sums_of(latents, labels, count)[labels] - latents, dim=-1)
            found = found.scatter(1, labels[:, None], (latents * without).sum(1, keepdim=True)).amax(1)
            found = found[labels.bincount()[labels] > 1]  # without it, a class of one has no prototype
        if not len(found):
            print("PVA: every class has one image, so nothing separates base from new: the base expert answers")
            return ""
        head.eta.fill_(found.quantile(1 - self.options.KEEP, interpolation="lower"))
        print(f"PVA: {self.options.KEEP:.0%} of {len(found)} images ({source}) are base-like, eta {head.eta:.4f}")
        return f"eta on {source}"

    def own_results(self):
        return {"pva": {"reconstruction": True, "eta": self.head.eta.item()}}
