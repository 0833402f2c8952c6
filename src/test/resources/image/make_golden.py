#!/usr/bin/env python3
"""Writes the golden files of the tests of the image package beside itself, with Pillow and torchvision.

Made with Pillow 9.4.0 and torchvision 0.14.1; the sources are random with a fixed seed, so a run changes nothing.
  resize/  source-WxH.png and, resized from it, WxH-to-WxH.png (bicubic) and WxH-to-WxH-bilinear.png
  transform/  SOURCE-RESIZE-CROP.f32: float32, little endian, [3, crop, crop]
  kinds/   small files of every kind with the decoded RGB in NAME.rgb (bytes, [height, width, 3])
"""
import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision import transforms

HERE = Path(__file__).parent
RESIZES = [(97, 61, [(40, 25), (190, 120), (31, 90), (97, 30), (1, 1)]), (64, 256, [(62, 248)]), (5, 3, [(17, 40)])]
BILINEAR = {(97, 61): [(40, 25), (190, 120), (32, 32)], (64, 256): [], (5, 3): [(17, 40)]}
# (source, resize or 0, crop)
TRANSFORMS = [((97, 61), 40, 32), ((97, 61), 37, 32), ((64, 256), 33, 32), ((97, 61), 0, 32), ((97, 61), 0, 72),
              ((5, 3), 0, 8), ((97, 61), 61, 61)]


def scene(rng, width, height):
    """Gradients, edges and noise, with both ends of the range: something to overshoot."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [255 * (np.sin(x / 9 + c) * np.cos(y / 7 - c) > 0.2) * 0.7 + x * 0.5 + y * 0.4 * c for c in range(3)]
    return np.clip(np.stack(planes, -1) + rng.normal(0, 25, (height, width, 3)), 0, 255).astype(np.uint8)


def smooth(width, height):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1).astype(np.uint8)


def png(width, height, depth, colour, rows, *extra):
    """A PNG file put together by hand, for the kinds that Pillow does not write."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"".join([b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", head), *(chunk(*e) for e in extra),
                     chunk(b"IDAT", body), chunk(b"IEND", b"")])


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def kind(name, content, expected=None):
    (HERE / "kinds" / name).write_bytes(content)
    if expected is None:
        expected = np.array(Image.open(io.BytesIO(content)).convert("RGB"))
    (HERE / "kinds" / (name + ".rgb")).write_bytes(expected.astype(np.uint8).tobytes())


def kinds(rng):
    w, h = 7, 5
    rgb = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
    alpha = rng.integers(0, 256, (h, w), dtype=np.uint8)
    grey = rgb[:, :, 0]
    image = Image.fromarray(rgb)
    kind("rgb.png", encoded(image, "PNG"))
    kind("grey.png", encoded(Image.fromarray(grey), "PNG"))
    kind("grey-alpha.png", encoded(Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]), "PNG"))
    kind("rgba.png", encoded(Image.fromarray(np.dstack([rgb, alpha])), "PNG"))
    kind("palette.png", encoded(image.convert("P", palette=Image.ADAPTIVE, colors=13), "PNG"))
    kind("palette-alpha.png", encoded(image.convert("P", palette=Image.ADAPTIVE, colors=6), "PNG", transparency=2))
    kind("bilevel.png", encoded(Image.fromarray(grey).convert("1"), "PNG"))
    kind("grey-gamma.png", png(w, h, 8, 0, [r.tobytes() for r in grey], (b"gAMA", struct.pack(">I", 100000))))
    kind("grey-2bit.png", png(w, h, 2, 0, [bytes([0b00011011, 0b11100100])] * h))
    kind("grey-transparent.png", png(w, h, 8, 0, [r.tobytes() for r in grey],
                                     (b"tRNS", struct.pack(">H", int(grey[1, 2])))))
    wide = rng.integers(0, 65536, (h, w, 4), dtype=np.uint16)
    def rows(a):
        return [r.astype(">u2").tobytes() for r in a]
    kind("grey16.png", png(w, h, 16, 0, rows(wide[:, :, 0])), np.repeat(wide[:, :, :1] >> 8, 3, 2))
    kind("grey16-alpha.png", png(w, h, 16, 4, rows(wide[:, :, :2])), np.repeat(wide[:, :, :1] >> 8, 3, 2))
    kind("rgb16.png", png(w, h, 16, 2, rows(wide[:, :, :3])), wide[:, :, :3] >> 8)
    kind("rgba16.png", png(w, h, 16, 6, rows(wide)), wide[:, :, :3] >> 8)

    photo = Image.fromarray(smooth(37, 27))
    kind("ycc444.jpg", encoded(photo, "JPEG", quality=90, subsampling=0))
    kind("ycc420.jpg", encoded(photo, "JPEG", quality=90, subsampling=2))
    kind("progressive.jpg", encoded(photo, "JPEG", quality=90, progressive=True))
    kind("grey.jpg", encoded(photo.convert("L"), "JPEG", quality=90))
    exif = Image.Exif()
    exif[0x0112] = 6
    kind("rotated.jpg", encoded(photo, "JPEG", quality=90, exif=exif))
    # without any marker of the colour space, and with Adobe's that says RGB
    plain = encoded(photo, "JPEG", quality=90, subsampling=0)
    assert plain[2:4] == b"\xff\xe0"
    rest = plain[4 + struct.unpack(">H", plain[4:6])[0]:]
    kind("unmarked.jpg", plain[:2] + rest)
    kind("adobe-rgb.jpg", plain[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00" + rest)
    inks = Image.fromarray(np.dstack([smooth(37, 27), smooth(37, 27)[:, ::-1, 0] // 2]), "CMYK")
    cmyk = encoded(inks, "JPEG", quality=90)
    kind("cmyk.jpg", cmyk)
    transform = cmyk.index(b"Adobe") + 11
    assert cmyk[transform] == 0
    kind("ycck.jpg", cmyk[:transform] + b"\2" + cmyk[transform + 1:])


def main():
    for folder in ("resize", "transform", "kinds"):
        (HERE / folder).mkdir(exist_ok=True)
    rng = np.random.default_rng(20261122)
    for width, height, targets in RESIZES:
        source = Image.fromarray(scene(rng, width, height))
        source.save(HERE / f"resize/source-{width}x{height}.png", optimize=True)
        for target in targets:
            resized = source.resize(target, Image.BICUBIC)
            resized.save(HERE / f"resize/{width}x{height}-to-{target[0]}x{target[1]}.png", optimize=True)
        for target in BILINEAR[width, height]:
            resized = source.resize(target, Image.BILINEAR)
            resized.save(HERE / f"resize/{width}x{height}-to-{target[0]}x{target[1]}-bilinear.png", optimize=True)
    for (width, height), resize, crop in TRANSFORMS:
        steps = [transforms.Resize(resize, transforms.InterpolationMode.BICUBIC)] if resize else []
        steps += [transforms.CenterCrop(crop), transforms.ToTensor(),
                  transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
        source = Image.open(HERE / f"resize/source-{width}x{height}.png").convert("RGB")
        result = transforms.Compose(steps)(source).numpy().astype("<f4")
        (HERE / f"transform/{width}x{height}-{resize}-{crop}.f32").write_bytes(result.tobytes())
    kinds(rng)


if __name__ == "__main__":
    main()
