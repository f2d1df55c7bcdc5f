"""CoCoOp against the plain formulation, and through the command line."""

import pytest
import torch
import torch.nn.functional as F
from plain import plain_text_features, relative, unit
from runs import EVERY_STEP, Recorded, argv
from tiny_data import NAMES

from trainers.cocoop import CoCoOpHead
from trainers.core.model.prompts import initial_context


def plain_logits(backbone, names, parameters, features):
    """Image by image: the meta-network written out, the shifted context, 77 positions."""
    rows = []
    for feature in features:
        hidden = (parameters["meta_net.linear1.weight"] @ feature + parameters["meta_net.linear1.bias"]).clamp(min=0)
        shift = parameters["meta_net.linear2.weight"] @ hidden + parameters["meta_net.linear2.bias"]
        text = plain_text_features(backbone, names, parameters["ctx"] + shift)
        rows.append(backbone.logit_scale.exp() * text @ feature)
    return torch.stack(rows)


@pytest.mark.parametrize("chunk", [0, 3])
def test_logits_and_gradients_equal_the_plain_formulation(miniclip_backbone, chunk):
    torch.manual_seed(0)
    head = CoCoOpHead(miniclip_backbone, NAMES, initial_context(miniclip_backbone, "", 4), chunk)
    features, labels = unit(3, miniclip_backbone.embed_dim), torch.tensor([0, 3, 6])
    logits = head(features)
    F.cross_entropy(logits, labels).backward()
    parameters = {name: value.detach().clone().requires_grad_() for name, value in head.named_parameters()}
    reference = plain_logits(miniclip_backbone, NAMES, parameters, features)
    F.cross_entropy(reference, labels).backward()
    assert relative(logits, reference) <= 1e-5
    assert all(relative(value.grad, parameters[name].grad) <= 1e-5 for name, value in head.named_parameters())
    assert relative(head.for_classes([NAMES[4], NAMES[1]])(features), reference[:, [4, 1]]) <= 1e-5


def test_losses_equal_the_plain_formulation(tiny_bank, tmp_path, monkeypatch, miniclip_backbone):
    options = [*EVERY_STEP, "OPTIM.MAX_EPOCH", "1", "DATALOADER.TRAIN_X.BATCH_SIZE", "4"]
    run = Recorded(monkeypatch, argv(tiny_bank, tmp_path, "CoCoOp", *options))
    names = run.trainer.trained_classnames

    def plain(parameters, features, labels, _):
        return F.cross_entropy(plain_logits(miniclip_backbone, names, parameters, features), labels)

    assert run.losses == pytest.approx(run.plain_losses(plain)[0], abs=2e-4)
