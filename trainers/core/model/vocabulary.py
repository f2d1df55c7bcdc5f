"""Words and their token embeddings: CLIP's own vocabulary, or a list of one's own."""

from typing import NamedTuple

import torch

from ..files import UserError
from .prompts import bpe, embed_words

END_OF_WORD = "</w>"


class Vocabulary(NamedTuple):
    """words [V] and their vectors [V, w]."""

    words: list
    vectors: torch.Tensor


def token_words(backbone):
    """The Vocabulary of CLIP's own tokens that are natural words.

    Taken are the tokens that end a word and hold two letters or more and nothing else. An ending such as "ing" is such
    a token too, where the tokenizer has it. Left out are the tokens that go on inside a word, digits, signs and single
    letters, the two special ones, and the tokens without an embedding: MiniCLIP has zeros for the words that it never
    saw.
    """
    tokenizer, table = bpe(), backbone.token_embedding.weight.float()
    has_vector, chosen = table.any(1).tolist(), {}
    for token, index in tokenizer.encoder.items():
        if token.endswith(END_OF_WORD) and has_vector[index]:
            signs = token.removesuffix(END_OF_WORD)
            word = bytes(tokenizer.byte_decoder[sign] for sign in signs).decode(errors="replace")
            if len(word) > 1 and word.isalpha():
                chosen[word] = index
    return Vocabulary(list(chosen), table[list(chosen.values())])


def has_embedding(backbone, words):
    """Whether every token of a text has an embedding: MiniCLIP has zeros for the words that it never saw."""
    rows = embed_words(backbone, words)
    return len(rows) > 0 and bool(rows.any(1).all())


def listed_words(backbone, words):
    """The Vocabulary of those of `words`, words or phrases, that have an embedding; one of several tokens stands at the
    mean of their embeddings (our choice). Raises UserError where none has one.

    Words such as "odd-pinnate" and "three-lobed", which papers show, are of this kind: CLIP has no token for them.
    """
    chosen = [word for word in dict.fromkeys(words) if has_embedding(backbone, word)]
    if not chosen:
        raise UserError(f"none of the {len(words)} words has an embedding in {backbone.name}")
    return Vocabulary(chosen, torch.stack([embed_words(backbone, word).float().mean(0) for word in chosen]))
