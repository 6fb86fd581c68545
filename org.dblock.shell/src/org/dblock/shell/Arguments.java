package org.dblock.shell;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** What a command was given, by the parameters' names. */
final class Arguments {
    private final Map<String, List<Object>> values = new LinkedHashMap<>();

    void add(Parameter parameter, Object value) {
        values.computeIfAbsent(parameter.name(), n -> new ArrayList<>()).add(value);
    }

    boolean has(String name) {
        return values.containsKey(name);
    }

    boolean flag(String name) {
        return has(name) && (Boolean) values.get(name).get(0);
    }

    /** Null when it wasn't given. */
    String text(String name) {
        return has(name) ? values.get(name).get(0).toString() : null;
    }

    long number(String name, long absent) {
        return has(name) ? ((Number) values.get(name).get(0)).longValue() : absent;
    }

    double seconds(String name) {
        return (Double) values.get(name).get(0);
    }

    List<String> texts(String name) {
        return values.getOrDefault(name, List.of()).stream()
                .map(Object::toString)
                .toList();
    }

    /** Everything but these: what a backend's own options were given. */
    Map<String, Object> except(Set<String> names) {
        Map<String, Object> rest = new LinkedHashMap<>();
        values.forEach((name, list) -> {
            if (!names.contains(name)) rest.put(name, list.get(0));
        });
        return rest;
    }
}
