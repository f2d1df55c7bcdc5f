"""Pictures of a run with SHIP: real against synthetic features of a few classes, and the curves of training.

    python scripts/visualise.py output/.../CoOp_SHIP/miniclip/seed1 --out pictures

pca.png and tsne.png: the base classes' training features (few-shot, real) and synthetic ones on the left; the new
classes' synthetic features on the right, and their real test features, which training never saw and PCA is not fitted
to. Both panels share one projection.
curves.png: the generator's terms and the fine-tuning loss and accuracy, mean of each epoch, from the run's checkpoints.
"""

import argparse
from itertools import cycle
from pathlib import Path

import _path  # noqa: F401
import numpy as np
import pandas
import torch
from dassl.data.datasets import Datum
from dassl.engine import build_trainer
from dassl.utils import load_checkpoint, set_random_seed
from lib.console import OPTS, at_least, framework_of
from lib.faults import say_errors
from matplotlib import pyplot as plt
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

import datasets  # noqa: F401  (registers the readers)
from trainers import run_config
from trainers.core.checkpoints import Checkpoints
from trainers.core.model.prompts import ClassTokens
from trainers.core.model.text_encoder import in_fp32
from trainers.core.randomness import seed_all
from trainers.generative.synthesis import Synthesizer

TAB20 = plt.get_cmap("tab20").colors
COLOURS = TAB20[::2] + TAB20[1::2]  # the strong ones first


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("run", help="output folder of a finished run of a trainer with SHIP")
    add("--out", required=True, type=Path, help="folder for the pictures")
    add("--classes", type=at_least(1), default=6, help="so many base and so many new classes, evenly spaced")
    add("--per-class", type=at_least(2), default=40, help="synthetic features of each class")
    add("--opts", nargs="+", default=[], help=OPTS)
    return parser.parse_args(argv)


def test_images(trainer, names, chosen):
    """FeatureSet of the test images of the classes `chosen`, which are labels over `names`; it may be empty."""
    label = {names[i]: i for i in chosen.tolist()}
    items = {}
    for evaluation in trainer.task.evaluations():
        for item in evaluation.items:
            name = evaluation.classnames[item.label]
            if name in label:
                items[item.impath] = Datum(impath=item.impath, label=label[name])
    return trainer.data.plain([*items.values()]) if items else trainer.train_set.select(trainer.train_set.labels < 0)


def gather(trainer, generator, base, new, classes, per_class):
    """A frame [points x (side, kind, name, feature [d])]: synthetic and real features of base and new classes."""
    seed_all(trainer.cfg.SEED, "visualise")
    tower, n_ctx = in_fp32(trainer.backbone), trainer.cfg.TRAINER.SHIP.N_CTX
    parts = []
    for side, names in (("base", base), ("new", new)):
        chosen = torch.linspace(0, len(names) - 1, min(classes, len(names))).long().unique().to(trainer.device)
        labels = chosen.repeat_interleave(per_class)
        features = Synthesizer(generator, ClassTokens(names, tower, n_ctx=n_ctx), 0).features(labels)
        images = trainer.train_set if side == "base" else test_images(trainer, new, chosen)
        kept = torch.isin(images.labels, chosen)
        for kind, rows, of in (("synthetic", features, labels), ("real", images.first()[kept], images.labels[kept])):
            named = [names[i] for i in of]
            parts.append(
                pandas.DataFrame({"side": side, "kind": kind, "name": named, "feature": [*rows.cpu().numpy()]})
            )
    return pandas.concat(parts, ignore_index=True)


def project(points, method):
    """-> (positions [N, 2], what the axes are). PCA is not fitted to the real images of new classes."""
    features = np.stack(points["feature"])
    if method == "pca":
        seen = (points["side"] == "base") | (points["kind"] == "synthetic")
        pca = PCA(2, random_state=0).fit(features[seen])
        axes = "PCA, {:.0%} and {:.0%} of the variance".format(*pca.explained_variance_ratio_)
        return pca.transform(features), axes
    tsne = TSNE(2, perplexity=min(30, (len(features) - 1) / 3), init="pca", random_state=0)
    return tsne.fit_transform(features), "t-SNE (distances between groups mean little)"


def draw_features(path, points, method, title):
    positions, axes_title = project(points, method)
    points = points.assign(x=positions[:, 0], y=positions[:, 1])
    colours = dict(zip(points["name"].unique(), cycle(COLOURS)))
    figure, axes = plt.subplots(1, 2, figsize=(12, 5.6), sharex=True, sharey=True, layout="constrained")
    for axis, (side, here) in zip(axes, points.groupby("side"), strict=True):
        for kind, marker in (("synthetic", "x"), ("real", "o")):
            shown = here[here["kind"] == kind]
            axis.scatter("x", "y", s=22, c=shown["name"].map(colours), marker=marker, data=shown, linewidths=1)
        for name in here["name"].unique():
            axis.plot([], [], "o", color=colours[name], label=name.replace("_", " "))
        axis.legend(fontsize=7.5)
        axis.set(title=f"{side} classes: synthetic (crosses) and real (dots)", xticks=[], yticks=[])
    save(figure, path, f"{title}: {axes_title}")


def draw_curves(path, histories, title):
    """A panel for each term. histories: {stage of the run: [{term: mean of an epoch}]}."""
    frames = [pandas.DataFrame(epochs).add_prefix(f"{stage}: ") for stage, epochs in histories.items() if epochs]
    if not frames:
        print("no curves: neither the generator's folder nor the newest checkpoint keeps a history")
        return
    curves = pandas.concat(frames, axis=1)
    curves.index += 1
    size, layout = (3.4 * len(curves.columns), 3.2), (1, len(curves.columns))
    axes = curves.plot(subplots=True, layout=layout, figsize=size, legend=False, title=[*curves], xlabel="epoch")
    save(axes.flat[0].figure, path, title)


def save(figure, path, title):
    figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight")
    print(f"picture: {path}")


def main(argv=None):
    args = parse_args(argv)
    cfg = run_config(args.run, ["OUTPUT_DIR", "", *args.opts])  # nothing of the run is written to
    set_random_seed(cfg.SEED)  # the same few-shot draw
    trainer = build_trainer(cfg)
    framework, history = framework_of(args.run, cfg, trainer.backbone, trainer.device)
    trainer.open_data(training=True)
    title = f"{cfg.TRAINER.NAME} on {cfg.DATASET.NAME}, seed {cfg.SEED} ({trainer.backbone.name})"
    base, new = trainer.task.real_classnames(), trainer.extra_names()
    if base and new:
        points = gather(trainer, framework.generator, base, new, args.classes, args.per_class)
        for method in ("pca", "tsne"):
            draw_features(args.out / f"{method}.png", points, method, title)
    else:
        print(f"no pictures of features: the run has {len(base)} classes with images and {len(new)} without")
    newest = Checkpoints(args.run, trainer.MODEL_NAME).newest()
    training = load_checkpoint(newest).get("history", []) if newest else []
    draw_curves(args.out / "curves.png", {"generator": history, "fine-tuning": training}, title)


if __name__ == "__main__":
    say_errors(main)
