package org.dblock.shell;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.dblock.api.Size;
import org.dblock.api.device.Device;
import org.dblock.api.device.DeviceStats;
import org.dblock.api.device.DeviceStats.Op;

/** The command that shows what a device does, once or again and again. */
final class StatsCommand {
    private static final String CLEAR = "\033[H\033[2J";

    private final Gateway gateway;

    StatsCommand(Gateway gateway) {
        this.gateway = gateway;
    }

    List<Command> commands() {
        return List.of(Command.of("stats", "Show a device's counters and latencies", this::stats)
                .with(
                        Parameter.argument("NAME", gateway.deviceName(), "the device"),
                        Parameter.option(
                                "watch",
                                Type.seconds(0.1, 86400),
                                "show rates again and again, this far apart, until Ctrl-C"),
                        DeviceCommands.JSON)
                .withExample("stats demo"));
    }

    private void stats(Call call) throws Exception {
        Device device = gateway.device(call.arguments().text("NAME"));
        DeviceStats stats = device.stats();
        if (!call.printedJson(json(device))) call.print(totals(device, stats));
        if (!call.arguments().has("watch")) return;
        Sample before = Sample.of(stats);
        while (call.pause(call.arguments().seconds("watch")) && device.state() != Device.State.REMOVED) {
            Sample now = Sample.of(stats);
            if (!call.printedJson(json(device)))
                call.print((call.terminal() ? CLEAR : "\n") + rates(device, stats, before, now));
            before = now;
        }
    }

    private static String totals(Device device, DeviceStats stats) {
        Table table = new Table("", ">REQUESTS", ">BYTES", ">ERRORS", ">P50", ">P99", ">P99.9", ">MAX");
        for (Op op : Op.values()) {
            if (stats.count(op) == 0 && op.ordinal() > Op.FLUSH.ordinal()) continue;
            table.row(
                    name(op),
                    stats.count(op),
                    Size.format(stats.bytes(op)),
                    stats.errors(op),
                    Units.time(stats.latency(op, 0.5)),
                    Units.time(stats.latency(op, 0.99)),
                    Units.time(stats.latency(op, 0.999)),
                    Units.time(stats.latency(op, 1)));
        }
        return headline(device, stats) + table + details(device);
    }

    /** What the volume has to say of itself. */
    private static String details(Device device) {
        Map<String, String> details = device.details();
        if (details.isEmpty()) return "";
        Table table = new Table("", "");
        details.forEach((key, value) -> table.row(key, value));
        return table.toString();
    }

    private static String rates(Device device, DeviceStats stats, Sample before, Sample now) {
        double seconds = Math.max(1, now.time - before.time) / 1e9;
        Table table = new Table("", ">REQUESTS/s", ">BYTES/s", ">ERRORS", ">P50", ">P99");
        for (Op op : Op.values()) {
            int i = op.ordinal();
            if (now.counts[i] == 0 && i > Op.FLUSH.ordinal()) continue;
            table.row(
                    name(op),
                    Math.round((now.counts[i] - before.counts[i]) / seconds),
                    Units.bytesPerSecond((now.bytes[i] - before.bytes[i]) / seconds),
                    stats.errors(op),
                    Units.time(stats.latency(op, 0.5)),
                    Units.time(stats.latency(op, 0.99)));
        }
        return headline(device, stats) + table + details(device);
    }

    private static String headline(Device device, DeviceStats stats) {
        return device.name() + ": " + device.state().name().toLowerCase(Locale.ROOT) + ", " + stats.inFlight()
                + " in flight, " + stats.fua() + " FUA writes, " + stats.swaps() + " swaps"
                + (stats.lastSwapNanos() == 0 ? "" : " (the last took " + Units.time(stats.lastSwapNanos()) + ")")
                + "\n";
    }

    private static Map<String, Object> json(Device device) {
        DeviceStats stats = device.stats();
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("name", device.name());
        json.put("state", device.state().name().toLowerCase(Locale.ROOT));
        json.put("inFlight", stats.inFlight());
        json.put("fua", stats.fua());
        json.put("swaps", stats.swaps());
        json.put("lastSwapNanos", stats.lastSwapNanos());
        Map<String, Object> ops = new LinkedHashMap<>();
        for (Op op : Op.values()) {
            Map<String, Object> one = new LinkedHashMap<>();
            one.put("count", stats.count(op));
            one.put("bytes", stats.bytes(op));
            one.put("errors", stats.errors(op));
            one.put("p50Nanos", stats.latency(op, 0.5));
            one.put("p99Nanos", stats.latency(op, 0.99));
            one.put("p999Nanos", stats.latency(op, 0.999));
            one.put("maxNanos", stats.latency(op, 1));
            ops.put(name(op), one);
        }
        json.put("operations", ops);
        json.put("details", device.details());
        return json;
    }

    private static String name(Op op) {
        return op.name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    /** The counters at a moment, in nanoseconds. */
    private record Sample(long time, long[] counts, long[] bytes) {
        static Sample of(DeviceStats stats) {
            long[] counts = new long[Op.values().length];
            long[] bytes = new long[counts.length];
            for (Op op : Op.values()) {
                counts[op.ordinal()] = stats.count(op);
                bytes[op.ordinal()] = stats.bytes(op);
            }
            return new Sample(System.nanoTime(), counts, bytes);
        }
    }
}
