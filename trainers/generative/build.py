"""From options (cfg.TRAINER.SHIP) to SHIP's generative model: untrained, or as a run left it."""

import json
import os

import torch.nn as nn

from ..core.checkpoints import read
from ..core.files import UserError
from .gan import WGAN
from .generator import TRAINING_FREE, FeatureGenerator, PromptGenerator
from .nets import class_features
from .training import FINAL, FOLDER
from .vae import VAE

ARCHITECTURE = ("FRAMEWORK", "GENERATOR", "N_CTX", "GLOBAL", "SEQUENTIAL", "HIDDEN_DIM", "LATENT_DIM")


def build_framework(options, backbone, kl_weight):
    """A generator, untrained, and what trains it, on the text tower in float32."""
    latent_dim, hidden_dim = options.LATENT_DIM or backbone.width, options.HIDDEN_DIM
    if options.GENERATOR == "mlp":
        generator = FeatureGenerator(backbone, latent_dim, hidden_dim)
    else:
        how = options.GLOBAL, options.SEQUENTIAL
        generator = PromptGenerator(backbone, options.N_CTX, latent_dim, hidden_dim, *how)
    if options.FRAMEWORK == "gan":
        return WGAN(generator, backbone, hidden_dim)
    return VAE(generator, backbone.embed_dim, hidden_dim, kl_weight)


def fit_framework(options, backbone, templates, images, classes, share):
    """The same of a generator that needs no training: made of a FeatureSet of `classes` (a ClassTokens), which has
    `share` of the images of a full run."""
    kind = TRAINING_FREE[options.GENERATOR]
    tensors = kind.fitted(images, class_features(backbone, templates)(classes))
    return nn.ModuleDict({"generator": kind(backbone, templates, tensors, share)})


def load_framework(path, options, backbone, device):
    """What a run trained, from its folder or its `generator/` folder -> (framework, {"loaded_from", its last terms}).

    Raises UserError if it is missing or was made with another backbone or other options than `options`.
    """
    candidates = [os.path.join(path, FINAL), os.path.join(path, FOLDER, FINAL)]
    file = next((path for path in candidates if os.path.isfile(path)), None)
    if file is None:
        raise UserError(f"no {FINAL} in {path}; expected the output folder of a finished run of a trainer with SHIP")
    state = read(file)
    settings = json.loads(state["settings"])
    if settings["backbone"] != backbone.weights_hash:
        raise UserError(f"the generator {file} was trained on another backbone than this run's {backbone.name}")
    is_trained = options.GENERATOR not in TRAINING_FREE
    compared = ARCHITECTURE if is_trained else ("GENERATOR",)
    differing = [key for key in compared if settings["options"][key] != options[key]]
    if differing:
        wanted = ", ".join(f"TRAINER.SHIP.{key} {settings['options'][key]}" for key in differing)
        raise UserError(f"the generator {file} was trained with other options; set {wanted}")
    if is_trained:
        framework = build_framework(options, backbone, options.KL_WEIGHT)
        framework.load_state_dict(state["state_dict"])
    else:
        tensors = {name.removeprefix("generator."): value for name, value in state["state_dict"].items()}
        generator = TRAINING_FREE[options.GENERATOR](backbone, settings["templates"], tensors)
        framework = nn.ModuleDict({"generator": generator})
    report = {"loaded_from": file, **(state["history"] or [{}])[-1]}
    return framework.to(device).requires_grad_(False).eval(), report
