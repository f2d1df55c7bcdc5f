"""What is measured on a test set, and the lines it prints."""

from collections import OrderedDict
from os import path as osp

import numpy as np
import torch

from ..utils import UserError, atomic_path
from .build import EVALUATOR_REGISTRY


class EvaluatorBase:
    """Collects predictions batch by batch: reset(), process(output, labels) per batch, then evaluate()."""

    def __init__(self, cfg):
        self.cfg = cfg

    def reset(self):
        raise NotImplementedError

    def process(self, mo, gt):
        raise NotImplementedError

    def evaluate(self):
        raise NotImplementedError


@EVALUATOR_REGISTRY.register()
class Classification(EvaluatorBase):
    """Accuracy, error and macro F1 in percent; per-class accuracy and confusion matrix where cfg.TEST asks for them."""

    def __init__(self, cfg, lab2cname=None, **kwargs):
        super().__init__(cfg)
        self._lab2cname = lab2cname or {}
        self._y_true, self._y_pred = [], []  # not reset(): a subclass's may need what its constructor sets later

    def reset(self):
        self._y_true, self._y_pred = [], []

    def process(self, mo, gt):
        """mo: scores [B, C]; gt: labels [B]."""
        self._y_true += gt.tolist()
        self._y_pred += mo.argmax(dim=1).tolist()

    def evaluate(self):
        """Print and return the results; the first is the accuracy. UserError where nothing was processed."""
        if not self._y_true:
            raise UserError("nothing to evaluate: the test set is empty")
        y_true, y_pred = np.array(self._y_true), np.array(self._y_pred)
        correct = int((y_true == y_pred).sum())
        results = OrderedDict()
        results["accuracy"] = 100.0 * correct / len(y_true)
        results["error_rate"] = 100.0 - results["accuracy"]
        results["macro_f1"] = _macro_f1(y_true, y_pred)
        print(
            "=> result\n"
            f"* total: {len(y_true):,}\n"
            f"* correct: {correct:,}\n"
            f"* accuracy: {results['accuracy']:.1f}%\n"
            f"* error: {results['error_rate']:.1f}%\n"
            f"* macro_f1: {results['macro_f1']:.1f}%"
        )
        if self.cfg.TEST.PER_CLASS_RESULT:
            results["perclass_accuracy"] = self._report_classes(y_true, y_pred)
        if self.cfg.TEST.COMPUTE_CMAT:
            self._save_confusion(y_true, y_pred)
        return results

    def _report_classes(self, y_true, y_pred):
        """Print the accuracy of each class that appears; returns their mean."""
        print("=> per-class result")
        accuracies = []
        for label in np.unique(y_true).tolist():
            hits = y_pred[y_true == label] == label
            accuracy = 100.0 * float(hits.mean())
            accuracies.append(accuracy)
            name = self._lab2cname.get(label, "?")
            print(f"* class: {label} ({name})\ttotal: {len(hits):,}\tcorrect: {hits.sum():,}\tacc: {accuracy:.1f}%")
        average = float(np.mean(accuracies))
        print(f"* average: {average:.1f}%")
        return average

    def _save_confusion(self, y_true, y_pred):
        """OUTPUT_DIR/cmat.pt: tensor [C, C], the row of a class is how its samples were predicted, as shares."""
        size = 1 + max(y_true.max(), y_pred.max(), *self._lab2cname)
        counts = torch.zeros(size, size, dtype=torch.float64)
        counts.index_put_((torch.from_numpy(y_true), torch.from_numpy(y_pred)), torch.ones(len(y_true)).double(), True)
        path = osp.join(self.cfg.OUTPUT_DIR, "cmat.pt")
        with atomic_path(path) as temporary:
            torch.save(counts / counts.sum(dim=1, keepdim=True).clamp(min=1), temporary)
        print(f"Confusion matrix saved to {path}")


def _macro_f1(y_true, y_pred):
    """Mean over the labels in y_true of F1 = 2 TP / (2 TP + FP + FN), in percent."""
    scores = []
    for label in np.unique(y_true):
        true, predicted = y_true == label, y_pred == label
        scores.append(2 * np.sum(true & predicted) / (np.sum(true) + np.sum(predicted)))
    return 100.0 * float(np.mean(scores))
