package io.github.ptq4vit.backend.cuda;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import jcuda.driver.JCudaDriver;

/**
 * Loads CUDA's driver and cuBLAS 12 or 13, and JCuda's natives above them, once for the process: JNI allows no second time.
 */
public final class CudaLibraries {
    /**
     * Property with folders, separated by colons, in which alone the libraries are looked for, the driver's
     * {@code libcuda.so.1} included if one has it.
     */
    public static final String FOLDERS_PROPERTY = "ptq4vit.cuda.libraries";

    private static final String DRIVER = "libcuda.so.1";

    private final LibrarySearch search;
    private final boolean ownDriver;
    private final List<String> reasons = new ArrayList<>();

    private CudaLibraries(LibrarySearch search, boolean ownDriver) {
        this.search = search;
        this.ownDriver = ownDriver;
    }

    /**
     * What is loaded, after the first call has tried it. Never throws because something is missing: the reasons are in the
     * result.
     */
    public static CudaInstallation load() {
        return Holder.LOADED;
    }

    private static CudaInstallation find() {
        return new CudaLibraries(LibrarySearch.here(), System.getProperty(FOLDERS_PROPERTY) != null).loadAll();
    }

    private CudaInstallation loadAll() {
        if (!System.getProperty("os.name").equals("Linux") || !System.getProperty("os.arch").equals("amd64")) {
            return missing("The CUDA backend needs 64-bit x86 Linux; this is " + System.getProperty("os.name") + " on "
                    + System.getProperty("os.arch"));
        }
        try (JcudaNatives natives = new JcudaNatives()) {
            if (!loadDriver(natives)) {
                return missing();
            }
            Optional<LibrarySearch.Cublas> cublas = loadCublas(natives, driverVersion());
            return new CudaInstallation(Optional.of(loadedFile(DRIVER)), cublas.map(found -> found.file().toString()),
                    cublas.map(LibrarySearch.Cublas::major).orElse(0), cublas.isPresent() ? List.of() : reasons);
        } catch (UncheckedIOException e) {
            return missing(e.getMessage() + ": " + e.getCause());
        }
    }

    private boolean loadDriver(JcudaNatives natives) {
        try {
            if (ownDriver) {
                // known to the linker by its name from now on
                search.files(DRIVER).stream().findFirst().ifPresent(file -> System.load(file.toString()));
            }
            natives.extract("JCudaDriver", UnaryOperator.identity());
            natives.initialise("jcuda.driver.JCudaDriver");
            return true;
        } catch (LinkageError | RuntimeException e) {
            String words = firstLine(e, DRIVER);
            reasons.add(words.contains(DRIVER + ": cannot open shared object file") ? "NVIDIA's driver (" + DRIVER
                    + ") was not found; install driver R525 or later, or use --backend cpu"
                    : "NVIDIA's driver (" + DRIVER + ") was found but does not load (" + words
                    + "); install driver R525 or later, or use --backend cpu");
            return false;
        }
    }

    /** The CUDA that the driver is made for, times 1000: 12040 is 12.4. */
    private static int driverVersion() {
        int[] version = new int[1];
        JCudaDriver.cuDriverGetVersion(version);
        return version[0];
    }

    /** The first cuBLAS that the driver can serve and that loads. */
    private Optional<LibrarySearch.Cublas> loadCublas(JcudaNatives natives, int driver) {
        for (LibrarySearch.Cublas cublas : search.cublas()) {
            if (1000 * cublas.major() > driver) {
                reasons.add(cublas.file() + " needs a driver for CUDA " + cublas.major() + " or later; this one is for "
                        + driver / 1000 + "." + driver % 1000 / 10);
                continue;
            }
            try {
                loadCublas(cublas);
            } catch (LinkageError e) {
                reasons.add("cuBLAS was found but does not load: " + cublas.file() + " (" + firstLine(e, "libcublas") + ")");
                continue;
            }
            return bindCublas(natives, cublas) ? Optional.of(cublas) : Optional.empty();
        }
        if (reasons.isEmpty()) {
            reasons.add("cuBLAS was not found: no libcublas.so.12 or .13 in " + search.words()
                    + "; install it, or name its folder with -D" + FOLDERS_PROPERTY + " or LD_LIBRARY_PATH");
        }
        return Optional.empty();
    }

    private static void loadCublas(LibrarySearch.Cublas cublas) {
        Path light = cublas.file().resolveSibling("libcublasLt.so." + cublas.major());
        if (Files.isRegularFile(light)) {
            System.load(light.toString());
        }
        System.load(cublas.file().toString());
    }

    private boolean bindCublas(JcudaNatives natives, LibrarySearch.Cublas cublas) {
        try {
            natives.extract("JCublas2", library -> cublas.major() == 12
                    ? library : ElfRename.rename(library, "libcublas.so.12", "libcublas.so." + cublas.major()));
            natives.initialise("jcuda.jcublas.JCublas2");
            return true;
        } catch (LinkageError | RuntimeException e) {
            reasons.add("JCuda's library for cuBLAS does not load with " + cublas.file() + " (" + firstLine(e, "libcublas") + ")");
            return false;
        }
    }

    private CudaInstallation missing(String... more) {
        reasons.addAll(List.of(more));
        return new CudaInstallation(Optional.empty(), Optional.empty(), 0, reasons);
    }

    /** Where the linker found a library, else its name. */
    private static String loadedFile(String name) {
        try (Stream<String> maps = Files.lines(Path.of("/proc/self/maps"))) {
            return maps.filter(line -> line.contains("/")).map(line -> line.substring(line.indexOf('/')))
                    .filter(path -> path.substring(path.lastIndexOf('/') + 1).startsWith("libcuda.so"))
                    .findFirst().orElse(name);
        } catch (IOException e) {
            return name;
        }
    }

    /** JCuda wraps the linker's words in stack traces: the line that names the library. */
    static String firstLine(Throwable e, String part) {
        String message = String.valueOf(e.getMessage());
        return message.lines().filter(line -> line.contains(part)).map(String::strip).findFirst()
                .orElseGet(() -> message.lines().findFirst().orElse(""));
    }

    private static final class Holder {
        static final CudaInstallation LOADED = find();
    }
}
