package io.github.ptq4vit.tensor;

/** Names out of files, for messages: what would act on a terminal is shown as its code, and the length is bounded. */
public final class Printable {
    private static final int LONGEST = 200;

    private Printable() {
    }

    /** The name, or what of it can be shown. */
    public static String of(String name) {
        StringBuilder shown = new StringBuilder();
        name.codePoints().limit(LONGEST).forEach(c -> {
            if (acts(c)) {
                shown.append(String.format("\\u%04x", c));
            } else {
                shown.appendCodePoint(c);
            }
        });
        return name.codePointCount(0, name.length()) > LONGEST ? shown + "..." : shown.toString();
    }

    /** The text of any length, with what would act on a terminal shown as its code; line breaks and tabs stay. */
    public static String lines(String text) {
        if (text.codePoints().noneMatch(c -> acts(c) && c != '\n' && c != '\t')) {
            return text;
        }
        StringBuilder shown = new StringBuilder();
        text.codePoints().forEach(c -> shown.append(acts(c) && c != '\n' && c != '\t' ? String.format("\\u%04x", c)
                : Character.toString(c)));
        return shown.toString();
    }

    /** Controls, marks of direction and halves of characters. */
    private static boolean acts(int c) {
        int type = Character.getType(c);
        return type == Character.CONTROL || type == Character.FORMAT || type == Character.SURROGATE
                || type == Character.LINE_SEPARATOR || type == Character.PARAGRAPH_SEPARATOR;
    }
}
