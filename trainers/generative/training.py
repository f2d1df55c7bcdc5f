"""Trains a generator on features of the classes that have images, before fine-tuning; resumes exactly; reuses a
finished one."""

import hashlib
import json
import math
import os
import time

import torch
from dassl.utils import load_checkpoint, save_checkpoint
from tqdm import tqdm

from ..core.errors import UserError
from ..core.features.loader import FeatureLoader
from ..core.randomness import seed_all

FOLDER, FINAL, ROLLING = "generator", "generator.pth.tar", "generator-rolling.pth.tar"
DROP_LAST = False  # of an epoch's batches: the sources keep a partial one


class GeneratorTraining:
    """One generator's training: `build()` gives the untrained Framework, which learns from `features` (FeatureSet) of
    `classes` (ClassTokens) and is written to `directory`/generator/.

    `section` is the node of `options` in the config, `keys` those of its keys that decide what comes out, `name` what
    the generator is called in messages, `backbone` the hash of the weights that the features come from.
    """

    def __init__(
        self, build, options, section, keys, name, backbone, features, classes, seed, directory, checkpoint_seconds=30.0
    ):
        self.build, self.options, self.section, self.keys, self.name = build, options, section, keys, name
        self.backbone, self.features, self.classes = backbone, features, classes
        self.seed, self.directory, self.checkpoint_seconds = seed, os.path.join(directory, FOLDER), checkpoint_seconds
        self.device = features.features.device

    def settings(self):
        """What a saved state must agree with to be continued or reused: options, backbone, seed and data."""
        data = hashlib.sha256(
            self.features.labels.cpu().numpy().tobytes() + self.features.features.cpu().numpy().tobytes()
        ).hexdigest()[:12]
        return {
            "options": {key: self.options[key] for key in self.keys},
            "backbone": self.backbone,
            "seed": self.seed,
            "drop_last": DROP_LAST,
            "features": data,
            "classnames": self.classes.names,
        }

    def run(self):
        """-> (generator, report). Continues or reuses what `directory` holds if it was made under the same settings."""
        seed_all(self.seed, "generator", "init")
        framework = self.build().to(self.device)
        optimizers = framework.optimizers(self.options)
        settings, history, start = self.settings(), [], 0
        state = self._saved(settings)
        if state:
            framework.load_state_dict(state["state_dict"])
            history, start = state["history"], state["epoch"]
            if start < self.options.EPOCHS:
                for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
                    optimizer.load_state_dict(saved)
            what = "reusing the finished one" if start == self.options.EPOCHS else f"resumed after {start} epochs"
            print(f"generator: {what} in {self.directory}")
        saved_at = -math.inf
        epochs = tqdm(
            range(start, self.options.EPOCHS), desc=self.name, unit="epoch", initial=start, total=self.options.EPOCHS
        )
        for epoch in epochs:
            seed_all(self.seed, "generator", epoch)
            history.append(self._epoch(framework, optimizers, epoch))
            epochs.set_postfix({name: f"{value:.4f}" for name, value in history[-1].items()})
            done = epoch + 1 == self.options.EPOCHS
            if done or time.monotonic() - saved_at >= self.checkpoint_seconds:
                self._save(framework, [] if done else optimizers, settings, history, epoch + 1)
                saved_at = time.monotonic()
        framework.requires_grad_(False).eval()
        return framework.generator, self._report(framework.generator, history)

    def _epoch(self, framework, optimizers, epoch):
        """One pass over the base features -> mean of each loss term."""
        totals = {}
        loader = FeatureLoader(self.features, self.options.BATCH_SIZE, drop_last=DROP_LAST)
        for step, batch in enumerate(loader):
            try:
                terms = framework.step(batch["features"], batch["label"], self.classes, optimizers)
            except FloatingPointError as error:
                raise UserError(
                    f"{self.name}: {error} at epoch {epoch + 1}, step {step + 1} of {len(loader)}; training stopped. "
                    f"The last good state is in {self.directory}. A smaller {self.section}.LR is the usual cure"
                ) from None
            for name, value in terms.items():
                totals[name] = totals.get(name, 0.0) + value / len(loader)
        return totals

    def _saved(self, settings):
        for name in (FINAL, ROLLING):
            path = os.path.join(self.directory, name)
            if os.path.exists(path):
                state = load_checkpoint(path)
                if json.loads(state["settings"]) == json.loads(json.dumps(settings)):
                    return state
                print(f"generator: {path} was made under other settings; training a new one")
        return None

    def _save(self, framework, optimizers, settings, history, epoch):
        """The state after `epoch` epochs: the rolling one with its optimisers, the final one without any."""
        state = {
            "state_dict": framework.state_dict(),
            "epoch": epoch,
            "history": history,
            "settings": json.dumps(settings),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        }
        save_checkpoint(state, self.directory, model_name=ROLLING if optimizers else FINAL)
        rolling = os.path.join(self.directory, ROLLING)
        if not optimizers and os.path.exists(rolling):
            os.remove(rolling)

    @torch.no_grad()
    def _report(self, generator, history):
        """The last losses, and how far synthetic features of a class spread beside real ones (standard deviation per
        dimension)."""
        seed_all(self.seed, "generator", "report")
        labels = self.features.labels
        real = self.features.features[self.features.offsets[:-1]]
        z = torch.randn(len(labels), generator.latent_dim).to(labels.device)
        synthetic = torch.cat(
            [generator(z[i : i + 512], labels[i : i + 512], self.classes) for i in range(0, len(labels), 512)]
        )
        report = dict(history[-1]) if history else {}
        report.update(spread_real=within_class_std(real, labels), spread_synthetic=within_class_std(synthetic, labels))
        print("generator: " + ", ".join(f"{name} {value:.4g}" for name, value in report.items()))
        return report


def within_class_std(features, labels):
    """Standard deviation per dimension around the class mean, averaged over classes with two or more features and over
    dimensions."""
    per_class = [features[labels == label].std(0).mean() for label in labels.unique() if (labels == label).sum() > 1]
    return torch.stack(per_class).mean().item() if per_class else float("nan")
