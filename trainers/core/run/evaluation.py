"""Evaluation of a trained head: Dassl's result lines, and the task's metrics."""

import torch
from tqdm import tqdm

from . import tasks
from ..errors import ClassesUnsupported

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


def evaluate(trainer):
    """Runs the evaluations of a trainer's task and prints their lines -> (metrics, unsupported: {metric: why it has no
    value}, subset: {metric: on how many of the test images})."""
    metrics, unsupported, subset = {}, {}, {}
    for evaluation in trainer.task.evaluations():
        try:
            metrics[evaluation.name] = _run(trainer, evaluation)
            if evaluation.of:
                subset[evaluation.name] = {"images": len(evaluation.items), "of": evaluation.of}
        except ClassesUnsupported as reason:
            unsupported[evaluation.name] = str(reason)
            print(f"* {evaluation.log}: not available: {reason}")
    trainer.task.summarise(metrics)
    if "H" in metrics:
        print(f"* H: {metrics['H']:.1f}%")
    return metrics, unsupported, subset


def _run(trainer, evaluation):
    if evaluation.log == "accuracy" and not evaluation.per_class:
        trainer.test(split="test")
        return trainer.last_results["accuracy"]
    head = trainer.head_for(evaluation.classnames)
    found = trainer.data.plain(evaluation.items)
    accuracy = tasks.top1(trainer.logits(head, found.first()).argmax(1), found.labels, evaluation.per_class)
    if evaluation.per_class:
        images, names = len(evaluation.items), len(evaluation.classnames)
        print(f"{evaluation.name}: the mean accuracy of the classes of {images:,} images, among {names} names")
    if evaluation.of:
        print(f"{evaluation.name}: on a fixed subset, {len(evaluation.items):,} of {evaluation.of:,} test images")
    print(f"* {evaluation.log}: {accuracy:.1f}%")
    return accuracy
