package io.github.ptq4vit.model;

import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;

/** Models that are not supported, by a tensor that only they have: so that a refusal can say what a file is. */
final class OtherModels {
    private record Other(String name, Pattern tensor) {
        Other(String name, String tensor) {
            this(name, Pattern.compile(tensor));
        }
    }

    private static final List<Other> ALL = List.of(
            new Other("adapters of PEFT (LoRA); merge them into the model first", ".*\\.lora_[AB]\\..*|.*lora_(?:A|B)\\.weight"),
            new Other("a quantised model of PyTorch", ".*\\._packed_params.*|.*\\.(?:zero_point|qweight|qzeros)"),
            new Other("Swin V2", ".*\\.(?:logit_scale|cpb_mlp\\..*|continuous_position_bias_mlp\\..*)"),
            new Other("Swin of mmpretrain, which orders the merged patches differently", ".*\\.attn\\.w_msa\\..*"),
            new Other("a video or 3D Swin", ".*patch_embed\\.proj3d.*"),
            new Other("CaiT", "blocks_token_only\\..*"),
            new Other("BEiT or EVA", ".*\\.(?:q_bias|v_bias)|beit\\..*|.*lambda_1"),
            new Other("DINOv2 of Hugging Face", "dinov2.*|.*layer_scale1\\.lambda1"),
            new Other("the image encoder of CLIP", "(?:.*\\.)?(?:visual\\.(?:conv1|transformer)|vision_model)\\..*|.*norm_pre\\..*|.*pre_layrnorm.*"),
            new Other("SigLIP or another model with attention pooling", ".*attn_pool\\..*"),
            new Other("MobileViT", ".*mobilevit.*"),
            new Other("vit-pytorch of lucidrains", ".*to_patch_embedding\\..*"),
            new Other("LeViT", ".*(?:levit|attention_bias_idxs|attention_biases).*"),
            new Other("PVT", ".*patch_embed[1-4]\\..*"),
            new Other("ConvNeXt", ".*(?:convnext|stages\\.\\d+\\.(?:blocks|layers)?\\.?\\d+\\.(?:conv_dw|dwconv|gamma)|downsample_layers).*"),
            new Other("ResNet", ".*(?:layer1\\.0\\.conv1|resnet\\.encoder).*"),
            new Other("DenseNet", ".*denseblock1.*"),
            new Other("EfficientNet or MobileNet", ".*(?:conv_stem|blocks\\.0\\.0\\.conv_dw|features\\.1\\.(?:conv|block)\\.).*"),
            new Other("VGG or AlexNet", "features\\.0\\.(?:weight|bias)"),
            new Other("a text model (BERT)", ".*(?:word_embeddings|embeddings\\.token_type_embeddings).*"),
            new Other("a language model", ".*(?:embed_tokens|lm_head|wte|wpe)\\.weight"),
            new Other("a diffusion model", ".*(?:down_blocks|input_blocks|time_embed)\\..*"),
            new Other("a detector (DETR)", ".*(?:query_embed|query_position_embeddings|bbox_embed)\\..*"),
            new Other("a detector (YOLO)", "(?:model\\.)?(?:model\\.)?0\\.conv\\.weight"));

    private OtherModels() {
    }

    /** What model tensors of these names are of, if that is known. */
    static Optional<String> of(Collection<String> names) {
        return ALL.stream().filter(other -> names.stream().anyMatch(name -> other.tensor.matcher(name).matches())).findFirst()
                .map(Other::name);
    }
}
