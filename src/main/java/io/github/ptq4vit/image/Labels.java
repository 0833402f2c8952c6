package io.github.ptq4vit.image;

import io.github.ptq4vit.image.LabelFile.Entry;
import io.github.ptq4vit.tensor.Printable;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.stream.Collectors;

/** The true class of each image: from a text file, or from the folders that the images lie in. */
public final class Labels {
    /** What a file of labels beside the images is called. */
    private static final List<String> BESIDE = List.of("labels.txt", "labels.csv");
    private static final int LISTED = 4;

    private final Map<String, Integer> classOf;

    private Labels(Map<String, Integer> classOf) {
        this.classOf = Map.copyOf(classOf);
    }

    /**
     * From a file if one is given, or lies beside images that are in no folders; else from the folders that the images lie in.
     * See {@link #read} and {@link #ofFolders}.
     *
     * @param names of the classes, for files and folders that have these instead of indices
     * @param notes told in a sentence what was decided
     */
    public static Labels of(Optional<Path> file, ClassNames names, ImageFolder folder, int classes, Consumer<String> notes) {
        Optional<Path> found = file;
        if (found.isEmpty() && folder.classes().isEmpty()) {
            found = BESIDE.stream().map(folder.root()::resolve).filter(Files::isRegularFile).findFirst();
            found.ifPresent(path -> notes.accept("labels: " + path + ", beside the images"));
        }
        return found.map(path -> read(path, names, folder, classes)).orElseGet(() -> ofFolders(folder, names, classes, notes));
    }

    /** Reads a file of labels that has indices only. */
    public static Labels read(Path file, ImageFolder folder, int classes) {
        return read(file, ClassNames.NONE, folder, classes);
    }

    /**
     * Reads a file of labels for the images of a folder. Each line has a file and its class index from 0, or a name of the class,
     * with spaces or tabs between (the name of the file itself may have spaces), or as CSV; empty lines are passed over. A line
     * belongs to the image whose id it names, with or without ending, or, failing that, to the one with the same base name. Lines
     * for images that the folder lacks are allowed.
     *
     * @param classes number of classes of the model
     * @throws ImageException if the file cannot be read, a line is malformed, has a class outside 0 to
     *     {@code classes - 1} or repeats a file, or an image has no label
     */
    public static Labels read(Path file, ClassNames names, ImageFolder folder, int classes) {
        Map<String, Entry> lines = LabelFile.read(file, classes, names);
        Map<String, List<Entry>> byBaseName = new HashMap<>();
        lines.forEach((name, entry) -> byBaseName.merge(baseName(name), List.of(entry), Labels::ambiguous));
        Map<String, Integer> classOf = new HashMap<>();
        for (String id : folder.ids()) {
            String stem = withoutEnding(id);
            Entry entry = lines.getOrDefault(id, lines.get(stem));
            if (entry == null) {
                List<Entry> entries = byBaseName.getOrDefault(baseName(id), byBaseName.getOrDefault(baseName(stem), List.of()));
                if (entries.size() > 1) {
                    throw new ImageException("The image " + Printable.of(id) + " of " + folder.root() + " could be meant by line "
                            + entries.get(0).line() + " or by line " + entries.get(1).line() + " of the labels in " + file
                            + "; name it there by its path below that folder");
                }
                entry = entries.stream().findFirst().orElseThrow(() -> new ImageException("The labels in " + file
                        + " have no line for the image " + Printable.of(id) + " of " + folder.root()));
            }
            classOf.put(id, entry.index());
        }
        return new Labels(classOf);
    }

    /** Two of the lines, in their order. */
    private static List<Entry> ambiguous(List<Entry> one, List<Entry> other) {
        Entry first = one.get(0);
        Entry second = other.get(0);
        return first.line() < second.line() ? List.of(first, second) : List.of(second, first);
    }

    /** The labels that the folders say, without names and without telling how. */
    public static Labels ofFolders(ImageFolder folder, int classes) {
        return ofFolders(folder, ClassNames.NONE, classes, note -> {
        });
    }

    /**
     * The labels that the folders say: folders that are named by numbers are those classes; with names of classes, each folder is
     * the class of its name; else a folder's class is its position among all of them, sorted by name.
     *
     * @param classes number of classes of the model
     * @throws ImageException if the images lie in no class folders, a folder is no class of the model, or positions are to count
     *     and a class folder has no images, or there are not {@code classes} of them
     */
    public static Labels ofFolders(ImageFolder folder, ClassNames names, int classes, Consumer<String> notes) {
        List<String> folders = folder.classes();
        if (folders.isEmpty()) {
            throw new ImageException("The images of " + folder.root()
                    + " do not lie in one folder per class; give a file of labels");
        }
        Map<String, Integer> indexOf = !names.isEmpty() ? named(folder, names) : folders.stream().allMatch(Labels::isNumber)
                ? numbered(folder, classes, notes) : counted(folder, classes, notes);
        Map<String, Integer> classOf = new HashMap<>();
        folder.ids().forEach(id -> classOf.put(id, indexOf.get(folderOf(id))));
        return new Labels(classOf);
    }

    private static Map<String, Integer> named(ImageFolder folder, ClassNames names) {
        Map<String, Integer> indexOf = new HashMap<>();
        for (String name : folder.classes()) {
            OptionalInt index = names.index(name);
            if (index.isEmpty() && folder.ids().stream().anyMatch(id -> folderOf(id).equals(name))) {
                throw new ImageException("The class folder " + folder.root().resolve(name)
                        + " has a name that no class, or more than one, has in the file of synsets");
            }
            index.ifPresent(i -> indexOf.put(name, i));
        }
        return indexOf;
    }

    private static boolean isNumber(String name) {
        return name.length() <= 9 && !name.isEmpty() && name.chars().allMatch(c -> c >= '0' && c <= '9');
    }

    private static Map<String, Integer> numbered(ImageFolder folder, int classes, Consumer<String> notes) {
        Map<String, Integer> indexOf = new HashMap<>();
        TreeMap<Integer, String> byIndex = new TreeMap<>();
        for (String name : folder.classes()) {
            int index = Integer.parseInt(name);
            String earlier = byIndex.put(index, name);
            if (earlier != null) {
                throw new ImageException("The class folders " + earlier + " and " + name + " of " + folder.root()
                        + " are the same number; give a file of labels");
            }
            indexOf.put(name, index);
        }
        if (byIndex.lastKey() >= classes) {
            throw new ImageException("The class folder " + folder.root().resolve(byIndex.lastEntry().getValue())
                    + " is named by a number, but the model has the classes 0 to " + (classes - 1)
                    + (byIndex.lastKey() == classes && byIndex.firstKey() == 1 ? " (are the folders counted from 1?)" : "")
                    + "; give a file of labels");
        }
        notes.accept("labels: class folders are named by numbers, folder N is class N");
        return indexOf;
    }

    private static Map<String, Integer> counted(ImageFolder folder, int classes, Consumer<String> notes) {
        List<String> folders = folder.classes();
        if (folders.size() != classes) {
            throw new ImageException("The folder " + folder.root() + " has " + folders.size() + " class folders, but the model has "
                    + classes + " classes; give a file of labels, or one of synsets (--synsets) by which the folders are named");
        }
        Map<String, Integer> indexOf = new HashMap<>();
        folders.forEach(name -> indexOf.put(name, indexOf.size()));
        Set<String> filled = folder.ids().stream().map(Labels::folderOf).collect(Collectors.toSet());
        for (String name : folders) {
            if (!filled.contains(name)) {
                throw new ImageException("The class folder " + folder.root().resolve(name)
                        + " has no images; remove it if it is not a class, or give a file of labels");
            }
        }
        List<String> natural = folders.stream().sorted(NaturalOrder.INSTANCE).toList();
        if (!natural.equals(folders)) {
            notes.accept("labels: class folders are counted in the order of their characters, as torchvision does it: "
                    + folders.stream().limit(LISTED).map(Printable::of).collect(Collectors.joining(", "))
                    + ", ...; if the model was trained with another order, give a file of labels or of synsets");
        }
        return indexOf;
    }

    private static String folderOf(String id) {
        return id.substring(0, id.indexOf('/'));
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

    private static String baseName(String name) {
        return name.substring(name.lastIndexOf('/') + 1);
    }

    private static String withoutEnding(String id) {
        return id.substring(0, id.lastIndexOf('.'));
    }
}
