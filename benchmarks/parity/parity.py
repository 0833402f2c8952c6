#!/usr/bin/env python3
"""Compares this library's float32 networks and gradients with PyTorch's, layer by layer.

    benchmarks/parity/parity.py [MODEL...] [--list] [--seed N] [--classpath JARS] [--keep DIR]

Needs a Python with PyTorch and timm, or PyTorch and torchvision. MODEL is timm/NAME or torchvision/NAME; without any, all
listed ones for which a package is there. Each gets random weights of a fixed seed; PyTorch computes one random image and the
gradients of the cross-entropy against the likeliest class, the output of every linear layer and the softmax of every attention
are kept, and io.github.ptq4vit.benchmarks.Parity recomputes and compares them: at most 1e-4 of the largest magnitude in each.
Exit code 1 if one is off further.
"""
import argparse
import json
import math
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

HOME = Path(__file__).resolve().parents[2]
TIMM = ["vit_small_patch32_224", "vit_small_patch16_224", "vit_base_patch16_224", "vit_base_patch16_384", "deit_small_patch16_224",
        "deit_base_patch16_224", "deit_base_patch16_384", "swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224",
        "swin_base_patch4_window7_224", "swin_base_patch4_window12_384", "deit_tiny_distilled_patch16_224",
        "deit3_small_patch16_224", "vit_base_patch8_224", "vit_small_patch14_reg4_dinov2"]
TORCHVISION = ["vit_b_16", "vit_b_32", "vit_l_16", "swin_t", "swin_s", "swin_b"]


def safetensors(path, tensors):
    header, offset = {}, 0
    kinds = {torch.float32: "F32", torch.int64: "I64"}
    for name, t in tensors.items():
        size = t.numel() * t.element_size()
        header[name] = {"dtype": kinds[t.dtype], "shape": list(t.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            file.write(t.detach().contiguous().numpy().tobytes())


def randomise(model, seed):
    """Weights that keep activations at about unit size, attention that prefers some tokens, uneven norms."""
    g = torch.Generator().manual_seed(seed)
    for name, p in sorted(model.named_parameters()):
        n = torch.randn(p.shape, generator=g)
        if name.endswith(("_token", "pos_embed", "pos_embedding", "bias_table")):
            p.data = 0.4 * n
        elif name.endswith("gamma"):
            p.data = 0.7 + 0.3 * n
        elif p.dim() == 1:
            p.data = 1 + 0.3 * n if name.endswith("weight") else 0.1 * n
        else:
            p.data = (1.5 if "qkv" in name or "in_proj" in name or "head" in name else 1) * n / math.sqrt(p[0].numel())
    return model.eval()


def build(name, seed):
    package, model = name.split("/")
    if package == "timm":
        import timm
        # DINOv2 is published without a classifier
        return randomise(timm.create_model(model, num_classes=1000), seed), getattr(timm, "__version__")
    import torchvision
    return randomise(getattr(torchvision.models, model)(), seed), torchvision.__version__


class Recorder:
    """Keeps the outputs of all linear layers, known by their weights, and what goes into and comes out of each softmax."""

    def __init__(self, model):
        self.names = {id(p): name for name, p in model.named_parameters()}
        self.outputs, self.softmax = {}, []

    def __enter__(self):
        recorder = self
        self.linear, self.conv, self.tensor_softmax = torch.nn.functional.linear, torch.nn.Conv2d._conv_forward, torch.Tensor.softmax

        def linear(x, weight, bias=None):
            return recorder.keep(weight, recorder.linear(x, weight, bias))

        def conv(module, x, weight, bias):
            return recorder.keep(weight, recorder.conv(module, x, weight, bias))

        def softmax(x, *args, **kwargs):
            y = recorder.tensor_softmax(x, *args, **kwargs)
            x.retain_grad()
            recorder.softmax.append((x, y))
            return y

        torch.nn.functional.linear, torch.nn.Conv2d._conv_forward, torch.Tensor.softmax = linear, conv, softmax
        return self

    def __exit__(self, *error):
        torch.nn.functional.linear, torch.nn.Conv2d._conv_forward, torch.Tensor.softmax = self.linear, self.conv, self.tensor_softmax

    def keep(self, weight, y):
        if y.requires_grad and id(weight) in self.names:
            y.retain_grad()
            self.outputs[self.names[id(weight)]] = y
        return y


def dump(name, seed, folder):
    model, version = build(name, seed)
    side = model.image_size if hasattr(model, "image_size") else getattr(getattr(model, "patch_embed", None), "img_size", (224,))[0]
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(seed + 1))
    with Recorder(model) as recorder:
        logits = model(image)
        if isinstance(logits, tuple):
            logits = sum(logits) / len(logits)
        torch.nn.functional.cross_entropy(logits, logits.argmax(1)).backward()
    outputs, gradients = {}, {}
    for weight, y in recorder.outputs.items():
        embedding = dict(model.named_parameters())[weight].dim() == 4
        outputs[weight] = y.permute(0, 2, 3, 1) if embedding else y
        gradients[weight] = y.grad.permute(0, 2, 3, 1) if embedding else y.grad
    extra = {"logits": logits, "image": image}
    for i, (x, y) in enumerate(recorder.softmax):
        extra[f"probabilities.{i}"] = y
        extra[f"softmax_gradient.{i}"] = x.grad
    safetensors(folder / "weights.safetensors", model.state_dict())
    safetensors(folder / "outputs.safetensors", outputs)
    safetensors(folder / "gradients.safetensors", gradients)
    safetensors(folder / "extra.safetensors", extra)
    return side, version


def available(names):
    found = []
    for package in ("timm", "torchvision"):
        try:
            __import__(package)
            found.append(package)
        except ImportError:
            print(f"{package} is not there, its models are left out", file=sys.stderr)
    return [n for n in names if n.split("/")[0] in found]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--list", action="store_true", help="only list the models")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--classpath", default=str(HOME / "benchmarks/target/benchmarks.jar"))
    parser.add_argument("--keep", type=Path, help="keep what PyTorch computed in this folder")
    options = parser.parse_args()
    names = ["timm/" + n for n in TIMM] + ["torchvision/" + n for n in TORCHVISION]
    if options.list:
        print("\n".join(names))
        return 0
    failed = []
    for name in options.models or available(names):
        with tempfile.TemporaryDirectory() as temporary:
            folder = (options.keep or Path(temporary)) / name.replace("/", "-")
            folder.mkdir(parents=True, exist_ok=True)
            side, version = dump(name, options.seed, folder)
            print(f"{name} ({name.split('/')[0]} {version}, PyTorch {torch.__version__}), {side} pixels", flush=True)
            done = subprocess.run(["java", "-Xmx4g", "-cp", options.classpath, "io.github.ptq4vit.benchmarks.Parity", str(folder),
                                   str(side)])
            if done.returncode != 0:
                failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "all within 1e-4")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
