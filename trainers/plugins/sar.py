"""SAR as a plug-in: Similarity Alignment Regularization, of "Learning Generalizable Prompt for CLIP with Class
Similarity Knowledge" (Jung and Lee, https://arxiv.org/abs/2502.11969).

A reconstruction: the abstract could be read and a digest of the paper, no equation, no table and no code. From the
abstract: learned prompts spoil the relations among unseen classes; so the similarities among text features under the
learned prompt are aligned with those under the hand-written one, over base classes and related names that a language
model gave. From the digest: embeddings are drawn at random against overfitting; other sources of words work too. Our
choices are all formulas, and W, TAU and SAMPLE. V are the trained and the further names, I is drawn from V anew each
step, t are text features under the learned prompt, t0 those under the hand-written one, unit norm:

    (S1)  n = |I| = min(SAMPLE, |V|)
    (S2)  S_ij = t_i . t_j,  S0_ij = t0_i . t0_j,  i != j
    (S3)  p_i = softmax_j(S_ij / TAU),  p0_i = softmax_j(S0_ij / TAU)
    (S4)  L_SAR = 1/n sum_i KL(p0_i || p_i)              DISTANCE kl
          L_SAR = mean of (S_ij - S0_ij)^2               DISTANCE mse
          L_SAR = 1 - the Pearson correlation of all S_ij and S0_ij, i < j (TPR, NeurIPS 2024)   DISTANCE pearson
          L_SAR = cross-entropy of softmax_j(s t_i . t0_j), s the logit scale: not relations but LASP's text-to-text
                  loss (https://arxiv.org/abs/2210.01115), to compare with               DISTANCE lasp
    (S5)  L = L_method + W L_SAR

kl, mse and pearson ignore a common rotation of all t; kl also ignores a constant added to a row of similarities, and
pearson one added to all of them.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.config import Range
from ..core.files import UserError, plain, read_names
from ..core.heads import RowHead
from ..core.model.prompts import encode_classes
from ..core.model.vocabulary import has_embedding, listed_words, token_words
from ..core.plugin import Plugin

DISTANCES = ("kl", "mse", "pearson", "lasp")
KEY = "TRAINER.SAR.NAMES"
WORDS = ("vocabulary", "random")  # sources of thousands of words
SOURCES = ("list", "task", "imagenet", *WORDS)
DATASETS = Path(__file__).resolve().parents[2] / "datasets"  # this project's, where lists are; a copy may lack it


def relations(features: Tensor) -> Tensor:
    """(S2): unit features [n, d] -> similarities of each to the others [n, n - 1]."""
    others = ~torch.eye(len(features), dtype=torch.bool, device=features.device)
    return (features @ features.t())[others].view(len(features), -1)


def distance(kind: str, learned: Tensor, fixed: Tensor, tau: float, scale: float | Tensor) -> Tensor:
    """(S3, S4): L_SAR of unit text features t, t0 [n, d]. In float64 by the caller: near zero, a divergence in float32
    is rounding."""
    if kind == "lasp":
        return F.cross_entropy(scale * learned @ fixed.t(), torch.arange(len(fixed), device=fixed.device))
    s, s0 = relations(learned), relations(fixed)
    if kind == "mse":
        return (s - s0).square().mean()
    if kind == "pearson":  # each pair is there twice, which leaves the correlation as it is
        return 1 - F.cosine_similarity((s - s.mean()).flatten(), (s0 - s0.mean()).flatten(), dim=0)
    return F.kl_div((s / tau).log_softmax(1), (s0 / tau).log_softmax(1), reduction="batchmean", log_target=True)


class SAR(Plugin):
    NAME, SECTION = "SAR", "SAR"
    OPTIONS = {
        "W": 5.0,  # weight of L_SAR; 0 leaves the method as it is, bit for bit
        "TAU": 0.1,  # temperature of the softmax over similarities (kl)
        "DISTANCE": "kl",
        "NAMES": "",  # further names: none, or those of a text file, list, task, imagenet, vocabulary, random
        "COUNT": 0,  # how many of them at most, the first ones of a list; 0: all
        "SAMPLE": 64,  # names drawn in each step, trained and further ones alike; 0: all
        "EXCLUDE_LABEL_ONLY": False,  # leaves out further names that are label-only classes of the task
    }
    LIMITS = {"W": Range(0), "TAU": Range(0, above=True), "DISTANCE": DISTANCES, "COUNT": Range(0), "SAMPLE": Range(0)}

    hand_written = None  # t0 of the names V [N, d] float64; None: there is nothing to align
    names: list[str] = []  # V, the trained ones first
    tokens = None  # ClassTokens of V
    report: dict = {}

    def __init__(self, trainer):
        super().__init__(trainer)
        source = self.options.NAMES
        is_word = source and not any(sign in source for sign in "./")
        if is_word and (source not in SOURCES or (source in WORDS and not self.options.COUNT)):
            sources = f"{', '.join(SOURCES)}, the last two with TRAINER.SAR.COUNT"
            raise UserError(f"{KEY} is '{source}'; it must be one of {sources}, or a text file such as ./{source}")

    @classmethod
    def refuses(cls, trainer_class):
        reason = super().refuses(trainer_class)
        return reason or ("" if trainer_class.LEARNS_PROMPTS else "it learns no prompts, its text features are fixed")

    def prepare(self):
        if not self.options.W or not self.trainer.trains:
            return
        self.names = self.trainer.head_classnames() + self.further_names()
        if min(len(self.names), self.options.SAMPLE or len(self.names)) < 3:
            raise UserError("SAR aligns relations of three names or more: set TRAINER.SAR.SAMPLE or NAMES accordingly")
        self.hand_written = encode_classes(self.trainer.backbone, self.trainer.templates, self.names).double()

    def attach(self, head):
        if self.hand_written is None:
            return
        if isinstance(head, RowHead):
            raise UserError(f"{type(self.trainer).__name__}: SAR needs text features of any name; {head.UNKNOWN}")
        self.tokens = head.tokens_of(self.names)

    def penalty(self, features, labels, logits):
        """(S5): W L_SAR of the names drawn in this step."""
        if self.hand_written is None:
            return {}
        options, chosen = self.options, self.sample()
        learned, fixed = self.learned(chosen).double(), self.hand_written[chosen.to(self.hand_written.device)]
        scale = self.trainer.head.logit_scale.double()
        return {"sar": (options.W * distance(options.DISTANCE, learned, fixed, options.TAU, scale)).float()}

    def sample(self) -> Tensor:
        """(S1): positions in V [n], in order."""
        count, size = len(self.names), self.options.SAMPLE
        if not 0 < size < count:
            return torch.arange(count)
        draws = self.draws("names", self.trainer.batch_idx, epoch=self.trainer.epoch)
        return torch.randperm(count, generator=draws)[:size].sort().values

    def learned(self, chosen: Tensor) -> Tensor:
        """Unit text features of the names `chosen` [n, d]. Those of trained names are the method's own, where it has
        them; only the further names that were drawn are encoded on top."""
        head = self.trainer.head
        if not head.USES_TEXT_FEATURES:  # it encodes names under the mean of this batch's prompts
            return head.encode_names(self.tokens.select(chosen))
        own = head.text_features()
        trained, further = chosen[chosen < len(own)], chosen[chosen >= len(own)]
        features = [own[trained.to(own.device)]]
        if len(further):
            features.append(head.encode_names(self.tokens.select(further)))
        return torch.cat(features)

    # ---- names

    def further_names(self) -> list[str]:
        """The names beside the trained ones; what was left out is counted in `report`."""
        options, trained = self.options, self.trainer.head_classnames()
        label_only = {plain(name) for name in self.trainer.task.label_only_classnames()}
        known, further, overlap, unknown = {plain(name) for name in trained}, [], [], 0
        for name in self.source_names(options.COUNT + len(known) + len(label_only)):
            if options.COUNT and len(further) == options.COUNT:
                break
            if plain(name) in label_only:
                overlap.append(name)
            if plain(name) not in known and not (options.EXCLUDE_LABEL_ONLY and plain(name) in label_only):
                if has_embedding(self.trainer.backbone, name.replace("_", " ")):
                    further.append(name)
                else:
                    unknown += 1
            known.add(plain(name))
        self.report = {
            "reconstruction": True,
            "source": options.NAMES or "none",
            "names": further,
            "overlap": overlap,  # names of the source that are label-only classes
            "without_embedding": unknown,
        }
        counts = f"{len(overlap)} of the source are label-only classes, {unknown} have no embedding"
        print(f"SAR: {len(trained)} trained and {len(further)} further names ({options.NAMES or 'none'}); {counts}")
        return further

    def source_names(self, enough: int) -> list[str]:
        """The names that TRAINER.SAR.NAMES stands for, in order; of nearest words, `enough` for each base name."""
        source, task, backbone = self.options.NAMES, self.trainer.task, self.trainer.backbone
        if not source:
            return []
        if source == "task":
            return task.label_only_classnames()
        if source == "imagenet":
            lines = read_names(DATASETS / "imagenet_classnames.txt", KEY)
            return [line.partition(" ")[2] for line in lines]  # "n01440764 tench"
        if source not in WORDS:
            return read_names(self.list_file() if source == "list" else Path(source).expanduser(), KEY)
        words = token_words(backbone)
        if source == "random":
            order = torch.randperm(len(words.words), generator=self.draws("words"))
        else:
            order = nearest_first(words, backbone, task.real_classnames() or self.trainer.head_classnames(), enough)
        return [words.words[i] for i in order.tolist()]

    def list_file(self) -> Path:
        """The list of this data set, by its configuration's name, else by its reader's (EuroSAT, OxfordPets)."""
        name = self.cfg.RUN.DATASET or self.cfg.DATASET.NAME
        for path in (DATASETS / "novel_names").glob("*.txt"):
            if path.stem.replace("_", "") == name.lower().replace("_", ""):
                return path
        raise UserError(f"{KEY} list: there is none for {name}; type {KEY} FILE, a text file with a name a line")

    def results(self):
        return {"sar": self.report} if self.report else {}


def nearest_first(words, backbone, names: list[str], enough: int) -> Tensor:
    """Positions of vocabulary words: the nearest of each name, then the second nearest of each, ... `enough` for each
    name. Near is the cosine of token embeddings, a name's being the mean over its tokens."""
    of_names = listed_words(backbone, [name.replace("_", " ") for name in names]).vectors
    cosine = F.normalize(of_names, dim=-1) @ F.normalize(words.vectors, dim=-1).t()  # [C, V]
    ranked = cosine.topk(min(enough, cosine.shape[1]), dim=1).indices
    return torch.tensor(list(dict.fromkeys(ranked.t().flatten().tolist())))
