"""The tasks: what a run may train on, and what it evaluates over which class names.

A Task opens the dataset and knows which of its classes have training images and which have only a name. It lists
`Evaluation`s; the trainer runs them, and the results go into results.json under their names.
"""

from functools import cached_property

from dassl.data.datasets import DATASET_REGISTRY, build_dataset

from .files import UserError
from .images import fixed_subset, relabelled
from .leave_out import leave_out
from .metrics import Evaluation
from .randomness import preserved_randomness


def with_options(cfg, **dataset):
    """A copy of `cfg` with other values under DATASET."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATASET.update(dataset)
    return cfg


class Task:
    """What all tasks answer; as it is, few-shot classification: over all classes of the dataset (or the subset that was
    asked for)."""

    H_OF = {}  # {H: the two metrics whose harmonic mean it is}
    share = 1.0  # of the images of a full run that this one trains on: numbers that grow with them are scaled

    def __init__(self, cfg, training=True):
        """Opens the data set: for `training` with the classes that the task trains on, else as the options ask. Raises
        UserError where the options contradict the task."""
        self.cfg = cfg
        if training and self.takes_base_half(cfg):
            if self.subset == "new":
                raise UserError(f"TASK {cfg.TASK} trains on the base half; SUBSAMPLE_CLASSES is new: add --eval-only")
            self.cfg = with_options(cfg, SUBSAMPLE_CLASSES="base")
        self.dataset = self.open()

    def open(self):
        return build_dataset(self.cfg)

    @staticmethod
    def takes_base_half(cfg):
        """Whether it trains on the base half of the classes, whatever was asked for."""
        return False

    @property
    def subset(self):
        """DATASET.SUBSAMPLE_CLASSES as it is in force: all, base or new."""
        return self.cfg.DATASET.get("SUBSAMPLE_CLASSES", "all")

    @cached_property
    def new_half(self):
        """The dataset's new classes, as CoOp's readers give them; of its images only the test set is ever used."""
        with preserved_randomness():  # its few-shot draw must not change that of the base classes
            return build_dataset(with_options(self.cfg, SUBSAMPLE_CLASSES="new"))

    def real_classnames(self):
        """The classes with training images, in the order of their labels 0, 1, ...; [] for a task that gives no images
        to train on."""
        return list(self.dataset.classnames)

    def label_only_classnames(self):
        """The classes that have only a name: their labels follow those of the real ones. Their images are never trained
        or selected on."""
        return list(self.new_half.classnames) if self.subset == "base" else []

    def evaluations(self):
        return [Evaluation("accuracy", list(self.dataset.classnames), self.dataset.test)]


def has_own_splits(cfg):
    """Whether the data set's reader says by itself which classes have images and which are unseen (gzsl.GZSL)."""
    return hasattr(DATASET_REGISTRY.get(cfg.DATASET.NAME), "unseen_classnames")


class BaseToNew(Task):
    """Base over base names, new over new names, and all: pooled over both, among all names. From the same logits as
    `all` come the joint metrics: H over own names alone can be put together from two heads without any joint skill."""

    H_OF = {"H": ("base", "new"), "all_H": ("all_base", "all_new")}

    @staticmethod
    def takes_base_half(cfg):
        return True

    def evaluations(self):
        base, new = self.dataset, self.new_half
        base_names, new_names = list(base.classnames), list(new.classnames)
        pooled = base.test + relabelled(new.test, lambda item: item.label + len(base_names))
        items = fixed_subset(pooled, self.cfg.TEST.get("ALL_SUBSET", 0) or len(pooled))
        sides = {"base": len(base.test), "new": len(new.test)}
        return [
            Evaluation("base", base_names, base.test),
            Evaluation("new", new_names, new.test),
            Evaluation("all", base_names + new_names, items, sides, len(base_names)),
        ]


class GeneralizedZeroShot(Task):
    """Seen and unseen test images over the names of both, mean accuracy of the classes (Xian et al.,
    https://arxiv.org/abs/1707.00600).

    A reader with splits of its own has seen_classnames, unseen_classnames, test_seen and test_unseen, labels over both,
    seen ones first. Of any other dataset the base classes are the seen ones and the new classes the unseen ones.
    """

    H_OF = {"H": ("seen", "unseen")}

    @staticmethod
    def takes_base_half(cfg):
        return not has_own_splits(cfg)

    def real_classnames(self):
        return list(self.dataset.seen_classnames if has_own_splits(self.cfg) else self.dataset.classnames)

    def label_only_classnames(self):
        return list(self.dataset.unseen_classnames if has_own_splits(self.cfg) else self.new_half.classnames)

    def evaluations(self):
        seen, unseen = self.real_classnames(), self.label_only_classnames()
        if has_own_splits(self.cfg):
            of_seen, of_unseen = self.dataset.test_seen, self.dataset.test_unseen
        else:
            of_seen = self.dataset.test
            of_unseen = relabelled(self.new_half.test, lambda item: item.label + len(seen))
        sides = {"seen": len(of_seen), "unseen": len(of_unseen)}
        return [Evaluation("", seen + unseen, of_seen + of_unseen, sides, len(seen), per_class=True)]


class LeaveClassesOut(BaseToNew):
    """Base-to-new in small, where hyper-parameters may be chosen: one fold of leave_out.py. DATASET.FOLD says which."""

    REVISION = 2  # 1 fitted on all few-shot images of the pseudo-base classes

    def __init__(self, cfg, training=True):
        if not training:
            raise UserError("leave_classes_out is evaluated when it is trained; for --eval-only set TASK base2new")
        super().__init__(cfg)

    @staticmethod
    def takes_base_half(cfg):
        """All classes of an own folder that tests nothing are base classes."""
        return not has_own_splits(cfg) and cfg.DATASET.SPLIT != "none"

    def open(self):
        drawn = build_dataset(self.cfg)
        with preserved_randomness():  # -1: all images of these classes, drawn or not
            whole = build_dataset(with_options(self.cfg, NUM_SHOTS=-1))
        return self.fold(drawn, whole)

    def fold(self, drawn, whole):
        """The half of a data set with images, as leave_out.py makes it; the other one is `new_half`."""
        data = self.cfg.DATASET
        base, new = leave_out(drawn, whole, data.NUM_SHOTS, self.cfg.SEED, data.FOLD)
        self.new_half, self.share = new, len(base.train_x) / len(drawn.train_x)
        print(
            f"fold {data.FOLD}: {base.num_classes} classes with {len(base.train_x)} images to fit, {new.num_classes} "
            f"by name alone ({', '.join(new.classnames)}); {len(base.test):,} and {len(new.test):,} images judge"
        )
        return base

    def label_only_classnames(self):
        return list(self.new_half.classnames)


class DomainGeneralization(Task):
    """What a source run learned, over the target's own class names: the protocol of
    https://arxiv.org/abs/2203.05557. Nothing is trained, and of the target there are only names and test images."""

    def open(self):
        dataset = build_dataset(with_options(self.cfg, NUM_SHOTS=-1))  # -1: draws no few-shot selection, keeps none
        dataset._train_x, dataset._val = [], None
        return dataset

    def real_classnames(self):
        return []

    def label_only_classnames(self):
        return []


class CrossDataset(DomainGeneralization):
    """The same for a target with other classes, all of which have only a name: a plug-in may learn from their names."""

    def label_only_classnames(self):
        return list(self.dataset.classnames)


TASKS = {
    "base2new": BaseToNew,
    "fewshot": Task,
    "cross_dataset": CrossDataset,
    "domain_generalization": DomainGeneralization,
    "gzsl": GeneralizedZeroShot,
    "leave_classes_out": LeaveClassesOut,
}


def build_task(cfg, training=True):
    """The Task of a run. Raises UserError for one that does not exist."""
    if cfg.TASK not in TASKS:
        raise UserError(f"TASK {cfg.TASK} is unknown; known tasks: {', '.join(TASKS)}")
    return TASKS[cfg.TASK](cfg, training)
