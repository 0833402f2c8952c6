package io.github.ptq4vit.tensor;

import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads pickles without executing them: numbers, texts, lists and dictionaries become Java's, all else becomes a
 * {@link PickleObject}. Tuples are read as lists. The number of instructions is bounded, and with it the memory that a pickle
 * takes: its own size plus a constant. No value is hashed, compared or printed but texts and numbers, so that nested, cyclic
 * and shared containers cost nothing. Source: Python, Lib/pickletools.py.
 */
abstract class PickleReader {
    /** A dozen for each tensor of the largest vision transformers with their optimiser's, and room for long logs. */
    private static final int MOST_INSTRUCTIONS = 1 << 21;
    private static final int LONGEST_NUMBER = 64;
    private static final int HIGHEST_PROTOCOL = 5;
    private static final Object MARK = new Object();

    private final List<Object> stack = new ArrayList<>();
    private final Map<Integer, Object> memo = new HashMap<>();
    private ByteBuffer input;
    private int instructions;

    /** A pickle cannot be read. The message is a phrase that says why. */
    static final class PickleException extends RuntimeException {
        private static final long serialVersionUID = 1L;

        PickleException(String phrase) {
            super(phrase);
        }
    }

    /** What a name stands for that the pickle refers to; what it may become when it is called. */
    record Global(String name) {
    }

    /** The result of calling something with arguments. */
    abstract Object call(String name, List<?> arguments);

    /** What lies outside the pickle under this identity. */
    abstract Object persistent(Object id);

    /**
     * Reads one pickle.
     *
     * @param bytes its position moves behind the pickle
     * @throws PickleException if it is damaged or too long
     */
    final Object load(ByteBuffer bytes) {
        input = bytes.order(ByteOrder.LITTLE_ENDIAN);
        stack.clear();
        memo.clear();
        instructions = 0;
        while (true) {
            charge(1);
            int code = unsigned(1);
            if (code == '.') {
                return pop();
            }
            execute(code);
        }
    }

    /** Counts instructions, and what takes as much memory as so many of them. */
    final void charge(int count) {
        instructions += Math.min(count, MOST_INSTRUCTIONS);
        if (instructions > MOST_INSTRUCTIONS) {
            throw new PickleException("it has more than " + MOST_INSTRUCTIONS + " instructions");
        }
    }

    private void execute(int code) {
        switch (code) {
            case 0x80 -> protocol();
            case 0x95 -> skip(8);
            case '(' -> push(MARK);
            case '0' -> pop();
            case '1' -> popToMark();
            case '2' -> push(peek());
            case 'N' -> push(null);
            case 0x88 -> push(true);
            case 0x89 -> push(false);
            case 'J' -> push((long) take(4).getInt());
            case 'K' -> push((long) unsigned(1));
            case 'M' -> push((long) unsigned(2));
            case 'I' -> push(wholeNumber(line()));
            case 'L' -> push(wholeNumber(line().replaceFirst("L$", "")));
            case 0x8a -> push(wholeNumber(unsigned(1)));
            case 0x8b -> push(wholeNumber(unsigned(4)));
            case 'F' -> push(decimal(line()));
            case 'G' -> push(take(8).order(ByteOrder.BIG_ENDIAN).getDouble());
            case 'S' -> push(line().replaceFirst("^(['\"])(.*)\\1$", "$2"));
            case 'V' -> push(line());
            case 'U', 'X', 0x8c, 0x8d, 'T' -> push(text(code));
            case 'B', 'C', 0x8e, 0x96 -> push(bytes(code));
            default -> containerOrObject(code);
        }
    }

    private void containerOrObject(int code) {
        switch (code) {
            case ']', ')' -> push(new ArrayList<>(0));
            case 'l', 't' -> push(popToMark());
            case 0x85 -> push(last(1));
            case 0x86 -> push(last(2));
            case 0x87 -> push(last(3));
            case 'a' -> append(last(1));
            case 'e' -> append(popToMark());
            case '}' -> push(new LinkedHashMap<>());
            case 'd' -> push(dictionary(popToMark()));
            case 's' -> set(last(2));
            case 'u' -> set(popToMark());
            case 0x8f -> push(new PickleObject("set"));
            case 0x90 -> popToMark();
            case 0x91 -> {
                popToMark();
                push(new PickleObject("frozenset"));
            }
            case 'c' -> push(new Global(line() + "." + line()));
            case 0x93 -> {
                List<Object> names = last(2);
                push(new Global(text(names.get(0)) + "." + text(names.get(1))));
            }
            case 'R', 0x81 -> {
                List<Object> call = last(2);
                push(call(call.get(0), call.get(1)));
            }
            case 0x92 -> {
                List<Object> call = last(3);
                push(call(call.get(0), call.get(1)));
            }
            case 'i' -> {
                String name = line() + "." + line();
                push(call(name, popToMark()));
            }
            case 'o' -> {
                List<Object> call = popToMark();
                if (call.isEmpty()) {
                    throw damaged();
                }
                push(call(call.get(0), call.subList(1, call.size())));
            }
            case 'b' -> build(pop());
            case 0x82 -> push(new PickleObject("extension " + unsigned(1)));
            case 0x83 -> push(new PickleObject("extension " + unsigned(2)));
            case 0x84 -> push(new PickleObject("extension " + take(4).getInt()));
            case 'P' -> push(persistent(line()));
            case 'Q' -> push(persistent(pop()));
            default -> memory(code);
        }
    }

    private void memory(int code) {
        switch (code) {
            case 'p' -> memo.put(index(line()), peek());
            case 'q' -> memo.put(unsigned(1), peek());
            case 'r' -> memo.put(take(4).getInt(), peek());
            case 0x94 -> memo.put(memo.size(), peek());
            case 'g' -> push(remembered(index(line())));
            case 'h' -> push(remembered(unsigned(1)));
            case 'j' -> push(remembered(take(4).getInt()));
            default -> throw new PickleException("it has the unknown instruction " + code);
        }
    }

    private void protocol() {
        int version = unsigned(1);
        if (version > HIGHEST_PROTOCOL) {
            throw new PickleException("it is of protocol " + version + ", which is unknown");
        }
    }

    private Object call(Object callable, Object arguments) {
        if (!(arguments instanceof List<?> list)) {
            throw damaged();
        }
        return callable instanceof Global global ? call(global.name(), list) : new PickleObject("call of an object");
    }

    /** Attributes belong to objects only; those of a dictionary of weights, its versions, are of no use. */
    private void build(Object state) {
        if (peek() instanceof PickleObject object) {
            object.state(state);
        }
    }

    @SuppressWarnings("unchecked")
    private void append(List<Object> values) {
        if (peek() instanceof List<?> list) {
            ((List<Object>) list).addAll(values);
        } else if (!(peek() instanceof PickleObject)) {
            throw damaged();
        }
    }

    @SuppressWarnings("unchecked")
    private void set(List<Object> entries) {
        if (peek() instanceof Map<?, ?> map) {
            put(entries, (Map<Object, Object>) map);
        } else if (peek() instanceof PickleObject object) {
            put(entries, object.entries());
        } else {
            throw damaged();
        }
    }

    private static Map<Object, Object> dictionary(List<Object> entries) {
        Map<Object, Object> map = new LinkedHashMap<>();
        put(entries, map);
        return map;
    }

    /** Keys are texts or numbers; whatever else is a key in Python has nothing that is read. */
    private static void put(List<Object> entries, Map<Object, Object> map) {
        if (entries.size() % 2 != 0) {
            throw damaged();
        }
        for (int i = 0; i < entries.size(); i += 2) {
            put(map, entries.get(i), entries.get(i + 1));
        }
    }

    static void put(Map<Object, Object> map, Object key, Object value) {
        if (key instanceof String || key instanceof Number) {
            map.put(key, value);
        }
    }

    private void push(Object value) {
        stack.add(value);
    }

    private Object pop() {
        Object value = peek();
        stack.remove(stack.size() - 1);
        return value;
    }

    private Object peek() {
        if (stack.isEmpty() || stack.get(stack.size() - 1) == MARK) {
            throw damaged();
        }
        return stack.get(stack.size() - 1);
    }

    private List<Object> last(int count) {
        List<Object> values = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            values.add(0, pop());
        }
        return values;
    }

    private List<Object> popToMark() {
        int mark = stack.lastIndexOf(MARK);
        if (mark < 0) {
            throw damaged();
        }
        List<Object> values = new ArrayList<>(stack.subList(mark + 1, stack.size()));
        stack.subList(mark, stack.size()).clear();
        return values;
    }

    private Object remembered(int index) {
        if (!memo.containsKey(index)) {
            throw damaged();
        }
        return memo.get(index);
    }

    private String text(Object value) {
        if (value instanceof String text) {
            return text;
        }
        throw damaged();
    }

    private String text(int code) {
        int length = switch (code) {
            case 'U', 0x8c -> unsigned(1);
            case 0x8d -> length8();
            default -> unsigned(4);
        };
        boolean old = code == 'U' || code == 'T';
        return new String(array(length), old ? StandardCharsets.ISO_8859_1 : StandardCharsets.UTF_8);
    }

    private Object bytes(int code) {
        skip(switch (code) {
            case 'C' -> unsigned(1);
            case 'B' -> unsigned(4);
            default -> length8();
        });
        return new PickleObject("bytes");
    }

    private static Object wholeNumber(String text) {
        if (text.length() > LONGEST_NUMBER || !text.matches("[+-]?[0-9]+")) {
            throw new PickleException("it has a number that is none, or is too long");
        }
        return small(new BigInteger(text));
    }

    private Object wholeNumber(int length) {
        if (length < 0 || length > LONGEST_NUMBER) {
            throw new PickleException("it has a whole number of " + Integer.toUnsignedString(length) + " bytes");
        }
        byte[] bytes = array(length);
        for (int i = 0; i < length / 2; i++) {
            byte swapped = bytes[i];
            bytes[i] = bytes[length - 1 - i];
            bytes[length - 1 - i] = swapped;
        }
        return length == 0 ? 0L : small(new BigInteger(bytes));
    }

    private static Object small(BigInteger number) {
        return number.bitLength() < Long.SIZE ? (Object) number.longValue() : number;
    }

    private static double decimal(String text) {
        try {
            return Double.parseDouble(text.length() > LONGEST_NUMBER ? "" : text.replace("inf", "Infinity").replace("nan", "NaN"));
        } catch (NumberFormatException e) {
            throw damaged();
        }
    }

    private static int index(String text) {
        Object number = wholeNumber(text);
        if (number instanceof Long whole && whole == whole.intValue()) {
            return whole.intValue();
        }
        throw damaged();
    }

    /** A line without its end; the bytes are Latin-1, as those of names are. */
    private String line() {
        int start = input.position();
        for (int end = start; end < input.limit(); end++) {
            if (input.get(end) == '\n') {
                byte[] line = array(end - start);
                input.get();
                return new String(line, StandardCharsets.ISO_8859_1).strip();
            }
        }
        throw cutOff();
    }

    private int unsigned(int bytes) {
        ByteBuffer number = take(bytes);
        return switch (bytes) {
            case 1 -> number.get() & 0xff;
            case 2 -> number.getShort() & 0xffff;
            default -> number.getInt();
        };
    }

    private int length8() {
        long length = take(8).getLong();
        if (length < 0 || length > input.remaining()) {
            throw cutOff();
        }
        return (int) length;
    }

    private byte[] array(int length) {
        need(length);
        byte[] bytes = new byte[length];
        input.get(bytes);
        return bytes;
    }

    private ByteBuffer take(int length) {
        need(length);
        ByteBuffer part = input.slice(input.position(), length).order(ByteOrder.LITTLE_ENDIAN);
        skip(length);
        return part;
    }

    private void skip(int length) {
        need(length);
        input.position(input.position() + length);
    }

    private void need(int length) {
        if (length < 0 || length > input.remaining()) {
            throw cutOff();
        }
    }

    private static PickleException cutOff() {
        return new PickleException("it is cut off");
    }

    static PickleException damaged() {
        return new PickleException("an instruction has not what it needs");
    }
}
