package io.github.ptq4vit.image;

import java.io.IOException;

/**
 * What the markers of a JPEG file say about its colours, and whether it goes on to its end. The decoder of the JDK
 * fills the missing part of a cut-off file with grey and guesses colour spaces differently from libjpeg; so both are
 * read here. Source: ITU-T T.81 annex B, libjpeg jdapimin.c (default_decompress_parms).
 *
 * @param colors how the components are to be understood
 * @param width in pixels, as the frame header has it; of several the largest
 * @param height in pixels
 * @param scans how often the decoder goes over the image
 */
record JpegStructure(Colors colors, int width, int height, int scans) {
    private static final int START_OF_SCAN = 0xda;
    private static final int END_OF_IMAGE = 0xd9;

    /** How the components of a JPEG file are to be understood; CMYK and YCCK are stored inverted, as Adobe does. */
    enum Colors {
        GREY(1), RGB(3), YCC(3), CMYK(4), YCCK(4);

        private final int components;

        Colors(int components) {
            this.components = components;
        }

        int components() {
            return components;
        }
    }

    static boolean isJpeg(byte[] content) {
        return content.length >= 3 && content[0] == (byte) 0xff && content[1] == (byte) 0xd8
                && content[2] == (byte) 0xff;
    }

    /** Walks over all markers. Throws IOException with a phrase if the file is cut off or has no frame. */
    static JpegStructure of(byte[] content) throws IOException {
        boolean jfif = false;
        int adobeTransform = -1;
        int components = 0;
        int ids = 0;
        int width = 0;
        int height = 0;
        int scans = 0;
        int at = 2;
        while (true) {
            at = nextMarker(content, at);
            int marker = content[at++] & 0xff;
            if (marker == END_OF_IMAGE) {
                break;
            }
            if (marker == 0x01 || marker >= 0xd0 && marker <= 0xd8) {
                continue;
            }
            int length = unsigned(content, at) << 8 | unsigned(content, at + 1);
            int body = at + 2;
            if (marker == 0xe0 && length >= 16 && startsWith(content, body, "JFIF\0")) {
                jfif = true;
            } else if (marker == 0xee && length >= 14 && startsWith(content, body, "Adobe")) {
                adobeTransform = unsigned(content, body + 11);
            } else if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc) {
                height = Math.max(height, unsigned(content, body + 1) << 8 | unsigned(content, body + 2));
                width = Math.max(width, unsigned(content, body + 3) << 8 | unsigned(content, body + 4));
                components = unsigned(content, body + 5);
                for (int c = 0; c < Math.min(components, 3); c++) {
                    ids = ids << 8 | unsigned(content, body + 6 + 3 * c);
                }
            } else if (marker == START_OF_SCAN) {
                scans++;
                if (components == 0) {
                    throw new IOException("a scan comes before the frame header");
                }
            }
            at += Math.max(2, length);
        }
        return new JpegStructure(colors(components, jfif, adobeTransform, ids), width, height, scans);
    }

    /** Index of the byte after the next 0xff that starts a marker; steps over the compressed data of a scan. */
    private static int nextMarker(byte[] content, int from) throws IOException {
        for (int i = from; i + 1 < content.length; i++) {
            int second = content[i + 1] & 0xff;
            if (content[i] == (byte) 0xff && second != 0 && second != 0xff) {
                return i + 1;
            }
        }
        throw cutOff();
    }

    private static Colors colors(int components, boolean jfif, int adobeTransform, int ids) throws IOException {
        return switch (components) {
            case 0 -> throw new IOException("it has no frame header");
            case 1 -> Colors.GREY;
            case 3 -> {
                boolean namedRgb = ids == ('R' << 16 | 'G' << 8 | 'B');
                boolean rgb = !jfif && (adobeTransform == 0 || adobeTransform < 0 && namedRgb);
                yield rgb ? Colors.RGB : Colors.YCC;
            }
            // of an unknown transform libjpeg takes the more usual
            case 4 -> adobeTransform <= 0 ? Colors.CMYK : Colors.YCCK;
            default -> throw new IOException("a JPEG file of " + components + " components is not supported");
        };
    }

    private static boolean startsWith(byte[] content, int at, String text) {
        for (int i = 0; i < text.length(); i++) {
            if (at + i >= content.length || content[at + i] != text.charAt(i)) {
                return false;
            }
        }
        return true;
    }

    private static int unsigned(byte[] content, int at) throws IOException {
        if (at >= content.length) {
            throw cutOff();
        }
        return content[at] & 0xff;
    }

    private static IOException cutOff() {
        return new IOException("the file is cut off before the end of the image");
    }
}
