"""Trains a generator on features of the classes that have images, before fine-tuning; resumes exactly (on a
CPU); reuses a finished one."""

import hashlib
import json
import os
import time
from contextlib import suppress
from functools import partial

import torch
from tqdm import tqdm

from ..core.checkpoints import Rolling, damaged, read, write
from ..core.data import FeatureLoader, FeatureSet
from ..core.files import UserError
from ..core.randomness import seed_all
from .synthesis import Synthesizer

STAGE = "generator"  # of a run's seconds
FOLDER, FINAL, ROLLING = "generator", "generator.pth.tar", "generator-rolling.pth.tar"
DROP_LAST = False  # of an epoch's batches: the sources keep a partial one


class GeneratorTraining:
    """One generator's training in a run (`trainer`): `build()` gives the untrained Framework, which learns from the
    run's training images, of `classes` (ClassTokens), and is written to generator/ in its output folder.

    `section` is the generator's node under cfg.TRAINER, `keys` those of its keys that decide what comes out, `name`
    what the generator is called in messages.
    """

    def __init__(self, build, trainer, section, keys, name, classes):
        self.build, self.trainer, self.section, self.keys, self.name = build, trainer, section, keys, name
        self.features, self.classes, self.seed = trainer.train_set, classes, trainer.cfg.SEED
        self.options, self.directory = trainer.cfg.TRAINER[section], os.path.join(trainer.output_dir, FOLDER)
        self.device = self.features.features.device
        self.began = time.perf_counter()
        self.final: dict | None = None  # what is saved of the trained one; None where it was saved before

    def settings(self):
        """What a saved state must agree with to be continued or reused: options, backbone, seed and data."""
        data = hashlib.sha256()
        for tensor in (self.features.labels, self.features.features):
            data.update(tensor.cpu().numpy().tobytes())
        return {
            "options": {key: self.options[key] for key in self.keys},
            "backbone": self.trainer.backbone.weights_hash,
            "seed": self.seed,
            "drop_last": DROP_LAST,
            "features": data.hexdigest()[:12],
            "classnames": self.classes.names,
        }

    def run(self):
        """-> (generator, report). Continues or reuses what `directory` holds if it was made under the same settings;
        what that took counts among this run's seconds."""
        seed_all(self.seed, "generator", "init")
        framework = self.build().to(self.device)
        optimizers = framework.optimizers(self.options)
        settings, history, start = self.settings(), [], 0
        total = self.options.EPOCHS
        _, state = self._saved(settings)
        if state:
            framework.load_state_dict(state["state_dict"])
            history, start = state["history"], state["epoch"]
            before = state.get("seconds", {}).get(STAGE, 0.0)
            for optimizer, saved in zip(optimizers, state["optimizers"]):  # the final state has none
                optimizer.load_state_dict(saved)
            self.trainer.watch.add(STAGE, before)
            self.began -= before
            what = "reusing the finished one" if start == total else f"resumed after {start} epochs"
            print(f"generator: {what} in {self.directory}")
        span = {"initial": start, "total": total, "disable": self.trainer.hides_bars}
        epochs = tqdm(range(start, total), desc=self.name, unit="epoch", **span)
        rolling = Rolling(self._save_rolling)
        for epoch in epochs:
            seed_all(self.seed, "generator", epoch)
            history.append(self._epoch(framework, optimizers, epoch))
            epochs.set_postfix({name: f"{value:.4f}" for name, value in history[-1].items()})
            if epoch + 1 < total:
                state = partial(self._state, framework, optimizers, settings, history, epoch + 1)
                rolling.offer(state, self.trainer.cfg.TRAIN.CHECKPOINT_SECONDS)
            else:
                self._save_final(self._state(framework, [], settings, history, total))
        framework.requires_grad_(False).eval()
        return framework.generator, self._report(framework.generator, history)

    def _epoch(self, framework, optimizers, epoch):
        """One pass over the base features -> mean of each loss term."""
        # labels stay on the host: it plans the prompts of each batch by them
        rows = FeatureSet(self.features.features, self.features.offsets, self.features.labels.cpu())
        loader = FeatureLoader(rows, self.options.BATCH_SIZE, drop_last=DROP_LAST)
        steps = [framework.step(batch["features"], batch["label"], self.classes, optimizers) for batch in loader]
        # the one place of an epoch that waits for the device
        values = {name: torch.stack([terms[name].detach() for terms in steps]) for name in steps[0]}
        broken = [name for name, value in values.items() if not value.isfinite().all()]
        if broken or not all(torch.isfinite(p).all() for p in framework.parameters()):
            raise UserError(
                f"{self.name}: {f'the {broken[0]}' if broken else 'a parameter'} is not finite at epoch {epoch + 1}; "
                f"training stopped. The last good state is in {self.directory}. A smaller TRAINER.{self.section}.LR is "
                "the usual cure"
            )
        return {name: sum(number / len(loader) for number in value.tolist()) for name, value in values.items()}

    def _saved(self, settings):
        """(path, state) to continue or reuse; (None, None) where there is none under these settings."""
        for name in (FINAL, ROLLING) if self.trainer.output_dir else ():
            path = os.path.join(self.directory, name)
            if os.path.exists(path):
                state, made_under = read_generator(path)
                if made_under == json.loads(json.dumps(settings)):
                    return path, state
                print(f"generator: {path} was made under other settings; training a new one")
        return None, None

    def _state(self, framework, optimizers, settings, history, epoch):
        """What a saved generator is after `epoch` epochs; the final one has no optimisers."""
        return {
            "state_dict": framework.state_dict(),
            "epoch": epoch,
            "history": history,
            "settings": json.dumps(settings),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "seconds": {STAGE: time.perf_counter() - self.began},
            "identity": self.trainer.identity,
        }

    def _save_rolling(self, state):
        if self.trainer.output_dir:
            write(state, self.directory, name=ROLLING)

    def _save_final(self, state):
        self.final = state
        if self.trainer.output_dir:
            write(state, self.directory, name=FINAL)
            with suppress(FileNotFoundError):
                os.remove(os.path.join(self.directory, ROLLING))

    @torch.no_grad()
    def _report(self, generator, history):
        """The last losses, and how far synthetic features of a class spread beside real ones (standard deviation per
        dimension)."""
        seed_all(self.seed, "generator", "report")
        labels = self.features.labels
        real = self.features.features[self.features.offsets[:-1]]
        synthetic = Synthesizer(generator, self.classes, first_label=0).features(labels)
        report = dict(history[-1]) if history else {}
        report.update(spread_real=within_class_std(real, labels), spread_synthetic=within_class_std(synthetic, labels))
        print("generator: " + ", ".join(f"{name} {value:.4g}" for name, value in report.items()))
        return report


def read_generator(path):
    """-> (state, settings) of a generator's file. Raises UserError where it is missing, damaged or another file."""
    state = read(path)
    if "settings" not in state:
        raise damaged(path, "it holds no generator")
    return state, json.loads(state["settings"])


def within_class_std(features, labels):
    """Standard deviation per dimension around the class mean, averaged over classes with two or more features and over
    dimensions."""
    per_class = [features[labels == label].std(0).mean() for label in labels.unique() if (labels == label).sum() > 1]
    return torch.stack(per_class).mean().item() if per_class else float("nan")
