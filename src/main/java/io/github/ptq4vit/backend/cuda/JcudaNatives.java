package io.github.ptq4vit.backend.cuda;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
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

    /** The property belongs to the process: one class at a time. */
    private static final Object ONE_AT_A_TIME = new Object();

    private final Path folder;
    private final List<Path> extracted = new ArrayList<>();

    /** Makes the folder. */
    JcudaNatives() {
        try {
            folder = Files.createTempDirectory("ptq4vit-cuda-",
                    PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
        } catch (IOException e) {
            throw new UncheckedIOException("JCuda's natives could not be extracted: no temporary folder", e);
        }
    }

    /** Whether the class path has a native library, such as {@code JCublas2}. */
    static boolean has(String name) {
        return JCudaVersion.class.getResource("/lib/" + file(name)) != null;
    }

    private static String file(String name) {
        return "lib" + name + "-" + JCudaVersion.get() + "-linux-x86_64.so";
    }

    /** Where the natives lie until this is closed. */
    Path folder() {
        return folder;
    }

    /**
     * Extracts a native library, for {@link #initialise} of the class that wants it.
     *
     * @param name such as {@code JCublas2}
     * @param change applied to the bytes of the file
     */
    void extract(String name, UnaryOperator<byte[]> change) {
        String file = file(name);
        try (InputStream in = JCudaVersion.class.getResourceAsStream("/lib/" + file)) {
            if (in == null) {
                throw new IllegalStateException(file + " is missing on the class path");
            }
            Path target = folder.resolve(file);
            extracted.add(target);
            Files.write(target, change.apply(in.readAllBytes()));
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
        synchronized (ONE_AT_A_TIME) {
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

    /** Deletes what was extracted, and the folder unless others have put something there; what is loaded stays loaded. */
    @Override
    public void close() {
        try {
            for (Path file : extracted) {
                Files.deleteIfExists(file);
            }
            Files.delete(folder);
        } catch (DirectoryNotEmptyException e) {
            // another part of the process made a temporary file while the property pointed here; it is not ours to delete
        } catch (IOException e) {
            throw new UncheckedIOException(folder + " could not be deleted", e);
        }
    }
}
