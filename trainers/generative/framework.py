"""What the training loop (training.py) asks of a generative framework: a generator, its optimisers, and a step on a
batch."""

import torch
import torch.nn as nn


class Framework(nn.Module):
    """`generator` and whatever trains it; all of it is one state dict. vae.py and gan.py have one each."""

    generator: nn.Module

    def optimizers(self, options):
        """-> the optimisers, in the order that `step` takes them; `options` is the method's config node."""
        return [adamw(self, options)]

    def step(self, x, labels, classes, optimizers):
        """Updates the parameters on unit features x [B, d] of classes `labels` [B] among `classes` (a ClassTokens) ->
        {term: a number or a tensor of one, which nobody has waited for}. Here down the gradient of `loss`, which gives
        a loss and these terms.
        """
        loss, terms = self.loss(x, labels, classes)
        descend(loss, optimizers[0])
        return terms


def adamw(module, options, **more):
    """The optimiser of all networks of the paper (section 4.1) for the parameters of `module`."""
    # fused: one pass over the parameters, a tenth of the time on a CPU
    return torch.optim.AdamW(module.parameters(), lr=options.LR, weight_decay=options.WEIGHT_DECAY, fused=True, **more)


def descend(loss, *optimizers):
    """One step of each optimiser down the gradient of `loss`; whether it is finite is seen when the epoch ends."""
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
