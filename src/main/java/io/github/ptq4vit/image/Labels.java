package io.github.ptq4vit.image;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The true class of each image: from a text file with lines {@code file class-index}, or from the folders that the
 * images lie in.
 */
public final class Labels {
    private final Map<String, Integer> classOf;

    private Labels(Map<String, Integer> classOf) {
        this.classOf = Map.copyOf(classOf);
    }

    /** From a file if there is one, else from the folders that the images lie in; see {@link #read} and {@link #ofFolders}. */
    public static Labels of(Optional<Path> file, ImageFolder folder, int classes) {
        return file.map(path -> read(path, folder, classes)).orElseGet(() -> ofFolders(folder, classes));
    }

    /**
     * Reads a file of labels for the images of a folder. Each line has a file and its class index from 0, with spaces
     * or tabs between (the name itself may have spaces); empty lines are passed over. A line belongs to the image whose
     * id it names or, failing that, to the one with the same base name. Lines for images that the folder lacks are
     * allowed.
     *
     * @param classes number of classes of the model
     * @throws ImageException if the file cannot be read, a line is malformed, has a class outside 0 to
     *     {@code classes - 1} or repeats a file, or an image has no label
     */
    public static Labels read(Path file, ImageFolder folder, int classes) {
        Map<String, Entry> lines = parse(file, classes);
        Map<String, Entry> byBaseName = new HashMap<>();
        lines.forEach((name, entry) -> byBaseName.merge(baseName(name), entry, Entry::ambiguousWith));
        Map<String, Integer> classOf = new HashMap<>();
        for (String id : folder.ids()) {
            Entry entry = lines.containsKey(id) ? lines.get(id) : byBaseName.get(baseName(id));
            if (entry == null) {
                throw new ImageException("The labels in " + file + " have no line for the image " + id + " of "
                        + folder.root());
            }
            if (entry.otherLine != 0) {
                throw new ImageException("The image " + id + " of " + folder.root() + " could be meant by line "
                        + entry.line + " or by line " + entry.otherLine + " of the labels in " + file
                        + "; name it there by its path below that folder");
            }
            classOf.put(id, entry.index);
        }
        return new Labels(classOf);
    }

    /**
     * The labels that the folders say: the position of an image's class folder among all of them, sorted by name.
     *
     * @param classes number of classes of the model
     * @throws ImageException if the images lie in no class folders, a class folder has no images, or there are not
     *     {@code classes} of them
     */
    public static Labels ofFolders(ImageFolder folder, int classes) {
        List<String> names = folder.classes();
        if (names.isEmpty()) {
            throw new ImageException("The images of " + folder.root()
                    + " do not lie in one folder per class; give a file of labels");
        }
        if (names.size() != classes) {
            throw new ImageException("The folder " + folder.root() + " has " + names.size()
                    + " class folders, but the model has " + classes + " classes; give a file of labels");
        }
        Map<String, Integer> indexOf = new HashMap<>();
        names.forEach(name -> indexOf.put(name, indexOf.size()));
        Map<String, Integer> classOf = new HashMap<>();
        int[] images = new int[classes];
        for (String id : folder.ids()) {
            int index = indexOf.get(id.substring(0, id.indexOf('/')));
            classOf.put(id, index);
            images[index]++;
        }
        for (int c = 0; c < classes; c++) {
            if (images[c] == 0) {
                throw new ImageException("The class folder " + folder.root().resolve(names.get(c))
                        + " has no images; remove it if it is not a class, or give a file of labels");
            }
        }
        return new Labels(classOf);
    }

    /**
     * The class index of an image.
     *
     * @throws IllegalArgumentException if the image is not of the folder that the labels were made for
     */
    public int of(String id) {
        Integer index = classOf.get(id);
        if (index == null) {
            throw new IllegalArgumentException("No image " + id + " was there when the labels were read");
        }
        return index;
    }

    /** The class index of each image. */
    public int[] of(List<String> ids) {
        return ids.stream().mapToInt(this::of).toArray();
    }

    private static Map<String, Entry> parse(Path file, int classes) {
        List<String> lines;
        try {
            lines = Files.readAllLines(file);
        } catch (NoSuchFileException e) {
            throw new ImageException("There is no file of labels " + file, e);
        } catch (IOException e) {
            throw new ImageException("Cannot read the labels in " + file + " (text in UTF-8 is expected): " + e, e);
        }
        Map<String, Entry> entries = new HashMap<>();
        for (int i = 0; i < lines.size(); i++) {
            String text = (i == 0 && lines.get(0).startsWith("\ufeff") ? lines.get(0).substring(1) : lines.get(i))
                    .strip();
            if (text.isEmpty()) {
                continue;
            }
            String where = "Line " + (i + 1) + " of the labels in " + file;
            String[] parts = text.split("\\s+(?=\\S+$)");
            if (parts.length != 2 || !parts[1].matches("[+-]?[0-9]{1,9}")) {
                throw new ImageException(where + " is \"" + (text.length() > 80 ? text.substring(0, 80) + "..." : text)
                        + "\"; expected are a file and a class index, for example \"cat.jpg 281\"");
            }
            int index = Integer.parseInt(parts[1]);
            if (index < 0 || index >= classes) {
                throw new ImageException(where + " has class " + index + "; the model has the classes 0 to "
                        + (classes - 1) + (index == classes ? " (are the labels counted from 1?)" : ""));
            }
            String name = parts[0].replace('\\', '/').replaceFirst("^(\\./)+", "");
            Entry earlier = entries.put(name, new Entry(i + 1, index, 0));
            if (earlier != null) {
                throw new ImageException(where + " repeats the file " + name + " of line " + earlier.line);
            }
        }
        return entries;
    }

    private static String baseName(String name) {
        return name.substring(name.lastIndexOf('/') + 1);
    }

    /** A line of the file; {@code otherLine} is that of another file with the same base name, or 0. */
    private record Entry(int line, int index, int otherLine) {
        Entry ambiguousWith(Entry other) {
            return new Entry(Math.min(line, other.line), index, Math.max(line, other.line));
        }
    }
}
