package peer;

import java.util.concurrent.CountDownLatch;

/** Starts the worker, and stops it on SIGTERM and SIGINT. */
public final class Main {
    private static volatile int exitCode = 1;

    private Main() {}

    /** Exit codes: 0 stopped by a signal with everything committed, 1 a fault, which is on stderr. */
    public static void main(String[] args) {
        CountDownLatch over = new CountDownLatch(1);
        try {
            Worker worker = new Worker(Settings.fromEnvironment());
            Runtime.getRuntime().addShutdownHook(new Thread(() -> {
                worker.stop();
                awaitUninterruptibly(over);
                // A JVM that a signal ends has the exit code 128 + signal, unless it is halted before.
                Runtime.getRuntime().halt(exitCode);
            }));
            worker.run();
            exitCode = 0;
        } catch (Exception exception) {
            exception.printStackTrace();
        } finally {
            over.countDown();
        }
        System.exit(exitCode);
    }

    private static void awaitUninterruptibly(CountDownLatch latch) {
        for (; ; ) {
            try {
                latch.await();
                return;
            } catch (InterruptedException exception) {
                // A shutdown hook has nobody to hand this on to.
            }
        }
    }
}
