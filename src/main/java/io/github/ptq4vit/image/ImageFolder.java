package io.github.ptq4vit.image;

import java.io.IOException;
import java.nio.file.FileSystemLoopException;
import java.nio.file.FileVisitOption;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import org.apache.commons.math3.random.Well19937c;

/**
 * The images of a folder, either flat or with one folder per class as torchvision's ImageFolder has it (the images of a
 * class may lie deeper). An image's id is its path below the folder with {@code /} between the names. Images are files
 * ending in .jpg, .jpeg or .png, in any case; other files and everything whose name starts with a dot are passed over,
 * and links that lead in circles.
 *
 * @param root the folder
 * @param ids at least one, sorted by {@code String.compareTo}: the same order on every machine
 * @param classes names of the folders of the classes, sorted the same way: a class's index is its position; those
 *     without images count too. Empty if the folder is flat
 */
public record ImageFolder(Path root, List<String> ids, List<String> classes) {
    /** What archives made on a Mac have beside their content. */
    private static final String ARCHIVE_REMAINS = "__MACOSX";

    public ImageFolder {
        ids = List.copyOf(ids);
        classes = List.copyOf(classes);
    }

    /**
     * Lists a folder.
     *
     * @throws ImageException if it is missing, is no folder, cannot be read, has no images, or has images both at its
     *     top and in folders below (it would be neither flat nor sorted into classes)
     */
    public static ImageFolder open(Path root) {
        if (!Files.exists(root)) {
            throw new ImageException("There is no folder " + root);
        }
        if (!Files.isDirectory(root)) {
            throw new ImageException(root + " is a file; the images are expected in a folder");
        }
        TreeSet<String> ids = new TreeSet<>();
        TreeSet<String> folders = new TreeSet<>();
        try {
            Files.walkFileTree(root, EnumSet.of(FileVisitOption.FOLLOW_LINKS), Integer.MAX_VALUE, new Listing(root, ids, folders));
        } catch (IOException e) {
            throw new ImageException("Cannot list the folder " + root + ": " + e, e);
        }
        if (ids.isEmpty()) {
            throw new ImageException("The folder " + root + " has no images; expected are files ending in .jpg, .jpeg "
                    + "or .png, directly or in one folder per class");
        }
        List<String> atTop = ids.stream().filter(id -> id.indexOf('/') < 0).toList();
        if (!atTop.isEmpty() && atTop.size() < ids.size()) {
            String deeper = ids.stream().filter(id -> id.indexOf('/') >= 0).findFirst().orElseThrow();
            throw new ImageException("The folder " + root + " has images at its top (" + atTop.get(0)
                    + ") and in folders (" + deeper + "); have them all at the top, or all in one folder per class");
        }
        return new ImageFolder(root, List.copyOf(ids), atTop.isEmpty() ? List.copyOf(folders) : List.of());
    }

    /** Collects the images and the folders at the top; links that lead in circles end there. */
    private static final class Listing extends SimpleFileVisitor<Path> {
        private final Path root;
        private final Set<String> ids;
        private final Set<String> folders;

        Listing(Path root, Set<String> ids, Set<String> folders) {
            this.root = root;
            this.ids = ids;
            this.folders = folders;
        }

        @Override
        public FileVisitResult preVisitDirectory(Path path, BasicFileAttributes attributes) {
            if (path.equals(root)) {
                return FileVisitResult.CONTINUE;
            }
            Path below = root.relativize(path);
            if (isHidden(below)) {
                return FileVisitResult.SKIP_SUBTREE;
            }
            folders.add(below.getName(0).toString());
            return FileVisitResult.CONTINUE;
        }

        @Override
        public FileVisitResult visitFile(Path path, BasicFileAttributes attributes) {
            Path below = root.relativize(path);
            if (!isHidden(below) && isImage(path)) {
                ids.add(id(below));
            }
            return FileVisitResult.CONTINUE;
        }

        @Override
        public FileVisitResult visitFileFailed(Path path, IOException e) throws IOException {
            if (e instanceof FileSystemLoopException) {
                return FileVisitResult.CONTINUE;
            }
            throw e;
        }
    }

    /** Number of images. */
    public int size() {
        return ids.size();
    }

    /** The file of an image. */
    public Path file(String id) {
        return root.resolve(id);
    }

    /**
     * All ids in a random order that depends on nothing but the ids and the seed. A calibration set is the start of
     * it, so that a larger set contains the smaller ones of the same seed.
     */
    public List<String> shuffled(long seed) {
        List<String> order = new ArrayList<>(ids);
        Well19937c random = new Well19937c(seed);
        for (int i = 0; i < order.size() - 1; i++) {
            Collections.swap(order, i, i + random.nextInt(order.size() - i));
        }
        return List.copyOf(order);
    }

    /**
     * The first {@code count} of {@link #shuffled}.
     *
     * @throws ImageException if there are not as many images
     */
    public List<String> sample(int count, long seed) {
        if (count < 1) {
            throw new ImageException("Asked for " + count + " images of " + root + "; at least 1 is needed");
        }
        if (count > size()) {
            throw tooFew(count);
        }
        return shuffled(seed).subList(0, count);
    }

    ImageException tooFew(int count) {
        return new ImageException("Asked for " + count + " images, but the folder " + root + " has only " + size());
    }

    private static boolean isHidden(Path below) {
        for (Path name : below) {
            if (name.toString().startsWith(".") || name.toString().equals(ARCHIVE_REMAINS)) {
                return true;
            }
        }
        return false;
    }

    private static boolean isImage(Path file) {
        String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
        return name.endsWith(".jpg") || name.endsWith(".jpeg") || name.endsWith(".png");
    }

    private static String id(Path below) {
        StringBuilder id = new StringBuilder();
        for (Path name : below) {
            id.append(id.length() == 0 ? "" : "/").append(name);
        }
        return id.toString();
    }
}
