package org.dblock.shell;

import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.dblock.api.Size;
import org.dblock.api.SnapshotInfo;
import org.dblock.api.SnapshotStore;
import org.dblock.api.device.Device;
import org.dblock.api.device.DeviceSpec;
import org.dblock.api.device.Export;

/** The commands for snapshots and clones. */
final class SnapshotCommands {
    private final Gateway gateway;

    SnapshotCommands(Gateway gateway) {
        this.gateway = gateway;
    }

    List<Command> commands() {
        Parameter name = Parameter.argument("NAME", gateway.deviceName(), "the device");
        Parameter snapshot = Parameter.argument("SNAPSHOT", Type.text("SNAPSHOT"), "the snapshot's name");
        return List.of(
                Command.of("snapshot", "Keep what a device holds now, without a copy", this::snapshot)
                        .with(name, snapshot)
                        .withExample("snapshot vault monday"),
                Command.of("snapshots", "List the snapshots of a device's volume", this::snapshots)
                        .with(name, DeviceCommands.JSON)
                        .withExample("snapshots vault"),
                Command.of("clone", "Create a device that begins with a snapshot of another", this::clone)
                        .with(
                                name,
                                snapshot,
                                Parameter.argument("NEW", Type.text("NEW"), "the new device's name"),
                                Parameter.flag("read-only", "show the snapshot itself, and refuse writes"),
                                Parameter.option(
                                                "export", gateway.frontEndName(), "serve it so, e.g. nbd (the default)")
                                        .repeated(),
                                Parameter.flag("no-export", "don't serve it yet"))
                        .withExample("clone vault monday copy"),
                Command.of("delete-snapshot", "Delete a snapshot; clones of it stay", this::delete)
                        .with(
                                name,
                                snapshot,
                                Parameter.flag("force", "also while it is read, by devices that get errors then"))
                        .withExample("delete-snapshot vault monday"));
    }

    private void snapshot(Call call) throws Exception {
        Device device = gateway.device(call.arguments().text("NAME"));
        String snapshot = call.arguments().text("SNAPSHOT");
        gateway.devices().snapshot(device.name(), snapshot);
        call.say("made snapshot " + snapshot + " of " + device.name());
    }

    private void snapshots(Call call) throws Exception {
        Device device = gateway.device(call.arguments().text("NAME"));
        List<SnapshotInfo> snapshots = gateway.devices().snapshots(device.name());
        List<Object> all = new ArrayList<>();
        Table table = new Table("SNAPSHOT", ">SIZE", "MADE", "USED BY");
        for (SnapshotInfo each : snapshots) {
            Instant time = Instant.ofEpochMilli(each.time()).truncatedTo(ChronoUnit.SECONDS);
            Map<String, Object> one = new LinkedHashMap<>();
            one.put("name", each.name());
            one.put("size", each.size());
            one.put("time", time.toString());
            one.put("users", each.users());
            all.add(one);
            table.row(each.name(), Size.format(each.size()), time, String.join("; ", each.users()));
        }
        if (call.printedJson(all)) return;
        call.print(snapshots.isEmpty() ? device.name() + " has no snapshots\n" : table.toString());
    }

    private void clone(Call call) throws Exception {
        Arguments given = call.arguments();
        DeviceSpec parent = gateway.device(given.text("NAME")).spec();
        Map<String, Object> options = new HashMap<>(parent.options());
        options.put(SnapshotStore.OPTION, parent.volume() + "@" + given.text("SNAPSHOT"));
        Device device = gateway.devices()
                .create(new DeviceSpec(
                        given.text("NEW"),
                        parent.backend(),
                        "",
                        0,
                        parent.blockSize(),
                        given.flag("read-only"),
                        true,
                        parent.queueDepth(),
                        parent.parkSeconds(),
                        DeviceCommands.exports("clone", given, gateway),
                        options));
        call.say("created " + device.name() + ", "
                + Size.format(device.geometry().size()) + ", from " + parent.volume() + "@" + given.text("SNAPSHOT"));
        for (Export export : device.exports()) call.say("  " + export.address());
    }

    private void delete(Call call) throws Exception {
        Device device = gateway.device(call.arguments().text("NAME"));
        String snapshot = call.arguments().text("SNAPSHOT");
        gateway.devices()
                .deleteSnapshot(device.name(), snapshot, call.arguments().flag("force"));
        call.say("deleted snapshot " + snapshot + " of " + device.name());
    }
}
