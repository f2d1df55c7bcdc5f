"""From options to SHIP's generative model, untrained or as a run left it."""

import json
import os

from dassl.utils import load_checkpoint

from ..core.errors import UserError
from ..core.model.text_encoder import in_fp32
from ..generative.gan import WGAN
from ..generative.training import FINAL, FOLDER
from ..generative.vae import VAE
from .generator import FeatureGenerator, PromptGenerator

ARCHITECTURE = ("FRAMEWORK", "GENERATOR", "N_CTX", "GLOBAL", "SEQUENTIAL", "HIDDEN_DIM", "LATENT_DIM")
TRAINING = ("LR", "WEIGHT_DECAY", "EPOCHS", "BATCH_SIZE", "KL_WEIGHT")


def build_framework(options, backbone):
    """The generative model that `options` (cfg.TRAINER.SHIP) describes, untrained, on the text tower in float32.

    Raises UserError for a name that is not known.
    """
    backbone = in_fp32(backbone)
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
