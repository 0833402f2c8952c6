package io.github.ptq4vit.image;

import io.github.ptq4vit.tensor.Printable;
import io.github.ptq4vit.tensor.Shape;
import io.github.ptq4vit.tensor.Tensor;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Decodes and transforms images on threads of its own while the consumer computes, and hands them out in batches, in
 * the order of the ids. All batches but the last are full. An image that is damaged, or too large for the memory, is left
 * out, named in a warning and listed in {@link #skipped}; threads wait where several would take too much memory together. About one batch is held ready beyond the one handed out. To be used by one thread, and closed.
 *
 * <pre>{@code
 * try (ImageLoader loader = ImageLoader.all(folder, folder.ids(), transform, 32, 2)) {
 *     while (loader.hasNext()) {
 *         model.logits(loader.next().pixels());
 *     }
 * }
 * }</pre>
 */
public final class ImageLoader implements Iterator<Batch>, AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(ImageLoader.class);

    private final ImageFolder folder;
    private final List<String> ids;
    private final ImageTransform transform;
    private final int batchSize;
    private final int ahead;
    private final DecodingMemory memory;
    /** How many readable images there must be, or 0 for as many as there are. */
    private final int count;
    private final ExecutorService threads;
    private final Deque<Pending> pending = new ArrayDeque<>();
    private final List<Skipped> skipped = new ArrayList<>();
    private int submitted;
    private int loaded;
    private Batch ready;
    private boolean closed;

    /**
     * An image that was left out.
     *
     * @param id of the image
     * @param reason a sentence that names the file
     */
    public record Skipped(String id, String reason) { }

    private record Pending(int position, Future<float[]> pixels) { }

    private ImageLoader(ImageFolder folder, List<String> ids, ImageTransform transform, int count, int batchSize,
            int threads) {
        if (batchSize < 1 || threads < 1) {
            throw new IllegalArgumentException("Batch size " + batchSize + " and " + threads
                    + " threads: both must be at least 1");
        }
        if ((long) transform.elements() * batchSize > Integer.MAX_VALUE) {
            throw new IllegalArgumentException("A batch of " + batchSize + " images of " + transform.crop() + " x "
                    + transform.crop() + " pixels is too large; take a smaller batch");
        }
        this.folder = folder;
        this.ids = List.copyOf(ids);
        this.transform = transform;
        this.count = count;
        this.batchSize = batchSize;
        ahead = batchSize + threads;
        // the images of a batch, and the batch
        long pixels = 2L * Float.BYTES * transform.elements() * Math.min(ahead, ids.size());
        memory = new DecodingMemory(Runtime.getRuntime().maxMemory(), pixels);
        this.threads = Executors.newFixedThreadPool(threads, task -> {
            Thread thread = new Thread(task, "image-loader");
            thread.setDaemon(true);
            return thread;
        });
        submit();
    }

    /**
     * Loads all readable ones of these images.
     *
     * @param ids of images of the folder, in the order in which they are wanted
     * @param batchSize images per batch
     * @param threads number of threads that decode
     */
    public static ImageLoader all(ImageFolder folder, List<String> ids, ImageTransform transform, int batchSize,
            int threads) {
        return new ImageLoader(folder, ids, transform, 0, batchSize, threads);
    }

    /**
     * Loads the first {@code count} readable ones of these images; a damaged one is replaced by the next of the list.
     * If fewer are readable, {@link #hasNext} and {@link #next} end with an {@link ImageException} instead of a short
     * last batch.
     *
     * @throws ImageException if the list itself is shorter than {@code count}
     */
    public static ImageLoader first(int count, ImageFolder folder, List<String> ids, ImageTransform transform,
            int batchSize, int threads) {
        if (count < 1) {
            throw new ImageException("Asked for " + count + " images of " + folder.root() + "; at least 1 is needed");
        }
        if (count > ids.size()) {
            throw ids.size() == folder.size() ? folder.tooFew(count) : new ImageException("Asked for " + count
                    + " images, but only " + ids.size() + " of " + folder.root() + " were chosen");
        }
        return new ImageLoader(folder, ids, transform, count, batchSize, threads);
    }

    /**
     * Whether another batch follows; waits for its images.
     *
     * @throws ImageException if fewer images than asked for, or none at all, could be read
     */
    @Override
    public boolean hasNext() {
        if (ready == null && !closed) {
            ready = load();
        }
        return ready != null;
    }

    /** The next batch; throws as {@link #hasNext}, and NoSuchElementException after the last. */
    @Override
    public Batch next() {
        if (!hasNext()) {
            throw new NoSuchElementException(closed ? "The loader is closed" : "There are no more images");
        }
        Batch batch = ready;
        ready = null;
        submit();
        return batch;
    }

    /** The images left out so far, in the order of the ids. */
    public List<Skipped> skipped() {
        return List.copyOf(skipped);
    }

    /** Stops the threads; images in work are given up. Safe to call again. */
    @Override
    public void close() {
        closed = true;
        ready = null;
        pending.clear();
        threads.shutdownNow();
    }

    private Batch load() {
        List<float[]> images = new ArrayList<>();
        List<Integer> positions = new ArrayList<>();
        submit();
        while (images.size() < batchSize && !pending.isEmpty()) {
            Pending next = pending.remove();
            try {
                images.add(await(next.pixels));
                positions.add(next.position);
                loaded++;
            } catch (ImageException e) {
                String id = ids.get(next.position);
                skipped.add(new Skipped(id, e.getMessage()));
                LOG.warn("Left out {}: {}", Printable.of(id), e.getMessage());
            }
            submit();
        }
        boolean exhausted = pending.isEmpty();
        if (exhausted && (loaded < count || loaded == 0 && !ids.isEmpty())) {
            close();
            throw tooFewReadable();
        }
        return images.isEmpty() ? null : batch(images, positions);
    }

    private Batch batch(List<float[]> images, List<Integer> positions) {
        float[] pixels = new float[images.size() * transform.elements()];
        for (int i = 0; i < images.size(); i++) {
            System.arraycopy(images.get(i), 0, pixels, i * transform.elements(), transform.elements());
        }
        return new Batch(positions.stream().map(ids::get).toList(),
                positions.stream().mapToInt(Integer::intValue).toArray(),
                Tensor.of(Shape.of(images.size(), 3, transform.crop(), transform.crop()), pixels));
    }

    /** Keeps the threads busy, but never starts more images than may still be needed. */
    private void submit() {
        int wanted = count == 0 ? ahead : Math.min(ahead, count - loaded);
        while (!closed && submitted < ids.size() && pending.size() < wanted) {
            int position = submitted++;
            String id = ids.get(position);
            pending.add(new Pending(position,
                    threads.submit(() -> ImageDecoder.read(folder.file(id), memory, transform::apply))));
        }
    }

    private float[] await(Future<float[]> image) {
        try {
            return image.get();
        } catch (ExecutionException e) {
            if (e.getCause() instanceof ImageException unreadable) {
                throw unreadable;
            }
            close();
            if (e.getCause() instanceof Error error) {
                throw error;
            }
            throw new IllegalStateException("Loading an image failed: " + e.getCause(), e.getCause());
        } catch (InterruptedException e) {
            close();
            Thread.currentThread().interrupt();
            throw new IllegalStateException("Interrupted while waiting for an image", e);
        }
    }

    private ImageException tooFewReadable() {
        String example = skipped.isEmpty() ? "" : " First of the " + skipped.size() + " left out: "
                + skipped.get(0).reason();
        return new ImageException((loaded == 0 ? "None" : "Asked for " + count + " images, but only " + loaded)
                + " of the " + ids.size() + " images of " + folder.root() + " could be read." + example);
    }
}
