#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the small vision transformer of the "characters" example and writes everything the example consists of.

    train.py                            an hour or so on two CPU cores
    train.py --epochs 1 --images 5000   to see it run

Written are, into --out: model.safetensors, classes.txt, calibration/ and validation/ (images and labels.txt), golden.safetensors
(the first eight validation images after the transform, and their logits), predictions.txt. The images come from render.py.
"""
import argparse
import json
import math
import os
import struct
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import render

MEAN = STD = 0.5


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * (d // self.heads) ** -0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(b, n, d))


class Mlp(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, patch, dim):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, patch)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    """The plain pre-norm vision transformer, with timm's names for the parameters."""

    def __init__(self, size, patch, dim, depth, heads, classes):
        super().__init__()
        self.patch_embed = PatchEmbed(patch, dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, dim) * 0.1)
        self.blocks = nn.Sequential(*(Block(dim, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, classes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02 if module is self.head else module.in_features ** -0.5)
                nn.init.zeros_(module.bias)

    def forward(self, x):
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


def transform(images):
    """uint8 [n, h, w, 3] -> float32 [n, 3, h, w]."""
    return ((torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD).contiguous()


def augment(rng, images):
    """A fresh crop with its channels in a random order, then the sensor's noise."""
    n, span = len(images), 2 * render.MARGIN + 1
    rows = rng.integers(0, span, n)[:, None] + np.arange(render.SIZE)
    columns = rng.integers(0, span, n)[:, None] + np.arange(render.SIZE)
    x = images[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    order = rng.permuted(np.tile(np.arange(3), (n, 1)), axis=1)
    return render.disturb(rng, np.take_along_axis(x, order[:, None, None, :], 3))


@torch.no_grad()
def logits(model, images, batch=250):
    model.eval()
    return torch.cat([model(transform(images[i:i + batch])) for i in range(0, len(images), batch)])


def train(model, images, labels, held_out, held_out_labels, options):
    decayed = [p for p in model.parameters() if p.ndim == 2 or p.ndim == 4]
    others = [p for p in model.parameters() if p.ndim not in (2, 4)]
    optimiser = torch.optim.AdamW([{"params": decayed, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0.0}],
                                  lr=options.lr, betas=(0.9, 0.99))
    rng, targets = np.random.default_rng([options.seed, 100]), torch.from_numpy(labels.astype(np.int64))
    steps, warmup = len(labels) // options.batch, 300
    total, step, begin = steps * options.epochs, 0, time.time()
    for epoch in range(options.epochs):
        model.train()
        order, seen, right = rng.permutation(len(labels)), 0.0, 0
        if epoch < options.tidy_epochs:  # a gentle start, or nothing is learned for long
            order = rng.permutation(np.resize(np.flatnonzero(np.arange(len(labels)) // 2 % render.TIDY == 0), len(labels)))
        for part in np.array_split(order[:steps * options.batch], steps):
            if options.threads == 0 and step % 50 == 0:
                torch.set_num_threads(2 if os.getloadavg()[0] < 2.4 else 1)
            rate = options.lr * min(1, (step + 1) / warmup) * (0.5 + 0.5 * math.cos(math.pi * step / total))
            for group in optimiser.param_groups:
                group["lr"] = rate
            output = model(transform(augment(rng, images[np.sort(part)])))
            target = targets[np.sort(part)]
            loss = F.cross_entropy(output, target, label_smoothing=options.smoothing)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            seen, right, step = seen + loss.item(), right + int((output.argmax(1) == target).sum()), step + 1
            if step % 100 == 0:
                print(f"step {step:6d}/{total}  {time.time() - begin:6.0f} s  loss {loss.item():.4f}", flush=True)
        top1 = (logits(model, held_out).argmax(1).numpy() == held_out_labels).mean()
        print(f"epoch {epoch + 1:3d}/{options.epochs}  {time.time() - begin:6.0f} s  loss {seen / steps:.4f}  "
              f"train {right / (steps * options.batch):.4f}  held out {top1:.4f}", flush=True)
        torch.save(model.state_dict(), Path(options.scratch) / "last.pt")


def write_safetensors(path, tensors, metadata=None):
    """Eight bytes of header length, the JSON header padded with spaces to a multiple of eight, the float32 data."""
    header, offset = {"__metadata__": metadata} if metadata else {}, 0
    arrays = {name: np.ascontiguousarray(t.detach().numpy(), "<f4") for name, t in tensors.items()}
    for name, array in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in arrays.values():
            file.write(array.tobytes())


def write_images(folder, prefix, images, labels):
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{prefix}_{i:04d}.png" for i in range(len(images))]
    for name, image in zip(names, images):
        Image.fromarray(image).save(folder / name, optimize=True)
    (folder / "labels.txt").write_text("".join(f"{n} {label}\n" for n, label in zip(names, labels)))
    return names


def export(model, calibration, validation, options):
    out = Path(options.out)
    write_images(out / "calibration", "calib", *calibration)
    images, labels = (part[:options.validation] for part in validation)
    names = write_images(out / "validation", "val", images, labels)
    (out / "classes.txt").write_text("".join(f"{c}\n" for c in render.CLASSES))
    metadata = {"architecture": "vit", "num_heads": str(options.heads), "img_size": str(render.SIZE), "mean": f"{MEAN},{MEAN},{MEAN}",
                "std": f"{STD},{STD},{STD}", "crop_pct": "1.0", "classes": ",".join(render.CLASSES), "license": "Apache-2.0"}
    write_safetensors(out / "model.safetensors", model.state_dict(), metadata)
    result = logits(model, images)
    write_safetensors(out / "golden.safetensors", {"input": transform(images[:8]), "logits": logits(model, images[:8])})
    predicted = result.argmax(1).numpy()
    right = int((predicted == labels).sum())
    lines = [f"# float top-1 {100 * right / len(labels):.2f} % ({right} of {len(labels)}); file prediction\n"]
    (out / "predictions.txt").write_text("".join(lines + [f"{n} {p}\n" for n, p in zip(names, predicted)]))
    print(lines[0], end="")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--out", default=str(Path(__file__).resolve().parent), help="folder to write to (default: this one)")
    add("--scratch", default="/tmp/characters", help="folder for the rendered training images")
    add("--images", type=int, default=60000, help="training images")
    add("--calibration", type=int, default=64, help="calibration images to write")
    add("--validation", type=int, default=800, help="validation images to write")
    add("--held-out", type=int, default=6000, help="validation images to measure on (the written ones are the first of them)")
    add("--epochs", type=int, default=20)
    add("--resume", help="start from this last.pt (training leaves one in --scratch after each epoch)")
    add("--tidy-epochs", type=int, default=1, help="epochs at the start on the images without clutter")
    add("--batch", type=int, default=128)
    add("--lr", type=float, default=6e-4)
    add("--weight-decay", type=float, default=0.05)
    add("--smoothing", type=float, default=0.05)
    add("--patch", type=int, default=8)
    add("--dim", type=int, default=96)
    add("--depth", type=int, default=6)
    add("--heads", type=int, default=3)
    add("--seed", type=int, default=1)
    add("--threads", type=int, default=2, help="0: one or two, as the machine's load allows")
    options = parser.parse_args()
    torch.set_num_threads(options.threads or 1)
    torch.manual_seed(options.seed)

    begin = time.time()
    validation = render.render_split(options.seed, "validation", options.held_out, options.threads or 2)
    calibration = render.render_split(options.seed, "calibration", options.calibration, options.threads or 2)
    scratch, side = Path(options.scratch), render.SIZE + 2 * render.MARGIN
    scratch.mkdir(parents=True, exist_ok=True)
    images = np.memmap(scratch / "train.bin", np.uint8, "w+", shape=(options.images, side, side, 3))
    _, labels = render.render_split(options.seed, "train", options.images, options.threads or 2, images)
    print(f"rendered in {time.time() - begin:.0f} s", flush=True)

    model = VisionTransformer(render.SIZE, options.patch, options.dim, options.depth, options.heads, len(render.CLASSES))
    if options.resume:
        model.load_state_dict(torch.load(options.resume))
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    train(model, images, labels, *validation, options)
    export(model, calibration, validation, options)
    right = logits(model, validation[0]).argmax(1).numpy() == validation[1]
    print(f"top-1 on {len(right)} held-out images {right.mean():.4f}: "
          f"known fonts {right[::2].mean():.4f}, new fonts {right[1::2].mean():.4f}")


if __name__ == "__main__":
    main()
