package io.github.ptq4vit.backend.cuda;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.function.UnaryOperator;
import jcuda.JCudaVersion;

/**
 * JCuda's native libraries, extracted from its jars into a folder that only this user can read and that is gone afterwards.
 * JCuda would put them under fixed names into the shared temporary folder: anyone could plant a file there, and two
 * processes that start together could read each other's half-written files. It takes a file that is there already, so the
 * folder is where it looks while a class initialises.
 */
final class JcudaNatives implements AutoCloseable {
    private static final String FOLDER_PROPERTY = "java.io.tmpdir";

    private final Path folder;

    /** Makes the folder. */
    JcudaNatives() {
        try {
            folder = Files.createTempDirectory("ptq4vit-cuda-",
                    PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
        } catch (IOException e) {
            throw new UncheckedIOException("JCuda's natives could not be extracted: no temporary folder", e);
        }
    }

    /**
     * Extracts a native library, for {@link #initialise} of the class that wants it.
     *
     * @param name such as {@code JCublas2}
     * @param change applied to the bytes of the file
     */
    void extract(String name, UnaryOperator<byte[]> change) {
        String file = "lib" + name + "-" + JCudaVersion.get() + "-linux-x86_64.so";
        try (InputStream in = JCudaVersion.class.getResourceAsStream("/lib/" + file)) {
            if (in == null) {
                throw new IllegalStateException(file + " is missing on the class path");
            }
            Files.write(folder.resolve(file), change.apply(in.readAllBytes()));
        } catch (IOException e) {
            throw new UncheckedIOException(file + " could not be extracted into " + folder, e);
        }
    }

    /**
     * Initialises a class of JCuda with what was extracted.
     *
     * @throws LinkageError if its native library does not load
     */
    void initialise(String className) {
        // the property belongs to the process; others that change it use the same lock, JCuda's own class
        synchronized (JCudaVersion.class) {
            String before = System.getProperty(FOLDER_PROPERTY);
            System.setProperty(FOLDER_PROPERTY, folder.toString());
            try {
                Class.forName(className, true, JCudaVersion.class.getClassLoader());
            } catch (ClassNotFoundException e) {
                throw new IllegalStateException(className + " is missing on the class path", e);
            } finally {
                System.setProperty(FOLDER_PROPERTY, before);
            }
        }
    }

    /** Deletes the folder; what is loaded stays loaded. */
    @Override
    public void close() {
        try (DirectoryStream<Path> files = Files.newDirectoryStream(folder)) {
            for (Path file : files) {
                Files.delete(file);
            }
            Files.delete(folder);
        } catch (IOException e) {
            throw new UncheckedIOException(folder + " could not be deleted", e);
        }
    }
}
