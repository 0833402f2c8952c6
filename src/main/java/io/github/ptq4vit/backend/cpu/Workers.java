package io.github.ptq4vit.backend.cpu;

import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.function.IntConsumer;

/**
 * The threads of the CPU backend. Items are handed out one by one; the calling thread works along. A calibration runs
 * thousands of loops of a few milliseconds, so whoever waits looks around for a moment before going to sleep: waking a thread
 * takes a good part of that moment.
 */
final class Workers implements AutoCloseable {
    private static final long LOOK_NANOS = 300_000;

    private final int count;
    private final List<Helper> helpers = new ArrayList<>();
    /** Each loop once for every helper it can use. */
    private final Queue<Loop> waiting = new ConcurrentLinkedQueue<>();
    private final ThreadLocal<Boolean> inside = ThreadLocal.withInitial(() -> false);
    private volatile boolean closed;

    Workers(int count) {
        this.count = count;
        for (int i = 1; i < count; i++) {
            Helper helper = new Helper();
            helpers.add(helper);
            helper.start();
        }
    }

    int count() {
        return count;
    }

    /**
     * Runs {@code task} for every number in {@code [0, items)}; from inside a task it runs them in turn. The first failure is
     * thrown on, when all have stopped.
     *
     * @throws CancellationException if the calling thread was interrupted meanwhile
     */
    void run(int items, IntConsumer task) {
        if (items <= 1 || count == 1 || inside.get()) {
            for (int i = 0; i < items; i++) {
                task.accept(i);
            }
            return;
        }
        int helping = Math.min(count, items) - 1;
        Loop loop = new Loop(items, task, helping);
        for (int i = 0; i < helping; i++) {
            waiting.add(loop);
        }
        wake(helping);
        loop.run();
        loop.await();
    }

    private void wake(int most) {
        int woken = 0;
        for (Helper helper : helpers) {
            if (woken < most && helper.asleep) {
                LockSupport.unpark(helper);
                woken++;
            }
        }
    }

    @Override
    public void close() {
        closed = true;
        helpers.forEach(LockSupport::unpark);
    }

    private final class Loop {
        private final int items;
        private final IntConsumer task;
        private final Thread caller = Thread.currentThread();
        private final AtomicInteger next = new AtomicInteger();
        private final AtomicReference<Throwable> failure = new AtomicReference<>();
        /** Helpers that have not come and gone yet. */
        private final AtomicInteger expected;

        Loop(int items, IntConsumer task, int helping) {
            this.items = items;
            this.task = task;
            this.expected = new AtomicInteger(helping);
        }

        void run() {
            inside.set(true);
            try {
                for (int i = next.getAndIncrement(); i < items; i = next.getAndIncrement()) {
                    task.accept(i);
                }
            } catch (RuntimeException | Error e) {
                next.set(items);
                failure.compareAndSet(null, e);
            } finally {
                inside.set(false);
            }
        }

        void help() {
            run();
            if (expected.decrementAndGet() == 0) {
                LockSupport.unpark(caller);
            }
        }

        void await() {
            boolean interrupted = false;
            long start = System.nanoTime();
            while (expected.get() > 0) {
                if (System.nanoTime() - start < LOOK_NANOS) {
                    Thread.onSpinWait();
                } else {
                    LockSupport.park(this);
                }
                if (Thread.interrupted()) {
                    // the helpers write into memory that the caller may free: wait for them, then say so
                    interrupted = true;
                    next.set(items);
                }
            }
            interrupted |= Thread.interrupted();
            if (interrupted) {
                caller.interrupt();
            }
            if (failure.get() instanceof RuntimeException e) {
                throw e;
            }
            if (failure.get() instanceof Error e) {
                throw e;
            }
            if (interrupted) {
                throw new CancellationException("Interrupted while computing");
            }
        }
    }

    private final class Helper extends Thread {
        private volatile boolean asleep;

        Helper() {
            super("ptq4vit-cpu");
            setDaemon(true);
        }

        @Override
        public void run() {
            while (!closed) {
                long start = System.nanoTime();
                Loop loop = waiting.poll();
                while (loop == null && !closed) {
                    if (System.nanoTime() - start < LOOK_NANOS) {
                        Thread.onSpinWait();
                    } else {
                        sleep();
                    }
                    loop = waiting.poll();
                }
                if (loop != null) {
                    loop.help();
                }
            }
        }

        private void sleep() {
            asleep = true;
            if (waiting.isEmpty() && !closed) {
                LockSupport.park(Workers.this);
            }
            asleep = false;
        }
    }
}
