package org.dblock.itest;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.concurrent.Callable;

/** Waits for what happens soon on a quiet machine, and at some time on a busy one. */
final class Eventually {
    private static final long SECONDS = 60;

    private Eventually() {}

    /** Asks until the answer is the expected one, and fails with the last answer. */
    static <T> void eventually(String what, Callable<T> question, T expected) throws Exception {
        long deadline = System.nanoTime() + SECONDS * 1_000_000_000L;
        T answer = question.call();
        while (!expected.equals(answer) && System.nanoTime() < deadline) {
            Thread.sleep(20);
            answer = question.call();
        }
        assertThat(answer).as(what).isEqualTo(expected);
    }
}
