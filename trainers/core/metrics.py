"""One evaluation of a task, and what is measured on it."""

from dataclasses import dataclass

import torch
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

    Joint metrics follow from the logits of an evaluation; where that is unsupported they are just not there.
    """
    task, metrics, jointly, unsupported, subset = trainer.task, {}, {}, {}, {}
    for evaluation in task.evaluations():
        try:
            if not evaluation.images:
                raise ClassesUnsupported(getattr(task.dataset, "no_test", "") or "there are no test images")
            metrics[evaluation.name], further = _run(trainer, evaluation)
        except ClassesUnsupported as reason:
            unsupported[evaluation.name] = str(reason)
            print(f"* {evaluation.log}: not available: {reason}")
            continue
        jointly.update({name: value for name, (value, _, _) in further.items()})
        if evaluation.of:
            subset[evaluation.name] = {"images": evaluation.images, "of": evaluation.of}
            subset.update({name: {"images": images, "of": side.images} for name, (_, side, images) in further.items()})
    task.summarise(metrics)  # H in front of the joint metrics
    metrics = task.summarise({**metrics, **jointly})
    for name in task.H_OF:
        if name in metrics:
            print(f"* {name}: {metrics[name]:.1f}%")
    return metrics, unsupported, subset


def _run(trainer, evaluation):
    """Prints the evaluation's lines -> (accuracy in percent, what `joint` says)."""
    prints_dassls = evaluation.log == "accuracy" and not evaluation.per_class
    if prints_dassls and not evaluation.more:
        trainer.test(split="test")
        return trainer.last_results["accuracy"], {}
    head, found = trainer.head_for(evaluation.classnames), images_of(trainer, evaluation)
    logits = trainer.logits(head, found.first())
    if prints_dassls:
        trainer.evaluator.reset()
        trainer.evaluator.process(logits, found.labels)
        return trainer.evaluator.evaluate()["accuracy"], {}
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
    return accuracy, further
