"""Draws the figure of the method: docs/pictures/method.svg and method-dark.svg, the same in two colour schemes.

python scripts/draw_method.py
"""

from pathlib import Path

OUT = Path(__file__).resolve().parents[1] / "docs" / "pictures"
SIZE = (960, 372)
LIGHT = {"text": "#1f2328", "faint": "#59636e", "line": "#59636e", "box": "#ffffff", "edge": "#d1d9e0"}
DARK = {"text": "#f0f6fc", "faint": "#9198a1", "line": "#9198a1", "box": "#161b22", "edge": "#3d444d"}
LIGHT |= {"frozen": "#eaf2fb", "learned": "#fdf0e3", "frozen_edge": "#7aa7d9", "learned_edge": "#e0a15c"}
DARK |= {"frozen": "#12283f", "learned": "#3a2814", "frozen_edge": "#4f86c2", "learned_edge": "#c98a44"}

# kind, x, y, width, height, lines of text
BOXES = (
    ("box", 20, 56, 128, 60, ("images of", "base classes")),
    ("frozen", 182, 56, 128, 60, ("CLIP's image", "encoder")),
    ("learned", 392, 56, 100, 60, ("encoder E", "μ, σ")),
    ("learned", 546, 56, 112, 60, ("prompts", "p₁+r … p_L+r")),
    ("frozen", 712, 56, 112, 60, ("CLIP's text", "encoder")),
    ("box", 20, 226, 128, 60, ("names of", "new classes")),
    ("learned", 392, 226, 100, 60, ("z ~ N(0, I)",)),
    ("learned", 546, 226, 112, 60, ("prompts", "p₁+r … p_L+r")),
    ("frozen", 712, 226, 112, 60, ("CLIP's text", "encoder")),
    ("learned", 546, 316, 278, 42, ("fine-tuner: CoOp, adapters, yours",)),
)
# x1, y1, x2, y2, label above the middle
ARROWS = (
    (148, 86, 180, 86, ""),
    (310, 86, 390, 86, "x"),
    (492, 86, 544, 86, "z"),
    (658, 86, 710, 86, "name"),
    (824, 86, 884, 86, "x̃"),
    (492, 256, 544, 256, "z"),
    (658, 256, 710, 256, "name"),
    (824, 256, 884, 256, "x̃"),
)
# lines with corners, as an SVG path
PATHS = (
    "M 84 286 L 84 300 L 684 300 L 684 268",  # new names into their prompts
    "M 914 268 L 914 337 L 830 337",  # synthetic features to the fine-tuner
    "M 350 92 L 350 337 L 540 337",  # real features to the fine-tuner
)


def text(x, y, words, colour, size=13, anchor="middle", weight="normal"):
    return (
        f'<text x="{x}" y="{y}" fill="{colour}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{words}</text>"
    )


def box(colours, kind, x, y, width, height, lines):
    edge = colours.get(f"{kind}_edge", colours["edge"])
    found = [
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="7" fill="{colours[kind]}" stroke="{edge}" '
        'stroke-width="1.3"/>'
    ]
    top = y + height / 2 + 4.5 - 9 * (len(lines) - 1)
    return found + [text(x + width / 2, top + 18 * i, line, colours["text"]) for i, line in enumerate(lines)]


def draw(colours):
    """The figure as SVG text."""
    width, height = SIZE
    marker = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M 0 0.6 L 7.4 4 L 0 7.4 z" fill="{colours["line"]}"/></marker></defs>'
    )
    stroke = f'stroke="{colours["line"]}" stroke-width="1.4" fill="none" marker-end="url(#tip)"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'aria-label="SHIP: a generator learns from base images and draws features of label-only classes" '
        'font-family="-apple-system, Segoe UI, Helvetica, Arial, sans-serif">',
        marker,
        text(20, 30, "1  Learn to synthesize prompts, from a few images of base classes", colours["text"], 15,
             "start", 600),
        text(366, 200, "2  Draw features for names without images; fine-tune on both", colours["text"], 15,
             "start", 600),
    ]  # fmt: skip
    for path in PATHS:
        parts.append(f'<path d="{path}" {stroke}/>')
    for x1, y1, x2, y2, label in ARROWS:
        parts.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" {stroke}/>')
        parts.append(text((x1 + x2) / 2 - 2, y1 - 7, label, colours["faint"], 12))
    for kind, *place, lines in BOXES:
        parts += box(colours, kind, *place, lines)
    parts += [
        text(890, 91, "‖x − x̃‖²", colours["text"], 13, "start"),
        text(890, 260, "features", colours["text"], 13, "start"),
        text(358, 322, "real features", colours["faint"], 12, "start"),
        text(442, 136, "+ KL to N(0, I)", colours["faint"], 12),
        text(20, 358, "blue: frozen, orange: learned", colours["faint"], 12, "start"),
    ]
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    for name, colours in (("method", LIGHT), ("method-dark", DARK)):
        (OUT / f"{name}.svg").write_text(draw(colours), encoding="utf-8")
        print(f"wrote {OUT / name}.svg")
