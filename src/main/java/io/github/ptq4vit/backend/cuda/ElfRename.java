package io.github.ptq4vit.backend.cuda;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Makes a shared library (ELF, 64 bit, little-endian) ask for another library in place of one it was linked to, where both
 * names have the same length: the name in the dynamic string table, which serves as the needed file and as the version of
 * its symbols, and the hash beside each such version (System V ABI and the "Symbol Versioning" part of the Linux Standard
 * Base).
 */
final class ElfRename {
    private static final int SECTION_GNU_VERNEED = 0x6ffffffe;

    private ElfRename() {
    }

    /**
     * The library with its dependency renamed; the argument is left as it is.
     *
     * @throws IllegalArgumentException if the file is no such library, does not ask for {@code from}, or the names differ
     *         in length
     */
    static byte[] rename(byte[] library, String from, String to) {
        if (from.length() != to.length()) {
            throw new IllegalArgumentException("names of one length are needed: " + from + ", " + to);
        }
        byte[] renamed = library.clone();
        ByteBuffer elf = ByteBuffer.wrap(renamed).order(ByteOrder.LITTLE_ENDIAN);
        try {
            if (elf.getInt(0) != 0x464c457f || elf.get(4) != 2 || elf.get(5) != 1) {
                throw new IllegalArgumentException("not a 64-bit little-endian ELF file");
            }
            int sections = Math.toIntExact(elf.getLong(0x28));
            int sectionBytes = Short.toUnsignedInt(elf.getShort(0x3a));
            int count = Short.toUnsignedInt(elf.getShort(0x3c));
            for (int i = 0; i < count; i++) {
                int section = sections + i * sectionBytes;
                if (elf.getInt(section + 4) == SECTION_GNU_VERNEED) {
                    int strings = sections + elf.getInt(section + 0x28) * sectionBytes;
                    int hashes = renameHashes(elf, offset(elf, section), hash(from), hash(to));
                    int names = renameStrings(renamed, offset(elf, strings), Math.toIntExact(elf.getLong(strings + 0x20)),
                            from, to);
                    if (hashes == 0 || names == 0) {
                        throw new IllegalArgumentException("the library does not ask for " + from);
                    }
                    return renamed;
                }
            }
        } catch (IndexOutOfBoundsException | ArithmeticException e) {
            throw new IllegalArgumentException("a damaged ELF file", e);
        }
        throw new IllegalArgumentException("the library asks for no versions");
    }

    /** The ELF hash of a name. */
    static int hash(String name) {
        int hash = 0;
        for (byte c : name.getBytes(StandardCharsets.US_ASCII)) {
            hash = (hash << 4) + c;
            int high = hash & 0xf0000000;
            hash = (hash ^ high >>> 24) & ~high;
        }
        return hash;
    }

    private static int offset(ByteBuffer elf, int section) {
        return Math.toIntExact(elf.getLong(section + 0x18));
    }

    private static int renameHashes(ByteBuffer elf, int start, int from, int to) {
        int renamed = 0;
        int file = start;
        while (true) {
            int versions = Short.toUnsignedInt(elf.getShort(file + 2));
            int version = file + elf.getInt(file + 8);
            for (int i = 0; i < versions; i++) {
                if (elf.getInt(version) == from) {
                    elf.putInt(version, to);
                    renamed++;
                }
                version += elf.getInt(version + 12);
            }
            int next = elf.getInt(file + 12);
            if (next == 0) {
                return renamed;
            }
            file += next;
        }
    }

    private static int renameStrings(byte[] library, int start, int length, String from, String to) {
        byte[] old = ('\0' + from + '\0').getBytes(StandardCharsets.US_ASCII);
        byte[] name = to.getBytes(StandardCharsets.US_ASCII);
        int renamed = 0;
        for (int i = start; i + old.length <= start + length; i++) {
            if (Arrays.equals(library, i, i + old.length, old, 0, old.length)) {
                System.arraycopy(name, 0, library, i + 1, name.length);
                renamed++;
            }
        }
        return renamed;
    }
}
