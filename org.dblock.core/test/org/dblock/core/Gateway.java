package org.dblock.core;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Dictionary;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.BooleanSupplier;
import org.dblock.api.BlockException;
import org.dblock.api.device.Client;
import org.dblock.api.device.Connection;
import org.dblock.api.device.Device;
import org.dblock.api.device.DeviceSpec;
import org.dblock.api.device.Devices;
import org.dblock.api.device.Export;
import org.dblock.api.device.FrontEnd;
import org.osgi.service.cm.Configuration;
import org.osgi.service.cm.ConfigurationAdmin;

/** A registry without a framework: with a Config Admin of a few lines, and what tests do with it over and over. */
final class Gateway implements AutoCloseable {
    static final int SIZE = 64 << 10;

    final Map<String, Dictionary<String, Object>> stored = new ConcurrentHashMap<>();
    final DeviceRegistry registry = new DeviceRegistry(configurationAdmin());

    private ConfigurationAdmin configurationAdmin() {
        return proxy(ConfigurationAdmin.class, (method, arguments) -> switch (method) {
            case "createFactoryConfiguration" -> configuration(arguments[0] + "." + System.nanoTime());
            case "getConfiguration" -> configuration((String) arguments[0]);
            case "listConfigurations" -> {
                String filter = (String) arguments[0];
                String pid = filter.substring("(service.pid=".length(), filter.length() - 1);
                yield stored.containsKey(pid) ? new Configuration[] {configuration(pid)} : null;
            }
            default -> throw new UnsupportedOperationException(method);
        });
    }

    private Configuration configuration(String pid) {
        return proxy(Configuration.class, (method, arguments) -> {
            switch (method) {
                case "getPid":
                    return pid;
                case "getProperties":
                    return stored.get(pid);
                case "update":
                    @SuppressWarnings("unchecked")
                    Dictionary<String, Object> table = (Dictionary<String, Object>) arguments[0];
                    stored.put(pid, table);
                    registry.updated(pid, table);
                    return null;
                case "delete":
                    stored.remove(pid);
                    registry.deleted(pid);
                    return null;
                default:
                    throw new UnsupportedOperationException(method);
            }
        });
    }

    private interface Answer {
        Object to(String method, Object[] arguments) throws IOException;
    }

    private static <T> T proxy(Class<T> type, Answer answer) {
        return type.cast(Proxy.newProxyInstance(
                type.getClassLoader(),
                new Class<?>[] {type},
                (self, method, arguments) -> answer.to(method.getName(), arguments)));
    }

    /** Writes a configuration as an operator does. */
    void configure(String pid, Dictionary<String, Object> table) {
        stored.put(pid, table);
        registry.updated(pid, table);
    }

    /** Deletes a configuration as an operator does. */
    void unconfigure(String pid) {
        stored.remove(pid);
        registry.deleted(pid);
    }

    FakeStore add(FakeStore store) {
        registry.storeArrived(store.registered);
        return store;
    }

    void remove(FakeStore store) {
        registry.storeLeft(store.registered);
    }

    Device create(String name) throws BlockException {
        return registry.create(DeviceSpec.of(name, FakeStore.BACKEND, SIZE));
    }

    Device device(String name) {
        return registry.find(name).orElseThrow();
    }

    @Override
    public void close() {
        registry.deactivate();
    }

    /** A client that remembers what it was told. */
    static final class TestClient implements Client {
        final List<String> gone = new CopyOnWriteArrayList<>();
        final List<Long> sizes = new CopyOnWriteArrayList<>();
        private final String name;

        TestClient(String name) {
            this.name = name;
        }

        @Override
        public String describe() {
            return name;
        }

        @Override
        public void resized(long size) {
            sizes.add(size);
        }

        @Override
        public void gone(String why) {
            gone.add(why);
        }
    }

    static Connection connect(Device device) throws BlockException {
        return device.connect(new TestClient("test client"));
    }

    static ByteBuffer block(int value) {
        return blocks(1, value);
    }

    static ByteBuffer blocks(int count, int value) {
        ByteBuffer buffer = ByteBuffer.allocateDirect(512 * count);
        while (buffer.hasRemaining()) buffer.put((byte) value);
        return buffer.flip();
    }

    static int valueAt(Connection connection, long offset) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocateDirect(512);
        connection.read(buffer, offset);
        assertThat(buffer.hasRemaining()).isFalse();
        for (int i = 1; i < 512; i++) assertThat(buffer.get(i)).isEqualTo(buffer.get(0));
        return buffer.get(0) & 255;
    }

    /** Waits for what is to come, up to a time that is never reached where all is well. */
    static void eventually(String what, BooleanSupplier condition) {
        long deadline = System.nanoTime() + 60_000_000_000L;
        while (!condition.getAsBoolean()) {
            assertThat(System.nanoTime()).as("in time: " + what).isLessThan(deadline);
            try {
                Thread.sleep(5);
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
        }
    }

    /** A front end that serves by remembering. */
    static final class TestFrontEnd implements FrontEnd {
        final List<String> served = new CopyOnWriteArrayList<>();
        final List<String> ended = new CopyOnWriteArrayList<>();

        @Override
        public Export export(Device device, Map<String, String> options) throws BlockException {
            List<String> unknown = new ArrayList<>(options.keySet());
            unknown.remove("readOnly");
            if (!unknown.isEmpty())
                throw new BlockException(org.dblock.api.Reason.INVALID, "no option " + unknown + ": there is readOnly");
            served.add(device.name());
            return new Export() {
                @Override
                public String frontEnd() {
                    return "test";
                }

                @Override
                public String address() {
                    return "test:" + device.name();
                }

                @Override
                public void close(End end) {
                    served.remove(device.name());
                    ended.add(device.name() + " " + end);
                }
            };
        }
    }

    static String pid(String name) {
        return Devices.PID + "." + name;
    }
}
