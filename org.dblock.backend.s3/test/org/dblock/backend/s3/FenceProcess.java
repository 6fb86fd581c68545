package org.dblock.backend.s3;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/**
 * A gateway as a deterministic function: the real {@link Fence}, {@link State} and {@link Checkpoints}, run from the
 * start with all that it was answered so far, up to its next request. So an exhaustive search can step it, and knows
 * its state by its history.
 */
final class FenceProcess {
    static final UUID VOLUME = new UUID(1, 2);
    static final Keys KEYS = new Keys("", VOLUME);

    /** What a gateway asks of the store. */
    record Request(char kind, String key, ByteBuffer body, String after, int number, long offset, List<String> keys) {}

    /** What it is answered: Boolean, ByteBuffer, List, or one of these. */
    enum Answer {
        DONE,
        MISSING,
        FAILED
    }

    /** An object that it reads, by its number. */
    record Body(int object) {}

    /** What it does after it owns the volume. */
    record Apply(int object) {}

    enum Command {
        CHECKPOINT
    }

    /** Where it has come to: its next request, or how it ended, or what it owns while it has nothing to do. */
    record Outcome(
            Request request,
            IOException refusal,
            long slot,
            int crc,
            long epoch,
            long lastRecord,
            int content,
            long nonceBefore,
            long applied) {}

    /** Ends a run at its next request. */
    private static final class Pause extends Error {
        private static final long serialVersionUID = 1;

        Pause() {
            super(null, null, false, false);
        }
    }

    private final long nonce;
    private final boolean reader;
    private final int window;
    private final Rules rules;
    private final List<ByteBuffer> objects;
    /** The histories, each one event more than another; 0 is the empty one. */
    private final List<Node> nodes = new ArrayList<>(List.of(new Node(-1, null)));

    private final Map<Node, Integer> numbers = new HashMap<>();
    private final Map<Integer, Outcome> known = new HashMap<>();

    private record Node(int before, Object event) {}

    FenceProcess(long nonce, boolean reader, int window, Rules rules, List<ByteBuffer> objects) {
        this.nonce = nonce;
        this.objects = objects;
        this.reader = reader;
        this.window = window;
        this.rules = rules;
    }

    /** The number of a history that goes on with an event. */
    int plus(int history, Object event) {
        Node node = new Node(history, event);
        Integer number = numbers.get(node);
        if (number == null) {
            numbers.put(node, number = nodes.size());
            nodes.add(node);
        }
        return number;
    }

    Outcome after(int history) {
        Outcome outcome = known.get(history);
        if (outcome == null) {
            List<Object> events = new ArrayList<>();
            for (int at = history; at > 0; at = nodes.get(at).before) events.add(0, nodes.get(at).event);
            known.put(history, outcome = new Run(events).run());
        }
        return outcome;
    }

    private final class Run implements ObjectStore, Scheduler {
        private final List<Object> history;
        private int next;
        private Request request;
        private long now;
        private long nonceBefore;

        Run(List<Object> history) {
            this.history = history;
        }

        Outcome run() {
            Settings settings = new Settings(
                    "host" + nonce, 1, window, 0, 0, 1, 0, 0, 0, Bucket.EVER, 0, 1 << 20, 0, true, 0, 1 << 20);
            Bucket bucket = new Bucket(this, this, "model");
            Checkpoints checkpoints = new Checkpoints(bucket, KEYS, VOLUME, rules, Bucket.EVER);
            Fence fence =
                    new Fence(bucket, KEYS, new Format(VOLUME, 1 << 20, window), checkpoints, this, settings, rules);
            State state = null;
            IOException refusal = null;
            try {
                state = reader
                        ? fence.read().state()
                        : fence.take(found -> {
                            nonceBefore = found.nonce;
                            return nonce;
                        });
                while (next < history.size()) {
                    if (history.get(next++) instanceof Apply apply)
                        state.apply(Header.decode(objects.get(apply.object).duplicate()));
                    else checkpoints.write(state, nonce, this);
                }
            } catch (Pause e) {
                // it waits for an answer
            } catch (IOException e) {
                refusal = e;
            }
            if (request != null || refusal != null || state == null)
                return new Outcome(request, refusal, 0, 0, 0, 0, 0, nonceBefore, 0);
            int[] content = new int[1];
            State found = state;
            state.map.visit(0, 1, (lba, blocks, object, at) -> content[0] = found.objects.get(object).crc);
            return new Outcome(
                    null,
                    null,
                    state.slot,
                    state.crc,
                    state.epoch,
                    state.lastRecord,
                    content[0],
                    nonceBefore,
                    state.applied);
        }

        private Object ask(Request asked) throws IOException {
            if (request != null) throw new Pause();
            if (next == history.size()) {
                request = asked;
                throw new Pause();
            }
            Object answer = history.get(next++);
            if (answer == Answer.FAILED) throw new IOException("lost");
            if (answer == Answer.MISSING) throw new Missing(asked.key);
            return answer;
        }

        @Override
        public boolean putIfAbsent(String key, ByteBuffer body) throws IOException {
            ByteBuffer copy =
                    ByteBuffer.allocate(body.remaining()).put(body.duplicate()).flip();
            return (Boolean) ask(new Request('P', key, copy, "", 0, 0, List.of()));
        }

        @Override
        public void get(String key, long offset, ByteBuffer into) throws IOException {
            Body answer = (Body) ask(new Request('G', key, null, "", 0, offset, List.of()));
            ByteBuffer body = objects.get(answer.object).duplicate();
            body.position((int) Math.min(offset, body.limit()));
            body.limit(Math.min(body.limit(), body.position() + into.remaining()));
            into.put(body);
        }

        @Override
        @SuppressWarnings("unchecked")
        public List<Item> list(String prefix, String after, int most) throws IOException {
            return (List<Item>) ask(new Request('L', prefix, null, after, most, 0, List.of()));
        }

        @Override
        public void delete(List<String> keys) throws IOException {
            if (!keys.isEmpty()) ask(new Request('D', "", null, "", 0, 0, List.copyOf(keys)));
        }

        @Override
        public void close() {}

        @Override
        public long nanos() {
            return now;
        }

        @Override
        public long millis() {
            return nonce;
        }

        @Override
        public long random() {
            return nonce;
        }

        @Override
        public void run(String name, Runnable task) {
            task.run();
        }

        @Override
        public void lock() {
            if (request != null) throw new Pause();
        }

        @Override
        public void unlock() {}

        @Override
        public void await(long nanos) {
            now += Math.min(nanos, 1L << 40);
        }

        @Override
        public void signal() {}

        @Override
        public boolean join(long nanos) {
            return true;
        }
    }
}
