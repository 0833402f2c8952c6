package io.github.ptq4vit.image;

import io.github.ptq4vit.tensor.Printable;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.function.Function;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.ImageInputStream;
import javax.imageio.stream.MemoryCacheImageInputStream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Reads JPEG and PNG files to RGB with the pixels of Pillow's {@code Image.open(file).convert("RGB")}: alpha is
 * dropped, not blended; colour profiles (ICC), gamma and the EXIF orientation are ignored (timm's loader, ImageDataset, does not
 * rotate either); JPEG files of four components are taken as inverted, as Adobe's are and Pillow does it. Samples of 16 bits keep their high byte; for 16-bit grey some versions of Pillow clip instead, which
 * turns nearly everything white. The format is recognised from the content, not from the name.
 */
public final class ImageDecoder {
    private static final Logger LOG = LoggerFactory.getLogger(ImageDecoder.class);
    /** Pillow refuses larger images as "decompression bombs" (Image.MAX_IMAGE_PIXELS, twice). */
    private static final long MAX_PIXELS = 178_956_970;
    /** Pixels times scans of a progressive JPEG: photographs of 48 megapixels have ten scans, bombs thousands. */
    private static final long MAX_WORK = 1L << 30;

    private ImageDecoder() {
    }

    /**
     * Reads a file.
     *
     * @throws ImageException if it cannot be read, is neither JPEG nor PNG, is damaged or cut off, or too large for the memory
     */
    public static RgbImage read(Path file) {
        DecodingMemory memory = DecodingMemory.ofOneThread();
        String name = Printable.of(file.toString());
        return decode(content(file, name, memory), name, memory, image -> image);
    }

    /**
     * Decodes the content of a file.
     *
     * @param name what to call the image in messages
     * @throws ImageException as {@link #read}
     */
    public static RgbImage decode(byte[] content, String name) {
        return decode(content, name, DecodingMemory.ofOneThread(), image -> image);
    }

    /** Reads an image and makes something smaller of it, within bounds on the memory of all that is decoded at a time. */
    static <T> T read(Path file, DecodingMemory memory, Function<RgbImage, T> use) {
        String name = Printable.of(file.toString());
        try {
            return decode(content(file, name, memory), name, memory, use);
        } catch (OutOfMemoryError e) {
            throw new ImageException("The image " + name + " does not fit into the memory that is left; use fewer threads (--threads), or"
                    + " give Java more, for example PTQ4VIT_JAVA_OPTS=-Xmx4g", e);
        }
    }

    private static byte[] content(Path file, String name, DecodingMemory memory) {
        try {
            if (Files.exists(file) && !Files.isRegularFile(file)) {
                throw new ImageException("The image " + name + " is no regular file");
            }
            // a file that is too large is refused before it is read
            memory.hold(name, Files.exists(file) ? Files.size(file) : 0).close();
            return Files.readAllBytes(file);
        } catch (NoSuchFileException e) {
            throw new ImageException("There is no image " + name, e);
        } catch (IOException e) {
            throw new ImageException("Cannot read the image " + name + ": " + e, e);
        }
    }

    private static <T> T decode(byte[] content, String name, DecodingMemory memory, Function<RgbImage, T> use) {
        try {
            if (JpegStructure.isJpeg(content)) {
                JpegStructure structure = JpegStructure.of(content);
                if ((long) structure.width() * structure.height() * structure.scans() > MAX_WORK) {
                    throw new ImageException("The image " + name + " of " + structure.width() + " x " + structure.height()
                            + " pixels in " + structure.scans() + " scans would take too long to decode");
                }
                long needed = DecodingMemory.needed(content.length, structure.width(), structure.height(), structure.colors().components());
                try (DecodingMemory.Held held = memory.hold(name, needed)) {
                    return use.apply(decode(content, name, "JPEG", reader ->
                            JpegColors.toRgb(reader.readRaster(0, null), structure.colors())));
                }
            }
            if (PngStructure.isPng(content)) {
                PngStructure structure = PngStructure.of(content);
                long needed = DecodingMemory.needed(content.length, structure.width(), structure.height(), structure.bytesPerPixel());
                try (DecodingMemory.Held held = memory.hold(name, needed)) {
                    return use.apply(decode(content, name, "PNG", reader -> PngColors.toRgb(reader.read(0))));
                }
            }
        } catch (IOException e) {
            throw damaged(name, e);
        }
        throw new ImageException(content.length == 0 ? "The image " + name + " is an empty file"
                : "The image " + name + " is neither a JPEG nor a PNG file");
    }

    private static RgbImage decode(byte[] content, String name, String format, Decoding decoding) {
        Iterator<ImageReader> readers = ImageIO.getImageReadersByFormatName(format);
        if (!readers.hasNext()) {
            throw new IllegalStateException("This Java runtime has no reader of " + format + " files");
        }
        ImageReader reader = readers.next();
        try (ImageInputStream input = new MemoryCacheImageInputStream(new ByteArrayInputStream(content))) {
            reader.setInput(input, true, true);
            reader.addIIOReadWarningListener((source, warning) -> warn(name, warning));
            long pixels = (long) reader.getWidth(0) * reader.getHeight(0);
            if (pixels > MAX_PIXELS) {
                throw new ImageException("The image " + name + " of " + reader.getWidth(0) + " x "
                        + reader.getHeight(0) + " pixels is too large; at most " + MAX_PIXELS + " pixels are read");
            }
            return decoding.decode(reader);
        } catch (ImageException e) {
            throw e;
        } catch (IOException | RuntimeException e) {
            // the decoders answer damaged files with almost any exception, index and negative array size included
            throw damaged(name, e);
        } finally {
            reader.dispose();
        }
    }

    /** Wrong bytes inside the compressed data spoil a part of the image; Pillow uses it all the same, in silence. */
    private static void warn(String name, String warning) {
        if (warning.startsWith("Corrupt JPEG data")) {
            LOG.warn("The image {} is used although its decoder says: {}", name, Printable.of(warning));
        } else {
            LOG.debug("{}: {}", name, warning);
        }
    }

    private static ImageException damaged(String name, Exception cause) {
        String reason = cause.getMessage() == null ? cause.getClass().getSimpleName()
                : Printable.of(cause.getMessage().lines().findFirst().orElse("").strip());
        return new ImageException("The image " + name + " is damaged or of an unsupported kind: " + reason, cause);
    }

    /** What differs between the formats. */
    @FunctionalInterface
    private interface Decoding {
        RgbImage decode(ImageReader reader) throws IOException;
    }
}
