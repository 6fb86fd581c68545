package org.dblock.shell;

import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;
import org.dblock.api.device.Backend;

/** The commands about commands: help, completion, version. */
final class HelpCommands {
    private final Gateway gateway;
    private final Map<String, Command> all;
    private final String version;

    /**
     * @param all every command by name, these too; may still be filled
     * @param version the gateway's
     */
    HelpCommands(Gateway gateway, Map<String, Command> all, String version) {
        this.gateway = gateway;
        this.all = all;
        this.version = version;
    }

    List<Command> commands() {
        return List.of(
                Command.of("help", "Explain the commands, or one of them", this::help)
                        .with(Parameter.argument("COMMAND", Type.known("COMMAND", this::names), "only this one")
                                .optional())
                        .withExample("help create"),
                Command.of("version", "Show what runs", this::version).with(DeviceCommands.JSON),
                Command.of("complete", "Print what the last word may become, a line each", this::complete)
                        .with(Parameter.argument(
                                        "WORD", Type.text("WORD"), "the words of a command, the last one perhaps empty")
                                .optional()
                                .repeated())
                        .withExample("complete create scratch ram"),
                Command.of(
                        "bash-completion",
                        "Print a script by which bash completes commands",
                        call -> call.print(BASH)));
    }

    /** What {@code help COMMAND} and {@code COMMAND --help} print. */
    String explain(Command command) {
        StringBuilder text = new StringBuilder();
        text.append(command.summary())
                .append(".\n\nUsage: ")
                .append(command.usage())
                .append('\n');
        section(text, "Arguments", command.arguments());
        section(text, "Options", command.options());
        List<Parameter> ofOneBackend = command.more().apply(List.of());
        section(text, "Options of the backend", ofOneBackend);
        if (command.takesBackendOptions() && ofOneBackend.isEmpty()) {
            for (Backend backend : gateway.backends())
                section(text, "Options of " + backend.name(), gateway.options(backend.name()));
        }
        return text.append("\nExample: ").append(command.example()).append('\n').toString();
    }

    private static void section(StringBuilder text, String title, Collection<Parameter> parameters) {
        if (parameters.isEmpty()) return;
        Table table = new Table(title + ":", "");
        for (Parameter parameter : parameters)
            table.row(
                    "  " + parameter.syntax(),
                    parameter.description() + (parameter.repeatable() ? "; repeatable" : ""));
        text.append('\n').append(table);
    }

    private void help(Call call) throws Exception {
        String name = call.arguments().text("COMMAND");
        if (name != null) {
            Command command = all.get(name);
            if (command == null) throw new BlockException(Reason.NOT_FOUND, Names.unknown("command", name, names()));
            call.print(explain(command));
            return;
        }
        Table table = new Table("COMMAND", "");
        all.values().forEach(c -> table.row(c.name(), c.summary()));
        call.print(table + "\nhelp COMMAND explains one of them; sizes are written like 512, 64K or 10G.\n");
    }

    private void version(Call call) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("version", version);
        json.put("java", System.getProperty("java.version"));
        json.put("pid", ProcessHandle.current().pid());
        if (call.printedJson(json)) return;
        call.say("dblock " + version + ", Java " + json.get("java") + ", process " + json.get("pid"));
    }

    private void complete(Call call) {
        candidates(call.arguments().texts("WORD")).forEach(call::say);
    }

    /** What the last of a command's words, which may be empty, may become. */
    List<String> candidates(List<String> words) {
        if (words.size() <= 1) {
            String last = words.isEmpty() ? "" : words.get(0);
            return names().stream().filter(n -> n.startsWith(last)).toList();
        }
        Command command = all.get(words.get(0));
        return command == null ? List.of() : command.complete(words.subList(1, words.size()));
    }

    private List<String> names() {
        return all.keySet().stream().sorted().toList();
    }

    private static final String BASH = """
        _dblock() {
            local IFS=$'\\n'
            COMPREPLY=($("$1" complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
        }
        complete -o default -F _dblock dblock ./dblock
        """;
}
