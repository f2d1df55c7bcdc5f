"""Prompts in words (paper section 4.3, "Interpretation of prompts", and Figure 2): the vocabulary's words nearest to a
vector of a prompt."""

import torch

from ..core.files import UserError


@torch.no_grad()
def instance_prompts(framework, features):
    """p(z) [B, L, w] of unit image features [B, d], z being the encoder's mean mu. Raises UserError where there is no
    encoder or no prompt."""
    for part, owner, need in (
        ("encoder", framework, "FRAMEWORK vae"),
        ("synthesize_prompts", framework.generator, "GENERATOR clip"),
    ):
        if not hasattr(owner, part):
            raise UserError(
                f"there are no prompts of an image to read in a {type(owner).__name__}: it takes a run with "
                f"TRAINER.SHIP.{need}"
            )
    return framework.generator.synthesize_prompts(framework.encoder(features)[0])


def nearest_words(prompts, vocabulary, top=3):
    """prompts [B, L, w] -> for each of the B images and L positions, the `top` nearest words and their Euclidean
    distances [(word, distance), ...]."""
    top = min(top, len(vocabulary.words))
    exact = "donot_use_mm_for_euclid_dist"
    distances, index = torch.cdist(prompts.flatten(0, 1).float(), vocabulary.vectors, compute_mode=exact).topk(
        top, largest=False
    )
    found = [
        [(vocabulary.words[i], d) for i, d in zip(*row, strict=True)]
        for row in zip(index.tolist(), distances.tolist(), strict=True)
    ]
    length = prompts.shape[1]
    return [found[start : start + length] for start in range(0, len(found), length)]
