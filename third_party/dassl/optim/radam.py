"""Rectified Adam (https://arxiv.org/abs/1908.03265), PyTorch's."""

import torch


class RAdam(torch.optim.RAdam):
    """As its authors wrote it: weights decay apart from the gradient."""

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0):
        super().__init__(params, lr, betas, eps, weight_decay, decoupled_weight_decay=True)
