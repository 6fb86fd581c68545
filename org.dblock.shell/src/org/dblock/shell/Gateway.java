package org.dblock.shell;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.function.Supplier;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;
import org.dblock.api.device.Backend;
import org.dblock.api.device.Device;
import org.dblock.api.device.Devices;

/** The devices service as commands see it: it may be away, and names may be wrong. */
final class Gateway {
    private final Supplier<Devices> service;

    Gateway(Supplier<Devices> service) {
        this.service = service;
    }

    /** The service. */
    Devices devices() throws BlockException {
        Devices devices = service.get();
        if (devices == null)
            throw new BlockException(
                    Reason.NOT_FOUND,
                    "the gateway's core (org.dblock.core) isn't running: it is starting, stopped or being updated");
        return devices;
    }

    /** The device of that name. */
    Device device(String name) throws BlockException {
        Devices devices = devices();
        return devices.find(name)
                .orElseThrow(() -> new BlockException(
                        Reason.NOT_FOUND,
                        Names.unknown(
                                "device",
                                name,
                                devices.list().stream().map(Device::name).toList())));
    }

    /** The backend of that name. */
    Backend backend(String name) throws BlockException {
        List<Backend> backends = devices().backends();
        return backends.stream()
                .filter(b -> b.name().equals(name))
                .findFirst()
                .orElseThrow(() -> new BlockException(
                        Reason.NOT_FOUND,
                        Names.unknown(
                                "backend",
                                name,
                                backends.stream().map(Backend::name).toList())));
    }

    /** The front end's name that an export begins with, checked. */
    String frontEnd(String export) throws BlockException {
        String name = export.split(",", 2)[0];
        List<String> known = devices().frontEnds();
        if (known.contains(name)) return name;
        throw new BlockException(Reason.NOT_FOUND, Names.unknown("front end", name, known));
    }

    Type deviceName() {
        return Type.known(
                "NAME", () -> now(d -> d.list().stream().map(Device::name).toList()));
    }

    Type backendName() {
        return Type.known(
                "BACKEND",
                () -> now(d -> d.backends().stream().map(Backend::name).toList()));
    }

    Type frontEndName() {
        return Type.known("FRONTEND", () -> now(Devices::frontEnds));
    }

    /** The options of the volumes of a backend, as options of a command; none if there is no such backend. */
    List<Parameter> options(String backend) {
        return backends().stream()
                .filter(b -> b.name().equals(backend))
                .flatMap(b -> b.options().stream())
                .map(Gateway::parameter)
                .toList();
    }

    /** A backend's options as text, secrets hidden. */
    Map<String, Object> shown(String backend, Map<String, Object> options) {
        Map<String, Object> shown = new TreeMap<>(options);
        backends().stream()
                .filter(b -> b.name().equals(backend))
                .flatMap(b -> b.options().stream())
                .filter(o -> o.type().equalsIgnoreCase("password"))
                .forEach(o -> shown.computeIfPresent(o.name(), (name, value) -> "********"));
        return shown;
    }

    /** The backends that are there now; none while core is away. */
    List<Backend> backends() {
        return now(Devices::backends);
    }

    private <T> List<T> now(Function<Devices, List<T>> list) {
        Devices devices = service.get();
        return devices == null ? List.of() : list.apply(devices);
    }

    private static Parameter parameter(Backend.Option option) {
        String description = option.description().isEmpty() ? option.name() : option.description();
        if (!option.defaultValue().isEmpty()) description += " (default: " + option.defaultValue() + ")";
        return new Parameter(true, option.name(), type(option), description, option.required(), false);
    }

    private static Type type(Backend.Option option) {
        if (!option.choices().isEmpty()) return Type.choice(option.choices());
        return switch (option.type()) {
            case "Boolean" -> Type.FLAG;
            case "Long" -> Type.SIZE;
            case "Integer" -> Type.number(Integer.MIN_VALUE, Integer.MAX_VALUE);
            default -> Type.text(option.type().toUpperCase(Locale.ROOT));
        };
    }
}
