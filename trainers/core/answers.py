"""What the Python API answers: predictions, figures of a test, cross-validated figures. Each prints as a table."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

import numpy as np

NONE = "none of these"
UNREADABLE = "(unreadable)"  # in place of a name

SHOWN = 20  # rows of a table; the middle is left out of longer ones


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, the first row being their heads."""
    if len(rows) > SHOWN + 1:
        rows = [*rows[: SHOWN // 2 + 1], ["..."] * len(rows[0]), *rows[-SHOWN // 2 :]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


@dataclass(frozen=True)
class Prediction:
    """The most probable `names` of one image, best first, and their probabilities. `name` is the best one, or "none of
    these" where it is less probable than was asked for. An image that cannot be read has no names."""

    path: str
    names: tuple[str, ...]
    probabilities: tuple[float, ...]
    at_least: float = 0.0

    @property
    def name(self) -> str:
        if not self.names:
            return UNREADABLE
        return self.names[0] if self.probabilities[0] >= self.at_least else NONE

    def __str__(self):
        return str(Predictions([self]))


class Predictions(list):
    """A list of Prediction."""

    def __str__(self):
        rows = [["image", "name", "probability", "next"]]
        for found in self:
            pairs = [f"{name} {share:.1%}" for name, share in zip(found.names, found.probabilities)]
            rest = pairs if found.name == NONE else pairs[1:]
            best = f"{found.probabilities[0]:.1%}" if found.names else ""
            rows.append([found.path, found.name, best, ", ".join(rest[:2])])
        return table(rows)

    __repr__ = __str__


@dataclass(frozen=True)
class Evaluation:
    """`labels` and `predicted` are positions in `classnames`, [N] each."""

    classnames: tuple[str, ...]
    labels: np.ndarray
    predicted: np.ndarray
    paths: tuple[str, ...] = field(default=(), repr=False)

    @property
    def accuracy(self) -> float:
        """In percent of the images."""
        return float((self.labels == self.predicted).mean() * 100)

    @property
    def per_class(self) -> dict[str, float]:
        """{class name: percent of its images}; classes without images are not there."""
        totals, right = self.confusion.sum(1), self.confusion.diagonal()
        return {self.classnames[i]: float(right[i] / totals[i] * 100) for i in totals.nonzero()[0]}

    @property
    def confusion(self) -> np.ndarray:
        """[C, C] numbers of images: row is the true class, column the predicted one."""
        found: np.ndarray = np.zeros((len(self.classnames),) * 2, dtype=np.int64)
        np.add.at(found, (self.labels, self.predicted), 1)
        return found

    def picture(self, path=None):
        """Both as a figure of Matplotlib, which is also written to `path`."""
        from matplotlib.figure import Figure  # not pyplot, which would keep it

        shares, counts, names = self.per_class, self.confusion, self.classnames
        size, places = max(3.0, 0.25 * len(names) + 1), range(len(names))
        figure = Figure(figsize=(2 * size + 2, size + 1), layout="constrained")
        bars, matrix = figure.subplots(1, 2)
        bars.barh(list(shares), list(shares.values()))
        bars.invert_yaxis()
        bars.set(xlabel="accuracy in percent", title=f"{self.accuracy:.1f}% of {len(self.labels)} images")
        matrix.imshow(counts / counts.sum(1, keepdims=True).clip(min=1), cmap="Blues", vmin=0, vmax=1)
        matrix.set_xticks(places, names, rotation=90)
        matrix.set_yticks(places, names)
        matrix.set(xlabel="predicted", ylabel="true")
        if path is not None:
            figure.savefig(path)
        return figure

    def __str__(self):
        rows, counts = [["class", "images", "accuracy", "most taken for"]], self.confusion
        for name, share in self.per_class.items():
            i = self.classnames.index(name)
            wrong = counts[i] * (np.arange(len(counts)) != i)
            most = f"{self.classnames[wrong.argmax()]} ({wrong.max()})" if wrong.any() else ""
            rows.append([name, str(counts[i].sum()), f"{share:.1f}%", most])
        return f"accuracy {self.accuracy:.1f}% of {len(self.labels)} images\n{table(rows)}"

    __repr__ = __str__


METRICS = {
    "base": "trained classes, among their names",
    "new": "classes known by name alone, among their names",
    "H": "harmonic mean of both",
    "all": "all images, among all names",
    "all_H": "harmonic mean of the trained and of the other classes, among all names",
}


class Scores(dict):
    """{metric: percent}, the means over folds of leave-classes-out inside the training images; `errors` are their
    standard errors, `zero_shot` what CLIP reaches without training. Empty where nothing can be estimated, and `reason`
    says why.

    with_images, by_name: the answers of all folds, among all names, about left-out images of classes that the fold had
    images of, and of classes that it knew by name alone. None for a model that was loaded.
    """

    with_images: Evaluation | None = None
    by_name: Evaluation | None = None

    def __init__(self, values=(), errors=(), zero_shot=(), folds: int = 0, reason: str = ""):
        super().__init__(values)
        self.errors, self.zero_shot, self.folds, self.reason = dict(errors), dict(zero_shot), folds, reason

    @classmethod
    def of_folds(cls, folds: Sequence[dict], zero_shot: Sequence[dict], classnames, answers) -> "Scores":
        """From the metrics of each fold, and those of CLIP without training. `answers`: (path, class, answer, whether
        the fold had images of the class)."""
        values = {name: fmean(fold[name] for fold in folds) for name in METRICS}
        errors = {name: stdev(fold[name] for fold in folds) / len(folds) ** 0.5 for name in METRICS}
        untrained = {name: fmean(fold[name] for fold in zero_shot) for name in METRICS}
        scores, place = cls(values, errors, untrained, len(folds)), {name: i for i, name in enumerate(classnames)}

        def evaluation(side):
            rows = [(place[name], place[answer], path) for path, name, answer, seen in answers if seen == side]
            labels, predicted, paths = zip(*rows)
            return Evaluation(tuple(classnames), np.array(labels), np.array(predicted), paths)

        scores.with_images, scores.by_name = evaluation(True), evaluation(False)
        return scores

    def record(self) -> dict:
        """What results.json keeps: the arguments of `Scores`."""
        about = {"errors": self.errors, "zero_shot": self.zero_shot, "folds": self.folds, "reason": self.reason}
        return {"values": dict(self), **about}

    def __str__(self):
        if not self:
            return f"cannot be estimated: {self.reason}"
        rows = [["", "percent", "", "zero-shot"]]
        rows += [
            [METRICS[name], f"{value:.1f}", f"+- {self.errors[name]:.1f}", f"{self.zero_shot[name]:.1f}"]
            for name, value in self.items()
        ]
        return f"estimated in {self.folds} folds, half of the classes by name alone, half of the images\n{table(rows)}"

    __repr__ = __str__
