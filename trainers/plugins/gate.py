"""GATE: two experts, and one judge that needs no training.

A fine-tuned method takes images of new classes for base ones. PVA (ECCV 2024) separates the two kinds first; this is
the same idea for every method, in the form of the two experts of generalized zero-shot learning (COSMO; DeCoOp, ICML
2024; the boundary classifier of Chen et al., ECCV 2020). Ours: the side, base or new, is decided half by the method and
half by GaussianLDA, made of the same few-shot images; the class within a side is the method's.

    (G1) l_c  the method's logits in units of 100 x cosine, over base names B and new names N
    (G2) h_c = 100 x . t0_c + x . P mu_c - mu_c . P mu_c / 2               GaussianLDA's
    (G3) d_l = max_N l - max_B l,  d_h = max_N h - max_B h,  d = (d_l + d_h) / 2
    (G4) gated logit: l_c - max_B l for c in B;  l_c - max_N l + d for c in N;  times s / 100, s the logit scale

There is no threshold and no weight, so nothing is chosen. Over base names alone, or new ones alone, the method (or
zero-shot CLIP for new ones) answers: base, new and H stay what they are without GATE. A covariance of two or three
images per class is worse than none: where the median class has fewer than MEDIAN images GATE is idle, and says so.
"""

import json
import os

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..core.bank import is_intact, with_digests
from ..core.files import UserError, replacing
from ..core.gaussian import NEIGHBOURS, GaussianHead, gaussian_state
from ..core.heads import ZeroshotHead, class_features, which_are_base
from ..core.plugin import Plugin

FILE = os.path.join("gate", "gate.safetensors")
MEDIAN = 4  # images of the median class that the judge needs
ONE_KIND = "it tells classes with training images from those without, and there are only the one or the other here"
FEW = f"the median class has {{:g}} training images, and the judge's covariance takes {MEDIAN} or more"


def gated(base: Tensor, new: Tensor, judge_base: Tensor, judge_new: Tensor) -> tuple[Tensor, Tensor]:
    """(G3, G4): the method's logits of base names [B, C_b] and of new names [B, C_n], and the judge's, all in the same
    unit -> the gated ones."""
    best_base, best_new = base.amax(1, keepdim=True), new.amax(1, keepdim=True)
    by_judge = judge_new.amax(1, keepdim=True) - judge_base.amax(1, keepdim=True)
    return base - best_base, new - best_new + (best_new - best_base + by_judge) / 2


class GatedHead(nn.Module):
    """Unit features [B, d] -> gated logits [B, C] in the caller's order of names: `base` and `new` are heads over its
    base and its new names, `judge` is one over all, `is_base` [C] says which are which."""

    def __init__(self, base: nn.Module, new: nn.Module, judge: GaussianHead, is_base: Tensor):
        super().__init__()
        self.base, self.new, self.judge, self.is_base = base, new, judge, is_base

    def forward(self, features):
        judge, is_base = self.judge(features.float()), self.is_base.to(features.device)
        base, new = self.base(features).float(), self.new(features).float()
        logits = torch.empty_like(judge)
        logits[:, is_base], logits[:, ~is_base] = gated(base, new, judge[:, is_base], judge[:, ~is_base])
        return logits

    def base_score(self, features: Tensor, logits: Tensor) -> Tensor:
        """-d [N] of features whose gated logits are given: the larger, the more like base."""
        return -logits[:, ~self.is_base.to(logits.device)].amax(1)


class GATE(Plugin):
    """State after tune() or load(): `settings` (base and new names, the backbone; or `idle`, why nothing is gated) and
    the judge's `statistics`."""

    NAME, SECTION, REVISION = "GATE", "GATE", 2
    OPTIONS = {"NEW_EXPERT": "method"}  # what answers among new names: the method, or zero_shot CLIP
    LIMITS = {"NEW_EXPERT": ("method", "zero_shot")}

    settings: dict = {"idle": ""}
    statistics: dict[str, Tensor] = {}

    @torch.no_grad()
    def tune(self):
        trainer, task = self.trainer, self.trainer.task
        base, new = task.real_classnames(), trainer.new_classnames()
        median = trainer.train_set.labels.bincount().double().quantile(0.5).item() if base else 0
        if not base or not new or median < MEDIAN:
            self.settings = {"idle": FEW.format(median) if base and new else ONE_KIND}
            print(f"GATE: {self.settings['idle']}")
            return ""
        train, features = trainer.train_set, class_features(trainer.train_set.mean(), trainer.backbone.embed_dim)
        self.statistics = gaussian_state(features, train.labels, len(base), round(NEIGHBOURS * task.share))
        self.settings = {"base": base, "new": new, "backbone": trainer.backbone.weights_hash}
        print(f"GATE: {len(train)} images of {len(base)} classes make the judge")
        return ""

    def known_names(self) -> list[str]:
        """The names that it separates; [] where it is idle."""
        return [*self.settings.get("base", []), *self.settings.get("new", [])]

    def head_for(self, head, names):
        """The method's head over base names or over new ones; the gated one over both. `head` is None where the method
        cannot have these names: an expert for each side may still do."""
        if "idle" in self.settings:
            return head
        # the new names as they were all are new, also one that a base class has
        is_base = which_are_base(names, [] if names == self.settings["new"] else self.settings["base"])
        if is_base.all():
            return head
        if not is_base.any():
            return self.new_expert(names) if self.options.NEW_EXPERT == "zero_shot" else head
        base, new = ([name for name, own in zip(names, is_base.tolist()) if own == side] for side in (True, False))
        trainer = self.trainer
        judge = GaussianHead(trainer.backbone, trainer.templates, self.settings["base"], self.statistics)
        return GatedHead(trainer.method_head(base), self.new_expert(new), judge.for_classes(names), is_base)

    def new_expert(self, names):
        if self.options.NEW_EXPERT == "zero_shot":
            return ZeroshotHead(self.trainer.backbone, self.trainer.templates, names)
        return self.trainer.method_head(names)

    def save(self, folder):
        if folder:
            tensors = {name: value.cpu().contiguous() for name, value in self.statistics.items()}
            with replacing(os.path.join(folder, FILE)) as part:
                save_file(tensors, part, with_digests({"settings": json.dumps(self.settings)}, tensors))

    def load(self, folder):
        path, own = os.path.join(folder, FILE), self.trainer.backbone.weights_hash
        if not os.path.isfile(path):
            raise UserError(f"there is no {path}, which a finished run of a trainer with GATE has")
        with safe_open(path, framework="pt", device=str(self.trainer.device)) as file:
            header = file.metadata()
            self.statistics = {name: file.get_tensor(name) for name in file.keys()}
        if '"eta"' in header.get("settings", ""):
            raise UserError(f"{path} is of GATE's first form, which is gone: train again with --force")
        if not is_intact(header, self.statistics):
            raise UserError(f"{path} is damaged; train again, which takes a finished checkpoint up")
        self.settings = json.loads(header["settings"])
        if self.settings.get("backbone", own) != own:  # a host's own checkpoint does not say
            raise UserError(f"{path} was made on another backbone ({self.settings['backbone'][:12]}, now {own[:12]})")

    def results(self):
        return {"gate": self.settings} if self.settings.get("idle") else {}
