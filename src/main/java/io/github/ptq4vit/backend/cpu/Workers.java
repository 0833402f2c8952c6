package io.github.ptq4vit.backend.cpu;

import io.github.ptq4vit.backend.BackendException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.IntConsumer;

/**
 * The threads of the CPU backend, and the {@link Worker}s that they and its callers compute with. Items are handed out one by
 * one; the calling thread works along. A calibration runs thousands of loops of a few milliseconds, so parked threads spin
 * 0.3 ms before they sleep: waking a thread takes a good part of that.
 *
 * <p>Workers are lent to a thread for an operation, or for its part of a loop, so their number is that of the threads that
 * compute at the same time, whatever threads come and go. After closing, a computation in progress fails at its next operation,
 * and when the last worker has come back all of them are destroyed.
 */
final class Workers implements AutoCloseable {
    private static final long SPIN_NANOS = 300_000;

    private final int count;
    private final List<Helper> helpers = new ArrayList<>();
    /** Each loop once for every helper it can use. */
    private final Queue<Loop> waiting = new ConcurrentLinkedQueue<>();
    /** Whether a thread is inside a loop. */
    private final ThreadLocal<Boolean> inside = new ThreadLocal<>();
    /** What a thread has borrowed. */
    private final ThreadLocal<Worker> borrowed = new ThreadLocal<>();
    private final Deque<Worker> idle = new ArrayDeque<>();
    private final Runnable atEnd;
    private int lent;
    private int existing;
    private volatile boolean closed;

    /** @param atEnd called once, after closing, when nobody computes any more */
    Workers(int count, Runnable atEnd) {
        this.count = count;
        this.atEnd = atEnd;
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
     * Computes with a worker that no other thread has meanwhile; inside, the same one again.
     *
     * @throws BackendException if the backend was closed
     * @throws CancellationException if the thread was interrupted
     */
    <T> T with(Function<Worker, T> work) {
        Worker own = borrowed.get();
        if (own != null) {
            return work.apply(own);
        }
        requireOpen();
        requireUninterrupted();
        Worker lending = lend();
        borrowed.set(lending);
        try {
            return work.apply(lending);
        } finally {
            borrowed.remove();
            takeBack(lending);
        }
    }

    /** The same without a result. */
    void use(Consumer<Worker> work) {
        with(worker -> {
            work.accept(worker);
            return worker;
        });
    }

    /** Throws if the backend was closed. */
    void requireOpen() {
        if (closed) {
            throw new BackendException("The CPU backend is closed");
        }
    }

    private static void requireUninterrupted() {
        if (Thread.currentThread().isInterrupted()) {
            throw new CancellationException("Interrupted while computing");
        }
    }

    private Worker lend() {
        Worker worker;
        synchronized (idle) {
            requireOpen();
            lent++;
            worker = idle.poll();
        }
        try {
            OneDnn.useOneThread();
            return worker == null ? made() : worker;
        } catch (RuntimeException | Error e) {
            takeBack(worker);
            throw e;
        }
    }

    private Worker made() {
        Worker worker = new Worker(this);
        synchronized (idle) {
            existing++;
        }
        return worker;
    }

    private void takeBack(Worker worker) {
        synchronized (idle) {
            lent--;
            if (worker != null) {
                idle.push(worker);
            }
            if (!closed || lent > 0) {
                return;
            }
        }
        free();
    }

    /** Closed, and nobody computes any more. */
    private void free() {
        synchronized (idle) {
            idle.forEach(Worker::close);
            existing -= idle.size();
            idle.clear();
        }
        atEnd.run();
    }

    /** How many workers there are. */
    int existing() {
        synchronized (idle) {
            return existing;
        }
    }

    /**
     * Runs {@code task} for every number in {@code [0, items)}; from inside a task it runs them in turn. The first failure is
     * thrown on, when all have stopped.
     *
     * @throws BackendException if the backend was closed
     * @throws CancellationException if the calling thread was interrupted meanwhile
     */
    void run(int items, IntConsumer task) {
        if (items <= 1 || count == 1 || inside.get() != null) {
            for (int i = 0; i < items; i++) {
                requireOpen();
                requireUninterrupted();
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
        synchronized (idle) {
            if (closed) {
                return;
            }
            closed = true;
            helpers.forEach(LockSupport::unpark);
            if (lent > 0) {
                return;
            }
        }
        free();
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
                use(worker -> {
                    for (int i = next.getAndIncrement(); i < items; i = next.getAndIncrement()) {
                        requireOpen();
                        task.accept(i);
                    }
                });
            } catch (RuntimeException | Error e) {
                next.set(items);
                failure.compareAndSet(null, e);
            } finally {
                inside.remove();
            }
        }

        void help() {
            run();
            if (expected.decrementAndGet() == 0) {
                LockSupport.unpark(caller);
            }
        }

        void await() {
            // nothing is left to do: helpers that have not come yet, of a closed backend never, need not
            while (waiting.remove(this)) {
                expected.decrementAndGet();
            }
            boolean interrupted = false;
            long start = System.nanoTime();
            while (expected.get() > 0) {
                if (System.nanoTime() - start < SPIN_NANOS) {
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
                    if (System.nanoTime() - start < SPIN_NANOS) {
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
