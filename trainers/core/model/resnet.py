"""CLIP's ResNets: three convolutions as a stem, average pooling in front of strided convolutions, attention in place of
the last pooling. Under OpenAI's names, for use alone, not for training."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.pool, self.downsample = nn.AvgPool2d(stride), nn.Identity()
        if stride > 1 or inputs != 4 * width:
            parts = {"-1": nn.AvgPool2d(stride), "0": nn.Conv2d(inputs, 4 * width, 1, bias=False)}
            self.downsample = nn.Sequential(OrderedDict({**parts, "1": nn.BatchNorm2d(4 * width)}))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.pool(F.relu(self.bn2(self.conv2(y))))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class AttentionPool(nn.Module):
    """[B, w, h, h] -> [B, d]: the mean of the places asks all places."""

    def __init__(self, side, width, heads, output_dim):
        super().__init__()
        self.heads, self.positional_embedding = heads, nn.Parameter(torch.empty(side**2 + 1, width))
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.c_proj = nn.Linear(width, output_dim)

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(1, keepdim=True), x], 1) + self.positional_embedding
        projected = self.q_proj(x[:, :1]), self.k_proj(x), self.v_proj(x)
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in projected)
        return self.c_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(1))


class ModifiedResNet(nn.Module):
    """Images [B, 3, H, W] -> features [B, d]."""

    def __init__(self, layers, output_dim, input_resolution, width):
        super().__init__()
        self.input_resolution = input_resolution
        self.conv1, self.bn1 = nn.Conv2d(3, width // 2, 3, 2, 1, bias=False), nn.BatchNorm2d(width // 2)
        self.conv2, self.bn2 = nn.Conv2d(width // 2, width // 2, 3, 1, 1, bias=False), nn.BatchNorm2d(width // 2)
        self.conv3, self.bn3 = nn.Conv2d(width // 2, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages(width, layers)
        self.attnpool = AttentionPool(input_resolution // 32, 32 * width, width * 32 // 64, output_dim)

    def forward(self, images):
        x = images.to(self.conv1.weight.dtype)
        for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = F.relu(norm(conv(x)))
        x = F.avg_pool2d(x, 2)
        return self.attnpool(self.layer4(self.layer3(self.layer2(self.layer1(x)))))


def stages(width, layers):
    """The four stages; each but the first halves the side."""
    inputs = width
    for i, count in enumerate(layers):
        blocks = []
        for j in range(count):
            blocks.append(Bottleneck(inputs, width * 2**i, 2 if i and not j else 1))
            inputs = 4 * width * 2**i
        yield nn.Sequential(*blocks)
