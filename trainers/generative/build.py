"""From options to SHIP's generative model, untrained or as a run left it."""

import os

from ..core.files import UserError
from ..core.model.text_encoder import in_fp32
from . import training_free
from .gan import WGAN
from .generator import FeatureGenerator, PromptGenerator
from .training import FINAL, FOLDER, read_generator
from .vae import VAE

ARCHITECTURE = ("FRAMEWORK", "GENERATOR", "N_CTX", "GLOBAL", "SEQUENTIAL", "HIDDEN_DIM", "LATENT_DIM")
TRAINING = ("LR", "WEIGHT_DECAY", "EPOCHS", "BATCH_SIZE", "KL_WEIGHT")
# What later papers and ours changed of the training, with the paper's values: a generator that was trained before one
# of them existed stays what it is.
BEYOND = {"KL_WEIGHT_RULE": "fixed"}
KNOWN = {
    "FRAMEWORK": ("vae", "gan"),
    "GENERATOR": ("clip", "mlp", *training_free.GENERATORS),
    "KL_WEIGHT_RULE": ("fixed", "auto"),
}


def decisive_keys(options):
    """The keys of TRAINER.SHIP that a saved generator must agree with to be reused."""
    return ARCHITECTURE + TRAINING + tuple(key for key, papers in BEYOND.items() if options[key] != papers)


def check(options):
    """Raises UserError for options (cfg.TRAINER.SHIP) that are unknown or contradict each other."""
    for key, known in KNOWN.items():
        if options[key] not in known:
            raise UserError(f"TRAINER.SHIP.{key} '{options[key]}' is unknown; known: {', '.join(known)}")
    kind, framework, rule = options.GENERATOR, options.FRAMEWORK, options.KL_WEIGHT_RULE
    problem = ""
    if kind == "mlp" and (options.SEQUENTIAL or not options.GLOBAL):
        problem = "GENERATOR mlp makes no prompts: GLOBAL False and SEQUENTIAL True go with GENERATOR clip"
    elif kind in training_free.GENERATORS and (framework != "vae" or rule != "fixed"):
        problem = f"GENERATOR {kind} is not pretrained: leave FRAMEWORK and KL_WEIGHT_RULE out, or use GENERATOR clip"
    elif rule == "auto" and framework == "gan":
        problem = "KL_WEIGHT_RULE auto goes with FRAMEWORK vae: a gan has no KL term"
    if problem:
        raise UserError(f"TRAINER.SHIP.{problem}")


def build_framework(options, backbone, kl_weight=None, templates=None):
    """The generative model that `options` (cfg.TRAINER.SHIP) describes, untrained, on the text tower in float32.

    `kl_weight` is that of the training, where a rule chose it. `templates` are the hand-written prompts of generators
    without training. Raises UserError for a name that is not known.
    """
    check(options)
    backbone = in_fp32(backbone)
    latent_dim, hidden_dim = options.LATENT_DIM or backbone.width, options.HIDDEN_DIM
    if options.GENERATOR in training_free.GENERATORS:
        return training_free.TrainingFree(options.GENERATOR, backbone, templates)
    if options.GENERATOR == "mlp":
        generator = FeatureGenerator(backbone, latent_dim, hidden_dim)
    else:
        how = options.GLOBAL, options.SEQUENTIAL
        generator = PromptGenerator(backbone, options.N_CTX, latent_dim, hidden_dim, *how)
    if options.FRAMEWORK == "gan":
        return WGAN(generator, backbone, hidden_dim)
    return VAE(generator, backbone.embed_dim, hidden_dim, options.KL_WEIGHT if kl_weight is None else kl_weight)


def load_framework(path, options, backbone, device):
    """What a run trained, from its folder or its `generator/` folder -> (framework, its file, history: the mean terms
    of each epoch).

    Raises UserError if it is missing or was made with another backbone or other options than `options`
    (cfg.TRAINER.SHIP).
    """
    candidates = [os.path.join(path, FINAL), os.path.join(path, FOLDER, FINAL), path]
    file = next((path for path in candidates if os.path.isfile(path)), None)
    if file is None:
        raise UserError(
            f"no {FINAL} in {path}; expected the output folder of a finished SHIP run, as TRAINER.SHIP.INIT_FROM takes"
        )
    state, settings = read_generator(file)
    compared = ("GENERATOR",) if options.GENERATOR in training_free.GENERATORS else ARCHITECTURE
    if settings["backbone"] != backbone.weights_hash:
        raise UserError(
            f"the generator {file} was trained on another backbone ({settings['backbone'][:12]}, the run uses "
            f"{backbone.weights_hash[:12]})"
        )
    differing = [key for key in compared if settings["options"][key] != options[key]]
    if differing:
        wanted = ", ".join(f"TRAINER.SHIP.{key} {settings['options'][key]}" for key in differing)
        raise UserError(f"the generator {file} was trained with other options; set {wanted}")
    framework = build_framework(options, backbone, templates=settings.get("templates")).to(device)
    framework.load_state_dict(state["state_dict"])
    framework.requires_grad_(False).eval()
    return framework, file, state["history"]


def load_generator(path, options, backbone, device):
    """-> (generator, report) of a run; see load_framework."""
    framework, file, history = load_framework(path, options, backbone, device)
    return framework.generator, {"loaded_from": file, **(history[-1] if history else {})}
