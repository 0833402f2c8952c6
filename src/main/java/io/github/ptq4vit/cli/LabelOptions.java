package io.github.ptq4vit.cli;

import io.github.ptq4vit.image.ClassNames;
import io.github.ptq4vit.image.ImageFolder;
import io.github.ptq4vit.image.Labels;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.Option;

/** Which class each image is of. */
final class LabelOptions {
    @Option(names = "--labels", paramLabel = "FILE", description = {"Lines of file and class, or CSV, for the images to evaluate on; without",
        "it a labels.txt beside them, or the folders that they lie in."})
    private Optional<Path> labels = Optional.empty();

    @Option(names = "--synsets", paramLabel = "FILE", description = {"Names of the classes in their order, such as synset_words.txt, where",
        "labels or folders are wnids or names instead of numbers."})
    private Optional<Path> synsets = Optional.empty();

    /** The classes of a folder's images; how they were found is told on standard error. */
    Labels labels(ImageFolder folder, int classes) {
        ClassNames names = synsets.map(file -> ClassNames.read(file, classes)).orElse(ClassNames.NONE);
        return Labels.of(labels, names, folder, classes, Console::note);
    }
}
