"""Puts the prompts that SHIP makes of images into words (the paper's section 4.3 and Figure 2).

    python scripts/interpret.py output/.../CoOp_SHIP/miniclip/seed1 dog.jpg pictures/ --out panel.png
    python scripts/interpret.py output/.../CoOp_SHIP/miniclip/seed1 --bank sunflower/image_0001.jpg

The run's encoder gives an image's latent mean mu, and p(mu) is its prompt: L vectors in the space of token embeddings.
Each is shown by its nearest words, by Euclidean distance. With one bias for all positions (SEQUENTIAL False), positions
often share words. Where all images have the same words, they are the generator's, not the image's (its KL term near
zero says the same: the latent then carries nothing of an image; TRAINER.SHIP.KL_WEIGHT changes that).

The words are those of CLIP's vocabulary that are whole words of two letters or more and have an embedding (MiniCLIP
has zeros for words that it never saw). The words of the paper's figure, such as "odd-pinnate", are no tokens of CLIP's:
--words FILE takes another list, a word a line, where a word of several tokens stands at the mean of their embeddings.
"""

import argparse
from pathlib import Path

import _path  # noqa: F401
import numpy as np
import torch
from dassl.data.datasets import Datum
from dassl.utils import read_image
from lib.console import at_least, ship_of
from lib.faults import say_errors
from matplotlib import pyplot as plt
from PIL import ImageOps

from trainers import open_run
from trainers.core.bank import BankStore
from trainers.core.files import UserError, read_names
from trainers.core.memory import store_of
from trainers.core.memory_data import features_of
from trainers.core.model.vocabulary import listed_words, token_words


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("run", help="output folder of a finished run of a trainer with SHIP")
    add("images", nargs="+", help="image files or folders; with --bank, relative paths in the bank")
    add("--bank", action="store_true", help="take features from the bank that the run was trained on, not from images")
    add("--top", type=at_least(1), default=3, help="words per position")
    add("--words", default="", help="text file of words to choose from, a word a line")
    add("--out", type=Path, help="panel of image files with their words: .png, .pdf or .svg")
    return parser.parse_args(argv)


@torch.no_grad()
def instance_prompts(framework, features):
    """p(z) [B, L, w] of unit image features [B, d], z being the encoder's mean mu. Raises UserError where there is no
    encoder or no prompt."""
    if not (hasattr(framework, "encoder") and hasattr(framework.generator, "synthesize_prompts")):
        raise UserError("only a run with TRAINER.SHIP.FRAMEWORK vae and GENERATOR clip makes prompts of images")
    return framework.generator.synthesize_prompts(framework.encoder(features)[0])


def nearest_words(prompts, vocabulary, top=3):
    """prompts [B, L, w] -> for each of the B images and L positions the `top` nearest words [B, L, top], and their
    Euclidean distances."""
    distances = torch.cdist(prompts.float(), vocabulary.vectors, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.topk(min(top, len(vocabulary.words)), largest=False)
    return np.array(vocabulary.words)[nearest.indices.cpu()], nearest.values.cpu().numpy()


def open_images(args, trainer):
    """-> (names, features [B, d]). Raises UserError for an image that is not there or cannot be read."""
    if args.bank:
        store = BankStore(trainer.cfg.FEATURES.BANK, trainer.backbone)
        rows = [store.plain_views([Datum(impath=name)]).first() for name in args.images]  # they may be of several parts
        return args.images, torch.cat(rows).to(trainer.device, torch.float32)
    names, store = store_of(trainer, args.images)
    features = features_of(trainer, names, store)
    if store.faults:
        raise UserError("; ".join(store.faults.values()))
    return names, features


def draw_panel(path, names, words):
    """A picture of each image above a line of words for each position of its prompt; words [B, L, top]."""
    size = (3 * len(names), 3.3 + 0.2 * words.shape[1])
    figure, axes = plt.subplots(1, len(names), figsize=size, squeeze=False, layout="constrained")
    for axis, name, prompt in zip(axes.flat, names, words, strict=True):
        axis.imshow(ImageOps.fit(read_image(name), (320, 320)))  # the part that the encoder sees
        shown = "\n".join(", ".join(position) for position in prompt)
        axis.set(title="/".join(Path(name).parts[-2:]), xlabel=shown, xticks=[], yticks=[])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    print(f"panel: {path}")


def main(argv=None):
    args = parse_args(argv)
    trainer = open_run(args.run)
    backbone = trainer.backbone
    vocabulary = listed_words(backbone, read_names(args.words, "--words")) if args.words else token_words(backbone)
    names, features = open_images(args, trainer)
    prompts = instance_prompts(ship_of(trainer).open_framework(), features)
    words, distances = nearest_words(prompts, vocabulary, args.top)
    print(f"vocabulary: {len(vocabulary.words):,} words")
    for name, prompt, away in zip(names, words, distances, strict=True):
        print(name)
        for position, nearest in enumerate(map(zip, prompt, away), 1):
            print(f"  p{position}: " + ", ".join(f"{word} ({distance:.3f})" for word, distance in nearest))
    if args.out:
        draw_panel(args.out, names, words)


if __name__ == "__main__":
    say_errors(main)
