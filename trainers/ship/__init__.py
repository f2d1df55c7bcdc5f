"""SHIP: Improving Zero-Shot Generalization for CLIP with Synthesized Prompts (Wang et al., ICCV 2023, https://arxiv.org/abs/2307.07397).

A generator learns from base features to synthesize prompts, and through CLIP's frozen text encoder image features, of
classes that have only a name. generator.py and vae.py are the model, pretrain.py trains it, synthesis.py draws from it,
plugin.py gives a trainer its twin, interpretation.py puts its prompts into words. gan.py and the options below are the
paper's ablations.
"""

from ..core.config import declare
from .plugin import register_ship

__all__ = ["extend_cfg", "register_ship"]


def extend_cfg(cfg):
    declare(
        cfg,
        "TRAINER.SHIP",
        FRAMEWORK="vae",  # or gan (Table 4)
        GENERATOR="clip",  # prompts through CLIP's text encoder; mlp: features by a network from scratch (Table 4)
        N_CTX=4,  # L, length of the synthesized prompts (Table 6)
        GLOBAL=True,  # learn global prompts p_1 .. p_L beside the local bias (Table 5)
        SEQUENTIAL=False,  # one local bias per position instead of one for all (Table 5)
        HIDDEN_DIM=4096,
        LATENT_DIM=0,  # of z; 0: the width of the token embedding, as in the paper
        LR=1e-3,
        WEIGHT_DECAY=0.01,
        EPOCHS=50,
        BATCH_SIZE=256,
        KL_WEIGHT=1.0,
        NEW_CLASSES="",  # a text file of label-only class names, a name a line
        INIT_FROM="",  # a trained generator (the generator/ folder of a run) to use instead of training one
    )
