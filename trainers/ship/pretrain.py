"""Trains the generator on base features before fine-tuning; resumes exactly; reuses a finished one."""

import hashlib
import json
import math
import os
import time

import torch
from dassl.utils import load_checkpoint, save_checkpoint
from tqdm import tqdm

from ..core.errors import UserError
from ..core.loader import FeatureLoader
from ..core.randomness import seed_all
from .gan import WGAN
from .generator import FeatureGenerator, PromptGenerator
from .vae import VAE

FOLDER, FINAL, ROLLING = "generator", "generator.pth.tar", "generator-rolling.pth.tar"
ARCHITECTURE = ("FRAMEWORK", "GENERATOR", "N_CTX", "GLOBAL", "SEQUENTIAL", "HIDDEN_DIM", "LATENT_DIM")
DROP_LAST = False  # of an epoch's batches: SHIP's released code keeps a partial one
TRAINING = ("LR", "WEIGHT_DECAY", "EPOCHS", "BATCH_SIZE", "KL_WEIGHT")


def build_framework(options, backbone):
    """The generative model that `options` (cfg.TRAINER.SHIP) describes, untrained. Raises UserError for a name that is
    not known."""
    latent_dim, hidden_dim = options.LATENT_DIM or backbone.width, options.HIDDEN_DIM
    generators = {
        "clip": lambda: PromptGenerator(
            backbone, options.N_CTX, latent_dim, hidden_dim, options.GLOBAL, options.SEQUENTIAL
        ),
        "mlp": lambda: FeatureGenerator(backbone, latent_dim, hidden_dim),
    }
    frameworks = {
        "vae": lambda generator: VAE(generator, backbone.embed_dim, hidden_dim, options.KL_WEIGHT),
        "gan": lambda generator: WGAN(generator, backbone, hidden_dim),
    }
    for key, known in (("FRAMEWORK", frameworks), ("GENERATOR", generators)):
        if options[key] not in known:
            raise UserError(f"TRAINER.SHIP.{key} '{options[key]}' is unknown; known: {', '.join(known)}")
    if options.GENERATOR == "mlp" and (options.SEQUENTIAL or not options.GLOBAL):
        raise UserError(
            "TRAINER.SHIP.GENERATOR mlp makes no prompts, so GLOBAL False and SEQUENTIAL True say nothing; they go "
            "with GENERATOR clip"
        )
    return frameworks[options.FRAMEWORK](generators[options.GENERATOR]())


class Pretraining:
    """One generator's training: `features` (FeatureSet) of `classes` (ClassTokens), written to `directory`/generator/.

    SECTION is the node of `options` in the config, KEYS those of its keys that decide what comes out, NAME what it is
    called in messages.
    """

    NAME, SECTION, KEYS = "SHIP generator", "TRAINER.SHIP", ARCHITECTURE + TRAINING

    def __init__(self, options, backbone, features, classes, seed, directory, checkpoint_seconds=30.0):
        self.options, self.backbone, self.features, self.classes = options, backbone, features, classes
        self.seed, self.directory, self.checkpoint_seconds = seed, os.path.join(directory, FOLDER), checkpoint_seconds
        self.device = features.features.device

    def build(self):
        """The untrained Framework."""
        return build_framework(self.options, self.backbone)

    def settings(self):
        """What a saved state must agree with to be continued or reused: options, backbone, seed and data."""
        data = hashlib.sha256(
            self.features.labels.cpu().numpy().tobytes() + self.features.features.cpu().numpy().tobytes()
        ).hexdigest()[:12]
        return {
            "options": {key: self.options[key] for key in self.KEYS},
            "backbone": self.backbone.weights_hash,
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
            range(start, self.options.EPOCHS), desc=self.NAME, unit="epoch", initial=start, total=self.options.EPOCHS
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
                    f"{self.NAME}: {error} at epoch {epoch + 1}, step {step + 1} of {len(loader)}; training stopped. "
                    f"The last good state is in {self.directory}. A smaller {self.SECTION}.LR is the usual cure"
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


def load_framework(path, options, backbone, device):
    """What a run trained, from its folder or its `generator/` folder -> (framework, its file, history: the mean terms
    of each epoch).

    Raises UserError if it is missing or was made with another backbone or other options than `options`
    (cfg.TRAINER.SHIP).
    """
    candidates = [os.path.join(path, FINAL), os.path.join(path, FOLDER, FINAL), path]
    found = next((file for file in candidates if os.path.isfile(file)), None)
    if found is None:
        raise UserError(
            f"no {FINAL} in {path}; expected the output folder of a finished SHIP run, as TRAINER.SHIP.INIT_FROM takes"
        )
    state = load_checkpoint(found)
    settings = json.loads(state["settings"])
    if settings["backbone"] != backbone.weights_hash:
        raise UserError(
            f"the generator {found} was trained on another backbone ({settings['backbone'][:12]}, the run uses "
            f"{backbone.weights_hash[:12]})"
        )
    differing = [key for key in ARCHITECTURE if settings["options"][key] != options[key]]
    if differing:
        wanted = ", ".join(f"TRAINER.SHIP.{key} {settings['options'][key]}" for key in differing)
        raise UserError(f"the generator {found} was trained with other options; set {wanted}")
    framework = build_framework(options, backbone).to(device)
    framework.load_state_dict(state["state_dict"])
    framework.requires_grad_(False).eval()
    return framework, found, state["history"]


def load_generator(path, options, backbone, device):
    """-> (generator, report) of a run; see load_framework."""
    framework, found, history = load_framework(path, options, backbone, device)
    return framework.generator, {"loaded_from": found, **(history[-1] if history else {})}
