"""Trains a generator on features of the classes that have images, before fine-tuning; resumes exactly (on a CPU);
reuses a finished one."""

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

STAGE = "generator"  # of a run's seconds
FOLDER, FINAL, ROLLING = "generator", "generator.pth.tar", "generator-rolling.pth.tar"


class GeneratorTraining:
    """One generator's training in a run (`trainer`), on the run's training images, of `classes` (ClassTokens). It is
    written to generator/ in the run's output folder.

    `build()` gives an untrained framework, a module with the parts

        generator                               z [B, k], labels [B] and ClassTokens -> unit features [B, d]
        optimizers(options)                     `options` is the node under cfg.TRAINER of this `section`
        step(x, labels, classes, optimizers)    updates the parameters on unit features x [B, d] of classes `labels`
                                                [B] -> {term: a tensor of one number, which nobody has waited for}

    With `epochs` 0 there is nothing to train, and what `build` made is saved.
    """

    def __init__(self, build, trainer, section, classes, epochs):
        self.build, self.trainer, self.section, self.classes = build, trainer, section, classes
        self.options, self.epochs = trainer.cfg.TRAINER[section], epochs
        self.settings = {  # what a run that loads the generator must agree with
            "options": dict(self.options),
            "backbone": trainer.backbone.weights_hash,
            "templates": trainer.templates,  # of generators that start from texts: they keep their own
        }
        self.folder = os.path.join(trainer.output_dir, FOLDER) if trainer.output_dir else ""
        self.began = time.perf_counter()

    def run(self):
        """-> (framework, its last terms, what is saved of it). Continues or reuses what the run's folder holds; what
        that took counts among this run's seconds."""
        seed, watch = self.trainer.cfg.SEED, self.trainer.watch
        seed_all(seed, "generator", "init")
        framework = self.build().to(self.trainer.device)
        optimizers = framework.optimizers(self.options) if self.epochs else []
        history, saved = [], self.saved()
        if saved:
            framework.load_state_dict(saved["state_dict"])
            for optimizer, state in zip(optimizers, saved["optimizers"]):  # the final state has none
                optimizer.load_state_dict(state)
            history, before = saved["history"], saved["seconds"][STAGE]
            watch[STAGE] += before
            self.began -= before
            print(f"generator: resumed after {len(history)} epochs of {self.epochs}")
        start, hidden = len(history), self.trainer.hides_bars if self.epochs else True
        bar = {"desc": "generator", "unit": "epoch", "initial": start, "total": self.epochs, "disable": hidden}
        with Rolling(partial(self.write, ROLLING)) as rolling:
            for epoch in tqdm(range(start, self.epochs), **bar):
                seed_all(seed, "generator", epoch)
                history.append(self.train_epoch(framework, optimizers, epoch))
                state = partial(self.state, framework, optimizers, history)
                rolling.offer(state, self.trainer.cfg.TRAIN.CHECKPOINT_SECONDS)
            final = self.state(framework, [], history)
            if not saved or start < self.epochs:
                self.write(FINAL, final)
        terms = history[-1] if history else {}
        print("generator: " + (", ".join(f"{name} {value:.4g}" for name, value in terms.items()) or "nothing to train"))
        return framework.requires_grad_(False).eval(), terms, final

    def train_epoch(self, framework, optimizers, epoch):
        """One pass over the base features -> mean of each loss term."""
        # labels stay on the host: it plans the prompts of each batch by them
        images = self.trainer.train_set
        rows = FeatureSet(images.features, images.offsets, images.labels.cpu())
        loader = FeatureLoader(rows, self.options.BATCH_SIZE, drop_last=False)  # the sources keep a partial batch
        steps = [framework.step(batch["features"], batch["label"], self.classes, optimizers) for batch in loader]
        # the one place of an epoch that waits for the device
        values = {name: torch.stack([terms[name] for terms in steps]).tolist() for name in steps[0]}
        means = {name: sum(number / len(loader) for number in numbers) for name, numbers in values.items()}
        if not all(map(math.isfinite, means.values())) or not all(p.isfinite().all() for p in framework.parameters()):
            cure = f"a smaller TRAINER.{self.section}.LR is the usual cure"
            raise UserError(f"generator: a loss or a parameter is not finite at epoch {epoch + 1}; {cure}")
        return means

    def saved(self):
        """The state to continue or reuse, or None. A run with an identity has made sure before that what is in its
        folder is its own."""
        for name in (FINAL, ROLLING) if self.folder and self.trainer.identity else ():
            path = os.path.join(self.folder, name)
            if os.path.exists(path):
                return read(path)
        return None

    def state(self, framework, optimizers, history):
        """What a saved generator is after the epochs of `history`."""
        return {
            "state_dict": framework.state_dict(),
            "epoch": len(history),
            "history": history,
            "settings": json.dumps(self.settings),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "seconds": {STAGE: time.perf_counter() - self.began},
            "identity": self.trainer.identity,
        }

    def write(self, name, state):
        if self.folder:
            write(state, self.folder, name=name)
            if name == FINAL:
                Path(self.folder, ROLLING).unlink(missing_ok=True)
