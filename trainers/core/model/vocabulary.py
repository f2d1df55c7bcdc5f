"""Words and their token embeddings: CLIP's own vocabulary, or a list of one's own."""

from typing import NamedTuple

import torch

from ..files import UserError
from .prompts import bpe, embed_words

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
    tokenizer, table = bpe(), backbone.token_embedding.weight.float()
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


def has_embedding(backbone, words):
    """Whether every token of a text has an embedding: MiniCLIP has zeros for the words that it never saw."""
    rows = embed_words(backbone, words)
    return len(rows) > 0 and bool(rows.any(1).all())


def listed_words(backbone, words):
    """The Vocabulary of a list of words or phrases; one of several tokens stands at the mean of their embeddings (our
    choice).

    Words such as "odd-pinnate" and "three-lobed", which papers show, are of this kind: CLIP has no token for them.
    """
    words = list(dict.fromkeys(word.strip() for word in words if word.strip()))
    chosen = [word for word in words if has_embedding(backbone, word)]
    if not chosen:
        raise UserError(f"none of the {len(words)} words has an embedding in {backbone.name}")
    vectors = torch.stack([embed_words(backbone, word).float().mean(0) for word in chosen])
    return Vocabulary(chosen, vectors, {"with a token without an embedding": len(words) - len(chosen)})
