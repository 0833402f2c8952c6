#!/usr/bin/env python3
"""Cuts a full set of golden numbers down to what the repository carries.

    python3 trim.py SOURCE DESTINATION

SOURCE holds one folder per model (vit_tiny, swin_tiny), DESTINATION gets folders of the same names with the same files
in the same format, with fewer tensors. Needs nothing but Python 3. The same source gives the same bytes.
"""
import json
import re
import struct
import sys
from pathlib import Path

# Runs whose gradient is rounding noise of one machine are left out.
RUN = re.compile(r"(PTQ4ViT_w\da\d_pseudolabel|BasePTQ_w\da\d_(cosine|hessian-pseudolabel))$")
RAW_PARTS = ("input", "input_A", "input_B", "output", "grad_pseudolabel")

# What stays of each model: layers with raw tensors and searches, layers with quantised outputs, input tensors.
MODELS = {
    "vit_tiny": {
        "layers": r".*",
        "quant_output": r"patch_embed\.proj|blocks\.0\..*|head",
        "inputs": r".*",
    },
    # Every kind of layer: probabilities times v from the shifted block (masked windows), the others from blocks
    # without a shift. All weights stay, so that the whole float network can be checked against the logits.
    "swin_tiny": {
        "layers": r"patch_embed\.proj|layers\.0\.blocks\.1\.attn\.matmul2|layers\.0\.downsample\.reduction"
                  r"|layers\.1\.blocks\.0\.(attn\.(qkv|proj|matmul1)|mlp\.fc[12])|head",
        "quant_output": r"layers\.0\.blocks\.1\.attn\.matmul2|layers\.0\.downsample\.reduction|head",
        "inputs": r"calib",
    },
}


def read(path):
    """Header and bytes after it."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8:8 + length]), memoryview(content)[8 + length:]


def copy(source, destination, keep):
    """Copies the tensors whose name is to be kept, in their order."""
    header, data = read(source)
    kept, parts, offset = {}, [], 0
    for name, entry in header.items():
        if name == "__metadata__":
            kept[name] = entry
        elif keep(name):
            begin, end = entry["data_offsets"]
            kept[name] = {**entry, "data_offsets": [offset, offset + end - begin]}
            parts.append(data[begin:end])
            offset += end - begin
    text = json.dumps(kept, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    destination.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


def trim(source, destination, rules):
    destination.mkdir(parents=True, exist_ok=True)
    golden = json.loads((source / "golden.json").read_text())
    layers = [name for name in golden["layers"] if re.fullmatch(rules["layers"], name)]

    def layer_of(name):
        return next((layer for layer in layers if name.startswith(layer + ".")), None)

    def keep_raw(name):
        layer = layer_of(name)
        if layer is None:
            return name in ("logits", "heldout_logits", "logits_f64", "heldout_logits_f64", "target_probs")
        return name[len(layer) + 1:] in RAW_PARTS

    def keep_result(name):
        layer = layer_of(name)
        if layer is None:
            return name in ("quant_logits", "heldout_quant_logits")
        return not name.endswith(".quant_output") or re.fullmatch(rules["quant_output"], layer)

    golden["runs"] = {run: result for run, result in golden["runs"].items() if RUN.match(run)}
    for run, result in golden["runs"].items():
        result["layers"] = {name: facts for name, facts in result["layers"].items() if name in layers}
        file = "calib_" + run + ".safetensors"
        copy(source / file, destination / file, keep_result)
    copy(source / "weights.safetensors", destination / "weights.safetensors", lambda name: True)
    copy(source / "inputs.safetensors", destination / "inputs.safetensors",
         lambda name: re.fullmatch(rules["inputs"], name))
    copy(source / "raw.safetensors", destination / "raw.safetensors", keep_raw)
    (destination / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    for model, model_rules in MODELS.items():
        trim(Path(sys.argv[1]) / model, Path(sys.argv[2]) / model, model_rules)
