package org.dblock.shell;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.dblock.api.Size;
import org.dblock.api.VolumeInfo;
import org.dblock.api.device.Backend;

/** The commands for backends and the volumes that they hold. */
final class VolumeCommands {
    private final Gateway gateway;

    VolumeCommands(Gateway gateway) {
        this.gateway = gateway;
    }

    List<Command> commands() {
        Parameter backend = Parameter.argument("BACKEND", gateway.backendName(), "what stores the volumes");
        return List.of(
                Command.of("backends", "List the backends with the options of their volumes", this::backends)
                        .with(
                                Parameter.argument("BACKEND", gateway.backendName(), "only this one")
                                        .optional(),
                                DeviceCommands.JSON),
                Command.of("volumes", "List the volumes that a backend holds", this::volumes)
                        .with(backend, DeviceCommands.JSON)
                        .withMore(this::optionsFor)
                        .withExample("volumes ramdisk"),
                Command.of("delete-volume", "Destroy a volume that no device uses, with all it holds", this::delete)
                        .with(backend, Parameter.argument("VOLUME", Type.text("VOLUME"), "the volume's name"))
                        .withMore(this::optionsFor)
                        .withExample("delete-volume ramdisk old"));
    }

    /** Where volumes are listed or deleted, the options say where to look: none of them has to be given. */
    private List<Parameter> optionsFor(List<String> places) {
        if (places.isEmpty()) return List.of();
        return gateway.options(places.get(0)).stream().map(Parameter::optional).toList();
    }

    private void backends(Call call) throws Exception {
        String only = call.arguments().text("BACKEND");
        List<Backend> backends = only == null ? gateway.devices().backends() : List.of(gateway.backend(only));
        if (call.printedJson(backends.stream().map(VolumeCommands::json).toList())) return;
        if (backends.isEmpty()) call.say("no backends; drop a backend's jar into deploy, or: install-backend FILE");
        String gap = "";
        for (Backend backend : backends) {
            call.say(gap + backend.name() + "  " + backend.bundle() + " " + backend.version()
                    + (backend.description().isEmpty() ? "" : "  " + backend.description()));
            if (!backend.options().isEmpty()) {
                Table table = new Table("  OPTION", "TYPE", "DEFAULT", "DESCRIPTION");
                for (Backend.Option option : backend.options()) {
                    table.row(
                            "  --" + option.name(),
                            option.choices().isEmpty()
                                    ? option.type().toLowerCase(Locale.ROOT)
                                    : String.join("|", option.choices()),
                            option.required() ? "(required)" : option.defaultValue(),
                            option.description());
                }
                call.print(table.toString());
            }
            gap = "\n";
        }
    }

    private void volumes(Call call) throws Exception {
        String backend = gateway.backend(call.arguments().text("BACKEND")).name();
        List<VolumeInfo> volumes =
                gateway.devices().volumes(backend, call.arguments().except(Set.of("BACKEND", "json")));
        List<Object> all = new ArrayList<>();
        Table table = new Table("VOLUME", ">SIZE", ">ALLOCATED");
        for (VolumeInfo volume : volumes) {
            Map<String, Object> one = new LinkedHashMap<>();
            one.put("name", volume.name());
            one.put("size", volume.size() == 0 ? null : volume.size());
            one.put("allocated", volume.allocated() < 0 ? null : volume.allocated());
            all.add(one);
            table.row(
                    volume.name(),
                    volume.size() == 0 ? "-" : Size.format(volume.size()),
                    volume.allocated() < 0 ? "-" : Size.format(volume.allocated()));
        }
        if (call.printedJson(all)) return;
        call.print(volumes.isEmpty() ? backend + " holds no volumes, or can't list them\n" : table.toString());
    }

    private void delete(Call call) throws Exception {
        String backend = gateway.backend(call.arguments().text("BACKEND")).name();
        String volume = call.arguments().text("VOLUME");
        gateway.devices().deleteVolume(backend, volume, call.arguments().except(Set.of("BACKEND", "VOLUME")));
        call.say("deleted " + volume + " of " + backend);
    }

    private static Map<String, Object> json(Backend backend) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("name", backend.name());
        json.put("bundle", backend.bundle());
        json.put("version", backend.version());
        json.put("description", backend.description());
        json.put("options", backend.options().stream().map(VolumeCommands::json).toList());
        return json;
    }

    private static Map<String, Object> json(Backend.Option option) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("name", option.name());
        json.put("type", option.type());
        json.put("required", option.required());
        json.put("default", option.defaultValue());
        json.put("choices", option.choices());
        json.put("description", option.description());
        return json;
    }
}
