package io.github.ptq4vit.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.github.ptq4vit.artifact.Checkpoint;
import io.github.ptq4vit.artifact.OutputLock;
import io.github.ptq4vit.artifact.Provenance;
import io.github.ptq4vit.export.DequantizedWeights;
import io.github.ptq4vit.export.ExportException;
import io.github.ptq4vit.export.OnnxModel;
import io.github.ptq4vit.export.OnnxOptions;
import io.github.ptq4vit.model.ReadOptions;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** A model for other programs. */
@Command(name = "export", mixinStandardHelpOptions = true, versionProvider = Main.Version.class, sortOptions = false,
        description = "Write a model, quantised or float32, for other programs.")
final class ExportCommand implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    /** What is written. */
    enum Format {
        /** One file for ONNX Runtime and its like. */
        ONNX,
        /** A folder: dequantised weights under timm's names, and scales as JSON. */
        TIMM
    }

    @Option(names = "--model", paramLabel = "PATH", required = true, description = "A quantised folder, or float32 weights.")
    private Path model;

    @Option(names = "--format", paramLabel = "NAME", defaultValue = "onnx",
            description = "onnx: one file; timm: dequantised weights and scales.json (default: ${DEFAULT-VALUE}).")
    private Format format;

    @Option(names = "--out", paramLabel = "PATH",
            description = "A new file, or for timm a new folder (default: MODEL.onnx, MODEL-timm here).")
    private Optional<Path> out = Optional.empty();

    @Option(names = "--opset", paramLabel = "N",
            description = "Version of ONNX's operators, " + OnnxOptions.OLDEST + " to " + OnnxOptions.NEWEST + " (default: "
                    + OnnxOptions.USUAL + ").")
    private Optional<Integer> opset = Optional.empty();

    @Option(names = "--target", paramLabel = "NAME",
            description = "What will run it: onnxruntime, tensorrt, or portable, anything that knows the opset (default: portable).")
    private Optional<OnnxOptions.Target> runtime = Optional.empty();

    @Option(names = "--weights", paramLabel = "TYPE",
            description = "Type of stored weights of at most 4 bits: int4 or int8 (default: int4 where opset and target hold the"
                    + " codes in it; wider weights are always int8).")
    private Optional<OnnxOptions.WeightType> weights = Optional.empty();

    @Mixin
    private ModelOptions modelOptions;

    @Option(names = "--json", description = "Print the result as one JSON object.")
    private boolean json;

    @Option(names = "--verbose", description = "Show where a failure happened.")
    private boolean verbose;

    @Override
    public Integer call() {
        if (format == Format.TIMM && (opset.isPresent() || runtime.isPresent() || weights.isPresent())) {
            throw new ParameterException(spec.commandLine(), "--opset, --target and --weights belong to --format onnx");
        }
        Path target = out.orElseGet(() -> Path.of(ModelSource.name(model) + (format == Format.ONNX ? ".onnx" : "-timm")));
        Path folder = target.toAbsolutePath().getParent();
        if (folder == null || !Files.isDirectory(folder)) {
            throw new ExportException(target + ": there is no folder " + folder + "; make it first");
        }
        try (OutputLock lock = OutputLock.beside(target)) {
            if (Files.exists(target, LinkOption.NOFOLLOW_LINKS)) {
                throw new ExportException(target + ": is there already; choose another place (--out) or remove it");
            }
            export(lock.output());
        }
        return 0;
    }

    private void export(Path target) {
        ReadOptions read = modelOptions.read(sentence -> new ParameterException(spec.commandLine(), sentence));
        ModelSource source = ModelSource.read(model, read);
        if (format == Format.ONNX) {
            onnx(source).metadata("transform", source.transform().toString()).metadata("version", Main.Version.text()).write(target);
        } else if (source instanceof ModelSource.Quantized quantized) {
            DequantizedWeights.write(quantized.checkpoint(), target);
        } else {
            throw new ExportException(model + ": is in float32 already; --format timm takes a quantised folder");
        }
        print(source, target);
    }

    private OnnxModel onnx(ModelSource source) {
        int version = opset.orElse(OnnxOptions.USUAL);
        OnnxOptions.Target whatRuns = runtime.orElse(OnnxOptions.Target.PORTABLE);
        if (source instanceof ModelSource.Quantized quantized) {
            Checkpoint checkpoint = quantized.checkpoint();
            OnnxOptions.WeightType type = weights.orElseGet(() -> OnnxModel.weightType(checkpoint.model(), whatRuns, version));
            long twins = checkpoint.model().layers().stream().filter(layer -> layer.left().stream()
                    .anyMatch(quantizer -> quantizer.grid().ranges().size() > 1)).count();
            if (whatRuns == OnnxOptions.Target.TENSORRT && twins > 0) {
                Console.note("tensorrt: " + twins + " layers have inputs with two ranges of codes and need two products each; where"
                        + " speed counts more than accuracy, calibrate with --preset base");
            }
            Map<String, Object> settings = checkpoint.provenance().configuration();
            return OnnxModel.of(checkpoint.model(), new OnnxOptions(version, type, whatRuns))
                    .metadata("preset", settings.getOrDefault("preset", "unknown").toString())
                    .metadata("bits", "W" + settings.getOrDefault("bits_weights", "?") + "A" + settings.getOrDefault("bits_activations", "?"))
                    .metadata("weights_sha256", checkpoint.provenance().weightsHash())
                    .metadata("calibrated_by", checkpoint.provenance().versions().getOrDefault(Provenance.TOOL, "unknown"));
        }
        if (weights.isPresent()) {
            throw new ExportException(model + ": is in float32; --weights is for quantised models");
        }
        return OnnxModel.of(((ModelSource.Plain) source).model(), new OnnxOptions(version, OnnxOptions.WeightType.INT8, whatRuns));
    }

    private void print(ModelSource source, Path target) {
        long bytes = size(target);
        if (json) {
            ObjectNode result = Console.object().put("out", target.toString()).put("format", Choices.word(format))
                    .put("bytes", bytes);
            if (format == Format.ONNX) {
                result.put("opset", opset.orElse(OnnxOptions.USUAL)).put("input", OnnxModel.INPUT)
                        .put("output", OnnxModel.OUTPUT);
            }
            Console.json(result);
        } else {
            Console.result("%s written to %s, %.1f MB", source.name(), target, bytes / 1e6);
        }
    }

    private static long size(Path target) {
        try {
            return Files.size(Files.isDirectory(target) ? target.resolve(DequantizedWeights.WEIGHTS) : target);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
