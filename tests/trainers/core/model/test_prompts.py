"""Class names to prompts: tokens, templates, and what is refused."""

import clip
import pytest
import torch
from tiny_clip import tiny_clip

from trainers.core.files import UserError
from trainers.core.model.prompts import (
    ClassTokens,
    assemble,
    embed_words,
    encode_classes,
    encode_texts,
    fill,
    initial_context,
    templates_for,
    tokenize,
)


@pytest.fixture(scope="module")
def backbone():
    return tiny_clip()


def test_tokenize_is_clips():
    texts = ["a photo of a dog.", "", "Ünïcödé & <b>html</b>", "x " * 70]
    assert torch.equal(tokenize(texts), clip.tokenize(texts).long())
    with pytest.raises(UserError, match=r"'y y .*' has 78 tokens.* 77 fit"):
        tokenize(["short", "y " * 76])


def test_refuses_names_that_are_too_long(backbone):
    long = "dog " * 60
    with pytest.raises(UserError, match=r"1 names have more than the 60 tokens .*context of 16.*dog dog.*\(62\)"):
        ClassTokens(["cat", long], backbone, n_ctx=16)
    assert assemble(ClassTokens(["cat"], backbone), torch.zeros(73, backbone.width))[1].tolist() == [76]


def test_templates():
    assert templates_for("EuroSAT") == ["a centered satellite photo of {}."]
    assert templates_for("EuroSAT", ("a map of {}.", "{}")) == ["a map of {}.", "{}"]
    assert templates_for("MyFolder") == ["a photo of a {}."]
    assert fill(templates_for("DescribableTextures")[0], ["a_{0}b"]) == ["a {0}b texture."]
    for bad in ("a photo", "{} and {}", "a {name}"):
        with pytest.raises(UserError, match="exactly one {}"):
            templates_for("EuroSAT", bad)


def test_several_templates_are_averaged_on_the_unit_sphere(miniclip_backbone):
    names, templates = ["dog", "grand_piano"], ["a photo of a {}.", "itap of a {}."]
    first, second = (encode_texts(miniclip_backbone, fill(template, names)) for template in templates)
    found = encode_classes(miniclip_backbone, templates, names)
    assert torch.allclose(found, torch.nn.functional.normalize((first + second) / 2, dim=-1), atol=1e-6)
    assert torch.equal(encode_classes(miniclip_backbone, templates[:1], names), first)


def test_a_context_keeps_all_tokens_of_its_words(backbone):
    """CoOp counts words, and would cut this one off behind its first token."""
    word = "photomicrography"
    assert len(initial_context(backbone, word, 16)) == len(embed_words(backbone, word)) > 1
