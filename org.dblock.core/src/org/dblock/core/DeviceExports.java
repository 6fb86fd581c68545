package org.dblock.core;

import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentSkipListMap;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;
import org.dblock.api.device.Export;
import org.dblock.api.device.FrontEnd;

/** The exports of one device, by the names of their front ends. Changed on the device's {@link ControlThread} only. */
final class DeviceExports {
    private static final Logger LOG = System.getLogger(DeviceExports.class.getPackageName());

    /** A front end that is registered now. */
    record NamedFrontEnd(String name, FrontEnd service) {}

    private record Served(NamedFrontEnd frontEnd, String text, Export export) {}

    private final DeviceRegistry registry;
    private final BlockDevice device;
    private final Map<String, Served> served = new ConcurrentSkipListMap<>();
    private String lastProblem = "";

    DeviceExports(DeviceRegistry registry, BlockDevice device) {
        this.registry = registry;
        this.device = device;
    }

    List<Export> list() {
        return served.values().stream().map(Served::export).toList();
    }

    /** What stands before the first comma. */
    static String frontEndOf(String text) {
        return text.split(",", 2)[0].strip();
    }

    private static Map<String, String> optionsOf(String text) throws BlockException {
        Map<String, String> options = new LinkedHashMap<>();
        String[] parts = text.split(",");
        for (int i = 1; i < parts.length; i++) {
            int equals = parts[i].indexOf('=');
            if (equals <= 0)
                throw new BlockException(
                        Reason.INVALID,
                        "export '" + text + "': '" + parts[i] + "' is no option, write it as name=value");
            options.put(
                    parts[i].substring(0, equals).strip(),
                    parts[i].substring(equals + 1).strip());
        }
        return options;
    }

    /**
     * Begins the exports that are configured and not there, and ends those that are there and not configured.
     *
     * @return false if one failed that may succeed later
     */
    boolean reconcile() {
        List<String> wanted = device.spec().exports();
        for (Served each : List.copyOf(served.values()))
            if (!wanted.contains(each.text)) end(each.frontEnd.name(), Export.End.REMOVED);
        List<String> problems = new ArrayList<>();
        for (String text : wanted) {
            String name = frontEndOf(text);
            if (served.containsKey(name) || registry.frontEnd(name) == null) continue;
            try {
                begin(text);
            } catch (BlockException e) {
                problems.add(text + ": " + e.getMessage());
            }
        }
        String problem = String.join("; ", problems);
        if (!problem.isEmpty() && !problem.equals(lastProblem))
            LOG.log(Level.ERROR, "device " + device.name() + " can't be exported as " + problem);
        lastProblem = problem;
        return problems.isEmpty();
    }

    /** Begins one export. */
    void begin(String text) throws BlockException {
        String name = frontEndOf(text);
        NamedFrontEnd frontEnd = registry.frontEnd(name);
        if (frontEnd == null)
            throw new BlockException(
                    Reason.NOT_FOUND,
                    "no front end '" + name + "': there are " + DeviceRegistry.namesOf(registry.frontEnds()));
        if (served.containsKey(name))
            throw new BlockException(
                    Reason.EXISTS, "device " + device.name() + " is served through " + name + " already");
        Map<String, String> options = optionsOf(text);
        Export export = device.thread.call(
                frontEnd.service(),
                "export",
                Long.MAX_VALUE,
                () -> frontEnd.service().export(device, options),
                late -> late.close(registry.stopped() ? Export.End.STOPPING : Export.End.REMOVED));
        served.put(name, new Served(frontEnd, text, export));
        LOG.log(Level.INFO, "device " + device.name() + " is served at " + export.address());
    }

    boolean has(String name) {
        return served.containsKey(name);
    }

    /** Ends one export, if it is there. */
    void end(String name, Export.End end) {
        Served each = served.remove(name);
        if (each == null) return;
        try {
            device.thread.call(
                    each.frontEnd.service(),
                    "end of export",
                    VolumeControl.DRAIN_NANOS,
                    () -> {
                        each.export.close(end);
                        return null;
                    },
                    late -> {});
        } catch (BlockException e) {
            LOG.log(
                    Level.WARNING,
                    "device " + device.name() + ": export " + name + " did not end well: " + e.getMessage());
        }
    }

    void endAll(Export.End end) {
        for (String name : List.copyOf(served.keySet())) end(name, end);
    }

    /** Ends what a front end serves that is about to go away; it will come back. */
    void frontEndLeft(NamedFrontEnd frontEnd) {
        for (Served each : List.copyOf(served.values()))
            if (each.frontEnd.service() == frontEnd.service()) end(each.frontEnd.name(), Export.End.STOPPING);
    }
}
