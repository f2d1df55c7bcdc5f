"""Prompts in words: the vocabulary, planted words that must be found, and scripts/interpret.py on a run."""

import interpret
import pytest
import torch
from PIL import Image

from trainers.core.model.prompts import embed_words
from trainers.core.model.vocabulary import Vocabulary, token_words
from trainers.generative.generator import PromptGenerator
from trainers.generative.vae import VAE


@pytest.fixture(scope="module")
def vocabulary(miniclip_backbone):
    return token_words(miniclip_backbone)


def test_the_vocabulary_holds_words_alone_and_counts_the_rest(miniclip_backbone, vocabulary):
    assert {"sunflower", "dog", "aerial", "of"} <= set(vocabulary.words)
    assert all(len(word) > 1 and word.isalpha() for word in vocabulary.words)
    assert not {"startoftext", "endoftext", "<|endoftext|>", "a", "!", "2"} & set(vocabulary.words)
    assert vocabulary.vectors.any(1).all() and len(set(vocabulary.words)) == len(vocabulary.words)
    assert vocabulary.left_out["special tokens"] == 2 and vocabulary.left_out["without an embedding"] > 0
    assert len(vocabulary.words) + sum(vocabulary.left_out.values()) == len(miniclip_backbone.token_embedding.weight)
    assert "2 special tokens" in vocabulary.describe() and f"{len(vocabulary.words):,} words" in vocabulary.describe()
    place = vocabulary.words.index("sunflower")
    assert torch.equal(vocabulary.vectors[place], embed_words(miniclip_backbone, "sunflower")[0])


def test_nearest_by_euclidean_distance():
    """Not by cosine: the word in the prompt's direction is farther away."""
    words = Vocabulary(["near", "aligned", "far"], torch.tensor([[1.0, 0.5], [9.0, 0.0], [-9.0, 0.0]]), {})
    found = interpret.nearest_words(torch.tensor([[[1.0, 0.0], [8.0, 0.0]], [[-9.0, 1.0], [1.0, 0.0]]]), words, 2)
    nearest = [[[word for word, _ in position] for position in image] for image in found]
    assert nearest == [[["near", "aligned"], ["aligned", "near"]], [["far", "near"], ["near", "aligned"]]]
    assert found[0][0][0][1] == pytest.approx(0.5) and found[1][0][0][1] == pytest.approx(1.0)
    assert len(interpret.nearest_words(torch.zeros(1, 1, 2), words, 10)[0][0]) == 3


def test_planted_words_are_found(miniclip_backbone, vocabulary):
    """An encoder whose mean says which of two images it saw, and global prompts and a bias that are differences of word
    embeddings."""
    torch.manual_seed(0)
    vae = VAE(PromptGenerator(miniclip_backbone, 2, 2, 4), miniclip_backbone.embed_dim, 4)
    dog, pizza, umbrella = (embed_words(miniclip_backbone, word)[0] for word in ("dog", "pizza", "umbrella"))
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.zero_()
        vae.encoder.hidden[0].weight[0, 0] = 1  # hidden unit 0 sees dimension 0 of the feature, mu its first entry
        vae.encoder.mu.weight[0, 0] = 1
        vae.encoder.log_var.bias.fill_(5.0)  # a sampled z would be far off
        vae.generator.prompts.copy_(torch.stack([dog, pizza]))
        vae.generator.bias[0].weight[0, 0] = 1
        vae.generator.bias[2].weight[:, 0] = umbrella - dog
    features = torch.eye(miniclip_backbone.embed_dim)[[1, 0]]
    prompts = interpret.instance_prompts(vae, features)
    assert prompts.shape == (2, 2, miniclip_backbone.width)
    top = [[words[0] for words in image] for image in interpret.nearest_words(prompts, vocabulary)]
    assert [word for word, _ in top[0]] == ["dog", "pizza"] and top[1][0][0] == "umbrella"
    assert max(top[0][0][1], top[0][1][1], top[1][0][1]) < 1e-4


# ---- the script


def test_images_from_the_bank(ship_run, tmp_path, capsys):
    words = ["dog/test_0.jpg", "cat", "--bank", "--limit", "5", "--top", "2", "--out", str(tmp_path / "deep/panel.png")]
    interpret.main([str(ship_run), *words])
    out = capsys.readouterr().out
    assert "the first 5 of 16 images" in out and "left out: 2 special tokens" in out
    lines = out.splitlines()
    at = lines.index("dog/test_0.jpg")
    assert [line.split(":")[0] for line in lines[at + 1 : at + 5]] == ["  p1", "  p2", "  p3", "  p4"]
    assert lines[at + 1].count("(") == 2
    with Image.open(tmp_path / "deep/panel.png") as image:
        assert image.width > 500


def test_image_files_and_a_list_of_words(ship_run, tmp_path, capsys):
    for name in ("b.png", "a.jpg"):
        Image.new("RGB", (80, 60)).save(tmp_path / name)
    (tmp_path / "words.txt").write_text("# mine\nyellow\ngrand piano\nocean\n")
    panel = tmp_path / "panel.svg"
    interpret.main([str(ship_run), str(tmp_path), "--words", str(tmp_path / "words.txt"), "--out", str(panel)])
    out = capsys.readouterr().out
    assert out.index("a.jpg") < out.index("b.png")
    assert "grand piano (" in out and "vocabulary: 3 words; left out: none" in out
    assert "vary by 0; their nearest words are" in out  # two equal images
    assert panel.stat().st_size > 1000
