package org.dblock.shell;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Stream;

/**
 * A command: what the parser, help, completion and the documentation know of it, and what it does. Immutable.
 *
 * @param name what is typed
 * @param summary one line, an imperative sentence without a full stop
 * @param arguments by place; those that are not required come last
 * @param options by name; {@code --help} is understood by every command
 * @param more the options that a backend adds, given the arguments so far; empty while they don't say which backend
 * @param example a command line, without the name of the program
 * @param action what it does
 */
record Command(
        String name,
        String summary,
        List<Parameter> arguments,
        List<Parameter> options,
        Function<List<String>, List<Parameter>> more,
        String example,
        Action action) {

    /** What a command does; it prints its result, and throws with a message for people when it fails. */
    @FunctionalInterface
    interface Action {
        void run(Call call) throws Exception;
    }

    private static final Function<List<String>, List<Parameter>> NO_MORE = arguments -> List.of();

    static Command of(String name, String summary, Action action) {
        return new Command(name, summary, List.of(), List.of(), NO_MORE, name, action);
    }

    Command with(Parameter... parameters) {
        List<Parameter> byPlace = new ArrayList<>(arguments);
        List<Parameter> byName = new ArrayList<>(options);
        for (Parameter parameter : parameters) (parameter.isOption() ? byName : byPlace).add(parameter);
        return new Command(name, summary, List.copyOf(byPlace), List.copyOf(byName), more, example, action);
    }

    Command withMore(Function<List<String>, List<Parameter>> function) {
        return new Command(name, summary, arguments, options, function, example, action);
    }

    Command withExample(String line) {
        return new Command(name, summary, arguments, options, more, line, action);
    }

    /** The line that shows how the command is written. */
    String usage() {
        StringBuilder line = new StringBuilder(name);
        arguments.forEach(p -> line.append(' ').append(p.usage()));
        options.forEach(p -> line.append(' ').append(p.usage()));
        if (more != NO_MORE) line.append(" [OPTION OF THE BACKEND]…");
        return line.toString();
    }

    boolean takesBackendOptions() {
        return more != NO_MORE;
    }

    /**
     * Reads the words that followed the command's name.
     *
     * @throws UsageException naming the word that is wrong
     */
    Arguments parse(List<String> words) {
        Arguments parsed = new Arguments();
        List<String> places = new ArrayList<>();
        boolean optionsEnded = false;
        for (int i = 0; i < words.size(); i++) {
            String word = words.get(i);
            if (optionsEnded || !word.startsWith("--")) {
                if (places.size() == arguments.size() && !lastRepeats())
                    throw wrong("'" + word + "' is one argument too many");
                Parameter place = arguments.get(Math.min(places.size(), arguments.size() - 1));
                places.add(word);
                parsed.add(place, read(place, word));
            } else if (word.equals("--")) {
                optionsEnded = true;
            } else {
                int equals = word.indexOf('=');
                Parameter option = option(word.substring(2, equals < 0 ? word.length() : equals), places);
                String text;
                if (equals >= 0) text = word.substring(equals + 1);
                else if (option.type().isFlag()) text = "true";
                else if (i + 1 < words.size()) text = words.get(++i);
                else throw wrong("--" + option.name() + " needs a value: " + option.syntax());
                if (parsed.has(option.name()) && !option.repeatable())
                    throw wrong("--" + option.name() + " is given twice");
                parsed.add(option, read(option, text));
            }
        }
        if (parsed.flag("help")) return parsed;
        Stream.of(arguments, options, more.apply(places))
                .flatMap(List::stream)
                .filter(p -> p.required() && !parsed.has(p.name()))
                .findFirst()
                .ifPresent(p -> {
                    throw wrong(p.syntax() + " is missing: " + p.description());
                });
        return parsed;
    }

    /** What the last of the words, which may be empty, may become. */
    List<String> complete(List<String> words) {
        String last = words.isEmpty() ? "" : words.get(words.size() - 1);
        List<String> places = new ArrayList<>();
        Parameter open = null; // an option that waits for its value
        for (String word : words.isEmpty() ? words : words.subList(0, words.size() - 1)) {
            if (open != null) open = null;
            else if (word.startsWith("--"))
                open = find(word.substring(2), places)
                        .filter(p -> !p.type().isFlag())
                        .orElse(null);
            else places.add(word);
        }
        Stream<String> candidates;
        if (open != null) {
            candidates = open.type().candidates().get().stream();
        } else if (last.startsWith("--")) {
            candidates = all(places)
                    .filter(p -> p.repeatable() || !words.contains("--" + p.name()))
                    .map(p -> "--" + p.name());
        } else if (places.size() < arguments.size() || lastRepeats()) {
            candidates =
                    arguments.get(Math.min(places.size(), arguments.size() - 1)).type().candidates().get().stream();
        } else {
            candidates = Stream.empty();
        }
        return candidates.filter(c -> c.startsWith(last)).sorted().toList();
    }

    private boolean lastRepeats() {
        return !arguments.isEmpty() && arguments.get(arguments.size() - 1).repeatable();
    }

    private Parameter option(String option, List<String> places) {
        return find(option, places).orElseThrow(() -> {
            List<String> near =
                    Names.nearest(option, all(places).map(Parameter::name).toList());
            String hint = near.isEmpty() ? "" : ": did you mean --" + String.join(" or --", near) + "?";
            if (near.isEmpty() && takesBackendOptions() && more.apply(places).isEmpty())
                hint = "; if it is the backend's: write it after the backend's name, and see what it has: backends";
            return wrong("no option --" + option + hint);
        });
    }

    private Optional<Parameter> find(String option, List<String> places) {
        return all(places).filter(p -> p.name().equals(option)).findFirst();
    }

    private Stream<Parameter> all(List<String> places) {
        return Stream.concat(
                Stream.concat(options.stream(), more.apply(places).stream()),
                Stream.of(Parameter.flag("help", "show how the command is written")));
    }

    private Object read(Parameter parameter, String text) {
        try {
            return parameter.type().read().apply(text);
        } catch (IllegalArgumentException e) {
            throw wrong((parameter.isOption() ? "--" : "") + parameter.name() + ": " + e.getMessage());
        }
    }

    private UsageException wrong(String message) {
        return new UsageException(name + ": " + message + "\nUsage: " + usage());
    }
}
