"""CLIP's byte-pair encoding, after simple_tokenizer.py of OpenAI's CLIP (MIT, licenses/clip-anytorch.MIT), with the
vocabulary file of that package."""

import gzip
import html
import os
from functools import lru_cache

import ftfy
import regex

VOCABULARY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bpe_simple_vocab_16e6.txt.gz")
MERGES = 49152 - 256 - 2
SPECIAL = ["<|startoftext|>", "<|endoftext|>"]
END = "</w>"  # marks the token that ends a word
WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def byte_signs():
    """{byte: a printable character}: printable ones stand for themselves, the others for characters from 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    signs = {byte: chr(byte) for byte in printable}
    return signs | {byte: chr(256 + i) for i, byte in enumerate(others)}


class Tokenizer:
    """encoder: {token: id}; byte_decoder: {character of a token: byte}."""

    def __init__(self):
        self.byte_encoder = byte_signs()
        self.byte_decoder = {sign: byte for byte, sign in self.byte_encoder.items()}
        with gzip.open(VOCABULARY, "rt", encoding="utf-8") as file:
            merges = [tuple(line.split()) for line in file.read().split("\n")[1 : MERGES + 1]]
        signs = list(self.byte_encoder.values())
        tokens = [*signs, *(sign + END for sign in signs), *map("".join, merges), *SPECIAL]
        self.encoder = {token: i for i, token in enumerate(tokens)}
        self.ranks = {pair: i for i, pair in enumerate(merges)}
        self.pattern = regex.compile(WORDS, regex.IGNORECASE)
        self.tokens_of = lru_cache(maxsize=100_000)(self._tokens_of)

    def _tokens_of(self, word):
        """The tokens of a word, written in the signs of its bytes."""
        if word in SPECIAL:
            return (word,)
        parts = [*word[:-1], word[-1] + END]
        while len(parts) > 1:
            first, second = min(zip(parts, parts[1:]), key=lambda pair: self.ranks.get(pair, MERGES))
            if (first, second) not in self.ranks:
                break
            merged, i = [], 0
            while i < len(parts):
                pair = parts[i] == first and parts[i + 1 : i + 2] == [second]
                merged.append(first + second if pair else parts[i])
                i += 2 if pair else 1
            parts = merged
        return tuple(parts)

    def encode(self, text):
        """Token ids of a text, without those of start and end."""
        text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
        text = regex.sub(r"\s+", " ", text).strip().lower()
        words = ("".join(self.byte_encoder[b] for b in word.encode("utf-8")) for word in self.pattern.findall(text))
        return [self.encoder[token] for word in words for token in self.tokens_of(word)]


@lru_cache(maxsize=1)
def tokenizer():
    return Tokenizer()
