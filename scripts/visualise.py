"""Pictures of a run with SHIP: real against synthetic features of a few classes, and the curves of training.

    python scripts/visualise.py output/.../CoOp_SHIP/miniclip/seed1 --out pictures

pca.png and tsne.png: the base classes' training features (few-shot, real) and synthetic ones on the left; the new
classes' synthetic features on the right, and their real test features, which training never saw and PCA is not fitted
to. Both panels share one projection.
curves.png: the generator's terms and the fine-tuning loss and accuracy, mean of each epoch, from the run's checkpoints.
"""

import argparse
from pathlib import Path

import _path  # noqa: F401
import numpy as np
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


def spaced(names, count):
    """The labels of `count` of the class names, evenly spaced."""
    return torch.linspace(0, len(names) - 1, min(count, len(names))).long().unique()


def test_images(trainer, names, chosen):
    """FeatureSet of the test images of the classes `chosen`, which are labels over `names`; it may be empty."""
    class_of = {}
    for evaluation in trainer.task.evaluations():
        class_of |= {item.impath: evaluation.classnames[item.label] for item in evaluation.items}
    label = {names[i]: i for i in chosen.tolist()}
    items = [Datum(impath=path, label=label[name]) for path, name in class_of.items() if name in label]
    return trainer.data.plain(items) if items else trainer.train_set.select(trainer.train_set.labels < 0)


def gather(trainer, generator, base, new, classes, per_class):
    """{"real base", "synthetic base", "synthetic new", "real new"}: (features [N, d], the N class names)."""
    seed_all(trainer.cfg.SEED, "visualise")
    tower, n_ctx = in_fp32(trainer.backbone), trainer.cfg.TRAINER.SHIP.N_CTX
    points = {}
    for kind, names in (("base", base), ("new", new)):
        chosen = spaced(names, classes).to(trainer.device)
        labels = chosen.repeat_interleave(per_class)
        features = Synthesizer(generator, ClassTokens(names, tower, n_ctx=n_ctx), 0).features(labels)
        points[f"synthetic {kind}"] = features.cpu(), [names[i] for i in labels]
        images = trainer.train_set if kind == "base" else test_images(trainer, new, chosen)
        kept = torch.isin(images.labels, chosen)
        points[f"real {kind}"] = images.first()[kept].cpu(), [names[i] for i in images.labels[kept]]
    return points


def project(points, method):
    """-> ({name: positions [N, 2]}, what the axes are). PCA maps the real new ones without being fitted to them."""
    everything = torch.cat([features for features, _ in points.values()]).numpy()
    if method == "pca":
        fitted = torch.cat([features for name, (features, _) in points.items() if name != "real new"]).numpy()
        pca = PCA(2, random_state=0).fit(fitted)
        flat = pca.transform(everything)
        axes = "PCA, {:.0%} and {:.0%} of the variance".format(*pca.explained_variance_ratio_)
    else:
        tsne = TSNE(2, perplexity=min(30, (len(everything) - 1) / 3), init="pca", random_state=0)
        flat, axes = tsne.fit_transform(everything), "t-SNE (distances between groups mean little)"
    ends = np.cumsum([len(features) for features, _ in points.values()])
    return dict(zip(points, np.split(flat, ends[:-1]), strict=True)), axes


def draw_features(path, points, method, title):
    positions, axes_title = project(points, method)
    names = dict.fromkeys(points["synthetic base"][1] + points["synthetic new"][1])
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    figure, axes = plt.subplots(1, 2, figsize=(12, 5.6), sharex=True, sharey=True, layout="constrained")
    for axis, kind in zip(axes, ("base", "new"), strict=True):
        for side, marker in ((f"synthetic {kind}", "x"), (f"real {kind}", "o")):
            of_points = [colours[name] for name in points[side][1]]
            axis.scatter(*positions[side].T, s=22, marker=marker, color=of_points, alpha=0.75, linewidths=1)
        for name in dict.fromkeys(points[f"synthetic {kind}"][1]):
            axis.plot([], [], "o", color=colours[name], label=name.replace("_", " "))
        axis.legend(fontsize=7.5)
        axis.set(title=f"{kind} classes: synthetic (crosses) and real (dots)", xticks=[], yticks=[])
    save(figure, path, f"{title}: {axes_title}")


def draw_curves(path, histories, title):
    """A panel for each term. histories: {stage of the run: [{term: mean of an epoch}]}."""
    panels = [(stage, term) for stage, epochs in histories.items() for term in (epochs[0] if epochs else ())]
    if not panels:
        print("no curves: neither the generator's folder nor the newest checkpoint keeps a history")
        return
    figure, axes = plt.subplots(1, len(panels), figsize=(3.4 * len(panels), 3.2), squeeze=False, layout="constrained")
    for axis, (stage, term) in zip(axes.flat, panels, strict=True):
        values = [epoch[term] for epoch in histories[stage]]
        axis.plot(range(1, len(values) + 1), values)
        axis.set(title=f"{stage}: {term}", xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
    save(figure, path, title)


def save(figure, path, title):
    figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
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
