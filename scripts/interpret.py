"""Puts the prompts that SHIP makes of images into words (the paper's Figure 2).

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
import difflib
import math
import os
import textwrap
from pathlib import Path

import _path  # noqa: F401
import torch
from dassl.data.datasets import Datum
from dassl.data.transforms import build_transform
from dassl.utils import UserError, read_image
from lib.console import OPTS, framework_of, image_files, read_lines
from lib.faults import say_errors
from PIL import ImageOps
from trainers.core.features.bank import BankStore

from trainers import run_config
from trainers.core.model.backbone import apply_preprocessing, load_backbone
from trainers.core.model.vocabulary import listed_words, token_words
from trainers.ship.interpretation import instance_prompts, nearest_words

COLUMNS = 4  # of the panel


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("run", help="output folder of a finished run of a trainer with SHIP")
    add("images", nargs="+", help="image files or folders; with --bank, relative paths or folders in the bank")
    bank = "take features from the bank that the run was trained on; needs no images"
    add("--bank", action="store_true", help=bank)
    add("--top", type=int, default=3, help="words a position")
    add("--words", default="", help="text file of words to choose from, a word a line")
    add("--limit", type=int, default=12, help="images at most")
    add("--out", default="", help="panel of the images with their words: .png, .pdf or .svg")
    add("--opts", nargs="+", default=[], help=OPTS)
    return parser.parse_args(argv)


def rows_of(store, places):
    """Relative paths in the bank: those named, and those below folders that are named."""
    known = list(dict.fromkeys(path for table in store.tables.values() for path in table.row))
    found = []
    for place in places:
        below = [path for path in known if path == place or path.startswith(f"{place.rstrip('/')}/")]
        if not below:
            close = ", ".join(difflib.get_close_matches(place, known, 3, 0) or known[:3])
            raise UserError(f"the bank {store.path} holds no {place}; its {len(known)} images are named like {close}")
        found += below
    return found


@torch.no_grad()
def open_images(args, cfg, backbone):
    """-> (names, features [B, d], PIL images or None where there is only a feature)."""
    if not args.bank:
        files, transform = image_files(args.images), build_transform(cfg, is_train=False)
        files = limited(files, args.limit)
        images = [read_image(file) for file in files]
        return files, torch.cat([backbone.encode_image(transform(image)[None]) for image in images]).float(), images
    if not cfg.FEATURES.BANK:
        raise UserError(
            "the run was trained on images, so it has no bank: name image files without --bank, or add --opts "
            "FEATURES.BANK FILE"
        )
    store = BankStore(cfg.FEATURES.BANK, backbone)
    names = limited(rows_of(store, args.images), args.limit)
    features = torch.stack([store.plain_views([Datum(impath=name)]).features[0] for name in names])
    return names, features.to(backbone.device, torch.float32), [None] * len(names)


def limited(names, limit):
    if len(names) > limit:
        print(f"the first {limit} of {len(names)} images; --limit takes more")
    return names[:limit]


def variation(prompts):
    """Root mean square distance of the prompts [B, L, w] of B images from their mean, over images and positions."""
    return (prompts - prompts.mean(0)).square().sum(-1).mean().sqrt().item()


def draw_panel(path, names, images, found):
    """A picture of each image above a line of words for each position of its prompt."""
    from lib.report.plots import plt, save_figure

    columns, positions = min(COLUMNS, len(names)), len(found[0])
    lines = math.ceil(len(names) / columns)
    size = (3 * columns, (2.9 + 0.2 * positions) * lines)
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, name, image, prompt in zip(axes.flat, names, images, found, strict=False):
        title = "/".join(name.replace(os.sep, "/").split("/")[-2:])
        if image is None:
            axis.set_facecolor("#EEEEEE")
            axis.set_box_aspect(1)
            said = textwrap.fill(f"{title} (feature from the bank)", 24)
            axis.text(0.5, 0.5, said, ha="center", va="center", fontsize=9)
        else:
            axis.imshow(ImageOps.fit(image, (320, 320)))  # the part that the encoder sees
            axis.set_title(title, fontsize=8)
        axis.set_xlabel("\n".join(", ".join(word for word, _ in words) for words in prompt), fontsize=8)
        axis.set(xticks=[], yticks=[])
    save_figure(figure, path)


def main(argv=None):
    args = parse_args(argv)
    if args.top < 1 or args.limit < 1:
        raise UserError("--top and --limit must be at least 1")
    if args.out and not args.out.lower().endswith((".png", ".pdf", ".svg")):
        raise UserError(f"--out {args.out}: the name should end in .png, .pdf or .svg")
    cfg = run_config(args.run, args.opts)
    device = "cuda" if cfg.USE_CUDA else "cpu"
    backbone = load_backbone(cfg, device=device)
    apply_preprocessing(cfg, backbone)
    framework, _ = framework_of(args.run, cfg, backbone, device)
    words = read_lines(args.words, "--words", "word") if args.words else []
    vocabulary = listed_words(backbone, words) if words else token_words(backbone)
    names, features, images = open_images(args, cfg, backbone)
    prompts = instance_prompts(framework, features)
    found = nearest_words(prompts, vocabulary, args.top)
    print(f"vocabulary: {vocabulary.describe()}")
    for name, prompt in zip(names, found, strict=True):
        print(name)
        for position, words in enumerate(prompt, 1):
            print(f"  p{position}: " + ", ".join(f"{word} ({distance:.3f})" for word, distance in words))
    if len(names) > 1:
        away = sum(words[0][1] for prompt in found for words in prompt) / prompts[..., 0].numel()
        about = f"vary by {variation(prompts):.2g}; their nearest words are {away:.2g} away on average"
        print(f"from image to image the prompts {about}")
    if args.out:
        draw_panel(Path(args.out), names, images, found)
        print(f"panel: {args.out}")


if __name__ == "__main__":
    say_errors(main)
