package io.github.ptq4vit.cli;

import java.util.Optional;
import me.tongfei.progressbar.ConsoleProgressBarConsumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;

/** A progress bar on standard error if that is a terminal; else nothing. */
final class Bar implements AutoCloseable {
    private static final int WIDTH = 100;

    private final Optional<ProgressBar> bar;

    // Java 22 to 24 have a console also where there is no terminal; the property then tells
    @SuppressWarnings("SystemConsoleNull")
    Bar(String task, long total) {
        boolean terminal = Boolean.parseBoolean(System.getProperty("ptq4vit.terminal",
                String.valueOf(System.console() != null)));
        bar = terminal ? Optional.of(new ProgressBarBuilder().setTaskName(task).setInitialMax(total)
                .setStyle(ProgressBarStyle.ASCII).setConsumer(new ConsoleProgressBarConsumer(System.err, WIDTH)).build())
                : Optional.empty();
    }

    void to(long done, long total, String what) {
        bar.ifPresent(b -> b.maxHint(total).stepTo(done).setExtraMessage(what));
    }

    @Override
    public void close() {
        bar.ifPresent(ProgressBar::close);
    }
}
