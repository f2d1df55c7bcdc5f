"""What tests of the Python API fit: names, pictures, and features around the texts of the names."""

import numpy as np

import trainers as ship
from trainers.core.model.prompts import encode_texts

NAMES = ["ant", "beaver", "crab", "dolphin", "b/c", "elephant", "flamingo", "hedgehog"]
NEW = ["kangaroo", "lobster"]
QUICK = {"OPTIM.MAX_EPOCH": 2, "TRAINER.SHIP.EPOCHS": 2, "TRAINER.SHIP.HIDDEN_DIM": 32}
ADAPTER = {"method": "CLIP_Adapter_SHIP", "options": {**QUICK, "TRAINER.SHIP.GENERATOR": "gaussian"}}


def pictures(count, seed=0):
    """Coloured stripes, uint8 [H, W, 3], of other sizes than the backbone's."""
    draw = np.random.default_rng(seed)
    return [np.repeat(draw.integers(0, 256, (12, 5 + i % 3, 3), dtype=np.uint8), 12, axis=1) for i in range(count)]


def features_near_texts(backbone):
    """(unit features [N, d] around the texts of NAMES, labels): four images of each."""
    draw = np.random.default_rng(1)
    centres = encode_texts(backbone, NAMES).float().numpy().repeat(4, 0)
    found = centres + draw.normal(0, 0.05, centres.shape)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found.astype(np.float32), [name for name in NAMES for _ in range(4)]


class Fits:
    """Fits on such features by method and options, each made once."""

    def __init__(self, rows):
        self.rows, self.made = rows, {}

    def __call__(self, method, count=8, new_names=NEW, **options):
        key = method, count, str(new_names), str(options)
        if key not in self.made:
            features, labels = self.rows
            given = {**QUICK, "TRAINER.SHIP.GENERATOR": "gaussian", **options}
            self.made[key] = ship.fit(
                features[: 4 * count], labels[: 4 * count], new_names=new_names, method=method, options=given
            )
        return self.made[key]
