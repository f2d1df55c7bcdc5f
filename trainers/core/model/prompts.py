"""From class names to prompts: token ids, embeddings, where EOT is, and the datasets' hand-written templates."""

import copy
from functools import cache

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

from ..data import to_device
from ..files import UserError, first_five
from .openai_clip import import_clip
from .text_encoder import TextEncoder

SOS, EOT = 49406, 49407  # the tokens <|startoftext|> and <|endoftext|>
# The hand-written prompts that CoOp (arXiv 2109.01134) compares with; keys are the readers' names. All others: PHOTO.
PHOTO = "a photo of a {}."
TEMPLATES = {
    "DescribableTextures": "{} texture.",
    "EuroSAT": "a centered satellite photo of {}.",
    "FGVCAircraft": "a photo of a {}, a type of aircraft.",
    "Food101": "a photo of {}, a type of food.",
    "OxfordFlowers": "a photo of a {}, a type of flower.",
    "OxfordPets": "a photo of a {}, a type of pet.",
    "UCF101": "a photo of a person doing {}.",
}


def templates_for(dataset_name, override=None):
    """The hand-written prompts of a dataset (one as a rule), or `override`, a text or a list of texts, when it is set.

    -> list of texts. Raises UserError unless each has exactly one {}.
    """
    templates = override or TEMPLATES.get(dataset_name, PHOTO)
    templates = [templates] if isinstance(templates, str) else list(templates)
    for template in templates:
        if template.count("{}") != 1:
            raise UserError(f"DATASET.TEMPLATE {template!r} must have exactly one {{}}, for the name, as {PHOTO!r}")
    return templates


def fill(template, classnames):
    """The template with each class name in it; underscores in names become spaces."""
    return [template.replace("{}", name.replace("_", " ")) for name in classnames]


@cache
def bpe():
    """CLIP's tokenizer: the one beside the embedded backbone, else that of the package `clip`."""
    try:
        from miniclip.tokenizer import tokenizer
    except ImportError:
        return import_clip()._tokenizer
    return tokenizer()


def tokenize(texts, context_length=77):
    """CLIP's BPE: SOS, the text, EOT, zeros -> LongTensor [N, context_length]; UserError names the first too long."""
    ids = torch.zeros(len(texts), context_length, dtype=torch.long)
    for row, text in zip(ids, texts, strict=True):
        tokens = [SOS, *bpe().encode(text), EOT]
        if len(tokens) > context_length:
            raise UserError(f"the text {text!r} has {len(tokens)} tokens, SOS and EOT included; {context_length} fit")
        row[: len(tokens)] = torch.tensor(tokens)
    return ids


@torch.no_grad()
def raw_text_features(backbone, texts):
    """Texts -> text features [N, d] fp32, not normalised, without gradients."""
    encoder, ids = TextEncoder(backbone), tokenize(texts, backbone.context_length)
    rows = [encoder(backbone.token_embedding(part.to(backbone.device)), part.argmax(-1)) for part in ids.split(256)]
    return torch.cat(rows).float()


def encode_texts(backbone, texts):
    """Texts -> unit text features [N, d], without gradients."""
    return F.normalize(raw_text_features(backbone, texts), dim=-1).to(backbone.dtype)


def encode_classes(backbone, templates, classnames):
    """Unit text features [C, d] fp32 of class names under hand-written prompts: of one, or the mean over several."""
    of_templates = [encode_texts(backbone, fill(template, classnames)).float() for template in templates]
    return of_templates[0] if len(of_templates) == 1 else F.normalize(torch.stack(of_templates).mean(0), dim=-1)


@torch.no_grad()
def embed_words(backbone, words):
    """Token embeddings [n, w] of a text alone, without SOS and EOT: the start value of a context ("a photo of a")."""
    return backbone.token_embedding(torch.tensor(bpe().encode(words), dtype=torch.long, device=backbone.device))


def initial_context(backbone, words, n_ctx, classes=None):
    """Where a learned context starts: the embeddings of all n tokens of `words` [n, w] (underscores are spaces; CoOp
    counts words and keeps as many tokens), else N(0, 0.02) of shape [n_ctx, w], or [classes, n_ctx, w] for
    class-specific contexts.
    """
    words = words.replace("_", " ").strip()
    if words:
        return embed_words(backbone, words).float()
    shape = (n_ctx, backbone.width) if classes is None else (classes, n_ctx, backbone.width)
    return torch.randn(shape, device="cpu").to(backbone.device) * 0.02


class ClassTokens:
    """Token embeddings of "<name>." + EOT for each class, the part of a prompt that is never learned. `pattern` says
    what stands there if it is more than "{}.", the name and a full stop.

    embedding [C, T, w] on the backbone's device; length [C] (tokens of "<name>." + EOT) and name_length [C] (tokens of
    the name alone, as CoOp counts them) on the CPU; sos [w]. `n_ctx` is the context length they must leave room for.
    """

    def __init__(self, classnames, backbone, n_ctx=0, pattern="{}."):
        self.names = list(classnames)
        clean = [name.replace("_", " ").strip() for name in self.names]
        # The word in front (CoOp's placeholder context, cut off again) lets the BPE see the name inside a sentence.
        rows = [[*bpe().encode("X " + pattern.replace("{}", name))[1:], EOT] for name in clean]
        self.length = torch.tensor([len(row) for row in rows])
        self.name_length = torch.tensor([len(bpe().encode(name)) for name in clean])
        room = backbone.context_length - 1 - n_ctx
        long = [f"{name[:80]!r} ({len(row)})" for name, row in zip(self.names, rows) if len(row) > room]
        if long:
            raise UserError(
                f"{len(long)} names have more than the {room} tokens beside a context of {n_ctx}: {first_five(long)}. "
                "Shorten the names or the context (N_CTX)"
            )
        ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
        with torch.no_grad():
            self.embedding = backbone.token_embedding(ids.to(backbone.device)).to(backbone.dtype)
            self.sos = backbone.token_embedding(torch.tensor(SOS, device=backbone.device)).to(backbone.dtype)

    def __len__(self):
        return len(self.names)

    def select(self, index):
        """The tokens of the names at the positions `index` [K], which may repeat."""
        chosen, at = copy.copy(self), index.cpu()
        chosen.names = [self.names[i] for i in at.tolist()]
        chosen.length, chosen.name_length = self.length[at], self.name_length[at]
        chosen.embedding = self.embedding[to_device(index, self.embedding.device), : max(chosen.length.tolist())]
        return chosen


def assemble(tokens, ctx, position="end"):
    """Prompts of classes with a learned context, in CoOp's layout, ready for TextEncoder: (prompts, eot, prefix).

    ctx [n, w] is shared by all rows; ctx [N, n, w] has one context a row. The name stands behind the context ("end"),
    in its middle (n // 2 tokens precede it) or before it ("front").
    prefix [P, w] is the start that all rows share: SOS, and a shared context as far as it precedes the name.
    prompts [N, L, w] is what follows; eot [N] (CPU) is the position of EOT, counted from SOS.
    """
    n, shared = ctx.shape[-2], ctx.dim() == 2
    body = tokens.embedding
    before = {"end": n, "middle": n // 2, "front": 0}[position]
    head, tail = ctx[..., :before, :].to(body.dtype), ctx[..., before:, :].to(body.dtype)
    if tail.shape[-2]:
        body = _insert(body, tail, to_device(tokens.name_length, body.device))
    sos = tokens.sos[None]
    if shared:
        return body, n + tokens.length, torch.cat([sos, head])
    return torch.cat([head, body], 1), n + tokens.length, sos


def _insert(body, ctx, at):
    """body [N, T, w] with ctx ([m, w] or [N, m, w]) put in front of position at[i] of row i -> [N, T + m, w].

    As a product with a 0/1 matrix (exact), because the backward of an indexed write is slow on the CPU.
    """
    (_, length, width), m = body.shape, ctx.shape[-2]
    place = torch.arange(length + m, device=body.device) - at[:, None]  # [N, T + m]: 0 where the context starts
    own = torch.arange(length + m, device=body.device) - (place >= m) * m
    own = own.masked_fill((place >= 0) & (place < m), 0).clamp(max=length - 1)
    kept = body.gather(1, own[..., None].expand(-1, -1, width))
    inside = F.one_hot(place.clamp(-1, m) + 1, m + 2)[..., 1:-1].to(ctx.dtype)  # [N, T + m, m]
    return kept * (1 - inside.sum(-1, keepdim=True)) + inside @ ctx
