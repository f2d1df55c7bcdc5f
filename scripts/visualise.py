"""Pictures of a run with SHIP: real against synthetic features of a few classes, and the curves of training.

    python scripts/visualise.py output/.../CoOp_SHIP/miniclip/seed1 --out pictures

pca.png and tsne.png: the base classes' training features (few-shot, real) and synthetic ones on the left; the new
classes' synthetic features on the right, and their real test features, which training never saw and PCA is not fitted
to. Both panels share one projection.
curves.png: the generator's terms and the fine-tuning loss and accuracy, mean of each epoch, from the run's checkpoints.
"""

import argparse
import os
from pathlib import Path

import _path  # noqa: F401
import numpy as np
import pandas
import torch
from dassl.data.datasets import Datum
from dassl.engine import build_trainer
from dassl.utils import load_checkpoint, set_random_seed
from lib.console import at_least, ship_of
from lib.faults import say_errors
from matplotlib import pyplot as plt
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

import datasets  # noqa: F401  (registers the readers)
from trainers import run_config
from trainers.core.checkpoints import Checkpoints
from trainers.core.randomness import seed_all
from trainers.generative.training import FINAL, FOLDER


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("run", help="output folder of a finished run of a trainer with SHIP")
    add("--out", required=True, type=Path, help="folder for the pictures")
    add("--classes", type=at_least(1), default=6, help="so many base and so many new classes, evenly spaced")
    add("--per-class", type=at_least(2), default=40, help="synthetic features of each class")
    return parser.parse_args(argv)


def test_images(trainer, names):
    """FeatureSet of the test images of the classes `names`, labelled by their places there; it may be empty."""
    of_all = trainer.task.evaluations()[-1]
    place = {label: names.index(name) for label, name in enumerate(of_all.classnames) if name in names}
    items = [Datum(impath=item.impath, label=place[item.label]) for item in of_all.items if item.label in place]
    return trainer.data.plain(items) if items else trainer.train_set.select([])


def gather(trainer, ship, classes, per_class):
    """A frame [points x (side, kind, name, feature [d])]: synthetic and real features of base and new classes."""
    seed_all(trainer.cfg.SEED, "visualise")
    parts = []
    for side, names in (("base", ship.base), ("new", ship.new)):
        chosen = torch.linspace(0, len(names) - 1, min(classes, len(names)), device=trainer.device).long()
        labels = chosen.repeat_interleave(per_class)
        synthetic = ship.over(names).features(labels)
        images = trainer.train_set if side == "base" else test_images(trainer, names)
        real = images.select(torch.isin(images.labels, chosen))
        for kind, features, of in (("synthetic", synthetic, labels), ("real", real.first(), real.labels)):
            about = {"side": side, "kind": kind, "name": [names[i] for i in of]}
            parts.append(pandas.DataFrame({**about, "feature": [*features.cpu().numpy()]}))
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
    figure, axes = plt.subplots(1, 2, figsize=(12, 5.6), sharex=True, sharey=True)
    for axis, (side, here) in zip(axes, points.groupby("side"), strict=True):
        for number, (name, of_class) in enumerate(here.groupby("name", sort=False)):
            for kind, marker in (("synthetic", "x"), ("real", "o")):
                shown, label = of_class[of_class["kind"] == kind], name.replace("_", " ") if kind == "real" else None
                axis.scatter("x", "y", s=22, color=f"C{number}", marker=marker, data=shown, linewidths=1, label=label)
        axis.legend(fontsize=7.5)
        axis.set(title=f"{side} classes: synthetic (crosses) and real (dots)", xticks=[], yticks=[])
    save(figure, path, f"{title}: {axes_title}")


def draw_curves(path, checkpoints, title):
    """A panel for each term of {stage of the run: its checkpoint}, whose `history` is [{term: mean of an epoch}]."""
    frames = [pandas.DataFrame(of["history"]).add_prefix(f"{stage}: ") for stage, of in checkpoints.items()]
    curves = pandas.concat([pandas.DataFrame(), *frames], axis=1)
    if curves.empty:
        print("no curves: neither the generator nor the fine-tuning of this run has a history")
        return
    curves.index += 1
    size, layout = (3.4 * len(curves.columns), 3.2), (1, len(curves.columns))
    axes = curves.plot(subplots=True, layout=layout, figsize=size, legend=False, title=[*curves], xlabel="epoch")
    save(axes.flat[0].figure, path, title)


def save(figure, path, title):
    figure.suptitle(title)
    figure.set_layout_engine("constrained")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight")
    print(f"picture: {path}")


def main(argv=None):
    args = parse_args(argv)
    cfg = run_config(args.run, ["OUTPUT_DIR", ""])  # nothing of the run is written to
    set_random_seed(cfg.SEED)  # the same few-shot draw
    trainer = build_trainer(cfg)
    ship = ship_of(trainer)
    ship.load(args.run)
    trainer.open_data(training=True)
    title = f"{cfg.TRAINER.NAME} on {cfg.DATASET.NAME}, seed {cfg.SEED} ({trainer.backbone.name})"
    if ship.base and ship.new:
        points = gather(trainer, ship, args.classes, args.per_class)
        for method in ("pca", "tsne"):
            draw_features(args.out / f"{method}.png", points, method, title)
    else:
        print(f"no pictures of features: {len(ship.base)} classes have images, and {len(ship.new)} only a name")
    tuning = Checkpoints(args.run, trainer.MODEL_NAME).newest()
    files = {"generator": os.path.join(args.run, FOLDER, FINAL), "fine-tuning": tuning or ""}
    found = {stage: load_checkpoint(path) for stage, path in files.items() if os.path.isfile(path)}
    draw_curves(args.out / "curves.png", found, title)


if __name__ == "__main__":
    say_errors(main)
