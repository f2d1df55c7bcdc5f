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
import torch
from dassl.data.datasets import Datum
from dassl.engine import build_trainer
from dassl.utils import UserError, load_checkpoint, set_random_seed
from lib.console import OPTS, framework_of
from lib.faults import say_errors
from lib.report.plots import STYLE, plt, save_figure
from matplotlib.lines import Line2D
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from trainers.core.run.checkpoints import Checkpoints
from trainers.ship.plugin import SHIP

import datasets  # noqa: F401  (registers the readers)
from trainers import run_config
from trainers.core.model.prompts import ClassTokens
from trainers.core.model.text_encoder import in_fp32
from trainers.core.randomness import seed_all
from trainers.generative.synthesis import Synthesizer

_TAB = [colour for i, colour in enumerate(plt.get_cmap("tab20").colors) if i not in (14, 15)]  # without its greys
COLOURS = _TAB[::2] + _TAB[1::2]  # the strong ones first
TITLES = {
    "reconstruction": "generator: squared error",
    "kl": "generator: KL divergence",
    "distance": "critic: real minus synthetic score",
    "penalty": "critic: gradient penalty",
    "loss": "fine-tuning: loss",
    "acc": "fine-tuning: accuracy of batches (%)",
}


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("run", help="output folder of a finished run of a trainer with SHIP")
    add("--out", required=True, help="folder for the pictures")
    add("--classes", type=int, default=6, help="so many base and so many new classes, evenly spaced")
    add("--per-class", type=int, default=40, help="synthetic features of each class")
    add("--opts", nargs="+", default=[], help=OPTS)
    return parser.parse_args(argv)


class Points:
    """Features [N, d] with their labels [N] among `names`."""

    def __init__(self, features, labels, names):
        self.features, self.labels, self.names = features.cpu(), labels.cpu(), names


def real_points(feature_set, chosen, names):
    """The plain or first view of the images of the `chosen` classes."""
    kept = torch.isin(feature_set.labels, chosen.to(feature_set.labels.device))
    return Points(feature_set.features[feature_set.offsets[:-1]][kept], feature_set.labels[kept], names)


def synthetic_points(generator, backbone, chosen, per_class, names, n_ctx):
    labels = chosen.repeat_interleave(per_class).to(backbone.device)
    return Points(Synthesizer(generator, ClassTokens(names, backbone, n_ctx=n_ctx), 0).features(labels), labels, names)


def spaced(total, count):
    """`count` of `total` class labels, evenly spaced."""
    return torch.linspace(0, total - 1, min(count, total)).long().unique()


def test_items(task, names):
    """The test images of the classes `names` that the task evaluates on, labels over `names`."""
    label = {name: i for i, name in enumerate(names)}
    found = {}
    for evaluation in task.evaluations():
        for item in evaluation.items:
            name = evaluation.classnames[item.label]
            if name in label:
                found[item.impath] = Datum(impath=item.impath, label=label[name])
    return list(found.values())


def gather(trainer, generator, base, new, classes, per_class):
    """-> {"real base", "synthetic base", "synthetic new", "real new"}: Points; "real new" is None where there are no
    test images of them."""
    seed_all(trainer.cfg.SEED, "visualise")
    tower = in_fp32(trainer.backbone)
    of_base, of_new, n_ctx = spaced(len(base), classes), spaced(len(new), classes), trainer.cfg.TRAINER.SHIP.N_CTX
    points = {
        "real base": real_points(trainer.train_set, of_base, base),
        "synthetic base": synthetic_points(generator, tower, of_base, per_class, base, n_ctx),
        "synthetic new": synthetic_points(generator, tower, of_new, per_class, new, n_ctx),
        "real new": None,
    }
    items = [item for item in test_items(trainer.task, new) if item.label in of_new.tolist()]
    if items:
        points["real new"] = real_points(trainer.data.plain(items), of_new, new)
    return points


def project(points, method):
    """-> ({name: positions [N, 2]}, what the axes are). PCA maps the real new features without being fitted to them."""
    fitted = ["real base", "synthetic base", "synthetic new"]
    unseen = points["real new"].features if points["real new"] else points["real base"].features[:0]
    sizes = [len(points[name].features) for name in fitted]
    everything = torch.cat([*(points[name].features for name in fitted), unseen]).numpy()
    if method == "pca":
        pca = PCA(2, random_state=0).fit(everything[: sum(sizes)])
        flat = pca.transform(everything)
        axes = "PCA, {:.0%} and {:.0%} of the variance".format(*pca.explained_variance_ratio_)
    else:
        tsne = TSNE(2, perplexity=min(30, (len(everything) - 1) / 3), init="pca", random_state=0)
        flat, axes = tsne.fit_transform(everything), "t-SNE (distances between groups mean little)"
    parts = torch.from_numpy(flat).split([*sizes, len(unseen)])
    return dict(zip([*fitted, "real new"], parts, strict=True)), axes


def draw_features(path, points, method, title):
    positions, axes_title = project(points, method)
    figure, axes = plt.subplots(1, 2, figsize=(12, 5.6), sharex=True, sharey=True, layout="constrained")
    used = 0
    for axis, kind, what in zip(axes, ("base", "new"), ("training images", "test images"), strict=True):
        synthetic, real = points[f"synthetic {kind}"], points[f"real {kind}"]
        classes = synthetic.labels.unique().tolist()
        colours = {label: COLOURS[(used + i) % len(COLOURS)] for i, label in enumerate(classes)}
        used += len(classes)
        for side, shown, marker in (("synthetic", synthetic, "x"), ("real", real, "o")):
            if shown:
                of_points = [colours[label] for label in shown.labels.tolist()]
                where = positions[f"{side} {kind}"].T
                axis.scatter(*where, s=22, marker=marker, color=of_points, alpha=0.75, linewidths=1)
        axis.set_title(f"{kind} classes: synthetic (crosses)" + (f", {what} (dots)" if real else ""))
        dots = [Line2D([], [], marker="o", linestyle="", color=colours[label]) for label in classes]
        axis.legend(dots, [synthetic.names[label].replace("_", " ") for label in classes], fontsize=7.5, loc="best")
        axis.set(xticks=[], yticks=[])
    figure.suptitle(f"{title}: {axes_title}", fontsize=11)
    save(figure, path)


def draw_curves(path, generator_history, training_history, title):
    """A panel for each term that was kept."""
    histories = [history for history in (generator_history, training_history) if history]
    panels = [(name, [epoch[name] for epoch in history]) for history in histories for name in history[0]]
    if not panels:
        print("curves: neither the generator's folder nor the newest checkpoint keeps a history")
        return
    figure, axes = plt.subplots(1, len(panels), figsize=(3.4 * len(panels), 3.2), squeeze=False, layout="constrained")
    for axis, (name, values) in zip(axes.flat, panels, strict=True):
        axis.plot(range(1, len(values) + 1), values, linewidth=1.8)
        axis.set_title(TITLES.get(name, name), fontsize=10)
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def save(figure, path):
    save_figure(figure, path)
    print(f"picture: {path}")


def main(argv=None):
    args = parse_args(argv)
    if args.classes < 1 or args.per_class < 2:
        raise UserError("--classes must be at least 1 and --per-class at least 2")
    cfg = run_config(args.run, args.opts)
    cfg.OUTPUT_DIR = ""  # nothing of the run is written to
    cfg.freeze()
    if cfg.SEED >= 0:
        set_random_seed(cfg.SEED)  # the same few-shot draw
    trainer = build_trainer(cfg)
    if not any(isinstance(plugin, SHIP) for plugin in trainer.plugins):
        found = f"{args.run} is a run of {cfg.TRAINER.NAME}, which has no generator"
        raise UserError(f"{found}; expected one of a trainer with SHIP")
    trainer.open_data(training=True)
    framework, history = framework_of(args.run, cfg, trainer.backbone, trainer.device)
    newest = Checkpoints(args.run, trainer.MODEL_NAME).newest()
    training_history = load_checkpoint(newest).get("history", []) if newest else []
    title = f"{cfg.TRAINER.NAME} on {cfg.DATASET.NAME}, seed {cfg.SEED} ({trainer.backbone.name})"
    out, base, new = Path(args.out), trainer.task.real_classnames(), trainer.extra_names()
    with plt.rc_context({**STYLE, "axes.grid.axis": "both"}):
        if base and new:
            points = gather(trainer, framework.generator, base, new, args.classes, args.per_class)
            for method in ("pca", "tsne"):
                draw_features(out / f"{method}.png", points, method, title)
        else:
            found = f"the run has {len(base)} and {len(new)}"
            print(f"no pictures of features: they take classes with images and classes without, {found}")
        draw_curves(out / "curves.png", history, training_history, title)


if __name__ == "__main__":
    say_errors(main)
