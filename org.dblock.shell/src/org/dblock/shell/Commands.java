package org.dblock.shell;

import java.io.PrintStream;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Hashtable;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Stream;
import org.apache.felix.service.command.CommandProcessor;
import org.apache.felix.service.command.CommandSession;
import org.apache.felix.service.command.Function;
import org.dblock.api.BlockException;
import org.dblock.api.device.Devices;
import org.osgi.framework.BundleContext;
import org.osgi.framework.ServiceRegistration;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.component.annotations.ReferenceCardinality;
import org.osgi.service.component.annotations.ReferencePolicy;
import org.osgi.service.component.annotations.ReferencePolicyOption;

/**
 * All commands, each a Gogo function of the scope {@code dblock}. They stay while core is away, and say so.
 *
 * <p>A Gogo function gets its words as they are; {@link Command} reads them, not Gogo's reflection, whose messages
 * ("cannot coerce …") name neither what was wrong nor what would be right.
 */
@Component(service = Commands.class, immediate = true)
public final class Commands {
    static final String SCOPE = "dblock";

    /** The session variable with the latch that reaches zero when the session's client is gone. */
    static final String CANCELLED = ".dblock.cancelled";

    /** The session variable that is set when a person reads the output at a terminal. */
    static final String TERMINAL = ".dblock.terminal";

    /** The same, of Gogo's own interactive shell. */
    private static final String GOGO_TERMINAL = ".terminal";

    private final Map<String, Command> commands = new LinkedHashMap<>();
    private final List<ServiceRegistration<?>> registrations;
    private final HelpCommands help;

    @Reference(
            cardinality = ReferenceCardinality.OPTIONAL,
            policy = ReferencePolicy.DYNAMIC,
            policyOption = ReferencePolicyOption.GREEDY)
    private volatile Devices devices;

    /** Registers the commands. */
    @Activate
    public Commands(BundleContext context) {
        Gateway gateway = new Gateway(() -> devices);
        help = add(
                gateway,
                context,
                home(context),
                context.getBundle().getVersion().toString());
        registrations = commands.values().stream()
                .<ServiceRegistration<?>>map(command -> context.registerService(
                        Function.class, (session, words) -> run(command, session, words), properties(command)))
                .toList();
    }

    /** All commands without a framework around them: what tests use. */
    Commands(Devices devices, BundleContext context, Path home) {
        this.devices = devices;
        registrations = List.of();
        help = add(new Gateway(() -> this.devices), context, home, "0.0.0");
    }

    private HelpCommands add(Gateway gateway, BundleContext context, Path home, String version) {
        HelpCommands helpCommands = new HelpCommands(gateway, commands, version);
        Stream.of(
                        new DeviceCommands(gateway).commands(),
                        new StatsCommand(gateway).commands(),
                        new VolumeCommands(gateway).commands(),
                        new InspectCommand(gateway).commands(),
                        new SnapshotCommands(gateway).commands(),
                        new BundleCommands(gateway, context, home).commands(),
                        helpCommands.commands())
                .flatMap(List::stream)
                .forEach(c -> commands.put(c.name(), c));
        return helpCommands;
    }

    @Deactivate
    void deactivate() {
        registrations.forEach(ServiceRegistration::unregister);
    }

    /** The gateway's folder. */
    static Path home(BundleContext context) {
        String home = context.getProperty("dblock.home");
        return Path.of(home == null ? "dblock" : home).toAbsolutePath();
    }

    Collection<Command> all() {
        return commands.values();
    }

    Command find(String name) {
        return commands.get(name);
    }

    /** What the last of a command's words, which may be empty, may become. */
    List<String> complete(List<String> words) {
        return help.candidates(words);
    }

    /** Runs a command for a Gogo session; System.out is the session's, or the pipe's. */
    Object run(Command command, CommandSession session, List<Object> words) throws Exception {
        CountDownLatch cancelled =
                session.get(CANCELLED) instanceof CountDownLatch latch ? latch : new CountDownLatch(1);
        boolean terminal = session.get(TERMINAL) != null || session.get(GOGO_TERMINAL) != null;
        List<String> texts = words.stream().map(String::valueOf).toList();
        try {
            run(command, texts, System.out, session.currentDir(), terminal, cancelled);
        } catch (BlockException e) {
            throw new CommandException(e);
        }
        return null;
    }

    /** Runs a command. */
    void run(
            Command command,
            List<String> words,
            PrintStream out,
            Path folder,
            boolean terminal,
            CountDownLatch cancelled)
            throws Exception {
        Arguments arguments = command.parse(words);
        Call call = new Call(arguments, out, folder, terminal, cancelled);
        if (arguments.flag("help")) call.print(help.explain(command));
        else command.action().run(call);
    }

    private static Hashtable<String, Object> properties(Command command) {
        Hashtable<String, Object> properties = new Hashtable<>();
        properties.put(CommandProcessor.COMMAND_SCOPE, SCOPE);
        properties.put(CommandProcessor.COMMAND_FUNCTION, command.name());
        properties.put("osgi.command.description", command.summary());
        return properties;
    }
}
