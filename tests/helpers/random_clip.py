"""A random CLIP as OpenAI publishes one: a TorchScript archive in half precision, with a vision transformer."""

import math
import warnings

import torch
from clip.model import CLIP, convert_weights
from torch import nn

from trainers.core.model.prompts import tokenize

INPUT_SIZE, EMBED_DIM, LOGIT_SCALE = 32, 32, 100.0


def write_archive(path):
    """Writes a CLIP with the true vocabulary and 77 positions, two layers of width 64 a tower, input 32 x 32, CLIP's
    initialisation and its trained logit scale; always the same weights. -> path"""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # images, two layers of width 64, the smallest that an attention head of CLIP's code can have; then the text
        model = CLIP(EMBED_DIM, INPUT_SIZE, 2, 64, 16, 77, 49408, 64, 1, 2)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(parameter, std=0.02)  # a bias of zero would hide one that is forgotten
    with torch.no_grad():  # as drawn, all images and all texts have nearly the same features
        model.visual.conv1.weight.mul_(10)
        model.token_embedding.weight.mul_(20)
    nn.init.constant_(model.logit_scale, math.log(LOGIT_SCALE))
    convert_weights(model)
    images = torch.zeros(1, 3, INPUT_SIZE, INPUT_SIZE)
    with warnings.catch_warnings():  # torch announces the end of TorchScript; OpenAI's files stay as they are
        warnings.simplefilter("ignore")
        torch.jit.trace(model.eval(), (images, tokenize(["dog"])), check_trace=False).save(str(path))
    return path
