"""A page in the browser to try a finished run: drop a picture, see the bars, add a class by its name.

    pip install gradio
    python scripts/demo.py output/animals

It is shown at an address of this computer alone, and nothing is sent elsewhere.
"""

import argparse
import os

import _path  # noqa: F401
from lib.faults import say_errors

from trainers import load
from trainers.core.files import UserError

SHOWN = 8  # bars


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="output folder of a finished run")
    return parser.parse_args(argv)


def build(model):
    """The page, a gradio.Blocks. Each visitor adds names to a model of their own. Raises UserError without gradio."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    try:
        import gradio
    except ImportError:
        raise UserError("the demo needs gradio: pip install gradio") from None

    def bars(image, names):
        if image is None:
            return {}
        asked = model.add_classes(names) if names else model
        (found,) = asked.predict([image], top=SHOWN)
        return dict(zip(found.names, found.probabilities))

    def add(image, name, names):
        more = [*names, name.strip()]
        try:
            model.add_classes(more)
        except UserError as error:
            raise gradio.Error(str(error)) from None
        return bars(image, more), "", more

    with gradio.Blocks(title="Which class is it?") as page:
        names = gradio.State([])
        with gradio.Row():
            image = gradio.Image(type="pil", label="Drop a picture", height=320)
            answer = gradio.Label(num_top_classes=SHOWN, label="Probabilities")
        name = gradio.Textbox(label="Add a class by its name, and press Enter", placeholder="otter")
        image.change(bars, [image, names], answer, api_name="bars")
        name.submit(add, [image, name, names], [answer, name, names], api_name="add")
    return page


def main(argv=None):
    build(load(parse_args(argv).run)).launch(server_name="127.0.0.1")


if __name__ == "__main__":
    say_errors(main)
