"""Evaluation of a FeatureTrainer: heads over other class names, Dassl's result lines, the task's metrics,
results.json."""

import os

import torch
from tqdm import tqdm

from . import results, tasks
from .errors import ClassesUnsupported

EVALUATION_BATCH = 8192  # features; a head that works per image sets its own `evaluation_batch`


class EvaluationMixin:
    """head_for, logits, test, evaluate_task and evaluate_only for a trainer with a `head` over `trained_classnames` and
    a `task`."""

    def head_for(self, classnames):
        """The head over `classnames` with what was trained; raises ClassesUnsupported with the reason where the method
        cannot."""
        if list(classnames) == self.trained_classnames:
            return self.head
        if not hasattr(self.head, "for_classes"):
            raise ClassesUnsupported(
                f"{type(self).__name__} was trained over other classes, and its head has no for_classes"
            )
        return self.head.for_classes(list(classnames)).to(self.device)

    @torch.no_grad()
    def logits(self, head, features):
        """Logits [N, C] of unit features [N, d], in batches."""
        training, _ = head.training, head.eval()
        batches = features.split(getattr(head, "evaluation_batch", EVALUATION_BATCH))
        with torch.autocast(self.device.type, enabled=self.autocast):
            found = torch.cat([head(batch).float() for batch in tqdm(batches, "evaluating", delay=5, leave=False)])
        head.train(training)
        return found

    def _accuracy(self, head, feature_set, per_class=False):
        """Top-1 accuracy in percent, over the first view of each image; `per_class`: the mean over classes."""
        features = feature_set.features[feature_set.offsets[:-1]]
        return tasks.top1(self.logits(head, features).argmax(1), feature_set.labels, per_class)

    def test(self, split=None):
        """Evaluates the dataset's test set (or `val`) over the dataset's class names and prints Dassl's result lines.
        -> accuracy in percent."""
        split = split or self.cfg.TEST.SPLIT
        items = self.dataset.val if split == "val" and self.dataset.val else self.dataset.test
        feature_set = self._features(items, self.store.plain)
        print(f"Evaluate on the *{split}* set")
        self.evaluator.reset()
        features = feature_set.features[feature_set.offsets[:-1]]
        self.evaluator.process(self.logits(self.head_for(self.dataset.classnames), features), feature_set.labels)
        found = self.evaluator.evaluate()
        for name, value in found.items():
            self.write_scalar(f"{split}/{name}", value, self.epoch)
        self.last_results = dict(found)
        return list(found.values())[0]

    def evaluate_task(self):
        """Runs the task's evaluations, prints them and writes results.json."""
        metrics, unsupported, subset = {}, {}, {}
        with self.watch.stage("evaluate"):
            for evaluation in self.task.evaluations():
                try:
                    metrics[evaluation.name] = self._evaluate(evaluation)
                    if evaluation.of:
                        subset[evaluation.name] = {"images": len(evaluation.items), "of": evaluation.of}
                except ClassesUnsupported as reason:
                    unsupported[evaluation.name] = str(reason)
                    print(f"* {evaluation.log}: not available: {reason}")
        self.task.summarise(metrics)
        if "H" in metrics:
            print(f"* H: {metrics['H']:.1f}%")
        if self.output_dir:
            results.write(os.path.join(self.output_dir, "results.json"), self.record(metrics, unsupported, subset))
        return metrics

    def _evaluate(self, evaluation):
        if evaluation.log == "accuracy" and not evaluation.per_class:
            self.test(split="test")
            accuracy = self.last_results["accuracy"]
        else:
            head = self.head_for(evaluation.classnames)
            accuracy = self._accuracy(head, self._features(evaluation.items, self.store.plain), evaluation.per_class)
            if evaluation.per_class:
                images, names = len(evaluation.items), len(evaluation.classnames)
                print(f"{evaluation.name}: the mean accuracy of the classes of {images:,} images, among {names} names")
            if evaluation.of:
                print(
                    f"{evaluation.name}: on a fixed subset, {len(evaluation.items):,} of {evaluation.of:,} test images"
                )
            print(f"* {evaluation.log}: {accuracy:.1f}%")
        return accuracy

    def evaluate_only(self):
        """CoOp's --eval-only: the loaded model on the dataset's (sub)classes; results-<subset>.json, never
        results.json."""
        self.test()
        subset = self.cfg.DATASET.get("SUBSAMPLE_CLASSES", "all")
        if self.output_dir:
            results.write(
                os.path.join(self.output_dir, f"results-{subset}.json"), self.record(dict(self.last_results), {})
            )

    def source_path(self):
        """The run that this one starts from; '' where it starts from nothing."""
        return self.cfg.MODEL.INIT_WEIGHTS

    def record(self, metrics, unsupported, subset=None):
        """What results.json holds (DESIGN section 9); `subset` names the metrics measured on a part of the test images.

        A run that starts from another one has that run's dataset as `source`; where it sees no image itself, its shots.
        """
        cfg, dataset = self.cfg, self.dataset
        task, dataset_name, trainer, config = results.place(self.output_dir)
        source = results.read_source(self.source_path()) if self.source_path() else {}
        origin = {"source": source["dataset"]} if "dataset" in source else {}
        shots = cfg.DATASET.NUM_SHOTS if self.task.real_classnames() else source.get("shots", cfg.DATASET.NUM_SHOTS)
        return {
            "task": cfg.TASK,
            "dataset": dataset_name or cfg.DATASET.NAME,
            "trainer": trainer or cfg.TRAINER.NAME,
            "config": config or "",
            "seed": cfg.SEED,
            "shots": shots,
            **origin,
            "backbone": {"name": self.backbone.name, "sha256": self.backbone.weights_hash},
            "split_hash": getattr(dataset, "split_hash", ""),
            "fewshot": getattr(dataset, "fewshot_source", ""),
            "classnames_hash": results.names_hash(getattr(dataset, "all_classnames", dataset.classnames)),
            "metrics": metrics,
            "unsupported": unsupported,
            "subset": subset or {},
            "selection": self.SELECTION,
            "seconds": {name: round(value, 3) for name, value in self.watch.seconds.items()},
            "peak_memory_mb": results.peak_memory_mb(self.device),
            "versions": results.versions(),
            "extra": self.extra_results(),
        }

    def extra_results(self):
        """More to keep in results.json; SHIP reports its generator here."""
        return {}
