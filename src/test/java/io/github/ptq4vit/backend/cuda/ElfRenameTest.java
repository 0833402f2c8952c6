package io.github.ptq4vit.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import jcuda.JCudaVersion;
import org.junit.jupiter.api.Test;

/** JCublas2's native asks for cuBLAS 13 once it is renamed, read back as the dynamic linker reads it: by its dynamic section. */
class ElfRenameTest {
    private static final String TWELVE = "libcublas.so.12";
    private static final String THIRTEEN = "libcublas.so.13";

    /** What a library asks for: files, and of each file versions with their hashes. */
    private record Needs(List<String> files, Map<String, Map<String, Integer>> versions) {
    }

    @Test
    void hashesAreThoseOfTheElfSpecification() {
        // as binutils prints them
        assertEquals(0x0d696910, ElfRename.hash("GLIBC_2.0"));
        assertEquals(0x09691a75, ElfRename.hash("GLIBC_2.2.5"));
        assertEquals(0x056bafd3, ElfRename.hash("CXXABI_1.3"));
    }

    @Test
    void theNativeAsksForTheOtherMajorVersionAndNothingElseChanges() throws IOException {
        byte[] library = jcublas();
        byte[] before = library.clone();
        byte[] renamed = ElfRename.rename(library, TWELVE, THIRTEEN);
        assertArrayEquals(before, library);

        Needs old = needs(library);
        Needs now = needs(renamed);
        assertTrue(old.files().contains(TWELVE), old.toString());
        assertEquals(old.files().stream().map(file -> file.equals(TWELVE) ? THIRTEEN : file).toList(), now.files());
        assertEquals(Map.of(THIRTEEN, ElfRename.hash(THIRTEEN)), now.versions().get(THIRTEEN));
        now.versions().remove(THIRTEEN);
        old.versions().remove(TWELVE);
        assertEquals(old.versions(), now.versions());

        int changed = 0;
        for (int i = 0; i < library.length; i++) {
            changed += library[i] != renamed[i] ? 1 : 0;
        }
        // one digit of the name, the low digit of the hash
        assertEquals(2, changed);
    }

    @Test
    void whatCannotBeRenamedIsRefused() throws IOException {
        byte[] library = jcublas();
        byte[] text = "no library at all, though long enough to have a header of one, were it one".getBytes(StandardCharsets.UTF_8);
        assertRefused("names of one length", library, TWELVE, "libcublas.so.130");
        assertRefused("does not ask for libcublas.so.11", library, "libcublas.so.11", THIRTEEN);
        assertRefused("not a 64-bit little-endian ELF", text, TWELVE, THIRTEEN);
        assertRefused("damaged", Arrays.copyOf(library, 100), TWELVE, THIRTEEN);
        assertRefused("damaged", new byte[0], TWELVE, THIRTEEN);
        assertRefused("does not ask for libcublas.so.13", ElfRename.rename(library, TWELVE, THIRTEEN), THIRTEEN + "x", TWELVE + "x");
    }

    @Test
    void aDamagedLibraryIsRefusedAndNeverReadBeyondItsEnd() throws IOException {
        byte[] library = jcublas();
        // the table of sections ends the file: without it nothing can be found
        for (int length = 1; length < library.length - 2048; length += library.length / 97) {
            byte[] part = Arrays.copyOf(library, length);
            assertThrows(IllegalArgumentException.class, () -> ElfRename.rename(part, TWELVE, THIRTEEN), "of " + length);
        }
    }

    private static void assertRefused(String words, byte[] library, String from, String to) {
        String message = assertThrows(IllegalArgumentException.class, () -> ElfRename.rename(library, from, to)).getMessage();
        assertTrue(message.contains(words) || words.startsWith("does not ask") && message.contains("does not ask"), message);
    }

    static byte[] jcublas() throws IOException {
        String name = "/lib/libJCublas2-" + JCudaVersion.get() + "-linux-x86_64.so";
        try (InputStream in = JCudaVersion.class.getResourceAsStream(name)) {
            return in.readAllBytes();
        }
    }

    /** Reads DT_NEEDED and DT_VERNEED through the program headers, without looking at any section. */
    private static Needs needs(byte[] library) {
        ByteBuffer elf = ByteBuffer.wrap(library).order(ByteOrder.LITTLE_ENDIAN);
        int headers = (int) elf.getLong(0x20);
        int dynamic = -1;
        TreeMap<Long, Long> segments = new TreeMap<>();
        for (int i = 0; i < elf.getShort(0x38); i++) {
            int header = headers + i * elf.getShort(0x36);
            if (elf.getInt(header) == 1) {
                segments.put(elf.getLong(header + 0x10), elf.getLong(header + 8));
            } else if (elf.getInt(header) == 2) {
                dynamic = (int) elf.getLong(header + 8);
            }
        }
        TreeMap<Long, Long> values = new TreeMap<>();
        TreeSet<Long> needed = new TreeSet<>();
        for (int at = dynamic; elf.getLong(at) != 0; at += 16) {
            if (elf.getLong(at) == 1) {
                needed.add(elf.getLong(at + 8));
            }
            values.put(elf.getLong(at), elf.getLong(at + 8));
        }
        int strings = inFile(segments, values.get(5L));
        Map<String, Map<String, Integer>> versions = new TreeMap<>();
        int file = inFile(segments, values.get(0x6ffffffeL));
        for (long i = values.get(0x6fffffffL); i > 0; i--) {
            Map<String, Integer> hashes = new TreeMap<>();
            int version = file + elf.getInt(file + 8);
            for (int v = elf.getShort(file + 2); v > 0; v--) {
                hashes.put(string(elf, strings + elf.getInt(version + 8)), elf.getInt(version));
                version += elf.getInt(version + 12);
            }
            versions.put(string(elf, strings + elf.getInt(file + 4)), hashes);
            file += elf.getInt(file + 12);
        }
        return new Needs(needed.stream().map(offset -> string(elf, strings + offset.intValue())).toList(), versions);
    }

    private static int inFile(TreeMap<Long, Long> segments, long address) {
        Map.Entry<Long, Long> segment = segments.floorEntry(address);
        return (int) (address - segment.getKey() + segment.getValue());
    }

    private static String string(ByteBuffer elf, int start) {
        int end = start;
        while (elf.get(end) != 0) {
            end++;
        }
        return new String(elf.array(), start, end - start, StandardCharsets.US_ASCII);
    }
}
