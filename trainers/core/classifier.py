"""A trained classifier as a program has it: asked about images, given further names, kept, exported."""

import os
import shutil
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from . import export, memory, memory_data, process, run
from .answers import Evaluation, Prediction, Predictions
from .files import RESULTS, UserError, first_five, plain, read_results, require_different, write_results
from .heads import Blocks, is_joint, linear_of
from .memory_data import from_folder, listed
from .randomness import preserved_randomness


class Linear(NamedTuple):
    """logits = scale * (f @ weight^T + bias) of unit features f [N, d]: weight [C, d], bias [C]."""

    weight: np.ndarray
    bias: np.ndarray
    scale: float


class Model:
    """What `fit` and `load` give.

    classnames: all names that it chooses among; base_names: those with training images; scores: figures from
    cross-validation.
    """

    def __init__(self, trainer, base_names, blocks, scores, folder="", keep=None, heads=None):
        """`blocks`: names that became part of it together, each of which has a head of its own; `keep`: which of all
        these names are in use, None: all. `folder`: where the run lies on disk, if it does. `heads`: {block: its head},
        those that exist."""
        self._trainer, self._folder, self._heads = trainer, folder, {} if heads is None else heads
        self._blocks = [tuple(block) for block in blocks]
        self._names = [name for block in blocks for name in block]
        self._keep = list(range(len(self._names))) if keep is None else keep
        self.classnames, self.base_names = tuple(self._names[i] for i in self._keep), tuple(base_names)
        self.scores, self._head = scores, None

    def __repr__(self):
        kind = f"{self._trainer.cfg.TRAINER.NAME} on {self._trainer.backbone.name}"
        return f"Model({kind}: {len(self.classnames)} classes, {len(self.base_names)} of them with images)"

    def _with(self, base_names, blocks, keep=None) -> "Model":
        """The same model with other names."""
        return Model(self._trainer, base_names, blocks, self.scores, self._folder, keep, self._heads)

    # ---- asking

    def predict(self, images, top: int = 5, at_least: float = 0.0) -> Predictions:
        """The `top` most probable names of each image, a path, a folder, a PIL image, an array, or several of these. An
        image whose best name is less probable than `at_least` is "none of these"; one that cannot be read is marked,
        where others can."""
        faults: dict[str, str] = {}
        features, keys = self._features(images, faults)
        probabilities, names = self._trainer.probabilities(self.head(), features), self.classnames
        values, places = probabilities.topk(min(max(top, 1), len(names)), dim=1)
        rows, found = iter(zip(places.tolist(), values.tolist())), Predictions()
        for key in keys:
            best, shares = ([], []) if key in faults else next(rows)
            found.append(Prediction(key, tuple(names[i] for i in best), tuple(shares), at_least))
        return found

    def probabilities(self, images) -> np.ndarray:
        """[N, C] float32, columns as in `classnames`; features [N, d] may stand for the images."""
        return self._trainer.probabilities(self.head(), self._features(images)[0]).cpu().numpy()

    def logits(self, images) -> np.ndarray:
        """[N, C] float32."""
        return self._trainer.logits(self.head(), self._features(images)[0]).cpu().numpy()

    def features(self, images, faults: dict[str, str] | None = None) -> np.ndarray:
        """Unit features [N, d] float32 of the images, which may be given in their place everywhere. Images that cannot
        be read are an error, or have no row and are collected in the dict `faults`, {path: why}."""
        return self._features(images, faults)[0].cpu().numpy()

    def evaluate(self, images, labels=None) -> Evaluation:
        """Accuracy and confusions on labelled images: with `labels`, a class name each; or of a folder per class, or of
        the test/ in it."""
        if labels is None:
            images, labels = from_folder(images, ("test", "val", "train", ""))
        numbered = reversed(list(enumerate(self.classnames)))  # of equal names the first, as argmax takes it
        place = {plain(name): i for i, name in numbered}
        unknown = sorted({str(label) for label in labels if plain(str(label)) not in place})
        if unknown:
            raise UserError(f"labels that are none of the model's classes: {first_five(unknown)}; see add_classes")
        features, keys = self._features(images)
        if len(keys) != len(labels):
            raise UserError(f"{len(keys)} images and {len(labels)} labels: each image needs one")
        predicted = self._trainer.logits(self.head(), features).argmax(1).cpu().numpy()
        return Evaluation(self.classnames, np.array([place[plain(name)] for name in labels]), predicted, tuple(keys))

    @torch.no_grad()
    def class_weights(self) -> Linear | None:
        """The classifier as a matrix; None, with a warning that says why, where it is none."""
        found = linear_of(self.head())
        if found is None:
            reason = "its logits are no linear function of an image's feature"
            warnings.warn(f"{self._trainer.cfg.TRAINER.NAME} has no class weights: {reason}", stacklevel=3)
            return None
        weight, bias, scale = (tensor.float().cpu().numpy() for tensor in found)
        return Linear(weight, bias, scale.item())

    # ---- other names

    def add_classes(self, names) -> "Model":
        """A model that knows `names` too, a list or a text file, without training; this one does not change.

        The logits of the other names stay to the bit for the same images in one batch. Less is promised where logits
        depend on all names: where base and new are told apart those of base names stay; of log probabilities none do.
        Raises UserError with the reason where the method cannot have further names.
        """
        names = listed(names, "names")
        require_different(names, self.classnames, "add_classes")
        keep = [*self._keep, *range(len(self._names), len(self._names) + len(names))]
        model = self._with(self.base_names, [*self._blocks, names], keep)
        model.head()
        return model

    def remove_classes(self, names) -> "Model":
        """A model without `names`; this one does not change."""
        wanted, known = {plain(name) for name in listed(names, "names")}, {plain(name) for name in self.classnames}
        if wanted - known or known <= wanted:
            shown = ", ".join(sorted(wanted - known)) or "all"
            raise UserError(f"remove_classes: {shown}; known are {', '.join(self.classnames)}, of which one must stay")
        keep = [i for i in self._keep if plain(self._names[i]) not in wanted]
        return self._with([name for name in self.base_names if plain(name) not in wanted], self._blocks, keep)

    def among(self, names) -> "Model":
        """A model that chooses among `names` alone, a list or a text file, without training; this one does not change.
        Raises UserError where the method cannot have them."""
        names, known = listed(names, "names"), {plain(name) for name in self.base_names}
        require_different(names, (), "names")
        base = [name for name in names if plain(name) in known]
        return self._with(base, [names])

    # ---- keeping

    def save(self, path):
        """Writes the model into the new folder `path`, as a run that `load`, train.py's --model-dir and predict.py
        read."""
        path, trainer = os.fspath(path), self._trainer
        if os.path.exists(path):
            raise UserError(f"{path} exists: give a folder that does not")
        if self._folder:
            left_out = shutil.ignore_patterns("log.txt*", "tensorboard", "results*.json*")
            shutil.copytree(self._folder, path, ignore=left_out)
            record = read_results(Path(self._folder, RESULTS))
        else:
            with process.quiet():
                trainer.save(path)
            Path(path, "config.yaml").write_text(trainer.cfg.dump(), encoding="utf-8")
            record = run.record(trainer, {}, {"accuracy": memory_data.NO_TEST})
        write_results(Path(path, RESULTS), {**record, **self.record()})

    def export(self, path, format=None):
        """Writes the classifier alone to the file `path`: .safetensors (weights, bias, scale; names and preprocessing
        in its header) or .onnx (uint8 crops in; logits, probabilities and features out)."""
        writers = {"onnx": export.write_onnx, "safetensors": export.write_safetensors}
        format = format or Path(path).suffix.lstrip(".")
        if format not in writers:
            raise UserError(f"export: the format is {format!r}; it must be onnx or safetensors")
        head = self.head()
        with process.quiet():
            writers[format](path, self._trainer, head, self.classnames)

    # ---- inside

    def record(self):
        """What results.json says of it."""
        classes = {"base": self.base_names, "blocks": self._blocks, "keep": self._keep}
        return {"classes": classes, "scores": self.scores.record()}

    def _features(self, images, faults: dict[str, str] | None = None):
        """-> (unit features [N, d] on the model's device, what each image is called). Images that cannot be read are an
        error; or where others can, they have no row, and `faults` becomes {path: why}."""
        trainer = self._trainer
        keys, store = memory.store_of(trainer, images)
        if not keys:
            raise UserError("there are no images")
        features, found = memory_data.features_of(trainer, keys, store), store.faults
        if found and (faults is None or len(found) == len(keys)):
            raise UserError(f"{len(found)} images cannot be read: {first_five(found.values())}")
        if faults is not None:
            faults.update(found)
        return features, keys

    def head(self):
        """The head over `classnames`."""
        if self._head is None:
            with process.ONE_AT_A_TIME, process.quiet(), preserved_randomness(), torch.no_grad():
                self._head = self._trainer.head_for(list(self.classnames), self._method_head).eval()
        return self._head

    def _method_head(self, names):
        """The method's own head over them: a block for each set of names that came together."""
        trainer = self._trainer
        if is_joint(trainer.head):
            return trainer.method_head(names)
        for block in self._blocks:
            if block not in self._heads:
                self._heads[block] = trainer.method_head(list(block)).eval()
        heads = [self._heads[block] for block in self._blocks]
        return heads[0] if [*self._blocks[0]] == names else Blocks(heads, self._keep)
