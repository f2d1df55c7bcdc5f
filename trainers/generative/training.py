"""Trains a generator on features of the classes that have images, before fine-tuning; resumes exactly (on a
CPU); reuses a finished one."""

import hashlib
import json
import math
import os
import time
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from ..core.checkpoints import Rolling, read, write
from ..core.data import FeatureLoader, FeatureSet
from ..core.files import UserError
from ..core.randomness import seed_all
from .synthesis import Synthesizer

STAGE = "generator"  # of a run's seconds
FOLDER, FINAL, ROLLING = "generator", "generator.pth.tar", "generator-rolling.pth.tar"
DROP_LAST = False  # of an epoch's batches: the sources keep a partial one


class GeneratorTraining:
    """One generator's training in a run (`trainer`), on the run's training images, of `classes` (ClassTokens). It is
    written to generator/ in the run's output folder.

    `build()` gives an untrained framework, a module with the parts

        generator                               z [B, k], labels [B] and ClassTokens -> unit features [B, d]
        optimizers(options)                     `options` is the node under cfg.TRAINER of this `section`
        step(x, labels, classes, optimizers)    updates the parameters on unit features x [B, d] of classes `labels`
                                                [B] -> {term: a tensor of one number, which nobody has waited for}

    `keys` are those options that decide what comes out, `name` is what the generator is called in messages. With
    `epochs` 0 there is nothing to train, and what `build` made is saved.
    """

    def __init__(self, build, trainer, section, keys, name, classes, epochs=None):
        self.build, self.trainer, self.section, self.keys, self.name = build, trainer, section, keys, name
        self.features, self.classes, self.seed = trainer.train_set, classes, trainer.cfg.SEED
        self.options, self.directory = trainer.cfg.TRAINER[section], os.path.join(trainer.output_dir, FOLDER)
        self.epochs = self.options.EPOCHS if epochs is None else epochs
        self.device = self.features.features.device
        self.began = time.perf_counter()
        self.final: dict = {}  # what is saved of the trained one

    def settings(self, generator):
        """What a saved state must agree with to be continued or reused: options, backbone, seed and data."""
        data = hashlib.sha256()
        for tensor in (self.features.labels, self.features.features):
            data.update(tensor.cpu().numpy().tobytes())
        settings = {
            "options": {key: self.options[key] for key in self.keys},
            "backbone": self.trainer.backbone.weights_hash,
            "seed": self.seed,
            "drop_last": DROP_LAST,
            "features": data.hexdigest()[:12],
            "classnames": self.classes.names,
        }
        if hasattr(generator, "templates"):  # a generator keeps its own where another run loads it
            settings["templates"] = list(generator.templates)
        return settings

    def run(self):
        """-> (framework, report). Continues or reuses what the folder holds if it was made under the same settings;
        what that took counts among this run's seconds."""
        seed_all(self.seed, "generator", "init")
        framework = self.build().to(self.device)
        optimizers = framework.optimizers(self.options)
        settings, history, start = self.settings(framework.generator), [], 0
        saved = self.saved(settings)
        if saved:
            framework.load_state_dict(saved["state_dict"])
            history, start, before = saved["history"], saved["epoch"], saved["seconds"][STAGE]
            for optimizer, state in zip(optimizers, saved["optimizers"]):  # the final state has none
                optimizer.load_state_dict(state)
            self.trainer.watch.add(STAGE, before)
            self.began -= before
            what = "reusing the finished one" if start == self.epochs else f"resumed after {start} epochs"
            print(f"generator: {what} in {self.directory}")
        span = {"initial": start, "total": self.epochs, "disable": self.trainer.hides_bars if self.epochs else True}
        epochs = tqdm(range(start, self.epochs), desc=self.name, unit="epoch", **span)
        with Rolling(partial(self.save, ROLLING)) as rolling:
            for epoch in epochs:
                seed_all(self.seed, "generator", epoch)
                history.append(self.train_epoch(framework, optimizers, epoch))
                epochs.set_postfix({name: f"{value:.4f}" for name, value in history[-1].items()})
                state = partial(self.state, framework, optimizers, settings, history)
                rolling.offer(state, self.trainer.cfg.TRAIN.CHECKPOINT_SECONDS)
            self.final = self.state(framework, [], settings, history)
            if start < self.epochs or not saved:
                self.save(FINAL, self.final)
        framework.requires_grad_(False).eval()
        return framework, self.report(framework.generator, history)

    def train_epoch(self, framework, optimizers, epoch):
        """One pass over the base features -> mean of each loss term."""
        # labels stay on the host: it plans the prompts of each batch by them
        rows = FeatureSet(self.features.features, self.features.offsets, self.features.labels.cpu())
        loader = FeatureLoader(rows, self.options.BATCH_SIZE, drop_last=DROP_LAST)
        steps = [framework.step(batch["features"], batch["label"], self.classes, optimizers) for batch in loader]
        # the one place of an epoch that waits for the device
        values = {name: torch.stack([terms[name] for terms in steps]).tolist() for name in steps[0]}
        means = {name: sum(number / len(loader) for number in numbers) for name, numbers in values.items()}
        if not all(map(math.isfinite, means.values())) or not all(p.isfinite().all() for p in framework.parameters()):
            raise UserError(
                f"{self.name}: a loss or a parameter is not finite at epoch {epoch + 1}; training stopped. The last "
                f"good state is in {self.directory}. A smaller TRAINER.{self.section}.LR is the usual cure"
            )
        return means

    def saved(self, settings):
        """The state to continue or reuse; None where there is none under these settings."""
        for name in (FINAL, ROLLING):
            path = os.path.join(self.directory, name)
            if self.trainer.output_dir and os.path.exists(path):
                state = read(path)
                if json.loads(state["settings"]) == json.loads(json.dumps(settings)):
                    return state
                print(f"generator: {path} was made under other settings; training a new one")
        return None

    def state(self, framework, optimizers, settings, history):
        """What a saved generator is after the epochs of `history`; the final one has no optimisers."""
        return {
            "state_dict": framework.state_dict(),
            "epoch": len(history),
            "history": history,
            "settings": json.dumps(settings),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "seconds": {STAGE: time.perf_counter() - self.began},
            "identity": self.trainer.identity,
        }

    def save(self, name, state):
        if self.trainer.output_dir:
            write(state, self.directory, name=name)
            if name == FINAL:
                Path(self.directory, ROLLING).unlink(missing_ok=True)

    @torch.no_grad()
    def report(self, generator, history):
        """The last losses, and how far synthetic features of a class spread beside real ones (standard deviation per
        dimension)."""
        seed_all(self.seed, "generator", "report")
        labels, real = self.features.labels, self.features.first()
        synthetic = Synthesizer(generator, self.classes).features(labels)
        report = dict(history[-1]) if history else {}
        report.update(spread_real=within_class_std(real, labels), spread_synthetic=within_class_std(synthetic, labels))
        print("generator: " + ", ".join(f"{name} {value:.4g}" for name, value in report.items()))
        return report


def within_class_std(features, labels):
    """Standard deviation per dimension around the class mean, averaged over classes with two or more features and over
    dimensions."""
    per_class = [features[labels == label].std(0).mean() for label in labels.unique() if (labels == label).sum() > 1]
    return torch.stack(per_class).mean().item() if per_class else float("nan")
