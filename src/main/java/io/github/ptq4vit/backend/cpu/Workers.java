package io.github.ptq4vit.backend.cpu;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.IntConsumer;

/** The threads of the CPU backend. Items are handed out one by one; the calling thread works along. */
final class Workers implements AutoCloseable {
    private final int count;
    private final ExecutorService helpers;
    private final ThreadLocal<Boolean> inside = ThreadLocal.withInitial(() -> false);

    Workers(int count) {
        this.count = count;
        this.helpers = Executors.newFixedThreadPool(Math.max(1, count - 1), task -> {
            Thread thread = new Thread(task, "ptq4vit-cpu");
            thread.setDaemon(true);
            return thread;
        });
    }

    int count() {
        return count;
    }

    /** Runs {@code task} for every number in {@code [0, items)}; from inside a task it runs them in turn. */
    void run(int items, IntConsumer task) {
        if (items <= 1 || count == 1 || inside.get()) {
            for (int i = 0; i < items; i++) {
                task.accept(i);
            }
            return;
        }
        AtomicInteger next = new AtomicInteger();
        Runnable loop = () -> {
            inside.set(true);
            try {
                for (int i = next.getAndIncrement(); i < items; i = next.getAndIncrement()) {
                    task.accept(i);
                }
            } catch (RuntimeException | Error e) {
                next.set(items);
                throw e;
            } finally {
                inside.set(false);
            }
        };
        List<Future<?>> running = new ArrayList<>();
        for (int i = 1; i < Math.min(count, items); i++) {
            running.add(helpers.submit(loop));
        }
        Throwable failure = null;
        try {
            loop.run();
        } catch (RuntimeException | Error e) {
            failure = e;
        }
        boolean interrupted = false;
        for (Future<?> future : running) {
            while (true) {
                try {
                    future.get();
                    break;
                } catch (ExecutionException e) {
                    failure = failure == null ? e.getCause() : failure;
                    break;
                } catch (InterruptedException e) {
                    // the helpers write into memory that the caller may free: wait for them, then say so
                    interrupted = true;
                    next.set(items);
                }
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        if (failure instanceof RuntimeException e) {
            throw e;
        }
        if (failure instanceof Error e) {
            throw e;
        }
        if (interrupted) {
            throw new java.util.concurrent.CancellationException("Interrupted while computing");
        }
    }

    @Override
    public void close() {
        helpers.shutdownNow();
    }
}
