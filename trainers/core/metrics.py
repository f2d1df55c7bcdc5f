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

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from .files import ClassesUnsupported, UserError

FIRST = ("accuracy", "base", "seen")  # of the metrics of a run the one that CoOp's parse_test_res.py reads


def log_name(accuracy):
    """What an accuracy is called in its line of the log."""
    return "accuracy" if accuracy in FIRST else f"{accuracy}_accuracy"


@dataclass
class Evaluation:
    """Top-1 accuracy of `items` (Datum, labels over `classnames`), called `name`; "" where only its sides have one.

    `sides`: {kind of classes: how many test images the data set has of it} where there are two kinds, those with
    training images first, which are the first `border` names. Each has an accuracy, and both have joint metrics.
    `per_class`: the mean of the classes' accuracies instead of the images'; of sides alone.
    """

    name: str
    classnames: list
    items: list
    sides: dict = field(default_factory=dict)
    border: int = 0
    per_class: bool = False


def harmonic_mean(a, b):
    """H of two accuracies in percent; 0 where both are."""
    return 2 * a * b / (a + b) if a + b else 0.0


def top1(predicted, labels):
    """Percent of images [N] predicted right."""
    return _percent(predicted == labels, labels)


def _percent(hits, labels, per_class=False):
    """Percent of images [N] that are `hits`; `per_class`: of each class that has images, then the mean over these
    classes."""
    hits = hits.double()
    if per_class:
        return sum(hits[labels == label].mean().item() for label in labels.unique()) / len(labels.unique()) * 100
    return hits.mean().item() * 100


def joint(evaluation, predicted, labels) -> tuple[dict[str, float], dict[str, float]]:
    """What predictions [N] among all names of an evaluation say -> ({name of an accuracy, of all images and of each
    side: percent}, {crossed_<side>: percent of its images that are sent to a name of the other side}); nothing of a
    side without images."""
    name, border, per_class = evaluation.name, evaluation.border, evaluation.per_class
    right, sent = predicted == labels, (predicted < border) != (labels < border)
    accuracies, crossed = {name: _percent(right, labels)} if name else {}, {}
    for side, chosen in zip(evaluation.sides, (labels < border, labels >= border)):
        if chosen.any():
            accuracies[f"{name}_{side}" if name else side] = _percent(right[chosen], labels[chosen], per_class)
            crossed[f"crossed_{side}"] = _percent(sent[chosen], labels[chosen], per_class)
    return accuracies, crossed


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


BINS = 15


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """J5 of logits [N, C]."""
    confidence, predicted = logits.softmax(1).max(1)
    place = (confidence * BINS).long().clamp(max=BINS - 1)
    gaps = torch.zeros(BINS, dtype=torch.float64, device=logits.device)
    gaps.index_add_(0, place, (predicted == labels).double() - confidence.double())
    return gaps.abs().sum().item() / len(labels)


def joint_judges(logits, labels, border, score=None, temperature=1.0, sides=("base", "new")) -> dict[str, float]:
    """{ausuc, openworld_auc, auroc, ece_base, ece_new} in percent, of logits [N, C] and labels [N] whose first `border`
    names are base ones; {} without images of both sides. `score` [N] stands for t; calibration is that of logits /
    temperature."""
    base, new, is_base = logits[:, :border], logits[:, border:], labels < border
    if is_base.all() or not is_base.any():
        return {}
    right = torch.where(is_base, base.argmax(1), new.argmax(1) + border) == labels
    score = base.logsumexp(1) - new.logsumexp(1) if score is None else score
    found = {
        "ausuc": openworld_auc(base.amax(1) - new.amax(1), is_base, right),
        "openworld_auc": openworld_auc(score, is_base, right),
        "auroc": auroc(score[is_base], score[~is_base]),
        f"ece_{sides[0]}": calibration_error(logits[is_base] / temperature, labels[is_base]),
        f"ece_{sides[1]}": calibration_error(logits[~is_base] / temperature, labels[~is_base]),
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


BATCH = 8192  # features; a head, or a part of one, that works per image sets its own `evaluation_batch`


@torch.no_grad()
def logits_of(head, features, autocast=False):
    """Logits [N, C] of unit features [N, d], in batches."""
    training, _ = head.training, head.eval()
    batches = features.split(min(getattr(part, "evaluation_batch", BATCH) for part in head.modules()))
    with torch.autocast(features.device.type, enabled=autocast):
        found = torch.cat([head(batch).float() for batch in tqdm(batches, "evaluating", delay=5, leave=False)])
    head.train(training)
    return found


def require_images(trainer):
    """Raises UserError before anything is trained where an evaluation would have no images, or cannot read them. A data
    set that says why there are none (no_test) is for training alone."""
    reason = getattr(trainer.dataset, "no_test", "")
    if reason:
        print(f"nothing will be tested: {reason}")
        return
    for evaluation in trainer.task.evaluations():
        lacking = [side for side, images in evaluation.sides.items() if not images]
        if lacking:
            raise UserError(f"TASK {trainer.cfg.TASK} needs test images of {' and '.join(lacking)} classes: none found")
        trainer.data.plain(evaluation.items)
    _ = trainer.data.val_set  # read now, not after training


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
    value}, subset: {metric: on how many of the test images}). Where an evaluation is unsupported, its joint metrics are
    just not there."""
    metrics, unsupported, subset = {}, {}, {}
    for evaluation in trainer.task.evaluations():
        try:
            if not evaluation.items:
                raise ClassesUnsupported(getattr(trainer.dataset, "no_test", "") or "there are no test images")
            found = _figures(trainer, evaluation)
        except ClassesUnsupported as reason:
            for name in [evaluation.name] if evaluation.name else evaluation.sides:
                unsupported[name] = str(reason)
                print(f"* {log_name(name)}: not available: {reason}")
            continue
        metrics |= found
        images, of = len(evaluation.items), sum(evaluation.sides.values())
        if images < of:
            print(f"on a fixed subset, {images:,} of {of:,} test images")
            subset |= dict.fromkeys(found, {"images": images, "of": of})
            first = sum(item.label < evaluation.border for item in evaluation.items)
            for (side, whole), part in zip(evaluation.sides.items(), (first, images - first)):
                own = [name for name in found if name.endswith(f"_{side}")]
                subset |= dict.fromkeys(own, {"images": part, "of": whole})
    for name, (first, second) in trainer.task.H_OF.items():
        if first in metrics and second in metrics:
            metrics[name] = harmonic_mean(metrics[first], metrics[second])
            print(f"* {name}: {metrics[name]:.1f}%")
    return metrics, unsupported, subset


def _figures(trainer, evaluation) -> dict[str, float]:
    """Prints the lines of an evaluation -> {metric: percent}. The answers and labels [N] of one with sides stay in
    `trainer.decisions`."""
    if evaluation.name in FIRST:  # Dassl's test, with its lines
        return {evaluation.name: trainer.test(split="test")}
    head, images = trainer.head_for(evaluation.classnames), trainer.data.plain(evaluation.items)
    logits, labels = trainer.logits(head, images.first()), images.labels
    predicted = logits.argmax(1)
    accuracies, more = joint(evaluation, predicted, labels)
    if evaluation.sides:
        trainer.decisions = evaluation, predicted, labels
        with torch.no_grad():
            score = head.base_score(images.first(), logits) if hasattr(head, "base_score") else None
        more |= joint_judges(logits, labels, evaluation.border, score, trainer.temperature, [*evaluation.sides])
    for name, percent in [*((log_name(name), value) for name, value in accuracies.items()), *more.items()]:
        print(f"* {name}: {percent:.1f}%")
    return accuracies | more
