package org.dblock.shell;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.apache.felix.gogo.runtime.CommandProcessorImpl;
import org.apache.felix.gogo.runtime.threadio.ThreadIOImpl;
import org.dblock.api.BlockException;
import org.dblock.api.SnapshotInfo;
import org.dblock.api.VolumeInfo;
import org.dblock.api.device.Device;
import org.dblock.api.device.DeviceSpec;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What each command does, prints, and says when something is wrong. */
class CommandsTest {
    @TempDir
    Path home;

    private FakeDevices devices;
    private Commands commands;

    @BeforeEach
    void demo() throws BlockException {
        devices = FakeDevices.withDemo();
        commands = new Commands(devices, null, home);
    }

    private String run(String... words) throws Exception {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        commands.run(
                commands.find(words[0]),
                List.of(words).subList(1, words.length),
                new PrintStream(out, true, StandardCharsets.UTF_8),
                home,
                false,
                new CountDownLatch(1));
        return out.toString(StandardCharsets.UTF_8);
    }

    private DeviceSpec created() {
        return devices.devices.get("x").spec();
    }

    @Test
    void createMakesADeviceThatIsServedByNbd() throws Exception {
        assertThat(run("create", "x", "ramdisk", "10G")).isEqualTo("created x, 10G on ramdisk\n  nbd://x\n");
        assertThat(created()).isEqualTo(DeviceSpec.of("x", "ramdisk", 10L << 30).withExports(List.of("nbd")));
    }

    @Test
    void createTakesAllThatADeviceIsMadeOf() throws Exception {
        run(
                "create",
                "x",
                "file",
                "1M",
                "--volume=a b",
                "--existing",
                "--block-size",
                "4096",
                "--read-only",
                "--queue-depth",
                "8",
                "--park-seconds",
                "0",
                "--export",
                "nbd,readOnly=true",
                "--export",
                "kernel",
                "--direct",
                "--allocate",
                "full",
                "--chunk",
                "64K",
                "--retries",
                "3");
        assertThat(created())
                .isEqualTo(new DeviceSpec(
                        "x",
                        "file",
                        "a b",
                        1 << 20,
                        4096,
                        true,
                        false,
                        8,
                        0,
                        List.of("nbd,readOnly=true", "kernel"),
                        Map.of("direct", true, "allocate", "full", "chunk", 65536L, "retries", 3L)));
    }

    @Test
    void createNeedsNoSizeForAnExistingVolumeAndNoExport() throws Exception {
        run("create", "x", "ramdisk", "--existing", "--no-export");
        assertThat(created().size()).isZero();
        assertThat(created().exports()).isEmpty();
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
        create x ramdisk ten              | create: SIZE: 'ten' is no size: write bytes or a unit, like 4096, 512K, 10G or 1.5T
        create x                          | create: BACKEND is missing: what stores its blocks
        create x ramdisc 1G               | no backend 'ramdisc': did you mean ramdisk?
        create x tape 1G                  | no backend 'tape': there are ramdisk, file
        create x ramdisk 1G 2G            | create: '2G' is one argument too many
        create x ramdisk 1G --volum a     | create: no option --volum: did you mean --volume?
        create x ramdisk 1G --direct      | create: no option --direct
        create x file 1G --dirct          | create: no option --dirct: did you mean --direct?
        create x file 1G --allocate thin  | create: --allocate: 'thin' must be one of sparse, full
        create x file 1G --chunk big      | create: --chunk: 'big' is no size: write bytes or a unit, like 4096, 512K, 10G or 1.5T
        create x file 1G --retries 3K     | create: --retries: '3K' must be a number from -2147483648 to 2147483647
        create x file 1G --direct=maybe   | create: --direct: 'maybe' must be true or false
        create x ramdisk 1G --volume      | create: --volume needs a value: --volume VOLUME
        create x ramdisk 1G --volume a --volume b | create: --volume is given twice
        create x ramdisk 1G --block-size 100 | create: --block-size: '100' must be one of 512, 1024, 2048, 4096
        create x ramdisk 1G --queue-depth 2000 | create: --queue-depth: '2000' must be a number from 1 to 1024
        create x ramdisk 1G --queue-depth many | create: --queue-depth: 'many' must be a number from 1 to 1024
        create x ramdisk 1G --export nbdd | no front end 'nbdd': did you mean nbd?
        create x ramdisk 1G --export nbd --no-export | create: --export and --no-export exclude each other
        create a/b ramdisk 1G             | device name 'a/b': must be
        create demo ramdisk 1G            | device 'demo' exists already
        info dmeo                         | no device 'dmeo': did you mean demo?
        stats other                       | no device 'other': there is demo
        stats demo --watch soon           | stats: --watch: 'soon' must be seconds, from 0.1 to 86400
        resize demo                       | resize: SIZE is missing: the new size
        resize demo 0                     | '0' is no size for a device: write e.g. 10G
        resize demo 512M                  | 512M is less than the 1G that 'demo' has
        export demo iscsi                 | no front end 'iscsi': there are kernel, nbd
        volumes tape                      | no backend 'tape': there are ramdisk, file
        backends tape                     | no backend 'tape': there are ramdisk, file
        help crate                        | no command 'crate': did you mean create?
        """)
    void errorsNameWhatIsWrongAndWhatWouldBeRight(String line, String message) {
        assertThatThrownBy(() -> run(line.split(" "))).hasMessageStartingWith(message);
    }

    @Test
    void aUsageErrorShowsTheUsageLine() {
        assertThatThrownBy(() -> run("resize", "demo"))
                .isInstanceOf(UsageException.class)
                .hasMessageEndingWith("\nUsage: resize NAME SIZE [--shrink]");
    }

    @Test
    void interactiveShellsPrintNoClassNames() {
        var session = new CommandProcessorImpl(new ThreadIOImpl())
                .createSession(
                        InputStream.nullInputStream(),
                        OutputStream.nullOutputStream(),
                        OutputStream.nullOutputStream());
        assertThatThrownBy(() -> commands.run(commands.find("info"), session, List.of("dmeo")))
                .hasToString("no device 'dmeo': did you mean demo?");
        assertThatThrownBy(() -> commands.run(commands.find("info"), session, List.of()))
                .hasToString("info: NAME is missing: the device\nUsage: info NAME [--json]");
    }

    @Test
    void listShowsDevicesInColumns() throws Exception {
        run("create", "longer-name", "file", "512", "--no-export");
        devices.devices.get("longer-name").state = Device.State.PARKED;
        devices.devices.get("longer-name").explanation = "backend file is away";
        devices.devices.get("demo").clients.add("nbd client 1");
        assertThat(run("list")).isEqualTo("""
            NAME         STATE   SIZE  BACKEND  VOLUME       EXPORTS  CLIENTS  NOTE
            demo         online    1G  ramdisk  demo         nbd            1
            longer-name  parked   512  file     longer-name                 0  backend file is away
            """);
    }

    @Test
    void listSaysHowToMakeADeviceWhereThereIsNone() throws Exception {
        devices.devices.clear();
        assertThat(run("list")).isEqualTo("no devices; make one: create NAME BACKEND SIZE\n");
        assertThat(run("list", "--json")).isEqualTo("[]\n");
    }

    @Test
    void aDeviceThatWasNeverOnlineIsListedToo() throws Exception {
        devices.devices.get("demo").opened = false;
        devices.devices.get("demo").state = Device.State.STARTING;
        assertThat(run("list")).contains("starting");
        assertThat(run("info", "demo")).contains("starting").doesNotContain("block size");
        assertThat(run("info", "demo", "--json")).doesNotContain("blockSize");
    }

    @Test
    void infoShowsAll() throws Exception {
        devices.devices.get("demo").clients.add("nbd client 1 on /s");
        assertThat(run("info", "demo")).isEqualTo("""
            name           demo
            id             00000000-0000-0001-0000-000000000002
            state          online
            size           1G (1073741824 bytes)
            block size     512 bytes
            preferred I/O  4K (4096 bytes)
            access         read and write
            contents       volatile: lost when the gateway ends
            capabilities   discard, fast-zeroes
            backend        ramdisk
            volume         demo
            queue depth    128
            park timeout   60 s
            memory         12K
            export         nbd: nbd://demo
            client         nbd client 1 on /s
            """);
    }

    @Test
    void infoHidesSecrets() throws Exception {
        run("create", "x", "file", "1M", "--key", "hunter2");
        assertThat(run("info", "x") + run("info", "x", "--json") + run("list", "--json"))
                .contains("********")
                .doesNotContain("hunter2");
    }

    @Test
    void listAndInfoPrintJson() throws Exception {
        Object info = JsonReader.read(run("info", "demo", "--json"));
        assertThat(JsonReader.read(run("list", "--json"))).isEqualTo(List.of(info));
        assertThat(info)
                .asInstanceOf(org.assertj.core.api.InstanceOfAssertFactories.map(String.class, Object.class))
                .containsEntry("name", "demo")
                .containsEntry("state", "online")
                .containsEntry("size", 1L << 30)
                .containsEntry("capabilities", List.of("discard", "fast-zeroes"))
                .containsEntry("details", Map.of("memory", "12K"))
                .containsEntry(
                        "exports", List.of(Map.of("frontEnd", "nbd", "address", "nbd://demo", "explanation", "")));
    }

    @Test
    void createPrintsJson() throws Exception {
        assertThat((Map<?, ?>) JsonReader.read(run("create", "x", "ramdisk", "1M", "--json")))
                .extracting("size")
                .isEqualTo(1L << 20);
    }

    @Test
    void statsShowsCountersAndLatenciesWithUnits() throws Exception {
        assertThat(run("stats", "demo")).isEqualTo("""
            demo: online, 2 in flight, 7 FUA writes, 1 swaps (the last took 12.0 ms)
                   REQUESTS  BYTES  ERRORS     P50      P99    P99.9      MAX
            read       1001   3.9M       0  850 ns  12.3 µs  12.3 µs  12.3 µs
            write        20      0       3  4.5 ms   4.5 ms   4.5 ms   4.5 ms
            flush         0      0       0       -        -        -        -

            memory  12K
            """);
    }

    @Test
    void statsPrintsJson() throws Exception {
        Map<?, ?> json = (Map<?, ?>) JsonReader.read(run("stats", "demo", "--json"));
        assertThat(json.get("inFlight")).isEqualTo(2L);
        assertThat((Map<?, ?>) ((Map<?, ?>) json.get("operations")).get("write"))
                .extracting("errors", "p99Nanos")
                .containsExactly(3L, 4_500_000L);
    }

    @Test
    void statsWatchesUntilTheCallerIsGone() throws Exception {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        CountDownLatch gone = new CountDownLatch(1);
        Thread watching = new Thread(() -> {
            try {
                commands.run(
                        commands.find("stats"),
                        List.of("demo", "--watch", "0.1"),
                        new PrintStream(out, true, StandardCharsets.UTF_8),
                        home,
                        true,
                        gone);
            } catch (Exception e) {
                throw new AssertionError(e);
            }
        });
        watching.start();
        for (int i = 0; i < 600 && out.toString(StandardCharsets.UTF_8).split("\033\\[2J").length < 4; i++)
            Thread.sleep(50);
        assertThat(out.toString(StandardCharsets.UTF_8).split("\033\\[2J")).hasSizeGreaterThanOrEqualTo(4);
        assertThat(watching.isAlive()).isTrue();
        gone.countDown();
        watching.join(30_000);
        assertThat(watching.isAlive()).isFalse();
        assertThat(out.toString(StandardCharsets.UTF_8)).contains("REQUESTS/s", "BYTES/s");
    }

    @Test
    void statsEndsWatchingADeviceThatIsRemoved() throws Exception {
        devices.devices.get("demo").state = Device.State.REMOVED;
        assertThat(run("stats", "demo", "--watch", "0.1")).doesNotContain("REQUESTS/s");
    }

    @Test
    void resizeShrinksOnlyWhenToldTo() throws Exception {
        assertThat(run("resize", "demo", "2G")).isEqualTo("demo is 2G now\n");
        assertThat(run("resize", "demo", "1G", "--shrink")).isEqualTo("demo is 1G now\n");
        assertThat(devices.calls).containsExactly("resize demo " + (2L << 30), "resize demo " + (1L << 30));
    }

    @Test
    void removeKeepsTheVolumeUnlessToldOtherwise() throws Exception {
        devices.devices.get("demo").clients.add("nbd client 1");
        assertThatThrownBy(() -> run("remove", "demo")).hasMessageContaining("in use: [nbd client 1]");
        assertThat(run("remove", "demo", "--force", "--delete-volume")).isEqualTo("removed demo and its volume demo\n");
        run("create", "x", "ramdisk", "1M");
        assertThat(run("remove", "x")).isEqualTo("removed x\n");
        assertThat(devices.calls)
                .contains("remove demo by force", "deleteVolume ramdisk demo {}", "remove x")
                .doesNotContain("deleteVolume ramdisk x {}");
    }

    @Test
    void snapshotsAreMadeListedAndDeleted() throws Exception {
        assertThat(run("snapshots", "demo")).isEqualTo("demo has no snapshots\n");
        assertThat(run("snapshot", "demo", "monday")).isEqualTo("made snapshot monday of demo\n");
        devices.snapshots.add(new SnapshotInfo("monday", 1 << 30, 0, List.of("volume 'copy'", "reader host")));
        assertThat(run("snapshots", "demo")).isEqualTo("""
            SNAPSHOT  SIZE  MADE                  USED BY
            monday      1G  1970-01-01T00:00:00Z  volume 'copy'; reader host
            """);
        assertThat(JsonReader.read(run("snapshots", "demo", "--json")))
                .isEqualTo(List.of(Map.of(
                        "name",
                        "monday",
                        "size",
                        1L << 30,
                        "time",
                        "1970-01-01T00:00:00Z",
                        "users",
                        List.of("volume 'copy'", "reader host"))));
        run("delete-snapshot", "demo", "monday", "--force");
        assertThat(devices.calls).contains("snapshot demo monday", "deleteSnapshot demo monday by force");
    }

    @Test
    void aCloneIsADeviceOfTheSameBackendWithTheSnapshotAsAnOption() throws Exception {
        assertThat(run("clone", "demo", "monday", "copy", "--read-only"))
                .isEqualTo("created copy, 1M, from demo@monday\n  nbd://copy\n");
        DeviceSpec made = devices.devices.get("copy").spec;
        assertThat(made.options()).isEqualTo(Map.of("snapshot", "demo@monday"));
        assertThat(made.readOnly()).isTrue();
        assertThat(made.volume()).isEqualTo("copy");
    }

    @Test
    void exportAndUnexport() throws Exception {
        assertThat(run("export", "demo", "kernel,recover=5")).isEqualTo("kernel: kernel://demo\n");
        assertThat(run("unexport", "demo", "kernel")).isEqualTo("demo is no longer served by kernel\n");
        run("unexport", "demo", "nbd", "--force");
        assertThat(devices.calls)
                .containsExactly("export demo kernel,recover=5", "unexport demo kernel", "unexport demo nbd by force");
    }

    @Test
    void parkAndResume() throws Exception {
        assertThat(run("park", "demo")).isEqualTo("demo is parked; requests wait at most 60 s, then they fail\n");
        assertThat(run("list")).contains("parked", "parked by hand");
        assertThat(run("resume", "demo")).isEqualTo("demo is online\n");
    }

    @Test
    void backendsAreListedWithTheirOptions() throws Exception {
        assertThat(run("backends")).isEqualTo("""
            ramdisk  org.dblock.backend.ramdisk 0.1.0  Memory of the gateway

            file  org.dblock.backend.file 0.1.0  A file or a block device
              OPTION      TYPE         DEFAULT  DESCRIPTION
              --direct    boolean      false    bypass the page cache
              --allocate  sparse|full  sparse   how it is made
              --chunk     long                  bytes at a time
              --retries   integer               how often
              --key       password              a secret
            """.replace("  OPTION    TYPE", "  OPTION      TYPE"));
        assertThat(run("backends", "ramdisk")).doesNotContain("file");
        List<?> json = (List<?>) JsonReader.read(run("backends", "--json"));
        assertThat((Map<?, ?>) json.get(0)).extracting("bundle").isEqualTo("org.dblock.backend.ramdisk");
        devices.backends.clear();
        assertThat(run("backends")).startsWith("no backends; ");
    }

    @Test
    void volumesAreListed() throws Exception {
        devices.volumes.add(new VolumeInfo("a", 10L << 30, 4096));
        devices.volumes.add(new VolumeInfo("unknown", 0, -1));
        assertThat(run("volumes", "file", "--allocate", "full")).isEqualTo("""
            VOLUME   SIZE  ALLOCATED
            a         10G         4K
            unknown     -          -
            """);
        assertThat(devices.calls).containsExactly("volumes file {allocate=full}");
        assertThat(JsonReader.read(run("volumes", "file", "--json")).toString())
                .isEqualTo("[{name=a, size=10737418240, allocated=4096}, {name=unknown, size=null, allocated=null}]");
        devices.volumes.clear();
        assertThat(run("volumes", "ramdisk")).isEqualTo("ramdisk holds no volumes, or can't list them\n");
    }

    @Test
    void deleteVolume() throws Exception {
        assertThat(run("delete-volume", "file", "old")).isEqualTo("deleted old of file\n");
        assertThat(devices.calls).containsExactly("deleteVolume file old {}");
    }

    @Test
    void helpExplainsEveryCommandAndOption() throws Exception {
        String all = run("help");
        for (Command command : commands.all()) {
            assertThat(all).contains(command.name()).contains(command.summary());
            String one = run("help", command.name());
            assertThat(one).isEqualTo(run(command.name(), "--help")).contains("Usage: " + command.usage());
            for (Parameter p : command.arguments()) assertThat(one).contains("  " + p.name(), p.description());
            for (Parameter p : command.options()) assertThat(one).contains("  " + p.syntax(), p.description());
        }
        assertThat(run("create", "--help"))
                .contains("Options of file:", "--allocate sparse|full", "how it is made (default: sparse)");
    }

    @Test
    void versionSaysWhatRuns() throws Exception {
        assertThat(run("version")).startsWith("dblock 0.0.0, Java " + System.getProperty("java.version"));
        assertThat((Map<?, ?>) JsonReader.read(run("version", "--json")))
                .extracting("pid")
                .isEqualTo(ProcessHandle.current().pid());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
        cr                              | create
        create x                        |
        create x r                      | ramdisk
        create x file 1G --d            | --direct
        create x file --allocate s      | sparse
        create x file --direct --di     |
        create x ramdisk --export k     | kernel
        create x ramdisk --export nbd --ex | --existing --export
        create x ramdisk --block-size 1 | 1024
        create x ramdisk --block-size 512 --b |
        info d                          | demo
        info demo --                    | --help --json
        help ver                        | version
        nonsense a                      |
        """)
    void completionKnowsCommandsOptionsAndNames(String line, String candidates) throws Exception {
        List<String> words = new java.util.ArrayList<>(List.of("complete", "--"));
        words.addAll(List.of(line.split(" ")));
        assertThat(run(words.toArray(String[]::new)).lines().toList())
                .isEqualTo(candidates == null ? List.of() : List.of(candidates.split(" ")));
    }

    @Test
    void bashCompletionIsAScript() throws Exception {
        Process bash =
                new ProcessBuilder("bash", "-n").redirectErrorStream(true).start();
        try (var in = bash.getOutputStream()) {
            in.write(run("bash-completion").getBytes(StandardCharsets.UTF_8));
        }
        assertThat(new String(bash.getInputStream().readAllBytes(), StandardCharsets.UTF_8))
                .isEmpty();
        assertThat(bash.waitFor()).isZero();
    }

    @Test
    void withoutCoreCommandsSayWhatIsMissing() throws Exception {
        commands = new Commands(null, null, home);
        for (String line : List.of("list", "create x ramdisk 1G", "info demo", "backends", "volumes ramdisk"))
            assertThatThrownBy(() -> run(line.split(" "))).hasMessageContaining("core (org.dblock.core) isn't running");
        assertThat(run("help", "create")).contains("Usage: create");
        assertThat(run("complete", "info", "d")).isEmpty();
    }
}
