"""GATE: is an image of a base class or of a new one? Each answer has an expert of its own.

A fine-tuned method takes images of new classes for base ones. PVA (ECCV 2024) separates the two kinds first; this is
the same idea for every method. A reconstruction: PVA's paper could not be read, and the form is that of the two experts
of generalized zero-shot learning (COSMO; DeCoOp, ICML 2024; the boundary classifier of Chen et al., ECCV 2020).

    log p(y | x) = log pi(x)       + log_softmax(base logits)_y    y base
                 = log(1 - pi(x)) + log_softmax(new logits)_y     y new
    pi(x) = sigmoid((g(x) - eta) / SOFTNESS)
    g(x)  = lse_c(kappa x . P_c) - lse_n(kappa x . Q_n)
    P_c   = unit(mean of the training features of base class c)
    Q_n   = unit(t0_n + mean_c P_c - mean_c t0_c)        t0: text features of the hand-written prompt

Ours: kappa is the backbone's logit scale, so with SOFTNESS 1 and eta 0 pi is the base classes' share of one softmax
over all P and Q. An image of the training set counts as the mean of its views.

eta is chosen on images of base classes alone. RULE leave_classes_out: in eight folds some base classes play the new
ones, known by name only; P and Q classify, and the eta with the best H (or accuracy) is taken. A fold's share of
pseudo-new names is that of the task's new names, because the sums in g grow with the number of names. For the same
reason eta is kept for equal numbers, and log(base names / new names) is added in use. RULE quantile: a share KEEP of
the images counts as base.

Over base names alone, or new ones alone, nothing is routed: base, new and H stay what they are without GATE.
"""

import json
import math
import os

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..core.bank import is_intact, with_digests
from ..core.files import UserError, find_positions, replacing
from ..core.gaussian import sums_of
from ..core.heads import ZeroshotHead
from ..core.model.prompts import encode_classes
from ..core.plugin import Plugin
from ..core.separation import RoutedHead, cosines, judges, test_auroc, which_are_base

FOLDS = 8
FILE = os.path.join("gate", "gate.safetensors")
CHOICES = {
    "RULE": ("leave_classes_out", "quantile"),
    "OBJECTIVE": ("h", "accuracy"),
    "NEW_EXPERT": ("method", "zero_shot"),
}
ALL_BASE = "every class has training images: there are no new ones to tell from them"
NO_BASE = "no class has training images here: there are no base ones to tell from new ones"


def gate_score(features: Tensor, prototypes: Tensor, queries: Tensor, kappa: float) -> Tensor:
    """g [B] of unit features [B, d], P [C_b, d] and Q [C_n, d]: the larger, the more like base."""
    base, new = (kappa * features @ rows.t() for rows in (prototypes, queries))
    return base.logsumexp(1) - new.logsumexp(1)


# ---- eta from base classes alone


def folds(count: int, share: float, generator) -> list[Tensor]:
    """FOLDS masks [count]: which classes play the new ones, a `share` of them; each class does about as often."""
    chosen = min(max(round(share * count), 1), count - 1)
    order, masks = torch.randperm(count, generator=generator), torch.zeros(FOLDS, count, dtype=torch.bool)
    for i, mask in enumerate(masks):
        mask[order.roll(-(i * count // FOLDS))[:chosen]] = True
    return list(masks)


def critical_etas(cosine, features, labels, pseudo_new, prototypes, text, kappa, softness):
    """One fold -> of each image the eta (for equal numbers of names) below which the base side gets it; whether it is
    of that side; whether it is right there; whether it is right on the other side. Each [N].

    The base side's best name has log pi + b, the other's log(1 - pi) + n, and log pi - log(1 - pi) = (g - eta) /
    softness. So base wins if and only if eta < g + softness (b - n).
    """
    old, new = (~pseudo_new).nonzero().flatten(), pseudo_new.nonzero().flatten()
    queries = F.normalize(text[new] + prototypes[old].mean(0) - text[old].mean(0), dim=-1)
    base_logits, new_logits = kappa * cosine[:, old], kappa * features @ queries.t()
    score = base_logits.logsumexp(1) - new_logits.logsumexp(1) - math.log(len(old) / len(new))
    (b, base_best), (n, new_best) = (logits.log_softmax(1).max(1) for logits in (base_logits, new_logits))
    return score + softness * (b - n), ~pseudo_new[labels], old[base_best] == labels, new[new_best] == labels


def best_eta(critical: Tensor, of_base: Tensor, right_base: Tensor, right_new: Tensor, objective: str):
    """-> (eta, its objective in percent). Between two neighbouring critical etas nothing changes: each gap is tried
    once, and of equally good ones the middle one taken."""
    critical, order = critical.double().sort()
    hit_base, hit_new = (right_base & of_base)[order].double(), (right_new & ~of_base)[order].double()
    # in gap i the first i images are given to the new side
    new, base = F.pad(hit_new.cumsum(0), (1, 0)), hit_base.sum() - F.pad(hit_base.cumsum(0), (1, 0))
    if objective == "h":
        a, b = base / of_base.sum(), new / (~of_base).sum()
        value = 2 * a * b / (a + b).clamp(min=1e-12)
    else:
        value = (base + new) / len(critical)
    value[1:-1][critical[1:] == critical[:-1]] = -1  # there is no such gap
    edges = torch.cat([critical[:1] - 1, (critical[1:] + critical[:-1]) / 2, critical[-1:] + 1])
    best = (value == value.max()).nonzero().flatten()
    chosen = best[len(best) // 2]
    return edges[chosen].item(), value[chosen].item() * 100


# ---- the plug-in


class GATE(Plugin):
    """State after tune() or load(): `settings`, plain values, and P [C_b, d] with the offset [d] from text to images.

    settings: base and new names, eta for equal numbers of names, kappa, softness, the backbone; or `idle`, why there is
    nothing to separate.
    """

    NAME, SECTION = "GATE", "GATE"
    OPTIONS = {
        "RULE": "leave_classes_out",  # how eta is chosen; or quantile
        "OBJECTIVE": "h",  # of leave_classes_out: h, the harmonic mean of both sides, or accuracy over all images
        "KEEP": 0.95,  # of quantile: the share of base images that counts as base
        "SOFTNESS": 1.0,  # of pi, in logits; 0: a step
        "NEW_EXPERT": "method",  # what answers among new names: the method, or zero_shot CLIP
    }
    RECONSTRUCTION = True

    settings, prototypes, offset, report = None, None, None, {}

    def __init__(self, trainer):
        super().__init__(trainer)
        options = self.options
        for key, known in CHOICES.items():
            if options[key] not in known:
                raise UserError(f"TRAINER.GATE.{key} is '{options[key]}'; it must be one of {', '.join(known)}")
        if not 0 < options.KEEP <= 1 or options.SOFTNESS < 0:
            raise UserError(
                f"TRAINER.GATE.KEEP is {options.KEEP} and SOFTNESS {options.SOFTNESS}; KEEP is a share above 0 and at "
                "most 1, SOFTNESS is 0 or more"
            )

    # ---- choosing

    def prepare(self):
        """What cannot work is said before training."""
        base, new = self.sides()
        if new and len(base) == 1 and self.options.RULE == "leave_classes_out":
            raise UserError("TRAINER.GATE.RULE leave_classes_out needs two base classes or more; use quantile")

    def sides(self):
        """-> names with training images, names without: what the trainer knows of both."""
        task = self.trainer.task
        return task.real_classnames(), task.label_only_classnames() or self.trainer.extra_names()

    @torch.no_grad()
    def tune(self):
        base, new = self.sides()
        if not base or not new:
            self.settings = {"idle": NO_BASE if not base else ALL_BASE}
            self.report = dict(self.settings)
            print(f"GATE: {self.settings['idle']}")
            return ""
        trainer, options = self.trainer, self.options
        kappa = trainer.backbone.logit_scale.exp().item()
        text, train = self.hand_written(base), trainer.train_set
        sums = sums_of(train.mean(), train.labels, len(base))
        self.prototypes = F.normalize(sums, dim=-1)
        self.offset = self.prototypes.mean(0) - text.mean(0)
        images, source, own = judges(trainer)
        features, labels = (images.mean() if own else images.first()), images.labels
        cosine = cosines(features, labels, sums, self.prototypes, own)
        if options.RULE == "quantile":
            queries = F.normalize(self.hand_written(new) + self.offset, dim=-1)
            score = (kappa * cosine).logsumexp(1) - (kappa * features @ queries.t()).logsumexp(1)
            eta = score.quantile(1 - options.KEEP, interpolation="lower").item() - math.log(len(base) / len(new))
            found = f"{options.KEEP:.0%} of them count as base"
        else:
            masks = folds(len(base), len(new) / (len(base) + len(new)), self.draws("folds"))
            given = self.prototypes, text, kappa, options.SOFTNESS
            rows = [critical_etas(cosine, features, labels, mask.to(labels.device), *given) for mask in masks]
            eta, reached = best_eta(*(torch.cat(column) for column in zip(*rows)), options.OBJECTIVE)
            found = f"{options.OBJECTIVE} {reached:.1f}% over {FOLDS} folds of base classes"
        self.settings = {
            "base": base,
            "new": new,
            "eta": eta,
            "kappa": kappa,
            "softness": options.SOFTNESS,
            "backbone": trainer.backbone.weights_hash,
        }
        self.report = {
            "reconstruction": self.RECONSTRUCTION,
            "rule": options.RULE,
            "eta": self.eta_among(len(base), len(new)),
            "images": len(labels),
        }
        print(f"GATE: eta {self.report['eta']:.4g}, {found}; {len(labels)} images: {source}")
        return f"gate's eta ({options.RULE}) on {source}"

    def hand_written(self, names):
        """t0 [C, d]."""
        return encode_classes(self.trainer.backbone, self.trainer.templates, names)

    # ---- deciding

    def eta_among(self, base: int, new: int) -> float:
        """The threshold of g over so many names."""
        return self.settings["eta"] + math.log(base / new)

    def split(self, names):
        """Which of `names` are base ones [C]. The new names as they were all are new, also one that a base class
        has."""
        return which_are_base(names, [] if list(names) == self.settings["new"] else self.settings["base"])

    def score_among(self, names):
        """g over `names`, base and new: unit features [B, d] -> [B]."""
        base, new = self.parted(names)
        rows, _ = find_positions(base, self.settings["base"])
        prototypes, kappa = self.prototypes[rows], self.settings["kappa"]
        queries = F.normalize(self.hand_written(new) + self.offset, dim=-1)
        return lambda features: gate_score(features.float(), prototypes, queries, kappa)

    def parted(self, names):
        """-> the base ones of `names`, the new ones, each in their order."""
        is_base = self.split(names).tolist()
        return tuple([name for name, base in zip(names, is_base) if base == side] for side in (True, False))

    def head_for(self, head, names):
        """The method's head over base names or over new ones; the routed one over both. `head` is None where the method
        cannot have these names: an expert for each side may still do."""
        if self.settings is None or "idle" in self.settings:
            return head
        is_base = self.split(names)
        if is_base.all():
            return head
        if not is_base.any():
            return self.new_expert(names) if self.options.NEW_EXPERT == "zero_shot" else head
        base, new = self.parted(names)
        eta, softness = self.eta_among(len(base), len(new)), self.settings["softness"]
        return RoutedHead(
            self.trainer.method_head(base), self.new_expert(new), is_base, self.score_among(names), eta, softness
        )

    def new_expert(self, names):
        if self.options.NEW_EXPERT == "zero_shot":
            return ZeroshotHead(self.trainer.backbone, self.trainer.templates, names)
        return self.trainer.method_head(names)

    def known_names(self):
        """The names that it separates; [] where it is idle."""
        return [*self.settings.get("base", []), *self.settings.get("new", [])]

    # ---- keeping

    def save(self, folder):
        if not folder or self.settings is None:
            return
        tensors = {} if self.prototypes is None else {"prototypes": self.prototypes, "offset": self.offset}
        tensors = {name: value.cpu().contiguous() for name, value in tensors.items()}
        with replacing(os.path.join(folder, FILE)) as part:
            save_file(tensors, part, with_digests({"settings": json.dumps(self.settings)}, tensors))

    def load(self, folder):
        path = os.path.join(folder, FILE)
        if not os.path.isfile(path):
            raise UserError(
                f"no {FILE} in {folder}; expected the output folder of a finished run of a trainer with GATE"
            )
        try:
            with safe_open(path, framework="pt", device=str(self.trainer.device)) as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            if header.keys() != {"settings"} and not is_intact(header, tensors):  # alone: an earlier version's file
                raise ValueError("its content does not match its digest")
            self.settings = json.loads(header["settings"])
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise UserError(f"{path} is damaged ({error}); train again, which takes a finished checkpoint up") from None
        self.prototypes, self.offset = tensors.get("prototypes"), tensors.get("offset")
        own = self.trainer.backbone.weights_hash
        if self.settings.get("backbone", own) != own:
            raise UserError(f"{path} was made on another backbone ({self.settings['backbone'][:12]}, now {own[:12]})")

    def results(self):
        """With the gate's AUROC on the test images, of the run that chose eta."""
        if "rule" in self.report:
            found = test_auroc(self.trainer, self.split, lambda features, names: self.score_among(names)(features))
            return {"gate": {**self.report, "auroc": found}}
        return {"gate": self.report} if self.report else {}
