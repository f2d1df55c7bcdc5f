"""A row of a table: one step in both formulations, and how near ours comes to its arithmetic."""

import torch

from .clock import Clock, multiply_adds
from .steps import BATCH, SHOTS, STEPS

MATRIX_ROWS = 512  # of the product whose rate stands for the machine's


def images(backbone, clock: Clock, repeats: int) -> float:
    """Seconds to encode a batch, as the plain formulation does in every step."""
    size = backbone.input_size
    batch = torch.randn(BATCH, 3, size, size, device=backbone.device, dtype=backbone.dtype)
    with torch.no_grad():
        return clock.seconds(lambda: backbone.encode_image(batch), repeats=repeats)[0]


def step(what: str, backbone, names: int, n_ctx: int, clock: Clock, repeats: int, image_seconds: float) -> dict:
    """Seconds of a step, of an epoch of 16 shots, and ratios. Of more names than fit the plain formulation at once, it
    is measured on a part, to which it is proportional: `plain_measured_on` is that share."""
    torch.manual_seed(0)
    pair = STEPS[what](backbone, names, n_ctx)
    ours, plain = clock.seconds(pair.ours, pair.plain, repeats=repeats)
    ours, prompts = ours / pair.steps, plain / pair.share
    whole = prompts + (image_seconds if pair.images else 0.0)
    floor = multiply_adds(pair.ours) / pair.steps / clock.rate(MATRIX_ROWS, backbone.width)
    trained = names // 2 if what == "coop_ship" else names
    return {
        "names": names,
        "context": n_ctx,
        "plain": whole,
        "ours": ours,
        "ratio": whole / ours,
        "ratio_without_images": prompts / ours,
        "floor": floor,
        "reached": floor / ours,
        "epoch": ours * trained * SHOTS / BATCH if pair.images else None,
        "plain_measured_on": pair.share,
    }
