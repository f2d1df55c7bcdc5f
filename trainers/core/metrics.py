"""One evaluation of a task, and what is measured on it.

What judges a joint decision comes from the logits l [N, C] over base and new names that an evaluation has anyway. Of an
image i: right_i, whether the best name of its own side is its name; m_i = max_base l - max_new l, and s_i, the same of
log sum exp; t_i, a score of base against new: s_i, or that of a head that has one of its own (`base_score`).

    (J1) OpenworldAUC(t) = mean over (base i, new j) of right_i right_j [t_i > t_j], ties 1/2   (Hua et al., ICML 2025)
    (J2) AUSUC, the area under all_base against all_new while a constant is added to all new logits (Chao et al., ECCV
         2016), is
    (J3) OpenworldAUC(m): each pair of images is one step of the curve
    (J4) AUROC(t), without right
    (J5) ECE: 15 bins of the confidence, sum of |accuracy - mean confidence| n_bin / n; of each side's images apart
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from .data import FeatureSet
from .files import ClassesUnsupported, UserError


@dataclass
class Side:
    """One of the two kinds of classes that an evaluation asks among: those with training images, or the others.

    `classes` of the names are of this kind, the first side's first; its test set has `images`.
    """

    name: str
    classes: int
    images: int


@dataclass
class Evaluation:
    """Top-1 accuracy of `items` (Datum, labels over `classnames`). `log` is the name in the log line `* <log>: x%`.

    `of`: where the items are a fixed subset of a test set, how many that has; 0 where they are all of it.
    `per_class`: the mean of the classes' accuracies instead of the images'.
    `sides`: the two of the names, for joint metrics; () where there is one kind of names.
    `more`: further items, of another part of the data set; a bank finds those of one list in one part.
    """

    name: str
    classnames: list
    items: list
    log: str
    of: int = 0
    per_class: bool = False
    sides: tuple = ()
    more: list = ()

    @property
    def images(self):
        return len(self.items) + len(self.more)


def harmonic_mean(a, b):
    """H of two accuracies in percent; 0 where both are."""
    return 2 * a * b / (a + b) if a + b else 0.0


def top1(predicted, labels, per_class=False):
    """Percent of images [N] predicted right; `per_class`: of each class that has images, then the mean over these
    classes."""
    return _percent(predicted == labels, labels, per_class)


def _percent(hits, labels, per_class):
    hits = hits.double()
    if per_class:
        return sum(hits[labels == label].mean().item() for label in labels.unique()) / len(labels.unique()) * 100
    return hits.mean().item() * 100


def joint(evaluation, predicted, labels):
    """What predictions [N] among the names of both sides say of each side -> {metric: (percent, Side, images)}.

    `crossed_<side>` is the share of a side's images that are sent to a name of the other side; `<evaluation>_<side>`
    their top-1 accuracy, where the evaluation pools both sides. A side without images has no metric.
    """
    if not evaluation.sides:
        return {}
    accuracy, crossed, border = {}, {}, evaluation.sides[0].classes
    for side, chosen in zip(evaluation.sides, (labels < border, labels >= border), strict=True):
        found, true = predicted[chosen], labels[chosen]
        if not len(true):
            continue
        if evaluation.name != side.name:
            percent = top1(found, true, evaluation.per_class)
            accuracy[f"{evaluation.name}_{side.name}"] = percent, side, len(true)
        percent = _percent((found < border) != (true < border), true, evaluation.per_class)
        crossed[f"crossed_{side.name}"] = percent, side, len(true)
    return {**accuracy, **crossed}


# ---- judges of a joint decision


def auroc(base: Tensor, new: Tensor) -> float:
    """Probability that a base image scores above a new one (J4); ties count half. 0 where there is no such pair."""
    if not len(base) or not len(new):
        return 0.0
    order = new.sort().values
    below, not_above = torch.searchsorted(order, base), torch.searchsorted(order, base, right=True)
    return (below + not_above).double().mean().item() / 2 / len(new)


def openworld_auc(score: Tensor, is_base: Tensor, right: Tensor) -> float:
    """J1 of a score [N] of images, base ones where `is_base` [N], that are `right` [N] on their own side. Only pairs of
    two right images count, so it is their AUROC times the share of such pairs."""
    shares = right[is_base].double().mean().item() * right[~is_base].double().mean().item()
    return shares * auroc(score[is_base & right], score[~is_base & right])


def calibration_error(logits: Tensor, labels: Tensor, bins: int = 15) -> float:
    """J5 of logits [N, C]."""
    confidence, predicted = logits.softmax(1).max(1)
    place = (confidence * bins).long().clamp(max=bins - 1)
    gaps = torch.zeros(bins, dtype=torch.float64, device=logits.device)
    gaps.index_add_(0, place, (predicted == labels).double() - confidence.double())
    return gaps.abs().sum().item() / len(labels)


def joint_judges(logits: Tensor, labels: Tensor, border: int, score=None, temperature=1.0) -> dict[str, float]:
    """{ausuc, openworld_auc, auroc, ece_base, ece_new} in percent, of logits [N, C] whose first `border` names are base
    ones; `score` [N] stands for t; calibration is that of logits / temperature. There must be images of both sides."""
    base, new, is_base = logits[:, :border], logits[:, border:], labels < border
    right = torch.where(is_base, base.argmax(1), new.argmax(1) + border) == labels
    score = base.logsumexp(1) - new.logsumexp(1) if score is None else score
    found = {
        "ausuc": openworld_auc(base.amax(1) - new.amax(1), is_base, right),
        "openworld_auc": openworld_auc(score, is_base, right),
        "auroc": auroc(score[is_base], score[~is_base]),
        "ece_base": calibration_error(logits[is_base] / temperature, labels[is_base]),
        "ece_new": calibration_error(logits[~is_base] / temperature, labels[~is_base]),
    }
    return {name: value * 100 for name, value in found.items()}


TEMPERATURES = torch.logspace(-1.5, 1.5, 241).tolist()  # in steps of 3%
EXCLUDED = 1000.0  # log odds against a name that a step has excluded


def best_temperature(logits: Tensor, labels: Tensor) -> float:
    """The tau of TEMPERATURES at which softmax(logits / tau) makes the labels [N] most likely. An image whose name was
    excluded by a step says nothing about it."""
    told = logits.amax(1) - logits.gather(1, labels[:, None])[:, 0] < EXCLUDED
    if not told.any():
        return 1.0
    losses = [F.cross_entropy(logits[told] / tau, labels[told]).item() for tau in TEMPERATURES]
    return TEMPERATURES[losses.index(min(losses))]


def calibrate(trainer) -> float:
    """A temperature by likelihood on images of base classes that were not trained on, over all names of the task. It
    changes no decision; 1 where there is no such image, or the method cannot have all names."""
    task = trainer.task
    base, names = task.real_classnames(), task.real_classnames() + trainer.new_classnames()
    if not base or not trainer.data.leaves_out:
        print("temperature: 1, as no image of a trained class was left out to choose it by")
        return 1.0
    try:
        head = trainer.head_for(names)
    except ClassesUnsupported:
        return 1.0
    found, source = trainer.search_set()
    temperature = best_temperature(trainer.logits(head, found.first()), found.labels)
    print(f"temperature: {temperature:.3g}, by the likelihood of {len(found)} images: {source}")
    return temperature


# ---- evaluations


BATCH = 8192  # features; a head that works per image sets its own `evaluation_batch`


@torch.no_grad()
def logits_of(head, features, autocast=False):
    """Logits [N, C] of unit features [N, d], in batches."""
    training, _ = head.training, head.eval()
    batches = features.split(getattr(head, "evaluation_batch", BATCH))
    with torch.autocast(features.device.type, enabled=autocast):
        found = torch.cat([head(batch).float() for batch in tqdm(batches, "evaluating", delay=5, leave=False)])
    head.train(training)
    return found


def images_of(trainer, evaluation) -> FeatureSet:
    """All images of an evaluation."""
    return FeatureSet.join([trainer.data.plain(items) for items in (evaluation.items, evaluation.more) if items])


def require_images(trainer):
    """Raises UserError before anything is trained where an evaluation would have no images, or cannot read them. A data
    set that says why there are none (no_test) is for training alone."""
    reason = getattr(trainer.dataset, "no_test", "")
    if reason:
        print(f"nothing will be tested: {reason}")
        return
    for evaluation in trainer.task.evaluations():
        sides = [side.name for side in evaluation.sides if not side.images]
        if sides or not evaluation.images:
            raise UserError(
                f"TASK {trainer.cfg.TASK} evaluates '{evaluation.name}', and {trainer.cfg.DATASET.NAME} has no test "
                f"images of {' and '.join(sides) or 'these'} classes: add some, or use another TASK (fewshot)"
            )
        images_of(trainer, evaluation)


def on_split(trainer, split: str) -> float:
    """Dassl's test: its result lines of the dataset's `split`, test or val -> accuracy in percent."""
    dataset, evaluator = trainer.dataset, trainer.evaluator
    found = trainer.data.plain(dataset.val if split == "val" and dataset.val else dataset.test)
    print(f"Evaluate on the *{split}* set")
    evaluator.reset()
    evaluator.process(trainer.logits(trainer.head_for(dataset.classnames), found.first()), found.labels)
    trainer.last_results = dict(evaluator.evaluate())
    for name, value in trainer.last_results.items():
        trainer.write_scalar(f"{split}/{name}", value, trainer.epoch)
    return list(trainer.last_results.values())[0]


def evaluate(trainer):
    """Runs the evaluations of a trainer's task and prints their lines -> (metrics, unsupported: {metric: why it has no
    value}, subset: {metric: on how many of the test images}).

    Joint metrics follow from the logits of an evaluation; where that is unsupported they are just not there. Its
    answers [N] and labels [N] stay in `trainer.decisions`.
    """
    task, metrics, jointly, unsupported, subset, judged = trainer.task, {}, {}, {}, {}, []
    for evaluation in task.evaluations():
        try:
            if not evaluation.images:
                raise ClassesUnsupported(getattr(task.dataset, "no_test", "") or "there are no test images")
            metrics[evaluation.name], further, found = _run(trainer, evaluation)
        except ClassesUnsupported as reason:
            unsupported[evaluation.name] = str(reason)
            print(f"* {evaluation.log}: not available: {reason}")
            continue
        jointly.update({name: value for name, (value, _, _) in further.items()})
        if evaluation.of:
            subset[evaluation.name] = {"images": evaluation.images, "of": evaluation.of}
            subset.update({name: {"images": images, "of": side.images} for name, (_, side, images) in further.items()})
        if evaluation.sides:
            judged.append((evaluation, *found))
            trainer.decisions = evaluation, found[0].argmax(1), found[1]
    task.summarise(metrics)  # H in front of the joint metrics
    metrics = task.summarise({**metrics, **jointly})
    for name in task.H_OF:
        if name in metrics:
            print(f"* {name}: {metrics[name]:.1f}%")
    more = judge(judged, trainer.temperature)
    for name, value in more.items():
        print(f"* {name}: {value:.1f}%")
    if judged and judged[0][0].of:
        subset.update({name: {"images": len(judged[0][1]), "of": judged[0][0].of} for name in more})
    return {**metrics, **more}, unsupported, subset


def judge(judged, temperature) -> dict[str, float]:
    """joint_judges of (evaluation, logits, labels, score or None) among the same names, under the names of the task's
    sides; {} where a side has no image."""
    if not judged:
        return {}
    logits, labels = (torch.cat([row[i] for row in judged]) for i in (1, 2))
    score = None if judged[0][3] is None else torch.cat([row[3] for row in judged])
    base, new = judged[0][0].sides
    if not 0 < int((labels < base.classes).sum()) < len(labels):
        return {}
    found = joint_judges(logits, labels, base.classes, score, temperature)
    return {name.replace("_base", f"_{base.name}").replace("_new", f"_{new.name}"): found[name] for name in found}


def _run(trainer, evaluation):
    """Prints the evaluation's lines -> (accuracy in percent, what `joint` says, (logits, labels, a score of base
    against new that the head has of its own, or None))."""
    prints_dassls = evaluation.log == "accuracy" and not evaluation.per_class
    if prints_dassls and not evaluation.more:
        trainer.test(split="test")
        return trainer.last_results["accuracy"], {}, ()
    head, found = trainer.head_for(evaluation.classnames), images_of(trainer, evaluation)
    logits = trainer.logits(head, found.first())
    if prints_dassls:
        trainer.evaluator.reset()
        trainer.evaluator.process(logits, found.labels)
        return trainer.evaluator.evaluate()["accuracy"], {}, ()
    predicted = logits.argmax(1)
    accuracy = top1(predicted, found.labels, evaluation.per_class)
    if evaluation.per_class:
        names = len(evaluation.classnames)
        print(
            f"{evaluation.name}: the mean accuracy of the classes of {evaluation.images:,} images, among {names} names"
        )
    if evaluation.of:
        print(f"{evaluation.name}: on a fixed subset, {evaluation.images:,} of {evaluation.of:,} test images")
    print(f"* {evaluation.log}: {accuracy:.1f}%")
    further = joint(evaluation, predicted, found.labels)
    for name, (value, _, _) in further.items():
        print(f"* {name if name.startswith('crossed') else f'{name}_accuracy'}: {value:.1f}%")
    with torch.no_grad():
        score = head.base_score(found.first(), logits) if hasattr(head, "base_score") else None
    return accuracy, further, (logits, found.labels, score)
