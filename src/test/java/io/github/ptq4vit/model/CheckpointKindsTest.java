package io.github.ptq4vit.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.ptq4vit.tensor.SafetensorsWriter;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import io.github.ptq4vit.tensor.TensorSource;
import io.github.ptq4vit.tensor.TorchWriter;
import io.github.ptq4vit.tensor.TorchWriter.Built;
import io.github.ptq4vit.tensor.WeightFiles;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Checkpoints as training scripts leave them: the model in them is the one that was saved. */
class CheckpointKindsTest {
    private static final ReadOptions HEADS = ReadOptions.heads(2);

    @TempDir
    Path folder;

    private final Map<String, Tensor> weights = tensors("vit/timm.safetensors");
    private final Map<String, Tensor> average = changed(weights);
    private final List<String> notes = new ArrayList<>();

    private static Path models() {
        try {
            return Path.of(CheckpointKindsTest.class.getResource("/models").toURI());
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
    }

    private static Map<String, Tensor> tensors(String file) {
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        try (TensorSource source = WeightFiles.open(models().resolve(file))) {
            source.names().forEach(name -> tensors.put(name, source.read(name)));
        }
        return tensors;
    }

    private static Map<String, Tensor> changed(Map<String, Tensor> tensors) {
        Map<String, Tensor> other = new LinkedHashMap<>();
        tensors.forEach((name, tensor) -> {
            float[] numbers = tensor.toArray();
            numbers[0] += 1;
            other.put(name, Tensor.of(tensor.shape(), numbers));
        });
        return other;
    }

    private static Map<String, Tensor> renamed(Map<String, Tensor> tensors, UnaryOperator<String> rename) {
        Map<String, Tensor> other = new LinkedHashMap<>();
        tensors.forEach((name, tensor) -> other.put(rename.apply(name), tensor));
        return other;
    }

    private VisionTransformer read(Object root, String... key) {
        Path file = TorchWriter.write(folder.resolve("checkpoint.pth"), root);
        notes.clear();
        return ModelReader.read(file, new ReadOptions(OptionalInt.of(2), OptionalInt.empty(), Optional.empty(),
                key.length == 0 ? Optional.empty() : Optional.of(key[0])), notes::add);
    }

    private static void same(Map<String, Tensor> expected, VisionTransformer model) {
        assertEquals(expected.keySet(), model.tensors().keySet());
        expected.forEach((name, tensor) -> {
            assertEquals(tensor.shape(), model.tensor(name).shape(), name);
            assertArrayEquals(tensor.toArray(), model.tensor(name).toArray(), name);
        });
    }

    private String refused(Object root, String... key) {
        return assertThrows(ModelException.class, () -> read(root, key)).getMessage();
    }

    private static Map<String, Object> map(Object... entries) {
        Map<String, Object> map = new LinkedHashMap<>();
        for (int i = 0; i < entries.length; i += 2) {
            map.put((String) entries[i], entries[i + 1]);
        }
        return map;
    }

    /** An optimiser's state_dict(): numbered moments and the groups of parameters. */
    private static Object optimizer() {
        return map("state", map("0", map("step", 7, "exp_avg", Tensor.zeros(4, 4))), "param_groups",
                List.of(map("lr", 1, "params", List.of(0, 1))));
    }

    @ParameterizedTest
    @ValueSource(strings = {"state_dict", "model", "model_state_dict", "net", "network", "weights", "state_dict_ema", "model_ema",
        "module", "anything", "student.backbone"})
    void weightsAreFoundUnderAnyKey(String key) {
        Object inner = weights;
        String[] parts = key.split("\\.");
        for (int i = parts.length - 1; i >= 0; i--) {
            inner = map(parts[i], inner);
        }
        same(weights, read(inner));
    }

    @ParameterizedTest
    @ValueSource(strings = {"module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "net.", "backbone.", "encoder.",
        "model._orig_mod.", "model.module.", "_fsdp_wrapped_module.", "timm_model.", "module.module.model.", "_forward_module.model."})
    void prefixesAreTakenAwayInEveryFormat(String prefix) {
        Map<String, Tensor> prefixed = renamed(weights, name -> prefix + name);
        same(weights, read(prefixed));
        same(weights, read(map("state_dict", prefixed, "epoch", 3)));
        SafetensorsWriter writer = new SafetensorsWriter();
        prefixed.forEach(writer::add);
        Path file = folder.resolve("prefixed.safetensors");
        writer.write(file);
        same(weights, ModelReader.read(file, HEADS));
    }

    @Test
    void wrappersInTheMiddleOfNamesAreTakenAway() {
        same(weights, read(renamed(weights, name -> name.replaceFirst("^(blocks\\.\\d+)\\.",
                "$1._checkpoint_wrapped_module."))));
    }

    @Test
    void timmsOrderIsTheDefaultAndTheKeyChooses() {
        Map<String, Object> checkpoint = map("epoch", 5, "arch", "vit_tiny", "state_dict", weights, "optimizer", optimizer(), "version", 2,
                "args", new Built("argparse", "Namespace", List.of(), map("lr", 1)), "state_dict_ema", average, "metric", 81);
        same(average, read(checkpoint));
        assertTrue(notes.get(0).contains("state_dict_ema") && notes.get(0).contains("EMA") && notes.get(0).contains("--weights-key"),
                notes.toString());
        assertTrue(notes.get(1).contains("optimizer.state.0.exp_avg"), notes.toString());
        assertEquals(2, notes.size());
        same(weights, read(checkpoint, "state_dict"));
        same(average, read(checkpoint, "state_dict_ema"));
        String message = refused(checkpoint, "ema_state");
        assertTrue(message.contains("ema_state") && message.contains("state_dict, state_dict_ema"), message);
        same(average, read(map("model", weights, "model_ema", average)));
        same(average, read(map("state_dict", map("model", weights, "ema_model", map("module", average)))));
        same(weights, read(map("model", weights, "state_dict_ema", null)));
    }

    @Test
    void severalModelsOfNoUsualNameAreNotGuessedBetween() {
        Map<String, Object> dino = map("student", renamed(weights, name -> "module.backbone." + name), "teacher",
                renamed(average, name -> "backbone." + name), "epoch", 1);
        String message = refused(dino);
        assertTrue(message.contains("student.backbone") && message.contains("teacher.backbone") && message.contains("--weights-key"), message);
        same(average, read(dino, "teacher"));
        same(weights, read(dino, "student.backbone"));
    }

    @Test
    void objectsBesideTheWeightsAreNeverBuilt() {
        Map<String, Object> checkpoint = map("model", weights, "best", new Built("numpy.core.multiarray", "scalar",
                List.of(new Built("numpy", "dtype", List.of("f8"), null), "x"), null), "evil",
                new Built("posix", "system", List.of("touch evil"), null), "path", new Built("pathlib", "PosixPath", List.of("/"), null),
                "config", new Built("omegaconf.dictconfig", "DictConfig", List.of(), map("a", List.of(1, 2))));
        same(weights, read(checkpoint));
        assertTrue(java.nio.file.Files.notExists(Path.of("evil")));
    }

    @Test
    void aModuleSavedAsAWholeIsReadByItsParameters() {
        Map<String, Object> root = module();
        weights.forEach((name, tensor) -> {
            Map<String, Object> at = root;
            String[] parts = name.split("\\.");
            for (int i = 0; i < parts.length - 1; i++) {
                at = attributes(at, parts[i]);
            }
            @SuppressWarnings("unchecked")
            Map<String, Object> parameters = (Map<String, Object>) at.get("_parameters");
            parameters.put(parts[parts.length - 1], tensor);
        });
        same(weights, read(new Built("timm.models.vision_transformer", "VisionTransformer", List.of(), root)));
        same(weights, read(map("ema", new Built("timm.models.vision_transformer", "VisionTransformer", List.of(), root), "epoch", 1)));
    }

    private static Map<String, Object> module() {
        return map("training", false, "_parameters", map(), "_buffers", map(), "_modules", map());
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> attributes(Map<String, Object> parent, String child) {
        Map<String, Object> modules = (Map<String, Object>) parent.get("_modules");
        return (Map<String, Object>) ((Built) modules.computeIfAbsent(child, key -> new Built("torch.nn.modules", "Module", List.of(),
                module()))).attributes();
    }

    @ParameterizedTest
    @ValueSource(strings = {"head.1", "head.fc", "head.fc.0", "fc", "classifier", "classifier.1", "heads", "heads.head"})
    void aReplacedClassifierIsFound(String name) {
        same(weights, read(renamed(weights, own -> own.replaceFirst("^head\\.", name + "."))));
    }

    @Test
    void aClassifierBesideTheEncoderIsFound() {
        same(weights, read(renamed(weights, own -> own.startsWith("head.") ? "model." + own : "model.backbone." + own)));
    }

    @Test
    void aClassifierOfTwoLayersIsRefusedInTheUsersWords() {
        Map<String, Tensor> two = new LinkedHashMap<>(renamed(weights, own -> own.replaceFirst("^head\\.", "head.0.")));
        two.put("head.2.weight", Tensor.zeros(3, 3));
        two.put("head.2.bias", Tensor.zeros(3));
        String message = refused(two);
        assertTrue(message.contains("head.0.weight") && message.contains("head.2.weight") && message.contains("classifier"), message);
    }

    @Test
    void countersAndWhatOnlyTrainingNeedsAreLeftOutWithOneLine() {
        Map<String, Tensor> more = new LinkedHashMap<>(weights);
        for (String name : new String[] {"total_ops", "total_params", "blocks.0.attn.total_ops", "n_averaged", "mask_token",
            "criterion.weight", "pooler.dense.weight"}) {
            more.put(name, Tensor.zeros(1));
        }
        same(weights, read(more));
        assertEquals(1, notes.size());
        assertTrue(notes.get(0).startsWith("not used: 7 tensors") && notes.get(0).contains("total_ops"), notes.toString());
        same(weights, read(weights));
        assertEquals(List.of(), notes);
    }

    @ParameterizedTest
    @ValueSource(strings = {"attn.%s", "attn.%s_proj", "attn.to_%s", "attn.proj_%s"})
    void queriesKeysAndValuesApartAreJoined(String pattern) {
        Map<String, Tensor> apart = new LinkedHashMap<>();
        weights.forEach((name, tensor) -> {
            if (!name.contains("attn.qkv")) {
                apart.put(name, tensor);
                return;
            }
            float[] numbers = tensor.toArray();
            int[] sizes = tensor.shape().toArray();
            sizes[0] /= 3;
            // in another order than they are joined
            for (int part : new int[] {2, 0, 1}) {
                float[] own = java.util.Arrays.copyOfRange(numbers, part * numbers.length / 3, (part + 1) * numbers.length / 3);
                apart.put(name.replace("attn.qkv", String.format(pattern, "qkv".charAt(part))), Tensor.of(Shape.of(sizes), own));
            }
        });
        same(weights, read(apart));
        String lost = String.format("blocks.1." + pattern, "k") + ".weight";
        apart.remove(lost);
        String message = refused(apart);
        assertTrue(message.contains("only") && message.contains(String.format("blocks.1." + pattern, "q") + ".weight"), message);
    }

    @Test
    void everyPublishedNamingOfAVitIsRead() {
        Map<String, UnaryOperator<String>> layouts = new LinkedHashMap<>();
        layouts.put("mmpretrain", own -> "backbone." + own.replaceFirst("^patch_embed.proj", "patch_embed.projection")
                .replaceFirst("^blocks\\.", "layers.").replaceFirst("\\.norm([12])\\.", ".ln$1.").replaceFirst("^norm\\.", "ln1.")
                .replace("mlp.fc1", "ffn.layers.0.0").replace("mlp.fc2", "ffn.layers.1"));
        layouts.put("DeiT", own -> own);
        for (Map.Entry<String, UnaryOperator<String>> layout : layouts.entrySet()) {
            same(weights, read(map("state_dict", renamed(weights, own -> own.startsWith("head.") && layout.getKey().equals("mmpretrain")
                    ? own.replace("head.", "head.layers.head.") : layout.getValue().apply(own)))));
        }
    }

    @Test
    void deitThreeOfItsAuthorsIsRead() {
        Map<String, Tensor> deit = tensors("kinds/deit3.safetensors");
        same(deit, read(map("model", renamed(deit, own -> own.replaceFirst("\\.ls([12])\\.gamma", ".gamma_$1")))));
    }

    @Test
    void huggingFacesNamesFromVersionFiveAreReadWithoutAConfiguration() {
        Map<String, Tensor> old = tensors("vit-hf/model.safetensors");
        Map<String, Tensor> fresh = renamed(old, own -> own.replace("encoder.layer.", "layers.")
                .replaceFirst("attention\\.attention\\.(query|key|value)", "attention.$1_proj").replace("query_proj", "q_proj")
                .replace("key_proj", "k_proj").replace("value_proj", "v_proj").replace("attention.output.dense", "attention.o_proj")
                .replace("intermediate.dense", "mlp.fc1").replace("output.dense", "mlp.fc2"));
        assertTrue(fresh.containsKey("vit.layers.0.attention.q_proj.weight") && fresh.containsKey("vit.layers.1.mlp.fc2.bias"));
        VisionTransformer model = read(fresh);
        same(weights, model);
        assertEquals(1e-12f, model.config().epsilon());
        same(weights, read(renamed(old, own -> "model." + own)));
        // a base model inside a user's own, with another classifier
        same(weights, read(renamed(old, own -> own.replaceFirst("^vit\\.", "backbone.").replaceFirst("^classifier", "head.1"))));
    }

    @Test
    void refusalsSpeakOfTheUsersTensors() {
        Map<String, Tensor> hf = tensors("vit-hf/model.safetensors");
        hf.remove("vit.encoder.layer.1.attention.output.dense.bias");
        String message = refused(hf);
        assertTrue(message.contains("vit.encoder.layer.1.attention.output.dense.bias"), message);
        hf = tensors("vit-hf/model.safetensors");
        hf.put("vit.encoder.layer.1.layernorm_after.weight", Tensor.zeros(5));
        message = refused(hf);
        assertTrue(message.contains("vit.encoder.layer.1.layernorm_after.weight") && message.contains("[5]"), message);
        Map<String, Tensor> tv = tensors("vit/torchvision.pth");
        tv.remove("encoder.layers.encoder_layer_1.ln_2.weight");
        message = refused(tv);
        assertTrue(message.contains("encoder.layers.encoder_layer_1.ln_2.weight"), message);
    }

    @Test
    void anEncoderWithoutClassifierIsNamedAsOne() {
        weights.keySet().removeIf(name -> name.startsWith("head."));
        assertTrue(refused(weights).contains("no classifier"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"layer1.0.conv1.weight=ResNet", "bert.embeddings.word_embeddings.weight=BERT",
        "features.0.weight=VGG", "base_model.model.q.lora_A.weight=LoRA", "visual.conv1.weight=CLIP",
        "stages.0.blocks.0.conv_dw.weight=ConvNeXt", "model.embed_tokens.weight=language model"})
    void anotherFamilyIsNamed(String kind) {
        String[] parts = kind.split("=");
        String message = refused(map(parts[0], Tensor.zeros(2, 2)));
        assertTrue(message.contains(parts[1]) && message.contains(parts[0]), message);
    }

    @Test
    void relativesWithOtherAttentionAreNamed() {
        weights.put("blocks.0.attn.logit_scale", Tensor.zeros(1));
        String message = refused(weights);
        assertTrue(message.contains("Swin V2") && message.contains("blocks.0.attn.logit_scale"), message);
    }
}
