"""Prompts in words: the vocabulary, planted words that must be found, and scripts/interpret.py on a run."""

import interpret
import pytest
import torch
from dassl.utils import UserError
from PIL import Image

from trainers.core.model.prompts import embed_words
from trainers.core.model.vocabulary import Vocabulary, token_words
from trainers.generative.frameworks import VAE
from trainers.generative.generator import PromptGenerator


def test_the_vocabulary_holds_words_alone_(miniclip_backbone):
    vocabulary = token_words(miniclip_backbone)
    assert {"sunflower", "dog", "aerial", "of"} <= set(vocabulary.words)
    assert all(len(word) > 1 and word.isalpha() for word in vocabulary.words)
    assert not {"startoftext", "endoftext", "<|endoftext|>", "a", "!", "2"} & set(vocabulary.words)
    assert vocabulary.vectors.any(1).all() and len(set(vocabulary.words)) == len(vocabulary.words)


def test_nearest_by_euclidean_distance():
    """Not by cosine: the word in the prompt's direction is farther away."""
    words = Vocabulary(["near", "aligned", "far"], torch.tensor([[1.0, 0.5], [9.0, 0.0], [-9.0, 0.0]]))
    found, distances = interpret.nearest_words(torch.tensor([[[1.0, 0.0], [8.0, 0.0]]]), words, 2)
    assert found.tolist() == [[["near", "aligned"], ["aligned", "near"]]] and distances[0, 0, 0] == 0.5


def test_planted_words_are_found(miniclip_backbone):
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
    words, distances = interpret.nearest_words(prompts, token_words(miniclip_backbone), 1)
    assert words[0].tolist() == [["dog"], ["pizza"]] and words[1, 0] == "umbrella"
    assert max(*distances[0, :, 0], distances[1, 0, 0]) < 1e-4


# ---- the script


def test_images_from_the_bank(ship_run, capsys):
    interpret.main([str(ship_run), "dog/test_0.jpg", "cat/train_1.jpg", "--bank", "--top", "2"])
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("dog/test_0.jpg")
    assert [line.split(":")[0] for line in lines[at + 1 : at + 5]] == ["  p1", "  p2", "  p3", "  p4"]
    assert lines[at + 5] == "cat/train_1.jpg"
    assert lines[at + 1].count("(") == 2 and lines[at - 1].startswith("vocabulary: 26,525 words")
    with pytest.raises(UserError, match="does not hold ant/x.jpg"):
        interpret.main([str(ship_run), "ant/x.jpg", "--bank"])


def test_image_files_and_a_list_of_words(ship_run, tmp_path, capsys):
    for name in ("b.png", "a.jpg"):
        Image.new("RGB", (80, 60)).save(tmp_path / name)
    (tmp_path / "words.txt").write_text("# mine\nyellow\ngrand piano\nocean\n")
    panel = tmp_path / "deep/panel.png"
    interpret.main([str(ship_run), str(tmp_path), "--words", str(tmp_path / "words.txt"), "--out", str(panel)])
    out = capsys.readouterr().out
    assert out.index("a.jpg") < out.index("b.png")
    assert "grand piano (" in out and "vocabulary: 3 words" in out
    with Image.open(panel) as image:
        assert image.width > 500
