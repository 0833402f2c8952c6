package io.github.ptq4vit.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.image.ImageTransform;
import io.github.ptq4vit.image.ImageTransform.Channels;
import io.github.ptq4vit.model.KnownModel;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** What can be quantised. */
@Command(name = "models", mixinStandardHelpOptions = true, versionProvider = Main.Version.class,
        description = "Show the models of the paper, by the names that --arch takes, and what else can be read.")
final class ModelsCommand implements Callable<Integer> {
    private static final List<String> OTHERS = List.of(
            "Recognised without --arch: any ViT, DeiT and DeiT III (class, distillation and register tokens, layer scale,",
            "  average pooling with or without fc_norm, pre-logits, patches and images of any size) and any Swin, version 1.",
            "Names of tensors: timm (old and new), Hugging Face (ViT, DeiT, Swin for image classification), torchvision.",
            "Files: .safetensors, shards with an index, PyTorch's .pth, .pt and .bin, folders with one of them.");

    @Option(names = "--json", description = "Print the result as one JSON object.")
    private boolean json;

    @Option(names = "--verbose", description = "Show where a failure happened.")
    private boolean verbose;

    @Override
    public Integer call() {
        if (json) {
            ArrayNode models = Console.object().putArray("models");
            KnownModel.all().forEach(model -> models.add(json(model)));
            Console.json(Console.object().set("models", models));
            return 0;
        }
        Console.result("%-30s %6s %10s  %-30s  paper's top-1:   base         ptq4vit", "", "", "", "");
        Console.result("%-30s %6s %10s  %-30s %7s %7s %5s %7s %5s", "model", "layers", "parameters", "transform", "float", "W8A8",
                "W6A6", "W8A8", "W6A6");
        for (KnownModel model : KnownModel.all()) {
            ImageTransform t = transform(model);
            KnownModel.Paper p = model.paper();
            Console.result("%-30s %6d %8.1f M  %-30s %7.2f %7.2f %5.2f %7.2f %5.2f", model.name(), model.config().layers().size(),
                    model.config().parameters() / 1e6, "resize=" + t.resize() + ",crop=" + t.crop() + ",mean="
                    + (model.imagenetColours() ? "ImageNet" : "0.5"), p.floats(), p.base8(), p.base6(), p.ptq4vit8(), p.ptq4vit6());
        }
        OTHERS.forEach(line -> Console.result("%s", line));
        return 0;
    }

    private static ObjectNode json(KnownModel model) {
        KnownModel.Paper p = model.paper();
        ObjectNode node = Console.object().put("name", model.name()).put("layers", model.config().layers().size())
                .put("parameters", model.config().parameters()).put("image_size", model.config().imageSize())
                .put("transform", transform(model).toString());
        ObjectNode paper = node.putObject("paper_top1").put("float", p.floats());
        for (String preset : List.of("base", "ptq4vit")) {
            for (int bits : new int[] {8, 6}) {
                paper.put(String.format(Locale.ROOT, "%s-w%da%d", preset, bits, bits), p.top1(preset, bits, bits).orElseThrow());
            }
        }
        return node;
    }

    private static ImageTransform transform(KnownModel model) {
        Channels mean = model.imagenetColours() ? ImageTransform.IMAGENET_MEAN : ImageTransform.HALF;
        Channels std = model.imagenetColours() ? ImageTransform.IMAGENET_STD : ImageTransform.HALF;
        return ImageTransform.timm(model.config().imageSize(), model.cropShare(), mean, std);
    }
}
