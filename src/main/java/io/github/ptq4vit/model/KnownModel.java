package io.github.ptq4vit.model;

import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * A model of the paper's table: what it is, how its images are prepared, and what the paper reports for it.
 *
 * @param config its architecture; timm's name is its name
 * @param cropShare share of the resized image that is kept, see {@code crop_pct} of timm
 * @param imagenetColours whether colours are normalised by ImageNet's mean and deviation; else both are 0.5
 * @param paper top-1 accuracies on ImageNet in percent
 */
public record KnownModel(Architecture config, double cropShare, boolean imagenetColours, Paper paper) {
    private static final int CLASSES = 1000;
    private static final int RGB = 3;
    private static final float VIT_EPSILON = 1e-6f;
    private static final float SWIN_EPSILON = 1e-5f;
    private static final double CROP = 0.9;

    /**
     * Table 1 of the paper (arXiv 2111.12293).
     *
     * @param floats float32
     * @param base8 Base PTQ, W8A8
     * @param base6 Base PTQ, W6A6
     * @param ptq4vit8 PTQ4ViT, W8A8
     * @param ptq4vit6 PTQ4ViT, W6A6
     */
    public record Paper(double floats, double base8, double base6, double ptq4vit8, double ptq4vit6) {

        /** The accuracy of a preset at so many bits of weights and activations, if the paper has it. */
        public Optional<Double> top1(String preset, int weightBits, int activationBits) {
            if (weightBits != activationBits) {
                return Optional.empty();
            }
            return switch (preset + weightBits) {
                case "base8" -> Optional.of(base8);
                case "base6" -> Optional.of(base6);
                case "ptq4vit8" -> Optional.of(ptq4vit8);
                case "ptq4vit6" -> Optional.of(ptq4vit6);
                default -> Optional.empty();
            };
        }
    }

    /** The eleven models of the paper, in its order. */
    public static List<KnownModel> all() {
        return List.of(
                vit("vit_small_patch32_224", 224, 32, 384, 6, CROP, false, new Paper(75.99, 73.61, 60.14, 75.58, 71.90)),
                vit("vit_small_patch16_224", 224, 16, 384, 6, CROP, false, new Paper(81.39, 80.46, 70.24, 81.00, 78.63)),
                vit("vit_base_patch16_224", 224, 16, 768, 12, CROP, false, new Paper(84.54, 83.89, 75.66, 84.25, 81.65)),
                vit("vit_base_patch16_384", 384, 16, 768, 12, 1, false, new Paper(86.00, 85.35, 46.88, 85.82, 83.34)),
                vit("deit_small_patch16_224", 224, 16, 384, 6, CROP, true, new Paper(79.80, 77.65, 72.26, 79.47, 76.28)),
                vit("deit_base_patch16_224", 224, 16, 768, 12, CROP, true, new Paper(81.80, 80.94, 78.78, 81.48, 80.25)),
                vit("deit_base_patch16_384", 384, 16, 768, 12, 1, true, new Paper(83.11, 82.33, 68.44, 82.97, 81.55)),
                swin("swin_tiny_patch4_window7_224", 224, 96, 6, 7, CROP, new Paper(81.39, 80.96, 78.45, 81.24, 80.47)),
                swin("swin_small_patch4_window7_224", 224, 96, 18, 7, CROP, new Paper(83.23, 82.75, 81.74, 83.10, 82.38)),
                swin("swin_base_patch4_window7_224", 224, 128, 18, 7, CROP, new Paper(85.27, 84.79, 83.35, 85.14, 84.01)),
                swin("swin_base_patch4_window12_384", 384, 128, 18, 12, 1, new Paper(86.44, 86.16, 85.22, 86.39, 85.38)));
    }

    /**
     * The model of this name.
     *
     * @throws ModelException if there is none; lists the names
     */
    public static KnownModel named(String name) {
        return all().stream().filter(model -> model.name().equals(name)).findFirst()
                .orElseThrow(() -> new ModelException("There is no model " + name + "; known are "
                        + all().stream().map(KnownModel::name).collect(Collectors.joining(", "))));
    }

    /**
     * The model that weights are of, if their architecture and name leave no doubt: ViT and DeiT differ in their names only.
     *
     * @param name of the file, in which the model's may be
     */
    public static Optional<KnownModel> like(Architecture config, String name) {
        String plain = name.toLowerCase(Locale.ROOT).replace('-', '_');
        List<KnownModel> alike = all().stream().filter(model -> model.config.imageSize() == config.imageSize()
                && model.config.withClasses(config.classes()).tensors().equals(config.tensors())).toList();
        List<KnownModel> named = alike.stream().filter(model -> plain.contains(model.name())).toList();
        return named.isEmpty() && alike.size() == 1 ? Optional.of(alike.get(0)) : named.stream().findFirst();
    }

    /** timm's name: {@code vit_small_patch32_224}. */
    public String name() {
        return config.name();
    }

    private static KnownModel vit(String name, int image, int patch, int dim, int heads, double crop, boolean deit, Paper paper) {
        return new KnownModel(new VitConfig(name, image, patch, RGB, dim, 12, heads, 4 * dim, CLASSES, false, VIT_EPSILON), crop,
                deit, paper);
    }

    private static KnownModel swin(String name, int image, int dim, int thirdStage, int window, double crop, Paper paper) {
        int heads = dim / 32;
        return new KnownModel(new SwinConfig(name, image, 4, RGB, dim, List.of(2, 2, thirdStage, 2),
                List.of(heads, 2 * heads, 4 * heads, 8 * heads), window, 4, CLASSES, SWIN_EPSILON), crop, true, paper);
    }
}
