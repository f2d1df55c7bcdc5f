"""Who may import whom (docs/architecture.md): arrows between folders, no cycles, and a core that knows no method.

A module is known by the name that our code imports it by; scripts/ and third_party/ are folders of sys.path. An import
of a package's part counts as one of that part, not of the package's __init__, which Python runs too.
"""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from helpers.rehearsal import trainers

from trainers.plugins import PLUGINS

ROOT = Path(__file__).resolve().parents[1]
# What each layer may import beside itself, the bottom and third_party/.
MAY_IMPORT = {
    "train.py": {"methods", "core", "readers"},
    "methods": {"plug-ins", "generative", "core"},
    "plug-ins": {"generative", "core"},
    "generative": {"core"},
    "core": set(),
    "bottom": set(),
    "readers": {"datasets/core"},
    "datasets/core": set(),
    "datasets/prepare": {"readers", "datasets/core"},  # training never needs it
    "third_party": set(),
}
MAY_IMPORT["scripts"] = {*MAY_IMPORT}
BOTTOM = [f"trainers.core.{name}" for name in ("bank_header", "contents", "download", "files", "folders", "version")]
SHARED = {"lib.faults"}  # how an error is shown, by the scripts and by train.py; of ours it imports the bottom alone
MODELS = {"torch", "torchvision", "clip", "miniclip", "open_clip", "timm"}  # data sets know none
# Packages that a function may import: a run does well without them.
OPTIONAL = {"clip", "filelock", "gdown", "gradio", "matplotlib", "miniclip", "onnx", "onnxruntime", "open_clip"}
OPTIONAL |= {"safetensors", "scipy", "tensorboard", "timm"}
TESTS = {path.stem for path in (ROOT / "tests").iterdir()} - {"datasets", "trainers", "scripts", "third_party"}


def name_of(path):
    words = path.relative_to(ROOT).with_suffix("").parts
    words = words[1:] if words[0] in ("scripts", "third_party") else words
    return ".".join(words).removesuffix(".__init__")


FOLDERS = ("trainers", "datasets", "scripts", "third_party")
PATHS = [ROOT / "train.py", *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))]
MODULES = {name_of(path): path for path in PATHS}


def layer_of(name):
    top, *below = MODULES[name].relative_to(ROOT).parts
    if name in BOTTOM:
        return "bottom"
    if top == "datasets":
        return f"datasets/{below[0]}" if below[0] in ("core", "prepare") else "readers"
    if top != "trainers":
        return top
    return {"core": "core", "generative": "generative", "plugins": "plug-ins"}.get(below[0], "methods")


def imports_of(name):
    """[(dotted name, whether in a function, whether relative)]: modules of ours by their own name, others whole."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    inner = {id(node) for function in functions for node in ast.walk(function)}
    package = name.split(".") if MODULES[name].name == "__init__.py" else name.split(".")[:-1]
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in inner, False) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*base, *(node.module or "").split(".")]).strip(".").removeprefix("scripts.")
            for alias in node.names:
                assert alias.name != "*", f"{name}: import *"
                part = f"{base}.{alias.name}"
                found.append((part if part in MODULES else base, id(node) in inner, node.level > 0))
    return found


IMPORTS = {name: imports_of(name) for name in MODULES}


@pytest.mark.parametrize("name", MODULES)
def test_arrows(name):
    layer = layer_of(name)
    for target, in_function, relative in IMPORTS[name]:
        top = target.split(".")[0]
        assert top not in TESTS, f"{name} imports {target} of the tests"
        if target in MODULES:
            allowed = {layer, *MAY_IMPORT[layer], "bottom", "third_party"}
            shared = name == "train" and target in SHARED
            assert shared or layer_of(target) in allowed, f"{name} ({layer}) imports {target} ({layer_of(target)})"
            own = target.startswith("trainers") and name.startswith("trainers")
            assert relative or not own, f"{name}: only relative imports let trainers/ work under another name"
        assert not name.startswith("datasets") or top not in MODELS, f"{name}: a data set knows no model, but {target}"
        # Scripts answer --help at once, also before anything is set up: what loads PyTorch or draws is imported late.
        late = layer == "scripts" and (target not in MODULES or layer_of(target) != layer or "lib.report" in target)
        words = {*target.split(".")}
        assert not in_function or late or words & OPTIONAL, f"{name} imports {target} inside a function"


HELP = "import atexit, runpy; atexit.register(check); sys.argv = ['train.py', '--help']; "
HELP += "runpy.run_path('train.py', run_name='__main__')"
# A process that has touched a GPU cannot be forked.
NO_GPU = "import torch; torch._C._cuda_init = torch._C._cuda_getDeviceCount = lambda: os._exit(9); "


@pytest.mark.parametrize(
    "code, absent",
    [
        (f"import {', '.join(BOTTOM)}; check()", "torch"),
        (HELP, "torch numpy"),
        ("import train; train.with_defaults(); check()", "torchvision torch._dynamo timm clip open_clip"),
        (NO_GPU + "from scripts.lib import preload; check()", "clip open_clip"),
    ],
)
def test_what_costs_seconds_is_imported_where_it_is_needed(code, absent):
    check = f"import os, sys; check = lambda: os._exit(len({{*sys.modules}} & {{*{absent.split()}}})); "
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'third_party'}"}
    assert subprocess.run([sys.executable, "-c", check + code], env=paths, cwd=ROOT).returncode == 0


def test_no_cycles():
    """Imports inside functions count as well: they are no way out of one."""
    graph = {name: {target for target, *_ in found if target in MODULES} for name, found in IMPORTS.items()}
    TopologicalSorter(graph).prepare()  # CycleError names the modules


# ---- the core's words


def names():
    """A pattern of every method and plug-in, as code or as prose (Tip_Adapter, Tip-Adapter)."""
    found = {name for name, kind in trainers().items() if not kind.PLUGINS} | {plugin.NAME for plugin in PLUGINS}
    spelt = "|".join(name.replace("_", "[-_ ]?") for name in sorted(found, key=len, reverse=True))
    return re.compile(rf"(?<![A-Za-z])({spelt})(?![A-Za-z])")


def code_of(text):
    """A source text without comments and docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            node.body[0] = ast.Pass()
    return ast.unparse(tree)


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("trainers.core")])
def test_the_core_names_no_method_and_no_plug_in(name):
    """Comments and docstrings may say where a convention is from, where that is CoOp, the code base that we plug into;
    code, messages and config keys name nobody."""
    text = MODULES[name].read_text(encoding="utf-8").replace('ASIDE = "SHIP"', "")  # a node called as the project is
    assert not names().findall(code_of(text))
    shared = {"GaussianLDA"} if name.endswith("gaussian") else set()  # statistics that methods and plug-ins share
    assert {*names().findall(text)} <= {"CoOp", *shared} and not re.findall(r"CoOp_\w+", text)
