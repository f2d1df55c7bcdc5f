"""Prompts in words (paper section 4.3, "Interpretation of prompts", and Figure 2): the vocabulary's words nearest to a
vector of a prompt."""

from typing import NamedTuple

import torch

from ..core.errors import UserError
from ..core.model.openai_clip import import_clip
from ..core.model.prompts import embed_words

END_OF_WORD = "</w>"


class Vocabulary(NamedTuple):
    """words [V], their vectors [V, w], and `left_out`: what was not taken -> how many."""

    words: list
    vectors: torch.Tensor
    left_out: dict

    def describe(self):
        """One line: how many words, and what was left out."""
        return f"{len(self.words):,} words; left out: " + (
            ", ".join(f"{count:,} {what}" for what, count in self.left_out.items() if count) or "none"
        )


def token_words(backbone):
    """The Vocabulary of CLIP's own tokens that are natural words.

    Taken are the tokens that end a word and hold two letters or more and nothing else. An ending such as "ing" is such
    a token too, where the tokenizer has it. Left out are the tokens that go on inside a word, digits, signs and single
    letters, the two special ones, and the tokens without an embedding: MiniCLIP has zeros for the words that it never
    saw.
    """
    tokenizer, table = import_clip().clip._tokenizer, backbone.token_embedding.weight.float()
    untrained = ~table.any(1)
    kinds = ("special tokens", "parts of words", "signs, digits and single letters", "without an embedding")
    chosen, left_out = {}, dict.fromkeys(kinds, 0)
    for token, index in tokenizer.encoder.items():
        word = _text(tokenizer, token)
        if token in ("<|startoftext|>", "<|endoftext|>"):
            left_out["special tokens"] += 1
        elif not token.endswith(END_OF_WORD):
            left_out["parts of words"] += 1
        elif len(word) < 2 or not word.isalpha():
            left_out["signs, digits and single letters"] += 1
        elif untrained[index]:
            left_out["without an embedding"] += 1
        else:
            chosen[word] = index
    return Vocabulary(list(chosen), table[list(chosen.values())], left_out)


def _text(tokenizer, token):
    """What a token stands for, without the mark of a word's end; "" where its bytes are not a whole text."""
    try:
        return bytes(tokenizer.byte_decoder[sign] for sign in token.removesuffix(END_OF_WORD)).decode()
    except (UnicodeDecodeError, KeyError):
        return ""


def listed_words(backbone, words):
    """The Vocabulary of a list of words or phrases; one of several tokens stands at the mean of their embeddings (our
    choice).

    The words of the paper's Figure 2 ("odd-pinnate", "three-lobed") are of this kind: CLIP has no token for them, and
    the paper does not name its list.
    """
    words = list(dict.fromkeys(word.strip() for word in words if word.strip()))
    embedded = [embed_words(backbone, word).float() for word in words]
    known = [len(rows) > 0 and bool(rows.any(1).all()) for rows in embedded]
    vectors = [rows.mean(0) for rows, keep in zip(embedded, known, strict=True) if keep]
    if not vectors:
        raise UserError(f"none of the {len(words)} words has an embedding in {backbone.name}")
    chosen = [word for word, keep in zip(words, known, strict=True) if keep]
    return Vocabulary(chosen, torch.stack(vectors), {"with a token without an embedding": len(words) - len(chosen)})


@torch.no_grad()
def instance_prompts(framework, features):
    """p(z) [B, L, w] of unit image features [B, d], z being the encoder's mean mu. Raises UserError where there is no
    encoder or no prompt."""
    for part, owner, need in (
        ("encoder", framework, "FRAMEWORK vae"),
        ("synthesize_prompts", framework.generator, "GENERATOR clip"),
    ):
        if not hasattr(owner, part):
            raise UserError(
                f"there are no prompts of an image to read in a {type(owner).__name__}: it takes a run with "
                f"TRAINER.SHIP.{need}"
            )
    return framework.generator.synthesize_prompts(framework.encoder(features)[0])


def nearest_words(prompts, vocabulary, top=3):
    """prompts [B, L, w] -> for each of the B images and L positions, the `top` nearest words and their Euclidean
    distances [(word, distance), ...]."""
    top = min(top, len(vocabulary.words))
    exact = "donot_use_mm_for_euclid_dist"
    distances, index = torch.cdist(prompts.flatten(0, 1).float(), vocabulary.vectors, compute_mode=exact).topk(
        top, largest=False
    )
    found = [
        [(vocabulary.words[i], d) for i, d in zip(*row, strict=True)]
        for row in zip(index.tolist(), distances.tolist(), strict=True)
    ]
    length = prompts.shape[1]
    return [found[start : start + length] for start in range(0, len(found), length)]
