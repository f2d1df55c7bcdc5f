"""Ensemble: the mean of its members' logits, over the same names and in the same unit. Ours.

    (E1) l = (1/M) sum_m l^m

Equal weights: there is nothing to choose. Members (TRAINER.ENSEMBLE.MEMBERS, a line each: a trainer's name, then KEY
VALUE options of its own) are trained or fitted in turn on the same shots. They share the data set, the backbone and its
features. GATE goes over the ensemble, not over a member. Choosing a member by leave-classes-out was tried in its place
and was worse than this fixed default.

The default is a Gaussian classifier with SHIP's class means, and an adapter with Gaussian synthetic features. Where the
median class has fewer than LEAST images it is the latter alone, and with one image CLIP_Adapter.
"""

import os

import torch
from torch import nn

from .core import FeatureTrainer, UserError
from .core.files import nearest
from .core.randomness import seed_all
from .core.registry import known_trainers
from .core.run import is_done
from .plugins import register_twins

LEAST = 4  # images of the median class
DEFAULT = ("GaussianLDA_SHIP", "CLIP_Adapter_SHIP TRAINER.SHIP.GENERATOR gaussian")
FEW, ONE = DEFAULT[1:], ("CLIP_Adapter",)
MAY_HAVE = {"SHIP", "SAR"}  # plug-ins of a member


class MeanHead(nn.Module):
    """Unit features [B, d] -> the mean of the logits [B, C] of several heads, by name."""

    def __init__(self, heads: dict[str, nn.Module], sizes=()):
        """`sizes`: how many names each was trained over."""
        super().__init__()
        self.members = nn.ModuleDict(heads)
        self.register_buffer("sizes", torch.tensor(sizes, dtype=torch.long))

    def forward(self, features):
        return torch.stack([head(features).float() for head in self.members.values()]).mean(0)


def member_class(line: str) -> type:
    """The trainer of a line of MEMBERS. Raises UserError where it cannot be a member."""
    name, known = line.split()[0], known_trainers()
    kind = known.get(name, object)
    ours = issubclass(kind, FeatureTrainer) and not issubclass(kind, Ensemble)
    if not ours or {plugin.NAME for plugin in kind.PLUGINS} - MAY_HAVE:
        near = ", ".join(nearest(name, known)[:8])
        raise UserError(f"{name} cannot be a member of Ensemble; known, nearest first: {near}. GATE goes over it")
    return kind


@register_twins
class Ensemble(FeatureTrainer):
    SECTION = "ENSEMBLE"
    OPTIONS = {"MEMBERS": ()}  # (): the default
    MODEL_NAME = "ensemble"
    NEEDS_FEATURES = True
    REFUSES = dict.fromkeys(sorted(MAY_HAVE), "its members have it: name them so in TRAINER.ENSEMBLE.MEMBERS")
    trains = False

    members: dict[str, FeatureTrainer] = {}
    opened = ""  # the output folder that the model was loaded from

    @classmethod
    def reads(cls, cfg):
        lines = cfg.TRAINER.ENSEMBLE.MEMBERS or (*DEFAULT, *ONE)
        return [member_class(line) for line in lines]

    # ---- members

    def lines(self) -> tuple[str, ...]:
        """MEMBERS, or what the default is for so many images."""
        if self.options.MEMBERS:
            return tuple(self.options.MEMBERS)
        median = self.train_set.labels.bincount().double().quantile(0.5).item()
        found = DEFAULT if median >= LEAST else FEW if median > 1 else ONE
        if found != DEFAULT:
            print(f"Ensemble: the median class has {median:g} training images, so it is {found[0].split()[0]} alone")
        return found

    def enlist(self, lines):
        """Makes the trainers of the members, which see this one's data and backbone."""
        self.members = {}
        for number, line in enumerate(lines):
            kind, (name, *options) = member_class(line), line.split()
            key = f"{number}-{name}"
            cfg = self.cfg.clone()
            cfg.defrost()
            cfg.merge_from_list(options)
            cfg.TRAINER.NAME, cfg.RESUME, cfg.MODEL.INIT_WEIGHTS = name, "", ""
            cfg.OUTPUT_DIR = os.path.join(self.output_dir, "members", key) if self.output_dir else ""
            member = kind.__new__(kind)
            member.host = self
            member.__init__(cfg)
            self.members[key] = member
            if self.task is not None:
                member.open_data(training=True)

    def open_data(self, training):
        super().open_data(training)
        if training and not self.members and self.task.real_classnames():
            self.enlist(self.lines())
        for member in self.members.values():
            member.open_data(training)

    def extra_names(self):
        found = [member.extra_names() for member in self.members.values()]
        return next(filter(None, found), super().extra_names())

    # ---- the life of a run

    def prepare(self):
        """Each member's whole training, in turn."""
        self.chosen = []
        for key, member in self.members.items():
            print(f"Ensemble: {key}")
            for name in ("identity", "default_options", "sections"):
                setattr(member, name, getattr(self, name))
            is_done(member)  # refuses what another run left
            seed_all(self.cfg.SEED, "member", key)
            member.prepare()
            member.build()
            member.fit()
            self.chosen.append(member.tune())
            member.close_writer()
        super().prepare()

    def build_head(self, classnames):
        if not self.members:
            raise UserError(f"TASK {self.cfg.TASK} gives no images: start from a source run by MODEL.INIT_WEIGHTS")
        sizes = [len(member.trained_classnames) for member in self.members.values()]
        return MeanHead({key: member.head for key, member in self.members.items()}, sizes)

    def tune(self):
        self.selection = "last epoch of each member"
        return "; ".join(filter(None, [*self.chosen, super().tune()]))

    def own_results(self):
        return {"members": list(self.members)}

    # ---- heads

    def method_head(self, classnames):
        return MeanHead({key: member.method_head(list(classnames)) for key, member in self.members.items()})

    def head_from_checkpoint(self, classnames, state_dict):
        """All members' heads, each over the first names, as many as it was trained over."""
        if not self.members:
            names = {name.split(".")[1].partition("-")[2] for name in state_dict if name.startswith("members.")}
            self.enlist(self.options.MEMBERS or [line for line in (*DEFAULT, *ONE) if line.split()[0] in names])
            folder = self.opened or self.cfg.MODEL.INIT_WEIGHTS
            for key, member in self.members.items():
                for plugin in member.plugins:
                    plugin.load(os.path.join(folder, "members", key))
        for (key, member), size in zip(self.members.items(), state_dict["sizes"].tolist(), strict=True):
            prefix, names = f"members.{key}.", classnames[:size]
            own = {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
            member.set_head(member.head_from_checkpoint(names, own), names, training=False)
        return self.build_head(classnames)

    def save(self, directory):
        super().save(directory)
        for key, member in self.members.items():
            for plugin in member.plugins:
                plugin.save(os.path.join(directory, "members", key))

    def load_model(self, directory, epoch=None, overridden=()):
        self.opened = directory
        super().load_model(directory, epoch, overridden)
