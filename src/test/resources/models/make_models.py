"""Writes the small models of this folder: one set of random weights in every layout that ModelReader understands, and small
models of every kind, with the logits that PyTorch computes. Run with PyTorch, torchvision and timm (written with 1.13.0,
0.14.1 and 1.0.29):  python3 make_models.py
Hugging Face's layouts are made by renaming, after the names of transformers' modeling_vit, modeling_deit, modeling_swin."""
import argparse
import json
import math
import struct
from pathlib import Path

import torch
import torchvision
from timm.layers import resample_abs_pos_embed
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from timm.models.deit import VisionTransformerDistilled

HERE = Path(__file__).parent
CLASSES, SIZE = 7, 32
VIT = dict(img_size=SIZE, patch_size=8, embed_dim=16, depth=2, num_heads=2, mlp_ratio=1.5, num_classes=CLASSES)
SWIN = dict(img_size=SIZE, patch_size=4, window_size=4, embed_dim=8, depths=(2, 2), num_heads=(2, 4), num_classes=CLASSES)


def safetensors(path, tensors, metadata=None):
    header, offset = ({"__metadata__": metadata} if metadata else {}), 0
    for name, t in tensors.items():
        kind = {torch.float32: "F32", torch.int64: "I64", torch.bool: "BOOL"}[t.dtype]
        size = t.numel() * t.element_size()
        header[name] = {"dtype": kind, "shape": list(t.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            file.write(t.contiguous().numpy().tobytes())


def randomise(model, seed):
    g = torch.Generator().manual_seed(seed)
    for name, p in sorted(model.named_parameters()):
        n = torch.randn(p.shape, generator=g)
        if name.endswith(("_token", "pos_embed", "bias_table")):
            p.data = 0.4 * n
        elif name.endswith("gamma"):
            p.data = 0.7 + 0.3 * n
        elif p.dim() == 1:
            p.data = 1 + 0.3 * n if name.endswith("weight") else 0.15 * n
        else:
            p.data = (1.5 if "qkv" in name or "head" in name else 1) * n / math.sqrt(p[0].numel())
    return model.eval()


def config(folder, **facts):
    (HERE / folder / "config.json").write_text(json.dumps(facts, indent=1) + "\n")


def preprocessor(folder, **facts):
    (HERE / folder / "preprocessor_config.json").write_text(json.dumps(facts, indent=1) + "\n")


def split_qkv(name, t, prefix):
    return {f"{prefix}.{part}.{name.rsplit('.', 1)[1]}": piece
            for part, piece in zip(("query", "key", "value"), t.chunk(3))}


def hf_vit(weights, prefix):
    out = {}
    for name, t in weights.items():
        parts = name.split(".")
        if name in ("cls_token", "dist_token", "pos_embed"):
            out[f"{prefix}.embeddings." + {"cls_token": "cls_token", "dist_token": "distillation_token",
                                           "pos_embed": "position_embeddings"}[name]] = t
        elif parts[0] == "patch_embed":
            out[f"{prefix}.embeddings.patch_embeddings.projection.{parts[2]}"] = t
        elif parts[0] == "blocks":
            block = f"{prefix}.encoder.layer.{parts[1]}"
            rest = ".".join(parts[2:-1])
            if rest == "attn.qkv":
                out.update(split_qkv(name, t, block + ".attention.attention"))
            else:
                out[f"{block}." + {"attn.proj": "attention.output.dense", "norm1": "layernorm_before", "norm2": "layernorm_after",
                                   "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"}[rest] + "." + parts[-1]] = t
        elif parts[0] == "norm":
            out[f"{prefix}.layernorm.{parts[1]}"] = t
        else:
            two = "head_dist.weight" in weights
            out[{"head": "cls_classifier" if two else "classifier", "head_dist": "distillation_classifier"}[parts[0]]
                + "." + parts[1]] = t
    return out


def hf_swin(old):
    out = {}
    for name, t in old.items():
        parts = name.split(".")
        if parts[0] == "patch_embed":
            out["swin.embeddings." + {"proj": "patch_embeddings.projection", "norm": "norm"}[parts[1]] + "." + parts[2]] = t
        elif parts[0] == "layers" and parts[2] == "blocks":
            block = f"swin.encoder.layers.{parts[1]}.blocks.{parts[3]}"
            rest = ".".join(parts[4:-1])
            if rest == "attn.qkv":
                out.update(split_qkv(name, t, block + ".attention.self"))
            elif rest == "attn":
                out[f"{block}.attention.self.{parts[-1]}"] = t
            elif parts[-1] != "attn_mask":
                out[f"{block}." + {"attn.proj": "attention.output.dense", "norm1": "layernorm_before", "norm2": "layernorm_after",
                                   "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"}[rest] + "." + parts[-1]] = t
        elif parts[0] == "layers":
            out["swin.encoder." + name] = t
        elif parts[0] == "norm":
            out["swin.layernorm." + parts[1]] = t
        else:
            out["classifier." + parts[1]] = t
    return out


def vision_vit(weights, model):
    """torchvision's names, by the order and the shapes of its own state_dict."""
    out = {}
    for name in model.state_dict():
        parts = name.split(".")
        if name == "class_token":
            own = "cls_token"
        elif name == "encoder.pos_embedding":
            own = "pos_embed"
        elif parts[0] == "conv_proj":
            own = "patch_embed.proj." + parts[1]
        elif parts[0] == "heads":
            own = "head." + parts[-1]
        elif parts[1] == "ln":
            own = "norm." + parts[2]
        else:
            rest = ".".join(parts[3:])
            for theirs, ours in (("ln_1", "norm1"), ("ln_2", "norm2"), ("self_attention.in_proj_", "attn.qkv."),
                                 ("self_attention.out_proj", "attn.proj"), ("mlp.0", "mlp.fc1"), ("mlp.3", "mlp.fc2")):
                rest = rest.replace(theirs, ours)
            own = "blocks." + parts[2].rsplit("_", 1)[1] + "." + rest
        out[name] = weights[own]
    return out


def vision_swin(old, model):
    out = {}
    for name, t in model.state_dict().items():
        parts = name.split(".")
        if name.endswith("relative_position_index"):
            out[name] = t
            continue
        if parts[0] == "features":
            stage = int(parts[1]) - 1
            if stage < 0:
                own = "patch_embed." + {"0": "proj", "2": "norm"}[parts[2]] + "." + parts[3]
            elif stage % 2 == 0:
                rest = ".".join(parts[3:]).replace("mlp.0", "mlp.fc1").replace("mlp.3", "mlp.fc2")
                own = f"layers.{stage // 2}.blocks.{parts[2]}.{rest}"
            else:
                own = f"layers.{stage // 2}.downsample." + ".".join(parts[2:])
        else:
            own = name
        out[name] = old[own]
    return out


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = torch.randn(1, 3, SIZE, SIZE)
    larger = torch.randn(1, 3, 48, 48)
    expected = {"images": images, "images48": larger}

    def logits(name, model, x=images):
        with torch.no_grad():
            expected[name] = model(x)
        return expected[name]

    # one ViT in every layout
    vit = randomise(VisionTransformer(**VIT), 1)
    reference = logits("vit", vit)
    w = vit.state_dict()
    heads = {"num_heads": "2"}
    safetensors(HERE / "vit/timm.safetensors", w, heads)
    torch.save(w, HERE / "vit/timm.pth")
    torch.save({"model": {"module." + k: v for k, v in w.items()}, "epoch": 3, "history": [1.5, (2, None)]},
               HERE / "vit/nested.pth")
    torch.save(w, HERE / "vit/legacy.pth", _use_new_zipfile_serialization=False)
    # parameters, one of them transposed in memory, two in one storage
    odd = dict(vit.named_parameters())
    odd["head.weight"] = torch.nn.Parameter(odd["head.weight"].data.t().contiguous().t())
    both = torch.cat([odd["norm.weight"].data, odd["norm.bias"].data])
    odd["norm.weight"], odd["norm.bias"] = both[:16], both[16:]
    torch.save(odd, HERE / "vit/parameters.pt")
    torch.save({"model": w, "args": argparse.Namespace(lr=0.1)}, HERE / "vit/namespace.pth")
    facts = dict(num_attention_heads=2, image_size=SIZE, patch_size=8, hidden_act="gelu", layer_norm_eps=1e-6, model_type="vit",
                 architectures=["ViTForImageClassification"])
    hf = hf_vit(w, "vit")
    safetensors(HERE / "vit-hf/model.safetensors", hf, {"format": "pt"})
    config("vit-hf", **facts)
    preprocessor("vit-hf", do_resize=True, do_normalize=True, do_rescale=True, rescale_factor=1 / 255, resample=2,
                 size={"height": SIZE, "width": SIZE}, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5])
    names = list(hf)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, own in shards.items():
        safetensors(HERE / "vit-shards" / file, {n: hf[n] for n in own}, {"format": "pt"})
    index = {"metadata": {"total_size": sum(t.numel() * 4 for t in hf.values())},
             "weight_map": {n: file for file, own in shards.items() for n in own}}
    (HERE / "vit-shards/model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    config("vit-shards", **facts)
    tv = torchvision.models.VisionTransformer(image_size=SIZE, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16,
                                              mlp_dim=24, num_classes=CLASSES).eval()
    tv.load_state_dict(vision_vit(w, tv))
    assert torch.allclose(logits("vit-torchvision", tv), reference, atol=1e-5)
    torch.save(tv.state_dict(), HERE / "vit/torchvision.pth")
    # another image size: positions resampled
    big = VisionTransformer(**{**VIT, "img_size": 48}).eval()
    big.load_state_dict({**w, "pos_embed": resample_abs_pos_embed(w["pos_embed"], new_size=[6, 6])})
    logits("vit at 48", big, larger)
    small = VisionTransformer(**{**VIT, "img_size": 24}).eval()
    small.load_state_dict({**w, "pos_embed": resample_abs_pos_embed(w["pos_embed"], new_size=[3, 3])})
    logits("vit at 24", small, images[:, :, 4:28, 4:28])

    # one Swin in every layout
    swin = randomise(SwinTransformer(**SWIN), 2)
    reference = logits("swin", swin)
    new = swin.state_dict()
    safetensors(HERE / "swin/timm-new.safetensors", new)
    old = {k.replace("head.fc.", "head.").replace("layers.1.downsample", "layers.0.downsample"): v for k, v in new.items()}
    buffers = {k: v for k, v in swin.named_buffers()}
    safetensors(HERE / "swin/timm-old.safetensors", {**old, "layers.0.blocks.1.attn_mask": buffers["layers.0.blocks.1.attn_mask"]})
    safetensors(HERE / "swin-hf/model.safetensors", hf_swin(old), {"format": "pt"})
    config("swin-hf", image_size=SIZE, patch_size=4, window_size=4, hidden_act="gelu", layer_norm_eps=1e-5, model_type="swin",
           num_heads=[2, 4], depths=[2, 2], architectures=["SwinForImageClassification"])
    preprocessor("swin-hf", do_resize=True, do_center_crop=False, resample=3, size=SIZE, image_mean=[0.485, 0.456, 0.406],
                 image_std=[0.229, 0.224, 0.225])
    ts = torchvision.models.SwinTransformer(patch_size=[4, 4], embed_dim=8, depths=[2, 2], num_heads=[2, 4], window_size=[4, 4],
                                            num_classes=CLASSES).eval()
    ts.load_state_dict(vision_swin(old, ts))
    assert torch.allclose(logits("swin-torchvision", ts), reference, atol=1e-5)
    torch.save(ts.state_dict(), HERE / "swin/torchvision.pth")
    # windows stay, the image grows
    wide = SwinTransformer(**{**SWIN, "img_size": 64}).eval()
    wide.load_state_dict(new)
    expected["images64"] = torch.randn(1, 3, 64, 64)
    logits("swin at 64", wide, expected["images64"])

    # small models of every kind, timm's names
    kinds = {
        "deit-distilled": VisionTransformerDistilled(**VIT),
        "deit3": VisionTransformer(**VIT, no_embed_class=True, init_values=1e-6),
        "registers": VisionTransformer(**VIT, reg_tokens=4, no_embed_class=True, init_values=1e-6),
        "registers-positioned": VisionTransformer(**VIT, reg_tokens=4),
        "average": VisionTransformer(**VIT, global_pool="avg"),
        "average-without-class-token": VisionTransformer(**VIT, global_pool="avg", class_token=False),
        "average-of-norm": VisionTransformer(**VIT, global_pool="avg", class_token=False, fc_norm=False),
        "without-qkv-bias": VisionTransformer(**VIT, qkv_bias=False),
        "patch14": VisionTransformer(**{**VIT, "img_size": 42, "patch_size": 14}),
        "patch32": VisionTransformer(**{**VIT, "img_size": 64, "patch_size": 32}),
        "query-norms": VisionTransformer(**VIT, qk_norm=True),
    }
    for seed, (name, model) in enumerate(kinds.items()):
        model = randomise(model, 10 + seed)
        side = model.patch_embed.img_size[0]
        x = images if side == SIZE else torch.nn.functional.interpolate(images, size=(side, side), mode="nearest")
        if x is not images:
            expected[name + " images"] = x
        logits(name, model, x)
        safetensors(HERE / "kinds" / f"{name}.safetensors", model.state_dict(), heads)
    distilled = kinds["deit-distilled"]
    w = distilled.state_dict()
    facts.update(model_type="deit", architectures=["DeiTForImageClassificationWithTeacher"])
    safetensors(HERE / "deit-hf-teacher/model.safetensors", hf_vit(w, "deit"), {"format": "pt"})
    config("deit-hf-teacher", **facts)
    one = {k: v for k, v in w.items() if not k.startswith("head_dist")}
    safetensors(HERE / "deit-hf/model.safetensors", hf_vit(one, "deit"), {"format": "pt"})
    facts.update(architectures=["DeiTForImageClassification"])
    config("deit-hf", **facts)
    with torch.no_grad():
        expected["deit-hf"] = distilled.head(distilled.forward_features(images)[:, 0])
    # torchvision's layer before the classifier
    pre = randomise(torchvision.models.VisionTransformer(image_size=SIZE, patch_size=8, num_layers=1, num_heads=2, hidden_dim=16,
                                                         mlp_dim=24, num_classes=CLASSES, representation_size=12), 30)
    logits("pre-logits", pre)
    torch.save(pre.state_dict(), HERE / "kinds/pre-logits.pth")
    safetensors(HERE / "expected.safetensors", expected)


main()
