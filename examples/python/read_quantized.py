#!/usr/bin/env python3
"""Reads a quantised folder of ptq4vit with nothing but numpy: codes, scales, and what they stand for.

    python3 read_quantized.py FOLDER             lists the layers
    python3 read_quantized.py FOLDER OUT.npz     also writes the dequantised weights

As a module: `tensors, manifest = read(folder)`, `weights = dequantized(tensors, manifest)`, `quantize(x, quantizer)`.
"""
import json
import struct
import sys
from pathlib import Path

import numpy as np

DTYPES = {"F32": np.float32, "I8": np.int8, "U8": np.uint8}


def read(folder):
    """The tensors by name, and the manifest."""
    folder = Path(folder)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if not manifest["complete"]:
        raise SystemExit(f"{folder}: is incomplete; continue its calibration with --resume")
    data = (folder / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(data[start:end], dtype=DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors, manifest


def dequantized(tensors, manifest):
    """Weights in float32: each group of output rows has its scale."""
    weights = {}
    for layer in manifest["layers"]:
        if "weight" in layer:
            codes = tensors[layer["name"] + ".weight"]
            scales = np.repeat(tensors[layer["name"] + ".weight_scale"], len(codes) // layer["weight"]["groups"])
            weights[layer["name"]] = codes.astype(np.float32) * scales.reshape(-1, *[1] * (codes.ndim - 1))
    return weights


def quantize(x, quantizer, group=0):
    """Values on a quantiser's grid. `quantizer` is an operand of the manifest: layer["input"], layer["left"] ..."""
    x = np.asarray(x, dtype=np.float32)
    if quantizer["kind"] == "none":
        return x
    q = 2 ** (quantizer["bits"] - 1)

    def on(scale, low, high):
        scale = np.float32(scale)
        return np.clip(np.rint(x / scale), low, high).astype(np.float32) * scale

    if quantizer["kind"] == "uniform":
        return on(quantizer["scales"][group], -q, q - 1)
    if quantizer["kind"] == "gelu_twin":
        return on(quantizer["negative_scales"][group], -q, 0) + on(quantizer["positive_scales"][group], 0, q - 1)
    threshold = np.float32(quantizer["thresholds"][group])
    small, large = on(threshold / np.float32(q - 1), 0, q - 1), on(np.float32(1) / np.float32(q - 1), 0, q - 1)
    if quantizer["rule"] == "nearest":
        return np.where(np.abs(x - small) <= np.abs(x - large), small, large)
    return np.where(x < threshold, small, large)


def main():
    tensors, manifest = read(sys.argv[1])
    weights = dequantized(tensors, manifest)
    print(manifest["architecture"]["name"], "transform", manifest["transform"])
    for layer in manifest["layers"]:
        operands = [f"{side} {layer[side]['kind']} {layer[side].get('bits', '')}".strip()
                    for side in ("input", "weight", "left", "right") if side in layer]
        shape = f" {list(weights[layer['name']].shape)}" if layer["name"] in weights else ""
        print(f"{layer['name']:32s} {', '.join(operands)}{shape}")
    if len(sys.argv) > 2:
        np.savez(sys.argv[2], **weights)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main()
