#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How much do the example's network and images suffer from plain quantisation? A quick check in PyTorch, apart from the library.

Every operand of every matrix product (weights, their inputs, queries, keys, attention weights, values; not the pixels) is
rounded to a symmetric uniform grid with one scale for the whole tensor: `minmax` takes the largest magnitude seen on the calibration images,
`best` the multiple of it (0.3, 0.35, ... 1.2) with the least squared error.
"""
import argparse
import json
import struct
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

MULTIPLES = np.arange(0.3, 1.21, 0.05)


def read_safetensors(path):
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8:8 + length]), data[8 + length:]
    metadata = header.pop("__metadata__", {})
    return {name: torch.from_numpy(np.frombuffer(body[slice(*e["data_offsets"])], "<f4").reshape(e["shape"]).copy())
            for name, e in header.items()}, metadata


def read_images(folder):
    rows = [line.split() for line in (folder / "labels.txt").read_text().splitlines()]
    pixels = np.stack([np.asarray(Image.open(folder / name).convert("RGB")) for name, _ in rows])
    x = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float()
    return ((x / 255 - 0.5) / 0.5).contiguous(), torch.tensor([int(label) for _, label in rows])


def forward(w, heads, x, q):
    """The network from its tensors; `q(name, tensor)` sees each operand of each product and returns what to use instead."""
    def linear(name, x):
        return q(name + ".input", x) @ q(name + ".weight", w[name + ".weight"].flatten(1)).T + w[name + ".bias"]

    patch, dim = w["patch_embed.proj.weight"].shape[-1], w["cls_token"].shape[-1]
    patches = F.unfold(x, patch, stride=patch).transpose(1, 2)  # the pixels themselves stay as they are
    x = patches @ q("patch_embed.weight", w["patch_embed.proj.weight"].flatten(1)).T + w["patch_embed.proj.bias"]
    x = torch.cat([w["cls_token"].expand(len(x), -1, -1), x], 1) + w["pos_embed"]

    def norm(name, x):
        return F.layer_norm(x, (dim,), w[name + ".weight"], w[name + ".bias"], 1e-6)

    i = 0
    while f"blocks.{i}.norm1.weight" in w:
        p = f"blocks.{i}."
        b, n, _ = x.shape
        query, key, value = linear(p + "attn.qkv", norm(p + "norm1", x)).reshape(b, n, 3, heads, -1).permute(2, 0, 3, 1, 4)
        scores = q(p + "query", query) @ q(p + "key", key).transpose(-2, -1) * (dim // heads) ** -0.5
        mixed = q(p + "probabilities", scores.softmax(-1)) @ q(p + "value", value)
        x = x + linear(p + "attn.proj", mixed.transpose(1, 2).reshape(b, n, dim))
        x = x + linear(p + "mlp.fc2", F.gelu(linear(p + "mlp.fc1", norm(p + "norm2", x))))
        i += 1
    return linear("head", norm("norm", x)[:, 0])


def rounded(t, scale, bits):
    return (t / scale).round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) * scale


def calibrate(w, heads, images, bits, best):
    scales = {}

    def observe(name, t):
        full = t.abs().max().item() / (2 ** (bits - 1) - 0.5)
        scales[name] = min((full * m for m in MULTIPLES), key=lambda s: (rounded(t, s, bits) - t).square().sum().item()) if best else full
        return t

    forward(w, heads, images, observe)
    return scales


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--ranges", action="store_true", help="also print each operand's largest magnitude over its standard deviation")
    options = parser.parse_args()
    w, metadata = read_safetensors(options.folder / "model.safetensors")
    heads = int(metadata["num_heads"])
    golden, _ = read_safetensors(options.folder / "golden.safetensors")
    calibration, _ = read_images(options.folder / "calibration")
    images, labels = read_images(options.folder / "validation")
    difference = (forward(w, heads, golden["input"], lambda _, t: t) - golden["logits"]).abs().max()
    assert torch.equal(images[:8], golden["input"])

    def top1(q):
        return 100 * (forward(w, heads, images, q).argmax(1) == labels).float().mean().item()

    print(f"{sum(t.numel() for t in w.values())} parameters, golden logits off by {difference:.1e}, {len(labels)} images")
    print(f"float         {top1(lambda _, t: t):6.2f}")
    for best in (False, True):
        for bits in (8, 6, 5, 4, 3):
            scales = calibrate(w, heads, calibration, bits, best)
            result = top1(lambda name, t: rounded(t, scales[name], bits))
            print(f"W{bits}A{bits} {'best  ' if best else 'minmax'}   {result:6.2f}", flush=True)
    if options.ranges:
        forward(w, heads, calibration, lambda name, t: print(f"{name:32s} {t.abs().max() / t.std():8.1f}") or t)


if __name__ == "__main__":
    main()
