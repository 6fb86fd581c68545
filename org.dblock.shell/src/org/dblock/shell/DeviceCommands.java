package org.dblock.shell;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.dblock.api.BlockException;
import org.dblock.api.Geometry;
import org.dblock.api.Reason;
import org.dblock.api.Size;
import org.dblock.api.device.Device;
import org.dblock.api.device.DeviceSpec;
import org.dblock.api.device.Devices;
import org.dblock.api.device.Export;

/** The commands that make, show and change devices. */
final class DeviceCommands {
    static final Parameter JSON = Parameter.flag("json", "print JSON instead");

    private final Gateway gateway;
    private final Parameter name;

    DeviceCommands(Gateway gateway) {
        this.gateway = gateway;
        name = Parameter.argument("NAME", gateway.deviceName(), "the device");
    }

    List<Command> commands() {
        return List.of(
                Command.of("create", "Create a device and serve it", this::create)
                        .with(
                                Parameter.argument("NAME", Type.text("NAME"), "the new device's name"),
                                Parameter.argument("BACKEND", gateway.backendName(), "what stores its blocks"),
                                Parameter.argument("SIZE", Type.SIZE, "e.g. 10G; for an existing volume not needed")
                                        .optional(),
                                Parameter.option(
                                        "volume", Type.text("VOLUME"), "the volume's name (default: the device's)"),
                                Parameter.flag(
                                        "existing", "fail where the volume doesn't exist, instead of creating it"),
                                Parameter.option(
                                        "block-size",
                                        Type.choice(List.of("512", "1024", "2048", "4096")),
                                        "the logical block size in bytes (default: the backend's choice)"),
                                Parameter.flag("read-only", "refuse writes"),
                                Parameter.option(
                                        "queue-depth",
                                        Type.number(1, 1024),
                                        "requests inside the volume at a time (default: " + DeviceSpec.QUEUE_DEPTH
                                                + ")"),
                                Parameter.option(
                                        "park-seconds",
                                        Type.number(0, Integer.MAX_VALUE),
                                        "how long requests wait for a backend that went away; 0: for ever (default: "
                                                + DeviceSpec.PARK_SECONDS + ")"),
                                Parameter.option(
                                                "export", gateway.frontEndName(), "serve it so, e.g. nbd (the default)")
                                        .repeated(),
                                Parameter.flag("no-export", "don't serve it yet"),
                                JSON)
                        .withMore(places -> places.size() < 2 ? List.of() : gateway.options(places.get(1)))
                        .withExample("create scratch ramdisk 10G"),
                Command.of("list", "List the devices", this::list).with(JSON),
                Command.of("info", "Show all about a device", this::info)
                        .with(name, JSON)
                        .withExample("info scratch"),
                Command.of("resize", "Change a device's size, for its clients too", this::resize)
                        .with(
                                name,
                                Parameter.argument("SIZE", Type.SIZE, "the new size"),
                                Parameter.flag("shrink", "allow a smaller size: what lies behind it is lost"))
                        .withExample("resize scratch 20G"),
                Command.of("export", "Serve a device through one more front end", this::export)
                        .with(
                                name,
                                Parameter.argument(
                                        "FRONTEND",
                                        gateway.frontEndName(),
                                        "its name, with options: nbd,readOnly=true"))
                        .withExample("export scratch kernel"),
                Command.of("unexport", "End an export of a device", this::unexport)
                        .with(
                                name,
                                Parameter.argument("FRONTEND", gateway.frontEndName(), "the front end's name"),
                                Parameter.flag("force", "also while clients are connected through it"))
                        .withExample("unexport scratch nbd"),
                Command.of("park", "Make a device's requests wait until it is resumed", this::park)
                        .with(name)
                        .withExample("park scratch"),
                Command.of("resume", "Serve the requests of a parked or failed device again", this::resume)
                        .with(name)
                        .withExample("resume scratch"),
                Command.of("remove", "Flush and remove a device; its volume stays", this::remove)
                        .with(
                                name,
                                Parameter.flag("force", "also while clients have it open, or when its flush fails"),
                                Parameter.flag("delete-volume", "destroy the volume with all it holds"))
                        .withExample("remove scratch"));
    }

    private void create(Call call) throws Exception {
        Arguments given = call.arguments();
        gateway.backend(given.text("BACKEND"));
        DeviceSpec spec = new DeviceSpec(
                given.text("NAME"),
                given.text("BACKEND"),
                given.text("volume"),
                given.number("SIZE", 0),
                given.has("block-size") ? Integer.parseInt(given.text("block-size")) : 0,
                given.flag("read-only"),
                !given.flag("existing"),
                (int) given.number("queue-depth", DeviceSpec.QUEUE_DEPTH),
                (int) given.number("park-seconds", DeviceSpec.PARK_SECONDS),
                exports("create", given, gateway),
                given.except(Set.of(
                        "NAME",
                        "BACKEND",
                        "SIZE",
                        "volume",
                        "existing",
                        "block-size",
                        "read-only",
                        "queue-depth",
                        "park-seconds",
                        "export",
                        "no-export",
                        "json")));
        Device device = gateway.devices().create(spec);
        if (call.printedJson(json(device))) return;
        call.say("created " + device.name() + ", "
                + Size.format(device.geometry().size()) + " on " + spec.backend());
        for (Export export : device.exports()) call.say("  " + export.address());
    }

    /** How a new device is served, by the options {@code export} and {@code no-export}. */
    static List<String> exports(String command, Arguments given, Gateway gateway) throws Exception {
        List<String> exports = given.texts("export");
        if (given.flag("no-export") && !exports.isEmpty())
            throw new UsageException(command + ": --export and --no-export exclude each other");
        for (String export : exports) gateway.frontEnd(export);
        return exports.isEmpty() && !given.flag("no-export") ? List.of("nbd") : exports;
    }

    private void list(Call call) throws Exception {
        List<Device> devices = gateway.devices().list();
        List<Object> all = new ArrayList<>();
        Table table = new Table("NAME", "STATE", ">SIZE", "BACKEND", "VOLUME", "EXPORTS", ">CLIENTS", "NOTE");
        for (Device device : devices) {
            all.add(json(device));
            Geometry geometry = geometry(device);
            table.row(
                    device.name(),
                    state(device),
                    geometry == null ? "-" : Size.format(geometry.size()),
                    device.spec().backend(),
                    device.spec().volume(),
                    String.join(
                            ",", device.exports().stream().map(Export::frontEnd).toList()),
                    device.clients().size(),
                    device.explanation());
        }
        if (call.printedJson(all)) return;
        if (devices.isEmpty()) call.say("no devices; make one: create NAME BACKEND SIZE");
        else call.print(table.toString());
    }

    private void info(Call call) throws Exception {
        Device device = gateway.device(call.arguments().text("NAME"));
        if (call.printedJson(json(device))) return;
        Map<String, String> lines = new LinkedHashMap<>();
        DeviceSpec spec = device.spec();
        lines.put("name", device.name());
        lines.put("id", device.id().toString());
        lines.put("state", state(device) + (device.explanation().isEmpty() ? "" : ": " + device.explanation()));
        Geometry geometry = geometry(device);
        if (geometry != null) {
            lines.put("size", Units.size(geometry.size()));
            lines.put("block size", Units.size(geometry.blockSize()));
            lines.put("preferred I/O", Units.size(geometry.preferredIo()));
            if (geometry.optimalIo() > 0) lines.put("optimal I/O", Units.size(geometry.optimalIo()));
            lines.put("access", geometry.readOnly() || spec.readOnly() ? "read-only" : "read and write");
            lines.put(
                    "contents",
                    switch (geometry.persistence()) {
                        case VOLATILE -> "volatile: lost when the gateway ends";
                        case DURABLE -> "durable";
                    });
            lines.put("capabilities", String.join(", ", capabilities(geometry)));
        }
        lines.put("backend", spec.backend());
        lines.put("volume", spec.volume());
        gateway.shown(spec.backend(), spec.options()).forEach((key, value) -> lines.put("  " + key, value.toString()));
        lines.put("queue depth", Integer.toString(spec.queueDepth()));
        lines.put("park timeout", spec.parkSeconds() == 0 ? "none" : spec.parkSeconds() + " s");
        device.details().forEach(lines::putIfAbsent);
        Table table = new Table("", "");
        lines.forEach((key, value) -> table.row(key, value));
        device.exports().forEach(e -> table.row("export", line(e)));
        List<String> served = device.exports().stream().map(Export::frontEnd).toList();
        spec.exports().stream()
                .filter(e -> !served.contains(e.split(",", 2)[0]))
                .forEach(e -> table.row("export", e + ": not served now"));
        device.clients().forEach(c -> table.row("client", c));
        call.print(table.toString().replaceFirst("^\n", ""));
    }

    private void resize(Call call) throws Exception {
        Device device = gateway.device(call.arguments().text("NAME"));
        long size = call.arguments().number("SIZE", 0);
        if (size == 0) throw new BlockException(Reason.INVALID, "'0' is no size for a device: write e.g. 10G");
        Geometry geometry = geometry(device);
        if (geometry != null && size < geometry.size() && !call.arguments().flag("shrink"))
            throw new BlockException(
                    Reason.INVALID,
                    Size.format(size) + " is less than the " + Size.format(geometry.size()) + " that '" + device.name()
                            + "' has: what lies behind would be lost; --shrink does it");
        gateway.devices().resize(device.name(), size);
        call.say(device.name() + " is " + Size.format(size) + " now");
    }

    private void remove(Call call) throws Exception {
        Devices devices = gateway.devices();
        DeviceSpec spec = gateway.device(call.arguments().text("NAME")).spec();
        devices.remove(spec.name(), call.arguments().flag("force"));
        if (call.arguments().flag("delete-volume")) {
            devices.deleteVolume(spec.backend(), spec.volume(), spec.options());
            call.say("removed " + spec.name() + " and its volume " + spec.volume());
        } else {
            call.say("removed " + spec.name());
        }
    }

    private void export(Call call) throws Exception {
        Device device = gateway.device(call.arguments().text("NAME"));
        String frontEnd = gateway.frontEnd(call.arguments().text("FRONTEND"));
        gateway.devices().export(device.name(), call.arguments().text("FRONTEND"));
        device.exports().stream().filter(e -> e.frontEnd().equals(frontEnd)).forEach(e -> call.say(line(e)));
    }

    private void unexport(Call call) throws Exception {
        Device device = gateway.device(call.arguments().text("NAME"));
        String frontEnd = call.arguments().text("FRONTEND");
        gateway.devices().unexport(device.name(), frontEnd, call.arguments().flag("force"));
        call.say(device.name() + " is no longer served by " + frontEnd);
    }

    private void park(Call call) throws Exception {
        Device device = gateway.device(call.arguments().text("NAME"));
        device.park();
        int seconds = device.spec().parkSeconds();
        call.say(device.name() + " is parked; requests wait "
                + (seconds == 0 ? "until it is resumed" : "at most " + seconds + " s, then they fail"));
    }

    private void resume(Call call) throws Exception {
        Device device = gateway.device(call.arguments().text("NAME"));
        device.resume();
        call.say(device.name() + " is " + state(device)
                + (device.explanation().isEmpty() ? "" : ": " + device.explanation()));
    }

    private Map<String, Object> json(Device device) {
        DeviceSpec spec = device.spec();
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("name", device.name());
        json.put("id", device.id());
        json.put("state", state(device));
        json.put("explanation", device.explanation());
        Geometry geometry = geometry(device);
        if (geometry != null) {
            json.put("size", geometry.size());
            json.put("blockSize", geometry.blockSize());
            json.put("preferredIo", geometry.preferredIo());
            json.put("optimalIo", geometry.optimalIo());
            json.put("readOnly", geometry.readOnly() || spec.readOnly());
            json.put("persistence", geometry.persistence().name().toLowerCase(Locale.ROOT));
            json.put("capabilities", capabilities(geometry));
        }
        json.put("backend", spec.backend());
        json.put("volume", spec.volume());
        json.put("options", gateway.shown(spec.backend(), spec.options()));
        json.put("queueDepth", spec.queueDepth());
        json.put("parkSeconds", spec.parkSeconds());
        json.put("configuredExports", spec.exports());
        json.put("exports", device.exports().stream().map(DeviceCommands::json).toList());
        json.put("clients", device.clients());
        json.put("details", device.details());
        return json;
    }

    private static Map<String, Object> json(Export export) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("frontEnd", export.frontEnd());
        json.put("address", export.address());
        json.put("explanation", export.explanation());
        return json;
    }

    private static String line(Export export) {
        return export.frontEnd() + ": " + export.address()
                + (export.explanation().isEmpty() ? "" : " (" + export.explanation() + ")");
    }

    private static String state(Device device) {
        return device.state().name().toLowerCase(Locale.ROOT);
    }

    /** Null while it has never been online. */
    private static Geometry geometry(Device device) {
        try {
            return device.geometry();
        } catch (BlockException e) {
            return null;
        }
    }

    private static List<String> capabilities(Geometry geometry) {
        return geometry.capabilities().stream()
                .map(c -> c.name().toLowerCase(Locale.ROOT).replace('_', '-'))
                .collect(Collectors.toList());
    }
}
