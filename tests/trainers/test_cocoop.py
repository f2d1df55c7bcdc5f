"""CoCoOp against the plain formulation, and through the command line."""

import pytest
import torch
import torch.nn.functional as F
from plain import plain_text_features, relative, unit
from runs import EVERY_STEP, Recorded, argv
from tiny_data import NAMES


def plain_logits(backbone, names, parameters, features):
    """Image by image: the meta-network written out, the shifted context, 77 positions."""
    rows = []
    for feature in features:
        hidden = (parameters["meta_net.linear1.weight"] @ feature + parameters["meta_net.linear1.bias"]).clamp(min=0)
        shift = parameters["meta_net.linear2.weight"] @ hidden + parameters["meta_net.linear2.bias"]
        text = plain_text_features(backbone, names, parameters["ctx"] + shift)
        rows.append(backbone.logit_scale.exp() * text @ feature)
    return torch.stack(rows)


def test_losses_equal_the_plain_formulation(tiny_bank, tmp_path, monkeypatch, miniclip_backbone):
    options = [*EVERY_STEP, "OPTIM.MAX_EPOCH", "1", "DATALOADER.TRAIN_X.BATCH_SIZE", "4", "TRAINER.COCOOP.CHUNK", "3"]
    run = Recorded(monkeypatch, argv(tiny_bank, tmp_path, "CoCoOp", *options))
    names = run.trainer.trained_classnames

    def plain(parameters, features, labels, _):
        return F.cross_entropy(plain_logits(miniclip_backbone, names, parameters, features), labels)

    losses, parameters = run.plain_losses(plain)
    assert run.losses == pytest.approx(losses, abs=2e-4) and len(losses) == 4
    features = unit(3, miniclip_backbone.embed_dim)
    with torch.no_grad():
        expected = plain_logits(miniclip_backbone, NAMES[4:], parameters, features)
        assert relative(run.trainer.head.for_classes(NAMES[4:])(features), expected) <= 1e-4
