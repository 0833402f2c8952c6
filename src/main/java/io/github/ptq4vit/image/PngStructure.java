package io.github.ptq4vit.image;

import java.io.IOException;
import java.util.zip.CRC32;

/**
 * The chunks of a PNG file: are they all there and undamaged? The decoder of the JDK does not look at checksums.
 *
 * @param width in pixels
 * @param height in pixels
 * @param bytesPerPixel of what the decoder of the JDK makes of it
 */
record PngStructure(int width, int height, int bytesPerPixel) {
    private static final byte[] SIGNATURE = {(byte) 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    private static final int HEADER = 'I' << 24 | 'H' << 16 | 'D' << 8 | 'R';
    private static final int HEADER_BYTES = 13;
    private static final int END = 'I' << 24 | 'E' << 16 | 'N' << 8 | 'D';

    static boolean isPng(byte[] content) {
        for (int i = 0; i < SIGNATURE.length; i++) {
            if (i >= content.length || content[i] != SIGNATURE[i]) {
                return false;
            }
        }
        return true;
    }

    /** Throws IOException with a phrase if a chunk is cut off or the checksum of one that matters is wrong. */
    static PngStructure of(byte[] content) throws IOException {
        check(content);
        int header = SIGNATURE.length + 8;
        if (word(content, header - 8) != HEADER_BYTES || word(content, header - 4) != HEADER) {
            throw new IOException("it does not begin with the header of an image");
        }
        int width = word(content, header);
        int height = word(content, header + 4);
        if (width < 1 || height < 1) {
            throw new IOException("it is said to have " + Integer.toUnsignedString(width) + " x " + Integer.toUnsignedString(height)
                    + " pixels");
        }
        int bands = switch (content[header + 9]) {
            case 2 -> 3;
            case 4 -> 2;
            case 6 -> 4;
            default -> 1;
        };
        return new PngStructure(width, height, bands * (content[header + 8] == 16 ? 2 : 1));
    }

    private static void check(byte[] content) throws IOException {
        int at = SIGNATURE.length;
        while (true) {
            long length = at + 8 <= content.length ? word(content, at) & 0xffffffffL : Long.MAX_VALUE;
            if (length > content.length - at - 12L) {
                throw new IOException("the file is cut off before the end of the image");
            }
            int type = word(content, at + 4);
            boolean critical = (type & 0x20000000) == 0;
            CRC32 sum = new CRC32();
            sum.update(content, at + 4, (int) length + 4);
            if (critical && (int) sum.getValue() != word(content, at + 8 + (int) length)) {
                throw new IOException("the checksum of a part of the file is wrong");
            }
            if (type == END) {
                return;
            }
            at += (int) length + 12;
        }
    }

    private static int word(byte[] content, int at) {
        return (content[at] & 0xff) << 24 | (content[at + 1] & 0xff) << 16 | (content[at + 2] & 0xff) << 8
                | content[at + 3] & 0xff;
    }
}
