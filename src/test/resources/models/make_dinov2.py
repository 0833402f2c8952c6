"""Writes dinov2/: a small DINOv2 with SwiGLU under timm's and under the authors' names, with the outputs of all linear layers, the
logits, and the gradients of the cross-entropy against the likeliest class at those outputs, as PyTorch computes them (written with
1.13.1). The network is written out here after the authors' layers (facebookresearch/dinov2, dinov2/layers):  python3 make_dinov2.py"""
import json
import math
import struct
from pathlib import Path

import torch
import torch.nn.functional as F

HERE = Path(__file__).parent / "dinov2"
SIDE, PATCH, DIM, HEADS, HIDDEN, DEPTH, CLASSES = 28, 7, 16, 2, 20, 2, 7


def safetensors(path, tensors, metadata):
    header, offset = {"__metadata__": metadata}, 0
    for name, t in tensors.items():
        size = t.numel() * 4
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            numbers = t.detach().flatten().tolist()
            file.write(struct.pack(f"<{len(numbers)}f", *numbers))


def weights():
    shapes = {"cls_token": (1, 1, DIM), "pos_embed": (1, 1 + (SIDE // PATCH) ** 2, DIM), "patch_embed.proj.weight": (DIM, 3, PATCH, PATCH),
              "patch_embed.proj.bias": (DIM,)}
    for i in range(DEPTH):
        for norm in ("norm1", "norm2"):
            shapes[f"blocks.{i}.{norm}.weight"] = shapes[f"blocks.{i}.{norm}.bias"] = (DIM,)
        for name, outputs, inputs in (("attn.qkv", 3 * DIM, DIM), ("attn.proj", DIM, DIM), ("mlp.fc1", 2 * HIDDEN, DIM), ("mlp.fc2", DIM, HIDDEN)):
            shapes[f"blocks.{i}.{name}.weight"], shapes[f"blocks.{i}.{name}.bias"] = (outputs, inputs), (outputs,)
        shapes[f"blocks.{i}.ls1.gamma"] = shapes[f"blocks.{i}.ls2.gamma"] = (DIM,)
    shapes.update({"norm.weight": (DIM,), "norm.bias": (DIM,), "head.weight": (CLASSES, DIM), "head.bias": (CLASSES,)})
    g = torch.Generator().manual_seed(1)
    made = {}
    for name, shape in shapes.items():
        n = torch.randn(shape, generator=g)
        if name in ("cls_token", "pos_embed"):
            made[name] = 0.4 * n
        elif name.endswith("gamma"):
            made[name] = 0.7 + 0.3 * n
        elif len(shape) == 1:
            made[name] = 1 + 0.3 * n if name.endswith("weight") else 0.15 * n
        else:
            made[name] = 1.5 * n / math.sqrt(n[0].numel())
    return made


def forward(w, images):
    kept = {}

    def keep(name, y):
        y.retain_grad()
        kept[name] = y
        return y

    def linear(name, x):
        return keep(name, F.linear(x, w[name + ".weight"], w[name + ".bias"]))

    def norm(name, x):
        return F.layer_norm(x, (DIM,), w[name + ".weight"], w[name + ".bias"], 1e-6)

    patches = F.conv2d(images, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=PATCH).flatten(2).transpose(1, 2)
    patches = keep("patch_embed.proj", patches.requires_grad_())
    x = torch.cat([w["cls_token"].expand(images.shape[0], -1, -1), patches], 1) + w["pos_embed"]
    for i in range(DEPTH):
        block = f"blocks.{i}."
        qkv = linear(block + "attn.qkv", norm(block + "norm1", x))
        q, k, v = qkv.reshape(*qkv.shape[:2], 3, HEADS, DIM // HEADS).permute(2, 0, 3, 1, 4)
        attention = (q * (DIM // HEADS) ** -0.5 @ k.transpose(-2, -1)).softmax(-1)
        context = (attention @ v).transpose(1, 2).reshape(x.shape)
        x = x + w[block + "ls1.gamma"] * linear(block + "attn.proj", context)
        a, b = linear(block + "mlp.fc1", norm(block + "norm2", x)).chunk(2, -1)
        x = x + w[block + "ls2.gamma"] * linear(block + "mlp.fc2", F.silu(a) * b)
    return linear("head", norm("norm", x)[:, 0]), kept


def main():
    torch.set_num_threads(1)
    w = weights()
    images = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    logits, kept = forward(w, images)
    F.cross_entropy(logits, logits.argmax(1), reduction="sum").backward()
    heads = {"num_heads": str(HEADS)}
    safetensors(HERE / "timm.safetensors", w, heads)
    authors = {name.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): t for name, t in w.items()}
    # what pre-training leaves in their files
    authors["mask_token"] = torch.zeros(1, DIM)
    safetensors(HERE / "authors.safetensors", authors, heads)
    expected = {"images": images, "logits": logits}
    for name, y in kept.items():
        expected[name + ".output"], expected[name + ".gradient"] = y, y.grad
    safetensors(HERE / "expected.safetensors", expected, {})


main()
