package org.dblock.shell;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.dblock.api.BlockException;
import org.dblock.api.Inspection;
import org.dblock.api.Reason;
import org.dblock.api.Size;
import org.dblock.api.device.Device;

/** The command that verifies a volume in a bucket. */
final class InspectCommand {
    private static final String BACKEND = "s3";

    private final Gateway gateway;

    InspectCommand(Gateway gateway) {
        this.gateway = gateway;
    }

    List<Command> commands() {
        return List.of(Command.of("s3-inspect", "Verify a volume in a bucket, without attaching it", this::inspect)
                .with(
                        Parameter.argument(
                                "NAME", gateway.deviceName(), "a device; or with --bucket the name of a volume there"),
                        Parameter.flag("scrub", "read all data too, and tell which ranges are damaged"),
                        DeviceCommands.JSON)
                .withMore(places -> gateway.options(BACKEND).stream()
                        .map(Parameter::optional)
                        .toList())
                .withExample("s3-inspect vault --scrub"));
    }

    private void inspect(Call call) throws Exception {
        String name = call.arguments().text("NAME");
        Map<String, Object> options = call.arguments().except(Set.of("NAME", "scrub", "json"));
        String volume = name;
        Optional<Device> device = gateway.devices().find(name);
        if (device.isPresent() && !options.containsKey("bucket")) {
            if (!device.get().spec().backend().equals(BACKEND))
                throw new BlockException(
                        Reason.INVALID,
                        "device " + name + " is of backend "
                                + device.get().spec().backend() + ", not of " + BACKEND);
            Map<String, Object> of = new LinkedHashMap<>(device.get().spec().options());
            of.putAll(options);
            options = of;
            volume = device.get().spec().volume();
        } else if (!options.containsKey("bucket")) {
            throw new BlockException(
                    Reason.NOT_FOUND,
                    "there is no device '" + name + "'; for a volume that is none say where it is: --bucket BUCKET");
        }
        Inspection found = gateway.devices()
                .inspect(BACKEND, volume, options, call.arguments().flag("scrub"));
        if (!call.printedJson(json(volume, found))) print(call, volume, found);
        if (!found.damage().isEmpty())
            throw new BlockException(
                    Reason.IO,
                    "volume '" + volume + "' is damaged: " + found.damage().size() + " findings");
    }

    private static void print(Call call, String volume, Inspection found) {
        Table facts = new Table("VOLUME", volume);
        found.facts().forEach(facts::row);
        call.print(facts.toString());
        if (found.damage().isEmpty()) {
            call.say("no damage found");
            return;
        }
        Table damage = new Table(">OFFSET", ">LENGTH", "OBJECT", "WHAT");
        for (Inspection.Damage each : found.damage())
            damage.row(
                    each.offset() < 0 ? "-" : each.offset(),
                    each.offset() < 0 ? "-" : Size.format(each.length()),
                    each.object(),
                    each.problem() + (each.snapshot().isEmpty() ? "" : ", in snapshot '" + each.snapshot() + "'"));
        call.print("\n" + damage);
    }

    private static Map<String, Object> json(String volume, Inspection found) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("volume", volume);
        json.putAll(found.facts());
        List<Object> damage = new ArrayList<>();
        for (Inspection.Damage each : found.damage()) {
            Map<String, Object> one = new LinkedHashMap<>();
            one.put("object", each.object());
            one.put("problem", each.problem());
            one.put("snapshot", each.snapshot().isEmpty() ? null : each.snapshot());
            one.put("offset", each.offset() < 0 ? null : each.offset());
            one.put("length", each.offset() < 0 ? null : each.length());
            damage.add(one);
        }
        json.put("damage", damage);
        return json;
    }
}
