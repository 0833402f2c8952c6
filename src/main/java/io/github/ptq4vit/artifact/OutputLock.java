package io.github.ptq4vit.artifact;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.HashSet;
import java.util.Optional;
import java.util.Set;

/**
 * The right to write an output, held by one process at a time from its first look at the output to the end. It is a lock of
 * the operating system on a small file, which the system releases when the process dies, however it dies; the file is
 * deleted with the lock, and one that a dead process left is taken over.
 */
public final class OutputLock implements AutoCloseable {
    /** Name of the lock file in an output folder, and ending of the one beside an output file. */
    static final String NAME = ".ptq4vit-lock";
    private static final int LONGEST_HOLDER = 200;
    /**
     * Locks of this process. The system's belong to the process as a whole, and closing any channel of the file would give
     * them up, so a second attempt must not even open it.
     */
    private static final Set<Path> HELD = new HashSet<>();

    private final Path file;
    private final Path output;
    private final FileChannel channel;
    private final Object key;
    private final boolean madeFolder;
    private boolean closed;

    private OutputLock(Path file, Path output, FileChannel channel, Object key, boolean madeFolder) {
        this.file = file;
        this.output = output;
        this.channel = channel;
        this.key = key;
        this.madeFolder = madeFolder;
    }

    /**
     * Of a folder, which is made if it is not there; if it was made and is empty at the end, it goes again.
     *
     * @throws ArtifactException if another process has it, or it cannot be made or locked
     */
    public static OutputLock inFolder(Path folder) {
        boolean fresh = !Files.exists(folder);
        new Disk().makeFolder(folder);
        try {
            return take(folder.toAbsolutePath().normalize().resolve(NAME), folder, fresh);
        } catch (ArtifactException e) {
            if (fresh) {
                deleteIfEmpty(folder);
            }
            throw e;
        }
    }

    /**
     * Of a file.
     *
     * @throws ArtifactException if another process has it, or it cannot be locked
     */
    public static OutputLock beside(Path target) {
        Path absolute = target.toAbsolutePath().normalize();
        return take(absolute.resolveSibling(absolute.getFileName() + NAME), target, false);
    }

    private static OutputLock take(Path file, Path output, boolean madeFolder) {
        synchronized (HELD) {
            if (HELD.contains(file)) {
                throw new ArtifactException(output + ": is being written by this process already");
            }
            try {
                OutputLock lock = locked(file, output, madeFolder);
                HELD.add(file);
                return lock;
            } catch (IOException e) {
                throw new ArtifactException(output + ": cannot be locked against other processes (" + Disk.reason(e)
                        + "); choose another place", e);
            }
        }
    }

    private static OutputLock locked(Path file, Path output, boolean madeFolder) throws IOException {
        while (true) {
            Optional<Object> key = key(file);
            if (key.isEmpty()) {
                create(file, output);
                continue;
            }
            FileChannel channel;
            try {
                channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS);
            } catch (NoSuchFileException e) {
                continue;
            }
            boolean kept = false;
            try {
                if (channel.tryLock() == null) {
                    throw new ArtifactException(output + ": is being written by another process" + holder(channel)
                            + "; wait for it, or choose another place");
                }
                // its last holder may have deleted the file between our look and our lock
                if (key.equals(key(file))) {
                    name(channel);
                    kept = true;
                    return new OutputLock(file, output, channel, key.get(), madeFolder);
                }
            } finally {
                if (!kept) {
                    channel.close();
                }
            }
        }
    }

    private static void create(Path file, Path output) throws IOException {
        try {
            Files.createFile(file);
        } catch (FileAlreadyExistsException e) {
            return;
        } catch (NoSuchFileException e) {
            // a process that failed took its folder back
            new Disk().makeFolder(output);
        }
    }

    private static Optional<Object> key(Path file) throws IOException {
        try {
            return Optional.of(Files.readAttributes(file, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS).fileKey());
        } catch (NoSuchFileException e) {
            return Optional.empty();
        }
    }

    /**
     * Makes sure that the output is still the one that was locked.
     *
     * @throws ArtifactException if somebody has removed or replaced it meanwhile
     */
    void requireHeld() {
        try {
            if (!closed && key(file).equals(Optional.of(key))) {
                return;
            }
        } catch (IOException e) {
            throw new ArtifactException(output + ": cannot be read (" + Disk.reason(e) + ")", e);
        }
        throw new ArtifactException(output + ": was removed or replaced while it was written");
    }

    /** Whether this lock's folder did not exist before. */
    boolean madeFolder() {
        return madeFolder;
    }

    /** Gives the right back; calling it again does nothing. */
    @Override
    public void close() {
        synchronized (HELD) {
            if (closed) {
                return;
            }
            closed = true;
            HELD.remove(file);
            try (channel) {
                if (key(file).equals(Optional.of(key))) {
                    Files.delete(file);
                    if (madeFolder) {
                        deleteIfEmpty(file.getParent());
                    }
                }
            } catch (IOException e) {
                // the file that is left is taken over by whoever comes next
                return;
            }
        }
    }

    private static void deleteIfEmpty(Path folder) {
        try {
            Files.delete(folder);
        } catch (IOException e) {
            // not empty: somebody else's, or something to continue
            return;
        }
    }

    /** Writes down who has the lock. */
    private static void name(FileChannel channel) {
        Path host = Path.of("/proc/sys/kernel/hostname");
        try {
            String text = "process " + ProcessHandle.current().pid()
                    + (Files.isReadable(host) ? " on " + Files.readString(host).strip() : "");
            channel.truncate(0).write(ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8)));
        } catch (IOException e) {
            // the lock holds without a name; a full disk is told by whoever writes what matters
            return;
        }
    }

    private static String holder(FileChannel channel) throws IOException {
        ByteBuffer text = ByteBuffer.allocate(LONGEST_HOLDER);
        int length = channel.read(text, 0);
        return length <= 0 ? "" : " (" + new String(text.array(), 0, length, StandardCharsets.UTF_8).strip() + ")";
    }
}
