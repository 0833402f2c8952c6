package io.github.ptq4vit.image;

import io.github.ptq4vit.tensor.Printable;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * A file of labels: lines of a file and a class with spaces or tabs between, or fields with commas, semicolons or tabs between
 * (CSV), with quotes and a header or without.
 */
final class LabelFile {
    private static final Pattern INDEX = Pattern.compile("[+-]?[0-9]{1,9}(?:\\.0{1,9})?");
    private static final Pattern WNID = Pattern.compile("n\\d{8}");
    private static final Pattern NAME = Pattern.compile(".*\\.[A-Za-z]{3,4}");
    /** What columns are called, in small letters alone. */
    private static final Set<String> FILES = Set.of("file", "filename", "image", "imageid", "imagename", "imagepath", "path", "filepath",
            "img", "name", "id");
    private static final Set<String> CLASSES = Set.of("label", "labels", "class", "classid", "classindex", "target", "category", "y", "index",
            "labelid", "wnid", "synset", "predictionstring");
    private static final int SHOWN = 80;

    private final Path file;
    private final int classes;
    private final ClassNames names;
    private final List<String> lines;
    private final Map<String, Entry> entries = new HashMap<>();

    /** What a line says: the class of a file. */
    record Entry(int line, int index) {
    }

    private LabelFile(Path file, int classes, ClassNames names) {
        this.file = file;
        this.classes = classes;
        this.names = names;
        this.lines = TextLines.read(file, "the labels");
    }

    /** The class of each file. Throws ImageException with the line that cannot be understood, or repeats a file. */
    static Map<String, Entry> read(Path file, int classes, ClassNames names) {
        LabelFile labels = new LabelFile(file, classes, names);
        char separator = labels.separator();
        if (separator == ' ') {
            labels.readWords();
        } else {
            labels.readFields(separator);
        }
        return labels.entries;
    }

    /** The character between fields if all lines have it equally often, else a space. */
    private char separator() {
        List<String> some = lines.stream().filter(line -> !line.isBlank()).limit(100).toList();
        for (char separator : new char[] {'\t', ';', ','}) {
            long counts = some.stream().map(line -> fields(line, separator).size()).distinct().count();
            if (counts == 1 && fields(some.get(0), separator).size() > 1 && looksLikeFields(some, separator)) {
                return separator;
            }
        }
        return ' ';
    }

    /** Names may have commas, too: then the last words are the classes and the last fields are not. */
    private boolean looksLikeFields(List<String> some, char separator) {
        String line = some.get(some.size() - 1);
        List<String> fields = fields(line, separator);
        return fields.stream().anyMatch(field -> !classOf(field).isEmpty() || WNID.matcher(field).lookingAt()) || !isWords(line);
    }

    private boolean isWords(String line) {
        int space = lastSpace(line.strip());
        return space > 0 && !classOf(line.strip().substring(space + 1)).isEmpty();
    }

    private void readWords() {
        boolean first = true;
        for (int i = 0; i < lines.size(); i++) {
            String text = lines.get(i).strip();
            if (text.isEmpty()) {
                continue;
            }
            int space = lastSpace(text);
            String word = text.substring(space + 1);
            boolean header = first && space > 0 && classOf(word).isEmpty() && CLASSES.contains(letters(word));
            if (!header) {
                if (space < 1) {
                    throw malformed(i, text);
                }
                put(i, unquoted(text.substring(0, space).strip()), word, text);
            }
            first = false;
        }
    }

    private static int lastSpace(String text) {
        int at = text.length() - 1;
        while (at >= 0 && !Character.isWhitespace(text.charAt(at))) {
            at--;
        }
        return at;
    }

    private void readFields(char separator) {
        int fileColumn = -1;
        int classColumn = -1;
        for (int i = 0; i < lines.size(); i++) {
            if (lines.get(i).isBlank()) {
                continue;
            }
            List<String> fields = fields(lines.get(i), separator);
            if (fileColumn < 0) {
                boolean header = fields.stream().allMatch(field -> classOf(field).isEmpty() && !NAME.matcher(field).matches()
                        && !WNID.matcher(field).lookingAt());
                fileColumn = column(fields, FILES);
                classColumn = column(fields, CLASSES);
                if (!header || fileColumn < 0 || classColumn < 0) {
                    if (fields.size() != 2) {
                        throw new ImageException(where(i) + " has " + fields.size() + " fields, and no header says which of them are the"
                                + " file and the class; make it \"file,label\"");
                    }
                    classColumn = classOf(fields.get(1)).isEmpty() && !classOf(fields.get(0)).isEmpty() ? 0 : 1;
                    fileColumn = 1 - classColumn;
                }
                if (header) {
                    continue;
                }
            }
            if (fields.size() <= Math.max(fileColumn, classColumn)) {
                throw malformed(i, lines.get(i));
            }
            // Kaggle's have boxes behind the class
            String word = fields.get(classColumn);
            int space = word.indexOf(' ');
            String shorter = space > 0 && classOf(word).isEmpty() ? word.substring(0, space) : word;
            put(i, fields.get(fileColumn), shorter, lines.get(i));
        }
    }

    private static int column(List<String> header, Set<String> known) {
        for (int i = 0; i < header.size(); i++) {
            if (known.contains(letters(header.get(i)))) {
                return i;
            }
        }
        return -1;
    }

    private static String letters(String text) {
        return text.toLowerCase(Locale.ROOT).replaceAll("[^a-z]", "");
    }

    /** Fields, without the quotes around them; two quotes within are one. */
    private static List<String> fields(String line, char separator) {
        List<String> fields = new ArrayList<>();
        StringBuilder field = new StringBuilder();
        boolean quoted = false;
        for (int i = 0; i < line.length(); i++) {
            char c = line.charAt(i);
            if (c == '"' && quoted && i + 1 < line.length() && line.charAt(i + 1) == '"') {
                field.append(c);
                i++;
            } else if (c == '"' && (quoted || field.toString().isBlank())) {
                quoted = !quoted;
            } else if (c == separator && !quoted) {
                fields.add(field.toString().strip());
                field.setLength(0);
            } else {
                field.append(c);
            }
        }
        fields.add(field.toString().strip());
        return fields;
    }

    private static String unquoted(String text) {
        return text.length() > 1 && text.startsWith("\"") && text.endsWith("\"") ? text.substring(1, text.length() - 1) : text;
    }

    /** The index that a word says: a number, or the name of a class. */
    private OptionalInt classOf(String word) {
        if (INDEX.matcher(word).matches()) {
            return OptionalInt.of((int) Double.parseDouble(word));
        }
        return names.index(word);
    }

    private void put(int line, String name, String word, String text) {
        int index = classOf(word).orElseThrow(() -> malformed(line, text));
        if (index < 0 || index >= classes) {
            throw new ImageException(where(line) + " has class " + index + "; the model has the classes 0 to " + (classes - 1)
                    + (index == classes ? " (are the labels counted from 1?)" : ""));
        }
        String path = name.replace('\\', '/');
        while (path.startsWith("./")) {
            path = path.substring(2);
        }
        Entry earlier = entries.put(path, new Entry(line + 1, index));
        if (earlier != null) {
            throw new ImageException(where(line) + " repeats the file " + Printable.of(path) + " of line " + earlier.line);
        }
    }

    private ImageException malformed(int line, String text) {
        String shown = text.length() > SHOWN ? text.substring(0, SHOWN) + "..." : text;
        boolean wnids = WNID.matcher(text).find();
        return new ImageException(where(line) + " is \"" + Printable.of(shown) + "\"; expected are a file and a class index, for example "
                + "\"cat.jpg 281\"" + (names.isEmpty() ? "; names of classes take a file of synsets (--synsets)"
                + (wnids ? ", such as synset_words.txt" : "") : ", or a name of the file of synsets"));
    }

    private String where(int line) {
        return "Line " + (line + 1) + " of the labels in " + file;
    }
}
