"""One self-contained HTML page about a fitted model (its look: report/page.html; its contents: fit_page.html)."""

import io
from base64 import b64encode
from collections import defaultdict
from html import escape
from pathlib import Path
from string import Template

from jinja2 import Environment, FileSystemLoader
from PIL import ImageOps

from trainers.core.answers import METRICS
from trainers.core.extraction import read_image
from trainers.core.files import replacing

HERE = Path(__file__).parent
MOST_CLASSES = 30  # of the matrix: those with the most errors
MOST_PAIRS, MOST_IMAGES, SIDE = 12, 4, 112  # confused pairs, images of each, pixels


def write_page(path, model, folder):
    """Writes it to `path`; the model's scores must have their answers."""
    scores, environment = model.scores, Environment(loader=FileSystemLoader(HERE), autoescape=True)
    seen, named = scores.with_images.per_class, scores.by_name.per_class  # a fold may say nothing of a class
    body = environment.get_template("fit_page.html").render(
        metrics=METRICS,
        scores=scores,
        model=model,
        classes=[(name, seen.get(name), named.get(name)) for name in scores.with_images.classnames],
        matrix=matrix(scores),
        confused=confused(scores),
        new_names=[name for name in model.classnames if name not in model.base_names],
    )
    page, about = Template((HERE / "report/page.html").read_text("utf-8")), escape(f"{folder}: {model}")
    with replacing(path) as part:
        text = page.substitute(title="What to expect of this model", about=about, body=body)
        part.write_text(text, encoding="utf-8", errors="replace")


def matrix(scores):
    """(classes, [(class, [(count, its share of the row)])]) of the classes with the most errors, in their order."""
    counts = scores.with_images.confusion + scores.by_name.confusion
    errors = counts.sum(0) + counts.sum(1) - 2 * counts.diagonal()
    chosen = sorted((-errors).argsort(kind="stable")[:MOST_CLASSES].tolist())
    names, shares = scores.with_images.classnames, counts / counts.sum(1, keepdims=True).clip(min=1)
    rows = [(names[i], [(int(counts[i, j]), shares[i, j]) for j in chosen]) for i in chosen]
    return [names[i] for i in chosen], rows


def confused(scores):
    """[(class, answer, number of times, thumbnails)] of the pairs that are confused most often."""
    pairs = defaultdict(list)
    for found in (scores.with_images, scores.by_name):
        for path, label, answer in zip(found.paths, found.labels.tolist(), found.predicted.tolist()):
            if label != answer:
                pairs[found.classnames[label], found.classnames[answer]].append(path)
    rows = []
    for names, paths in sorted(pairs.items(), key=lambda pair: -len(pair[1]))[:MOST_PAIRS]:
        different = list(dict.fromkeys(paths))
        rows.append((*names, len(paths), [thumbnail(path) for path in different[:MOST_IMAGES]]))
    return rows


def thumbnail(path):
    """(path, the image as a data URI)."""
    out = io.BytesIO()
    ImageOps.fit(read_image(path), (SIDE, SIDE)).save(out, "JPEG", quality=80)
    return path, f"data:image/jpeg;base64,{b64encode(out.getvalue()).decode()}"
