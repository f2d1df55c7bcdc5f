"""Writes docs/pictures/method-dark.svg: the figure of the method, method.svg, which is drawn by hand, in dark colours.

python scripts/draw_method.py
"""

from pathlib import Path

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
DARK = {
    "#1f2328": "#f0f6fc",  # text
    "#59636e": "#9198a1",  # lines and their labels
    "#ffffff": "#161b22",  # a box ...
    "#d1d9e0": "#3d444d",  # ... and its edge
    "#eaf2fb": "#12283f",  # frozen
    "#7aa7d9": "#4f86c2",
    "#fdf0e3": "#3a2814",  # learned
    "#e0a15c": "#c98a44",
}

if __name__ == "__main__":
    figure = (PICTURES / "method.svg").read_text(encoding="utf-8")
    for light, dark in DARK.items():
        figure = figure.replace(light, dark)
    (PICTURES / "method-dark.svg").write_text(figure, encoding="utf-8")
    print(f"wrote {PICTURES / 'method-dark.svg'}")
