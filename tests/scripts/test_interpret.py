"""Prompts in words: the vocabulary, planted words that must be found, and scripts/interpret.py on a run."""

import pytest
import torch
from dassl.utils import UserError
from PIL import Image
from trainers.ship.generator import FeatureGenerator, PromptGenerator

from trainers.core.model.prompts import embed_words, tokenize
from trainers.core.model.vocabulary import Vocabulary, listed_words, token_words
from trainers.generative.gan import WGAN
from trainers.generative.vae import VAE
from trainers.ship.interpretation import instance_prompts, nearest_words


@pytest.fixture(scope="module")
def vocabulary(miniclip_backbone):
    return token_words(miniclip_backbone)


def test_the_vocabulary_holds_words_alone_and_counts_the_rest(miniclip_backbone, vocabulary):
    assert {"sunflower", "dog", "aerial", "of"} <= set(vocabulary.words)
    assert all(len(word) > 1 and word.isalpha() for word in vocabulary.words)
    assert not {"startoftext", "endoftext", "<|endoftext|>", "a", "!", "2"} & set(vocabulary.words)
    assert (vocabulary.vectors.norm(dim=1) > 0).all() and len(set(vocabulary.words)) == len(vocabulary.words)
    assert vocabulary.left_out["special tokens"] == 2 and vocabulary.left_out["without an embedding"] > 0
    assert (
        len(vocabulary.words) + sum(vocabulary.left_out.values())
        == len(miniclip_backbone.token_embedding.weight)
        == 49408
    )
    assert "2 special tokens" in vocabulary.describe() and f"{len(vocabulary.words):,} words" in vocabulary.describe()
    place = vocabulary.words.index("sunflower")
    assert torch.equal(vocabulary.vectors[place], embed_words(miniclip_backbone, "sunflower")[0])


def test_a_word_without_an_embedding_is_not_in_it(miniclip_backbone, vocabulary):
    row = miniclip_backbone.token_embedding.weight.data[tokenize(["sunflower"])[0, 1]]
    kept = row.clone()
    row.zero_()
    try:
        fewer = token_words(miniclip_backbone)
    finally:
        row.copy_(kept)
    assert set(vocabulary.words) - set(fewer.words) == {"sunflower"}
    assert fewer.left_out["without an embedding"] == vocabulary.left_out["without an embedding"] + 1


def test_nearest_by_euclidean_distance():
    """Not by cosine: the word in the prompt's direction is farther away."""
    words = Vocabulary(["near", "aligned", "far"], torch.tensor([[1.0, 0.5], [9.0, 0.0], [-9.0, 0.0]]), {})
    found = nearest_words(torch.tensor([[[1.0, 0.0], [8.0, 0.0]], [[-9.0, 1.0], [1.0, 0.0]]]), words, 2)
    assert [[[word for word, _ in position] for position in image] for image in found] == [
        [["near", "aligned"], ["aligned", "near"]],
        [["far", "near"], ["near", "aligned"]],
    ]
    assert found[0][0][0][1] == pytest.approx(0.5) and found[1][0][0][1] == pytest.approx(1.0)
    assert len(nearest_words(torch.zeros(1, 1, 2), words, 10)[0][0]) == 3


def test_planted_words_are_found(miniclip_backbone, vocabulary):
    """An encoder whose mean says which of two images it saw, and global prompts and biases that are differences of word
    embeddings."""
    torch.manual_seed(0)
    w, d = miniclip_backbone.width, miniclip_backbone.embed_dim
    vae = VAE(PromptGenerator(miniclip_backbone, 2, 2, 4), d, 4)
    planted = [["dog", "pizza"], ["umbrella", "sunflower"]]  # of image 0 and 1; one bias serves both positions
    first = torch.stack([embed_words(miniclip_backbone, word)[0] for word in planted[0]])
    bias = embed_words(miniclip_backbone, "umbrella")[0] - first[0]
    second = embed_words(miniclip_backbone, "sunflower")[0]
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.zero_()
        vae.encoder.hidden[0].weight[0, 0] = 1  # hidden unit 0 sees dimension 0 of the feature, mu its first entry
        vae.encoder.mu.weight[0, 0] = 1
        vae.encoder.log_var.bias.fill_(5.0)  # a sampled z would be far off
        vae.generator.prompts.copy_(first)
        vae.generator.bias[0].weight[0, 0] = 1
        vae.generator.bias[2].weight[:, 0] = bias
    features = torch.zeros(2, d)
    features[0, 1] = features[1, 0] = 1
    prompts = instance_prompts(vae, features)
    assert prompts.shape == (2, 2, w)
    top = [[words[0] for words in image] for image in nearest_words(prompts, vocabulary)]
    assert [word for word, _ in top[0]] == planted[0] and top[1][0][0] == "umbrella"
    assert max(top[0][0][1], top[0][1][1], top[1][0][1]) < 1e-4
    with torch.no_grad():
        vae.generator.prompts[1] = second - bias
    assert [words[0][0] for words in nearest_words(instance_prompts(vae, features), vocabulary)[1]] == planted[1]


def test_a_list_of_words(miniclip_backbone):
    found = listed_words(miniclip_backbone, ["dog", "", "grand piano", "dog", "\u2603\u2603"])
    assert found.words[:2] == ["dog", "grand piano"]
    assert torch.allclose(found.vectors[1], embed_words(miniclip_backbone, "grand piano").mean(0))
    assert len(found.words) + found.left_out["with a token without an embedding"] == 3
    with pytest.raises(UserError, match="none of the 0 words"):
        listed_words(miniclip_backbone, ["", " "])


def test_only_a_vae_of_prompts_can_be_read(miniclip_backbone):
    d, x = miniclip_backbone.embed_dim, torch.zeros(1, miniclip_backbone.embed_dim)
    with pytest.raises(UserError, match="FRAMEWORK vae"):
        instance_prompts(WGAN(PromptGenerator(miniclip_backbone, 2, 2, 4), miniclip_backbone, 4), x)
    with pytest.raises(UserError, match="GENERATOR clip"):
        instance_prompts(VAE(FeatureGenerator(miniclip_backbone, 2, 4), d, 4), x)


# ------------------------------------------------------------------------------------------------ the script


def test_images_from_the_bank(ship_run, tmp_path, capsys):
    import interpret

    panel = tmp_path / "deep" / "panel.png"
    interpret.main(
        [str(ship_run), "dog/test_0.jpg", "cat", "--bank", "--limit", "5", "--top", "2", "--out", str(panel)]
    )
    out = capsys.readouterr().out
    assert "the first 5 of 16 images" in out and "vocabulary: " in out and "left out: 2 special tokens" in out
    lines = out.splitlines()
    at = lines.index("dog/test_0.jpg")
    assert [line.split(":")[0] for line in lines[at + 1 : at + 5]] == ["  p1", "  p2", "  p3", "  p4"]
    assert lines[at + 1].count("(") == 2
    with Image.open(panel) as image:
        assert image.width > 500


def test_image_files_and_a_list_of_words(ship_run, tmp_path, capsys):
    import interpret

    (tmp_path / "pictures").mkdir()
    for name in ("pictures/b.png", "pictures/a.jpg"):
        Image.new("RGB", (80, 60), (0, 0, 0)).save(tmp_path / name)
    (tmp_path / "words.txt").write_text("yellow\ngrand piano\nocean\n")
    arguments = [
        str(ship_run),
        str(tmp_path / "pictures"),
        "--words",
        str(tmp_path / "words.txt"),
        "--out",
        str(tmp_path / "panel.png"),
    ]
    interpret.main(arguments)
    out = capsys.readouterr().out
    assert (
        out.index("a.jpg") < out.index("b.png")
        and "grand piano (" in out
        and "vocabulary: 3 words; left out: none" in out
    )
    assert "vary by 0; their nearest words are" in out  # two equal images
    assert (tmp_path / "panel.png").stat().st_size > 1000


def test_variation_by_hand():
    import interpret

    assert interpret.variation(torch.tensor([[[0.0, 3.0]], [[4.0, 0.0]], [[-4.0, 0.0]]])) == pytest.approx(
        ((4 + 17 + 17) / 3) ** 0.5
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--bank", "dogs/test_0.jpg"], "named like .*dog/test_0.jpg"),
        (["nowhere.jpg"], "nowhere.jpg"),
        (["--bank", "dog", "--words", "nowhere.txt"], "a word a line at nowhere.txt"),
        (["--bank", "dog", "--top", "0"], "--top"),
        (["--bank", "dog", "--out", "panel.gif"], ".png, .pdf or .svg"),
        (["--bank", "dog", "--opts", "FEATURES.BANK", ""], "has no bank"),
    ],
)
def test_bad_input(ship_run, arguments, message):
    import interpret

    with pytest.raises(UserError, match=message):
        interpret.main([str(ship_run), *arguments])


def test_a_folder_that_is_no_run(tmp_path):
    import interpret

    with pytest.raises(UserError, match="no config.yaml in"):
        interpret.main([str(tmp_path), "x.jpg"])
