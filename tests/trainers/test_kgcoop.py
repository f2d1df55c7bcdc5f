"""KgCoOp against the plain formulation, and through the command line."""

import pytest
import torch.nn.functional as F
from plain import hand_written, plain_text_features
from runs import EVERY_STEP, Recorded, argv


@pytest.mark.parametrize("weight", [0.0, 8.0])
def test_losses_equal_the_plain_formulation(tiny_bank, tmp_path, monkeypatch, miniclip_backbone, weight):
    """Each is cross-entropy + W (1 - mean cosine to the hand-written prompt's text features), by all 77 positions."""
    options = ["DATALOADER.TRAIN_X.BATCH_SIZE", "4", "TRAINER.KGCOOP.CTX_INIT", "", "TRAINER.KGCOOP.W", weight]
    run = Recorded(monkeypatch, argv(tiny_bank, tmp_path, "KgCoOp", *EVERY_STEP, *options))
    names = run.trainer.trained_classnames
    fixed = hand_written(miniclip_backbone, names)

    def plain(parameters, features, labels, _):
        learned = plain_text_features(miniclip_backbone, names, parameters["ctx"])
        logits = miniclip_backbone.logit_scale.exp() * features @ learned.t()
        return F.cross_entropy(logits, labels) + weight * (1 - F.cosine_similarity(learned, fixed).mean())

    assert run.losses == pytest.approx(run.plain_losses(plain)[0], abs=2e-4) and len(run.losses) == 8
    assert (run.losses[0] > 3) == (weight > 0)  # the random context is far from the hand-written prompt
