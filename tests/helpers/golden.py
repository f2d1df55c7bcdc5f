"""Reference figures of methods that prompt inside the towers: what they are measured on, and one run to compare.

The authors' codes were run on a small random CLIP. fixtures/golden.safetensors in tests/trainers holds its weights
(int8 with scales), the images, and of each method what goes in (init) and what comes out: losses, gradients of the
first step, logits.
"""

from pathlib import Path
from types import SimpleNamespace

import torch
from dassl.config import get_cfg_default

import trainers
from trainers.core.model import openai_clip
from trainers.core.model.backbone import Backbone
from trainers.core.registry import known_trainers

BASE = "Annual Crop Land,Forest,Herbaceous Vegetation Land,Highway or Road,Industrial Buildings,Pasture Land".split(",")
NEW = ["Permanent Crop Land", "Residential Buildings", "River", "Sea or Lake"]
LABELS = torch.tensor([0, 1, 2, 3, 4, 5, 0, 3])
FILE = Path(__file__).parents[1] / "trainers" / "fixtures" / "golden.safetensors"


def part(tensors, prefix):
    """-> the tensors whose name begins with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def clip_of(tensors):
    """-> the backbone on which the figures were measured."""
    packed = part(tensors, "clip.")
    rows, ids = packed.pop("token_embedding.rows"), packed.pop("token_embedding.ids").long()
    scale = packed.pop("token_embedding.rows.scale")
    state = {
        name: value.float() * packed.get(f"{name}.scale", 1.0)
        for name, value in packed.items()
        if not name.endswith(".scale") and name != "logit_scale"
    }
    state["token_embedding.weight"] = torch.zeros(49408, rows.shape[1])
    state["token_embedding.weight"][ids] = rows.float() * scale
    state["logit_scale"] = packed["logit_scale"].float()
    return Backbone(openai_clip.build(state, "golden"), "golden", "", (), (), tensors["images"].shape[-1])


def trainer_of(method, backbone, options):
    """A trainer with its head over the base names of EuroSAT, without data."""
    cfg = get_cfg_default()
    trainers.extend_cfg(cfg)
    cfg.DATASET.NAME, kind = "EuroSAT", known_trainers()[method]
    cfg.TRAINER[kind.SECTION].merge_from_list([item for pair in options.items() for item in pair])
    trainer = object.__new__(kind)
    plain = {"cfg": cfg, "backbone": backbone, "task": None, "device": torch.device("cpu"), "autocast": False}
    trainer.__dict__.update(plain, plugins=[], batch_idx=0, num_batches=1, epoch=0, max_epoch=3)
    trainer.head = trainer.build_head(BASE)
    return trainer


def run(trainer, images):
    """Three steps of SGD on one batch -> losses, gradients of the first, logits before and after."""
    head, parameters = trainer.head, dict(trainer.head.named_parameters())
    optimizer = torch.optim.SGD(parameters.values(), lr=0.0035, momentum=0.9, weight_decay=5e-4)
    found = SimpleNamespace(losses=[], gradients={}, before=logits(trainer, head, images))
    head.train()
    trainer.batch = {"img": images, "label": LABELS}
    for _ in range(3):
        loss, _ = trainer.compute_loss(*trainer.features_of(trainer.batch))
        optimizer.zero_grad()
        loss.backward()
        found.losses.append(loss.item())
        found.gradients = found.gradients or {name: value.grad.clone() for name, value in parameters.items()}
        optimizer.step()
    found.base, found.new = (logits(trainer, scored, images) for scored in (head, head.for_classes(NEW)))
    return found


@torch.no_grad()
def logits(trainer, head, images):
    head.eval()
    return head(trainer.encode_image(images))
