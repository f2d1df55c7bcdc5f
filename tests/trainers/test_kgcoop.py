"""KgCoOp against the plain formulation, and through the command line."""

import pytest
import torch.nn.functional as F
from plain import plain_text_features
from runs import FirstSteps, argv, log
from tiny_data import make_bank

import train
from trainers.core.model.prompts import tokenize


@pytest.mark.parametrize("weight", [0.0, 8.0])
def test_first_steps_through_the_command_line(tiny_bank, tmp_path, monkeypatch, miniclip_backbone, weight):
    """Each loss is cross-entropy + W (1 - mean cosine to the hand-written prompt's text features), both by all 77
    positions."""
    options = ["DATALOADER.TRAIN_X.BATCH_SIZE", "2", "TRAINER.KGCOOP.CTX_INIT", "", "TRAINER.KGCOOP.W", str(weight)]
    run = FirstSteps(monkeypatch, tmp_path, tiny_bank, "KgCoOp", *options)
    names = run.trainer.trained_classnames
    by_hand = [f"a photo of a {name.replace('_', ' ')}." for name in names]
    by_hand = miniclip_backbone.encode_text_plain(tokenize(by_hand))

    def plain(parameters, features, labels, _):
        learned = plain_text_features(miniclip_backbone, names, parameters["ctx"])
        logits = miniclip_backbone.logit_scale.exp() * features @ learned.t()
        return F.cross_entropy(logits, labels) + weight * (1 - F.cosine_similarity(learned, by_hand).mean())

    assert run.losses == pytest.approx(run.plain_losses(plain), abs=2e-4)
    assert (run.losses[0] > 3) == (weight > 0)  # the random context is far from the hand-written prompt


def test_started_at_the_hand_written_prompt_there_is_nothing_to_pull(tiny_bank, tmp_path, monkeypatch):
    runs = [FirstSteps(monkeypatch, tmp_path / w, tiny_bank, "KgCoOp", "TRAINER.KGCOOP.W", w) for w in ("0.0", "8.0")]
    assert runs[0].losses[0] == pytest.approx(runs[1].losses[0], abs=1e-4)


def test_the_knowledge_holds_the_context(tiny_bank, tmp_path, monkeypatch):
    """The same run with a larger W ends nearer to the hand-written prompts."""
    distances = []
    for weight in ("0.0", "8.0"):
        options = ["TRAINER.KGCOOP.W", weight, "OPTIM.MAX_EPOCH", "10"]
        trainer = FirstSteps(monkeypatch, tmp_path / weight, tiny_bank, "KgCoOp", *options).trainer
        distances.append(1 - (trainer.head.text_features() * trainer.knowledge).sum(-1).mean().item())
    assert 0 < distances[1] < 0.5 * distances[0]


@pytest.mark.parametrize(
    "dataset, template",
    [
        ("DescribableTextures", "a photo of a {}, a type of texture."),
        ("EuroSAT", "a centered satellite photo of {}."),
    ],
)
def test_the_hand_written_prompt_is_the_datasets(tmp_path, miniclip_backbone, dataset, template):
    bank = make_bank(tmp_path / "bank.safetensors", miniclip_backbone, dataset=dataset)
    train.main(argv(bank, tmp_path, "KgCoOp", "DATASET.NAME", dataset, "OPTIM.MAX_EPOCH", "1", "TEST.NO_TEST", "True"))
    assert f"knowledge: {template}\n" in log(tmp_path)
