"""Reference figures of methods that prompt inside the towers: what they are measured on, and one run to compare.

`shared/golden/` beside the repository has the figures of the authors' codes on a small random CLIP. fixtures/ in
tests/trainers has those that our code, once it agreed with them, gave on another random CLIP, for machines without it.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from dassl.config import get_cfg_default
from safetensors.torch import load_file

import trainers
from trainers.core.model import openai_clip
from trainers.core.model.backbone import Backbone
from trainers.core.registry import known_trainers

BASE = "Annual Crop Land,Forest,Herbaceous Vegetation Land,Highway or Road,Industrial Buildings,Pasture Land".split(",")
NEW = ["Permanent Crop Land", "Residential Buildings", "River", "Sea or Lake"]
LABELS = torch.tensor([0, 1, 2, 3, 4, 5, 0, 3])
OWN = Path(__file__).parents[1] / "trainers" / "fixtures" / "prompted_towers.json"
SIZE, PATCH, WIDTH, DIM, BLOCKS = 32, 8, 64, 32, 12


def backbone_of(state):
    return Backbone(openai_clip.build(state, "golden"), "golden", "", (), (), SIZE)


def shared_clip(folder):
    """-> (the reference's backbone, its images)."""
    packed = load_file(folder / "clip_tiny.safetensors")
    rows, ids = packed.pop("token_embedding.rows"), packed.pop("token_embedding.ids").long()
    scale = packed.pop("token_embedding.rows.scale")
    state = {
        name: value.float() * packed.get(f"{name}.scale", 1.0)
        for name, value in packed.items()
        if not name.endswith(".scale") and name != "logit_scale"
    }
    state["token_embedding.weight"] = torch.zeros(49408, WIDTH)
    state["token_embedding.weight"][ids] = rows.float() * scale
    state["logit_scale"] = packed["logit_scale"].float()
    return backbone_of(state), load_file(folder / "inputs.safetensors")["images"]


def drawn(name, *shape, scale=1.0):
    """Normal numbers that depend on a name alone; NumPy keeps this generator's stream for good."""
    draw = np.random.RandomState(sum(i * byte for i, byte in enumerate(name.encode(), 1)))
    return torch.tensor(draw.standard_normal(shape) * scale, dtype=torch.float32)


def own_clip():
    """The same of our own figures."""
    shapes = {"conv1.weight": (WIDTH, 3, PATCH, PATCH), "class_embedding": (WIDTH,), "proj": (WIDTH, DIM)}
    shapes = {f"visual.{name}": shape for name, shape in shapes.items()}
    shapes |= {"visual.positional_embedding": ((SIZE // PATCH) ** 2 + 1, WIDTH), "positional_embedding": (77, WIDTH)}
    shapes |= {"token_embedding.weight": (49408, WIDTH), "text_projection": (WIDTH, DIM)}
    norms = ["visual.ln_pre", "visual.ln_post", "ln_final"]
    for tower in ("visual.transformer", "transformer"):
        for block in (f"{tower}.resblocks.{i}" for i in range(BLOCKS)):
            shapes |= {f"{block}.attn.in_proj_weight": (3 * WIDTH, WIDTH), f"{block}.attn.in_proj_bias": (3 * WIDTH,)}
            sizes = {"attn.out_proj": (WIDTH, WIDTH), "mlp.c_fc": (4 * WIDTH, WIDTH), "mlp.c_proj": (WIDTH, 4 * WIDTH)}
            for part, size in sizes.items():
                shapes |= {f"{block}.{part}.weight": size, f"{block}.{part}.bias": size[:1]}
            norms += [f"{block}.ln_1", f"{block}.ln_2"]
    scales = {"visual.conv1.weight": 0.05, "token_embedding.weight": 0.3}
    state = {
        name: drawn(name, *shape, scale=scales.get(name, 1.2 * shape[-1] ** -0.5 if len(shape) > 1 else 0.1))
        for name, shape in shapes.items()
    }
    state |= {f"{norm}.weight": torch.ones(WIDTH) for norm in norms}
    state |= {f"{norm}.bias": drawn(norm, WIDTH, scale=0.1) for norm in norms}
    state["logit_scale"] = torch.tensor(20.0).log()
    return backbone_of(state), drawn("images", len(LABELS), 3, SIZE, SIZE)


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
    """Three steps of SGD on one batch -> losses, gradients of the first, logits before; parameters and logits after."""
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
    found.after = {name: value.detach().clone() for name, value in parameters.items()}
    found.base, found.new = (logits(trainer, part, images) for part in (head, head.for_classes(NEW)))
    return found


@torch.no_grad()
def logits(trainer, head, images):
    head.eval()
    return head(trainer.encode_image(images))


def own_run(method, options, clip):
    """A run on our own CLIP, from parameters that depend on their names alone -> what the JSON file keeps of it."""
    backbone, images = clip
    trainer = trainer_of(method, backbone, options)
    with torch.no_grad():
        for name, parameter in trainer.head.named_parameters():
            parameter.copy_(drawn(name, *parameter.shape, scale=0.1))
    found = run(trainer, images)
    return {
        "losses": found.losses,
        "gradients": {name: value.norm().item() for name, value in found.gradients.items()},
        "before": found.before.tolist(),
        "base": found.base.tolist(),
        "new": found.new.tolist(),
    }


def record(methods):
    """Writes the JSON file anew, {method: options}; to be called by hand once the authors' figures hold."""
    clip = own_clip()
    OWN.write_text(json.dumps({name: own_run(name, options, clip) for name, options in methods.items()}) + "\n")
