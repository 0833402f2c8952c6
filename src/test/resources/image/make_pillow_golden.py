#!/usr/bin/env python3
"""Writes further golden files of the tests of the image package beside itself, with Pillow and NumPy alone.

Made with Pillow 9.4.0 (libjpeg-turbo); run make_golden.py first. A run changes nothing.
  resize/     WxH-to-WxH-FILTER.png, resized from source-WxH.png
  transform/  NAME.f32: float32, little endian, [3, crop, crop]; how transformers and timm's crop mode "border" place an image
  kinds/      three-*.jpg, four-*.jpg: components with every marker that libjpeg looks at, with the decoded RGB in NAME.rgb
"""
import io
import math
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
FILTERS = {"nearest": Image.NEAREST, "box": Image.BOX, "hamming": Image.HAMMING, "lanczos": Image.LANCZOS}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def transformers_crop(pixels, crop):
    """center_crop of transformers/image_transforms.py, as arithmetic on one axis after the other."""
    for axis in (0, 1):
        size = pixels.shape[axis]
        start = (size - crop) // 2
        if size < crop:
            before = math.ceil((crop - size) / 2)
            widths = [(0, 0)] * 3
            widths[axis] = (before, crop - size - before)
            pixels = np.pad(pixels, widths)
            start = 0
        pixels = np.take(pixels, range(start, start + crop), axis)
    return pixels


def timm_border(image, resize, crop):
    """ResizeKeepRatio(longest=1) and CenterCropOrPad(fill=mean) of timm/data/transforms.py, for a crop of even margins."""
    ratio = max(image.height / resize, image.width / resize)
    width, height = round(image.width / ratio), round(image.height / ratio)
    image = image.resize((width, height), Image.BICUBIC)
    canvas = Image.new("RGB", (max(width, crop), max(height, crop)), tuple(round(255 * v) for v in MEAN))
    canvas.paste(image, (max(0, (crop - width) // 2), max(0, (crop - height) // 2)))
    left, top = (int(round((canvas.width - crop) / 2.0)), int(round((canvas.height - crop) / 2.0)))
    return np.array(canvas.crop((left, top, left + crop, top + crop)))


def save_transformed(name, pixels):
    scaled = pixels.astype(np.float32) / np.float32(255)
    scaled = (scaled - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    (HERE / "transform" / (name + ".f32")).write_bytes(scaled.transpose(2, 0, 1).astype("<f4").tobytes())


def components():
    """Files of three and four components, with Adobe's marker for each transform and without, with JFIF's before it or not."""
    y, x = np.mgrid[0:27, 0:37]
    planes = np.stack([x * 255 // 37, y * 255 // 27, (x + y) * 255 // 64, (37 - x) * 120 // 37], -1).astype(np.uint8)
    jfif = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    for count, word, mode in ((3, "three", "RGB"), (4, "four", "CMYK")):
        out = io.BytesIO()
        Image.fromarray(planes[:, :, :count], mode).save(out, "JPEG", quality=92, subsampling=0)
        content = out.getvalue()
        # Pillow writes one marker of an application before the tables: JFIF's of three components, Adobe's of four
        assert content[2:4] in (b"\xff\xe0", b"\xff\xee")
        rest = content[4 + int.from_bytes(content[4:6], "big"):]
        for transform in (None, 0, 1, 2, 255):
            adobe = b"" if transform is None else b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])
            for name, marker in {"none": b"", "jfif": jfif}.items():
                file = content[:2] + marker + adobe + rest
                label = f"{word}-{name}-{'plain' if transform is None else transform}.jpg"
                (HERE / "kinds" / label).write_bytes(file)
                (HERE / "kinds" / (label + ".rgb")).write_bytes(np.array(Image.open(io.BytesIO(file)).convert("RGB")).tobytes())


def main():
    source = Image.open(HERE / "resize/source-97x61.png").convert("RGB")
    for name, number in FILTERS.items():
        for target in [(40, 25), (190, 120), (31, 90)]:
            source.resize(target, number).save(HERE / f"resize/97x61-to-{target[0]}x{target[1]}-{name}.png", optimize=True)
    for crop in (32, 33, 72, 97):
        save_transformed(f"97x61-transformers-{crop}", transformers_crop(np.array(source), crop))
    for resize, crop in [(40, 40), (41, 32), (60, 32)]:
        save_transformed(f"97x61-border-{resize}-{crop}", timm_border(source, resize, crop))
    tall = Image.open(HERE / "resize/source-64x256.png").convert("RGB")
    save_transformed("64x256-border-33-32", timm_border(tall, 33, 32))
    components()


if __name__ == "__main__":
    main()
