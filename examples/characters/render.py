#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Renders the images of the "characters" example: one character, in a free font, in a small untidy scene.

Image number i of a split depends on the seed, the split and i alone (and on the versions of the fonts and of Pillow), so the
images can be drawn in any order and by any number of processes. `render.py --sheet FILE` draws a contact sheet to look at.
"""
import argparse
import functools
import multiprocessing
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

# Upper case, the lower-case letters that are not merely smaller capitals, digits without 0 and 1 (they are O and I), signs.
CLASSES = list("ABCDEFGHIJKLMNOPQRSTUVWXYZ" "abdefghnqrt" "23456789" "?&@$%")
SIZE = 48  # what the network sees
MARGIN = 2  # training images are drawn larger by this much on each side and cropped at random

# Families (as the font files name themselves; a prefix counts) by Debian package. README.md has the licences.
FAMILIES = {
    "fonts-dejavu-core fonts-dejavu-extra": ["DejaVu Sans", "DejaVu Sans Mono", "DejaVu Serif"],
    "fonts-liberation": ["Liberation Mono", "Liberation Sans", "Liberation Serif"],
    "fonts-freefont-ttf": ["FreeMono", "FreeSans", "FreeSerif"],
    "fonts-lato": ["Lato"],
    "fonts-roboto-unhinted": ["Roboto"],
    "fonts-roboto-slab": ["Roboto Slab"],
    "fonts-cantarell": ["Cantarell"],
    "fonts-comfortaa": ["Comfortaa"],
    "fonts-open-sans": ["Open Sans"],
    "fonts-crosextra-caladea": ["Caladea"],
    "fonts-crosextra-carlito": ["Carlito"],
    "fonts-ebgaramond": ["EB Garamond"],
    "fonts-firacode": ["Fira Code"],
    "fonts-hack": ["Hack"],
    "fonts-inconsolata": ["Inconsolata"],
    "fonts-jetbrains-mono": ["JetBrains Mono"],
    "fonts-junicode": ["Junicode"],
    "fonts-linuxlibertine": ["Linux Libertine", "Linux Biolinum"],
    "fonts-lobstertwo": ["Lobster Two"],
    "fonts-oldstandard": ["Old Standard"],
    "fonts-paratype": ["PT Mono", "PT Sans", "PT Serif"],
    "fonts-play": ["Play"],
    "fonts-quicksand": ["Quicksand"],
    "fonts-sil-gentium-basic": ["Gentium"],
    "fonts-sil-andika": ["Andika"],
    "fonts-sil-charis": ["Charis SIL"],
    "fonts-league-mono": ["League Mono"],
    "fonts-league-spartan": ["League Spartan"],
    "fonts-texgyre": ["TeX Gyre Adventor", "TeX Gyre Bonum", "TeX Gyre Cursor", "TeX Gyre Heros", "TeX Gyre Pagella",
                      "TeX Gyre Schola", "TeX Gyre Termes"],
    "fonts-comic-neue": ["Comic Neue"],
    "fonts-courier-prime": ["Courier Prime"],
    "fonts-noto-mono": ["Noto Mono", "Noto Sans Mono"],
    "fonts-adf-gillius": ["Gillius ADF"],
    "fonts-adf-romande": ["Romande ADF"],
    "fonts-adf-mekanus": ["Mekanus ADF Std"],
    "fonts-go": ["Go"],
    "fonts-dancingscript": ["Dancing Script"],
    "fonts-fanwood": ["Fanwood"],
}
# Never seen in training; half of the validation images are set in them.
HELD_OUT = ["Roboto Slab", "TeX Gyre Bonum", "Quicksand", "Comic Neue", "PT Serif", "Courier Prime", "Lobster Two", "Fira Code",
            "Liberation Sans", "Fanwood"]
SKIP = ("Math", "Titling", "Smallcaps", "Initials", "Keyboard", "Script Std", "Style Std", "Small Caps", "Condensed Math")
EM = 64  # font size at which glyphs are drawn before they are warped into place
CAP = 0.7 * EM  # roughly the height of a capital


@functools.lru_cache(None)
def fonts(folders=("/usr/share/fonts", "/usr/share/texmf/fonts")):
    """Family -> list of faces that have all our characters; stops with the packages to install if a family is missing."""
    found = {family: [] for families in FAMILIES.values() for family in families}
    by_length = sorted(found, key=len, reverse=True)
    for path in sorted(p for folder in folders for p in Path(folder).rglob("*") if p.suffix.lower() in (".ttf", ".otf")):
        try:
            face = ImageFont.truetype(str(path), EM, layout_engine=ImageFont.Layout.BASIC)
        except OSError:
            continue
        name = " ".join(filter(None, face.getname()))
        family = next((f for f in by_length if (name + " ").startswith(f + " ")), None)
        if family is None or any(word in name for word in SKIP):
            continue
        missing = bytes(face.getmask("\uffff"))
        if all(bytes(face.getmask(c)) not in (b"", missing) for c in CLASSES):
            found[family].append(face)
    absent = [package for package, families in FAMILIES.items() if not all(found[f] for f in families)]
    if absent:
        raise SystemExit("fonts missing; on Debian: apt-get install " + " ".join(absent))
    return found


def colour(rng):
    return rng.integers(0, 256, 3).astype(np.float32)


def luminance(c):
    return float(c @ np.array([0.299, 0.587, 0.114], np.float32))


def field(rng, size, first, second):
    """A background (or a fill): plain, a linear gradient, or clouds, between two colours."""
    kind = rng.random()
    if kind < 0.3:
        t = np.zeros((size, size), np.float32)
    elif kind < 0.65:
        angle = rng.uniform(0, 2 * np.pi)
        y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
        t = np.clip(x * np.cos(angle) + y * np.sin(angle) + 0.5, 0, 1)
    else:
        cells = int(rng.integers(2, 9))
        clouds = Image.fromarray(rng.integers(0, 256, (cells, cells), np.uint8))
        t = np.asarray(clouds.resize((size, size), Image.BICUBIC), np.float32) / 255
    return first + t[..., None] * (second - first)


def perspective(rng, size, height):
    """PIL's eight coefficients (output pixel -> pixel on the glyph sheet) for a random pose with capitals `height` high."""
    scale = CAP / height
    angle, shear = np.deg2rad(rng.normal(0, 9)), rng.normal(0, 0.12)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    a = turn @ np.array([[1, shear], [0, 1]]) @ np.diag([rng.uniform(0.8, 1.25), 1]) * scale
    centre = size / 2 + rng.uniform(-2.5, 2.5, 2)
    g, h = rng.normal(0, 0.0022, 2)
    to_centre = np.array([[1, 0, -centre[0]], [0, 1, -centre[1]], [0, 0, 1]])
    warp = np.array([[a[0, 0], a[0, 1], 0], [a[1, 0], a[1, 1], 0], [g, h, 1]])
    m = np.array([[1, 0, 2 * EM], [0, 1, 2 * EM], [0, 0, 1]]) @ warp @ to_centre
    return (m / m[2, 2]).ravel()[:8]


def glyphs(rng, face, character, crowd):
    """A sheet with the character in the middle and, with probability `crowd` each, a neighbour to its left and to its right."""
    sheet = Image.new("L", (4 * EM, 4 * EM))
    draw = ImageDraw.Draw(sheet)
    left, top, right, bottom = draw.textbbox((0, 0), character, font=face)
    x, y = 2 * EM - (left + right) / 2, 2 * EM - (top + bottom) / 2
    stroke = int(rng.integers(1, 4)) if rng.random() < 0.12 else 0
    draw.text((x, y), character, fill=255, font=face, stroke_width=stroke)
    gap = rng.uniform(0.02, 0.3) * EM
    if rng.random() < crowd:
        other = CLASSES[rng.integers(len(CLASSES))]
        draw.text((x + left - gap - draw.textbbox((0, 0), other, font=face)[2], y), other, fill=255, font=face, stroke_width=stroke)
    if rng.random() < crowd:
        other = CLASSES[rng.integers(len(CLASSES))]
        draw.text((x + right + gap - draw.textbbox((0, 0), other, font=face)[0], y), other, fill=255, font=face, stroke_width=stroke)
    return sheet


def scribble(rng, image, count, thin):
    """Lines, boxes and ellipses in random colours."""
    draw, size = ImageDraw.Draw(image), image.width
    for _ in range(count):
        ink = tuple(int(v) for v in colour(rng))
        x0, y0, x1, y1 = rng.uniform(-0.2 * size, 1.2 * size, 4)
        box = [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]
        kind = rng.integers(4)
        if kind <= 1 or thin:
            draw.line([x0, y0, x1, y1], fill=ink, width=int(rng.integers(1, 4)))
        elif kind == 2:
            draw.ellipse(box, outline=ink, fill=ink if rng.random() < 0.5 else None)
        else:
            draw.rectangle(box, outline=ink, fill=ink if rng.random() < 0.5 else None)


def render(rng, family, label, size, tidy):
    """One image, uint8 [size, size, 3], without the sensor's part (`disturb`); a tidy one has no clutter and no neighbours."""
    faces = fonts()[family]
    face = faces[rng.integers(len(faces))]
    untidy = 0.0 if tidy else 1.0
    ground, ink = colour(rng), colour(rng)
    while abs(luminance(ground) - luminance(ink)) < 60:
        ground, ink = colour(rng), colour(rng)
    if (luminance(ink) > luminance(ground)) != (rng.random() < 0.15):  # mostly dark on light
        ground, ink = ink, ground
    canvas = Image.fromarray(field(rng, size, ground, ground + rng.normal(0, 45, 3)).clip(0, 255).astype(np.uint8))
    if rng.random() < 0.4 * untidy:
        scribble(rng, canvas, int(rng.integers(1, 6)), thin=False)
    pose = perspective(rng, size, np.exp(rng.uniform(np.log(18), np.log(36))))
    mask = glyphs(rng, face, CLASSES[label], 0.3 * untidy).transform((size, size), Image.PERSPECTIVE, tuple(pose), Image.BICUBIC)
    if rng.random() < 0.15:  # a shadow
        dark = tuple(int(v) for v in colour(rng))
        canvas.paste(dark, tuple(int(v) for v in rng.integers(-2, 4, 2)), mask.point(lambda v: int(v * 0.6)))
    fill = field(rng, size, ink, ink + rng.normal(0, 25, 3)).clip(0, 255).astype(np.uint8)
    canvas.paste(Image.fromarray(fill), (0, 0), mask)
    if rng.random() < 0.3 * untidy:
        scribble(rng, canvas, int(rng.integers(1, 3)), thin=True)
    if rng.random() < 0.15 * untidy:  # something in front
        w, h = rng.uniform(0.1, 0.4, 2) * size
        x, y = rng.uniform(0, size - w), rng.uniform(0, size - h)
        ImageDraw.Draw(canvas).rectangle([x, y, x + w, y + h], fill=tuple(int(v) for v in colour(rng)))
    if rng.random() < 0.6:
        canvas = canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.1)))
    return np.asarray(canvas)


def disturb(rng, images):
    """The sensor's part, for a batch of uint8 images [n, h, w, 3]: contrast, brightness, colour cast and noise."""
    n = len(images)
    x = images.astype(np.float32)
    mean = x.mean((1, 2, 3), keepdims=True)
    gain = np.exp(rng.normal(0, 0.25, (n, 1, 1, 1))) * np.exp(rng.normal(0, 0.08, (n, 1, 1, 3)))
    x = (x - mean) * gain.astype(np.float32) + mean + rng.normal(0, 18, (n, 1, 1, 1)).astype(np.float32)
    sigma = np.abs(rng.normal(0, 9, (n, 1, 1, 1))).astype(np.float32)
    x += sigma * rng.standard_normal(x.shape, np.float32)
    return np.rint(x.clip(0, 255)).astype(np.uint8)


TIDY = 2  # every TIDY-th pair of images is a tidy one
SPLITS = {"train": 0, "calibration": 1, "validation": 2}


def sample(seed, split, index):
    """Image `index` of a split: (uint8 image, label). Calibration images are training images that training never saw."""
    rng = np.random.default_rng([seed, SPLITS[split], index])
    known = [f for f in fonts() if f not in HELD_OUT]
    families = HELD_OUT if split == "validation" and index % 2 else known
    label = int(rng.integers(len(CLASSES)))
    size = SIZE + 2 * MARGIN if split == "train" else SIZE
    image = render(rng, families[rng.integers(len(families))], label, size, index // 2 % TIDY == 0)
    return (image if split == "train" else disturb(rng, image[None])[0]), label


def _chunk(task):
    seed, split, start, stop = task
    images, labels = zip(*(sample(seed, split, i) for i in range(start, stop)))
    return start, np.stack(images), np.array(labels, np.uint8)


def render_split(seed, split, count, processes, images=None):
    """Images and labels of a split; `images` may be a memory-mapped array to fill."""
    size = SIZE + 2 * MARGIN if split == "train" else SIZE
    images = np.empty((count, size, size, 3), np.uint8) if images is None else images
    labels = np.empty(count, np.uint8)
    tasks = [(seed, split, i, min(i + 500, count)) for i in range(0, count, 500)]
    fonts()
    with multiprocessing.Pool(processes) as pool:
        for start, part, part_labels in pool.imap_unordered(_chunk, tasks):
            images[start:start + len(part)], labels[start:start + len(part)] = part, part_labels
    return images, labels


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheet", default="sheet.png", help="where to write the contact sheet")
    parser.add_argument("--split", default="validation", choices=SPLITS)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    shown, _ = render_split(options.seed, options.split, 150, os.cpu_count() or 1)
    side = shown.shape[1]
    grid = shown.reshape(10, 15, side, side, 3).transpose(0, 2, 1, 3, 4).reshape(10 * side, 15 * side, 3)
    Image.fromarray(grid).save(options.sheet)
