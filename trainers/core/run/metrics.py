"""One evaluation of a task, and what is measured on it."""

from dataclasses import dataclass


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
