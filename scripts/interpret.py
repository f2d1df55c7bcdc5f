"""Puts the prompts that SHIP makes of images into words (the paper's section 4.3 and Figure 2).

    python scripts/interpret.py output/.../CoOp_SHIP/miniclip/seed1 dog.jpg pictures/ --out panel.png
    python scripts/interpret.py output/.../CoOp_SHIP/miniclip/seed1 --bank sunflower/image_0001.jpg

The run's encoder gives an image's latent mean mu, and p(mu) is its prompt: L vectors in the space of token embeddings.
Each is shown by its nearest words, by Euclidean distance. With one bias for all positions (SEQUENTIAL False), positions
often share words. The last line says how much the prompts differ between the images: where that is little beside the
distance to the words, the words are the generator's, not the image's (its KL term near zero says the same: the latent
then carries nothing of an image; TRAINER.SHIP.KL_WEIGHT changes that).

The words are those of CLIP's vocabulary that are whole words of two letters or more; a printed line counts what that
leaves out: special tokens, parts of words, signs, digits, single letters, and words without an embedding (MiniCLIP has
zeros for words that it never saw). The words of the paper's figure, such as "odd-pinnate", are no tokens of CLIP's:
--words FILE takes another list, a word a line, where a word of several tokens stands at the mean of their embeddings.
"""

import argparse
import math
from pathlib import Path

import _path  # noqa: F401
import torch
from dassl.data.datasets import Datum
from dassl.utils import read_image
from lib.console import OPTS, at_least, framework_of, image_files
from lib.faults import say_errors
from matplotlib import pyplot as plt
from PIL import Image, ImageOps

from trainers import open_run
from trainers.core.bank import BankStore
from trainers.core.files import UserError, nearest, read_names
from trainers.core.memory_data import features_of
from trainers.core.model.vocabulary import listed_words, token_words

COLUMNS = 4  # of the panel
NO_IMAGE = Image.new("RGB", (1, 1), "#EEEEEE")  # in the panel's place of an image of which there is only the feature


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("run", help="output folder of a finished run of a trainer with SHIP")
    add("images", nargs="+", help="image files or folders; with --bank, relative paths or folders in the bank")
    bank = "take features from the bank that the run was trained on; needs no images"
    add("--bank", action="store_true", help=bank)
    add("--top", type=at_least(1), default=3, help="words per position")
    add("--words", default="", help="text file of words to choose from, a word a line")
    add("--limit", type=at_least(1), default=12, help="images at most")
    add("--out", default="", help="panel of the images with their words: .png, .pdf or .svg")
    add("--opts", nargs="+", default=[], help=OPTS)
    return parser.parse_args(argv)


@torch.no_grad()
def instance_prompts(framework, features):
    """p(z) [B, L, w] of unit image features [B, d], z being the encoder's mean mu. Raises UserError where there is no
    encoder or no prompt."""
    if not (hasattr(framework, "encoder") and hasattr(framework.generator, "synthesize_prompts")):
        raise UserError("only a run with TRAINER.SHIP.FRAMEWORK vae and GENERATOR clip makes prompts of images")
    return framework.generator.synthesize_prompts(framework.encoder(features)[0])


def nearest_words(prompts, vocabulary, top=3):
    """prompts [B, L, w] -> for each of the B images and L positions, the `top` nearest words and their Euclidean
    distances [(word, distance), ...]."""
    exact = "donot_use_mm_for_euclid_dist"
    distances = torch.cdist(prompts.flatten(0, 1).float(), vocabulary.vectors, compute_mode=exact)
    nearest = distances.topk(min(top, len(vocabulary.words)), largest=False)
    words = [[vocabulary.words[i] for i in row] for row in nearest.indices.tolist()]
    rows = [list(zip(*row, strict=True)) for row in zip(words, nearest.values.tolist(), strict=True)]
    length = prompts.shape[1]
    return [rows[start : start + length] for start in range(0, len(rows), length)]


def variation(prompts):
    """Root mean square distance of the prompts [B, L, w] of B images from their mean, over images and positions."""
    return (prompts - prompts.mean(0)).square().sum(-1).mean().sqrt().item()


def open_images(args, trainer):
    """-> (names, features [B, d]). Raises UserError for an image that is not there or cannot be read."""
    if args.bank and not trainer.cfg.FEATURES.BANK:
        raise UserError("the run was trained on images: leave out --bank, or add --opts FEATURES.BANK FILE")
    store = BankStore(trainer.cfg.FEATURES.BANK, trainer.backbone) if args.bank else None
    names = rows_of(store, args.images) if store else image_files(args.images)
    if len(names) > args.limit:
        print(f"the first {args.limit} of {len(names)} images; --limit takes more")
    names = names[: args.limit]
    if store:
        features = torch.cat([store.plain_views([Datum(impath=name)]).first() for name in names])
        return names, features.to(trainer.device, torch.float32)
    features, faults = features_of(trainer, names, names)
    if faults:
        raise UserError("; ".join(faults.values()))
    return names, features


def rows_of(store, places):
    """Relative paths in the bank: those named, and those below folders that are named."""
    known = list(dict.fromkeys(path for table in store.tables.values() for path in table.paths))
    rows = []
    for place in places:
        below = [path for path in known if path == place or path.startswith(f"{place.rstrip('/')}/")]
        if not below:
            close = ", ".join(nearest(place, known)[:3])
            raise UserError(f"the bank {store.path} holds no {place}; its {len(known)} images are named like {close}")
        rows += below
    return rows


def draw_panel(path, names, images, found):
    """A picture of each image above a line of words for each position of its prompt."""
    columns, positions = min(COLUMNS, len(names)), len(found[0])
    lines = math.ceil(len(names) / columns)
    size = (3 * columns, (3.3 + 0.2 * positions) * lines)
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, name, image, prompt in zip(axes.flat, names, images, found, strict=False):
        axis.imshow(ImageOps.fit(image, (320, 320)))  # the part that the encoder sees
        words = "\n".join(", ".join(word for word, _ in position) for position in prompt)
        axis.set(title="/".join(Path(name).parts[-2:]), xlabel=words, xticks=[], yticks=[])
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main(argv=None):
    args = parse_args(argv)
    trainer = open_run(args.run, options=args.opts)
    backbone = trainer.backbone
    framework, _ = framework_of(args.run, trainer.cfg, backbone, trainer.device)
    vocabulary = listed_words(backbone, read_names(args.words, "--words")) if args.words else token_words(backbone)
    names, features = open_images(args, trainer)
    prompts = instance_prompts(framework, features)
    found = nearest_words(prompts, vocabulary, args.top)
    print(f"vocabulary: {vocabulary.describe()}")
    for name, prompt in zip(names, found, strict=True):
        print(name)
        for position, words in enumerate(prompt, 1):
            print(f"  p{position}: " + ", ".join(f"{word} ({distance:.3f})" for word, distance in words))
    nearest_distances = [words[0][1] for prompt in found for words in prompt]
    away = sum(nearest_distances) / len(nearest_distances)
    print(f"from image to image the prompts vary by {variation(prompts):.2g}; their nearest words are {away:.2g} away")
    if args.out:
        images = [NO_IMAGE if args.bank else read_image(name) for name in names]
        draw_panel(args.out, names, images, found)
        print(f"panel: {args.out}")


if __name__ == "__main__":
    say_errors(main)
