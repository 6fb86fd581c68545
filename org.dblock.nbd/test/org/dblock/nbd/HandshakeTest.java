package org.dblock.nbd;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.dblock.api.BlockException;
import org.dblock.api.Reason;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What the handshake answers, option by option. */
class HandshakeTest extends ServerCase {
    private static final byte[] NOTHING = {};

    @Test
    void greetingIsFixedNewstyleWithNoZeroes() throws Exception {
        serve(demo());
        assertThat(connect().receiveHex(18)).isEqualTo("4e42444d41474943" + "49484156454f5054" + "0003");
    }

    @Test
    void goBeginsTransmissionByTheGoldenBytes() throws Exception {
        serve(demo());
        TestClient client = connect();
        client.receive(18);
        client.sendHex("00000003");
        client.sendHex("49484156454f5054 00000007 0000000c 00000004 64656d6f 0001 0003");
        String header = "0003e889045565a9" + "00000007";
        assertThat(client.receiveHex(32))
                .isEqualTo(header + "00000003" + "0000000c" + "0000" + "0000000000800000" + "0d6d");
        assertThat(client.receiveHex(34))
                .isEqualTo(header + "00000003" + "0000000e" + "0003" + "00000200" + "00001000" + "02000000");
        assertThat(client.receiveHex(20)).isEqualTo(header + "00000001" + "00000000");
        client.sendHex("25609513 0000 0003 0102030405060708 0000000000000000 00000000");
        assertThat(client.receiveHex(16)).isEqualTo("67446698" + "00000000" + "0102030405060708");
    }

    @Test
    void exportNameEndsWith124ZeroesUnlessTheClientWantsNone() throws Exception {
        serve(demo());
        TestClient padded = connect().greet(1);
        padded.option(Nbd.OPT_EXPORT_NAME, "demo".getBytes(StandardCharsets.UTF_8));
        ByteBuffer reply = padded.receive(134);
        assertThat(reply.getLong()).isEqualTo(8 * MIB);
        assertThat(reply.getShort() & Nbd.FLAG_HAS_FLAGS).isEqualTo(1);
        assertThat(padded.call(Nbd.CMD_FLUSH, 0, 0, 0).error).isZero();

        TestClient bare = connect().greet(3);
        bare.option(Nbd.OPT_EXPORT_NAME, "demo".getBytes(StandardCharsets.UTF_8));
        bare.receive(10);
        assertThat(bare.call(Nbd.CMD_FLUSH, 0, 0, 0).error).isZero();
    }

    @Test
    void exportNameThatIsNotThereEndsTheConnection() throws Exception {
        serve(demo());
        TestClient client = connect().greet(3);
        client.option(Nbd.OPT_EXPORT_NAME, "other".getBytes(StandardCharsets.UTF_8));
        assertThat(client.closed()).isTrue();
    }

    @Test
    void clientWithoutFixedNewstyleIsHonoured() throws Exception {
        serve(demo());
        TestClient client = connect().greet(0);
        client.option(Nbd.OPT_EXPORT_NAME, "demo".getBytes(StandardCharsets.UTF_8));
        assertThat(client.receive(134).getLong()).isEqualTo(8 * MIB);
    }

    @Test
    void unknownClientFlagsEndTheConnection() throws Exception {
        serve(demo());
        TestClient client = connect().greet(4);
        assertThat(client.closed()).isTrue();
    }

    @Test
    void optionWithoutItsMagicNumberEndsTheConnection() throws Exception {
        serve(demo());
        TestClient client = connect().greet(3);
        client.sendHex("0000000000000000 00000003 00000000");
        assertThat(client.closed()).isTrue();
    }

    @Test
    void abortIsAcknowledgedEvenWithData() throws Exception {
        serve(demo());
        TestClient client = connect().greet(3);
        assertThat(client.ask(Nbd.OPT_ABORT, new byte[] {1, 2, 3})).hasSize(1);
        assertThat(client.closed()).isTrue();
    }

    @Test
    void listNamesEveryExport() throws Exception {
        serve(demo());
        server.export(new FakeDevice("alpha", MIB, 512), Map.of());
        TestClient client = connect().greet(3);
        List<TestClient.OptionReply> replies = client.ask(Nbd.OPT_LIST, NOTHING);
        assertThat(replies).hasSize(3);
        assertThat(HexFormat.of().formatHex(replies.get(0).data())).isEqualTo("00000005" + "616c706861");
        assertThat(HexFormat.of().formatHex(replies.get(1).data())).isEqualTo("00000004" + "64656d6f");
        assertThat(TestClient.last(client.ask(Nbd.OPT_LIST, new byte[1])).type())
                .isEqualTo(Nbd.REP_ERR_INVALID);
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 4, 5, 12, 0x7fffffff, -1})
    void optionsThatAreNotKnownAreUnsupportedAndTheirDataSkipped(int option) throws Exception {
        serve(demo());
        TestClient client = connect().greet(3);
        assertThat(client.ask(option, new byte[77]).get(0).type()).isEqualTo(Nbd.REP_ERR_UNSUP);
        assertThat(client.ask(Nbd.OPT_LIST, NOTHING)).hasSize(2);
    }

    @Test
    void infoTellsWhatGoTells() throws Exception {
        serve(demo());
        TestClient client = connect().greet(3);
        byte[] data = TestClient.infoData("demo", Nbd.INFO_NAME, Nbd.INFO_DESCRIPTION, Nbd.INFO_BLOCK_SIZE, 99);
        List<TestClient.OptionReply> info = client.ask(Nbd.OPT_INFO, data);
        List<TestClient.OptionReply> go = client.ask(Nbd.OPT_GO, data);
        assertThat(info).hasSameSizeAs(go).hasSize(5);
        for (int i = 0; i < go.size(); i++)
            assertThat(info.get(i).data()).isEqualTo(go.get(i).data());
        assertThat(info.get(2).text()).endsWith("demo");
        assertThat(info.get(3).text()).endsWith("8M fake");
        assertThat(client.call(Nbd.CMD_FLUSH, 0, 0, 0).error).isZero();
    }

    @Test
    void malformedInfoIsInvalidAndHagglingGoesOn() throws Exception {
        serve(demo());
        TestClient client = connect().greet(3);
        for (String bad : new String[] {
            "",
            "00000004",
            "00000004 64656d6f",
            "00000005 64656d6f 0000",
            "ffffffff 64656d6f 0000",
            "00000004 64656d6f 0001",
            "00000004 64656d6f 0000 0000",
            "00000004 64656d00 0000",
            "00000002 fffe 0000"
        }) {
            byte[] data = HexFormat.of().parseHex(bad.replace(" ", ""));
            for (int option : new int[] {Nbd.OPT_INFO, Nbd.OPT_GO})
                assertThat(TestClient.last(client.ask(option, data)).type())
                        .as(bad)
                        .isEqualTo(Nbd.REP_ERR_INVALID);
        }
        String tooLong = "x".repeat(Nbd.MAX_STRING + 1);
        assertThat(client.ask(Nbd.OPT_GO, TestClient.infoData(tooLong)).get(0).type())
                .isEqualTo(Nbd.REP_ERR_INVALID);
        client.ask(Nbd.OPT_GO, TestClient.infoData("demo"));
        assertThat(client.call(Nbd.CMD_FLUSH, 0, 0, 0).error).isZero();
    }

    @Test
    void unknownExportIsToldWithTheNamesThatAreThere() throws Exception {
        serve(demo());
        TestClient client = connect().greet(3);
        TestClient.OptionReply reply =
                client.ask(Nbd.OPT_GO, TestClient.infoData("nope")).get(0);
        assertThat(reply.type()).isEqualTo(Nbd.REP_ERR_UNKNOWN);
        assertThat(reply.text()).contains("nope").contains("demo");
    }

    @Test
    void emptyNameIsTheOnlyExportAndNoneWhereThereAreTwo() throws Exception {
        serve(demo());
        TestClient client = connect().greet(3);
        assertThat(TestClient.last(client.ask(Nbd.OPT_INFO, TestClient.infoData("")))
                        .type())
                .isEqualTo(Nbd.REP_ACK);
        server.export(new FakeDevice("other", MIB, 512), Map.of());
        assertThat(TestClient.last(client.ask(Nbd.OPT_INFO, TestClient.infoData("")))
                        .type())
                .isEqualTo(Nbd.REP_ERR_UNKNOWN);
    }

    @Test
    void deviceThatTakesNoClientsIsUnknownWithItsReason() throws Exception {
        FakeDevice device = serve(demo());
        device.refusal = new BlockException(Reason.IO, "device 'demo' has failed: its disk is gone");
        TestClient client = connect().greet(3);
        TestClient.OptionReply reply =
                client.ask(Nbd.OPT_GO, TestClient.infoData("demo")).get(0);
        assertThat(reply.type()).isEqualTo(Nbd.REP_ERR_UNKNOWN);
        assertThat(reply.text()).contains("its disk is gone");
        device.refusal = null;
        assertThat(TestClient.last(client.ask(Nbd.OPT_GO, TestClient.infoData("demo")))
                        .type())
                .isEqualTo(Nbd.REP_ACK);
    }

    @Test
    void deviceOfAGatewayThatStopsIsRefusedAsShutDown() throws Exception {
        FakeDevice device = serve(demo());
        device.refusal = new BlockException(Reason.SHUTTING_DOWN, "stopping");
        TestClient client = connect().greet(3);
        assertThat(client.ask(Nbd.OPT_GO, TestClient.infoData("demo")).get(0).type())
                .isEqualTo(Nbd.REP_ERR_SHUTDOWN);
    }

    @Test
    void structuredRepliesAndExtendedHeadersAreAgreedOn() throws Exception {
        serve(demo());
        TestClient client = connect().greet(3);
        assertThat(client.ask(Nbd.OPT_STRUCTURED_REPLY, new byte[1]).get(0).type())
                .isEqualTo(Nbd.REP_ERR_INVALID);
        assertThat(client.ask(Nbd.OPT_STRUCTURED_REPLY, NOTHING).get(0).type()).isEqualTo(Nbd.REP_ACK);
        assertThat(client.ask(Nbd.OPT_EXTENDED_HEADERS, new byte[1]).get(0).type())
                .isEqualTo(Nbd.REP_ERR_INVALID);
        assertThat(client.ask(Nbd.OPT_EXTENDED_HEADERS, NOTHING).get(0).type()).isEqualTo(Nbd.REP_ACK);
        assertThat(client.ask(Nbd.OPT_STRUCTURED_REPLY, NOTHING).get(0).type()).isEqualTo(Nbd.REP_ERR_EXT_HEADER_REQD);
        client.option(Nbd.OPT_EXPORT_NAME, "demo".getBytes(StandardCharsets.UTF_8));
        assertThat(client.closed()).as("EXPORT_NAME after extended headers").isTrue();
    }

    @Test
    void fragmentsAreOfferedOnlyWithStructuredReplies() throws Exception {
        serve(demo());
        assertThat(connect(Transmission.Mode.SIMPLE).flags & Nbd.FLAG_SEND_DF).isZero();
        assertThat(connect(Transmission.Mode.STRUCTURED).flags & Nbd.FLAG_SEND_DF)
                .isNotZero();
        assertThat(connect(Transmission.Mode.STRUCTURED).flags & Nbd.FLAG_BLOCK_STATUS_PAYLOAD)
                .isZero();
        assertThat(connect(Transmission.Mode.EXTENDED).flags & Nbd.FLAG_BLOCK_STATUS_PAYLOAD)
                .isNotZero();
    }

    @Test
    void metaContextsNeedStructuredReplies() throws Exception {
        serve(demo());
        TestClient client = connect().greet(3);
        for (int option : new int[] {Nbd.OPT_LIST_META_CONTEXT, Nbd.OPT_SET_META_CONTEXT})
            assertThat(client.ask(option, TestClient.contextData("demo")).get(0).type())
                    .isEqualTo(Nbd.REP_ERR_INVALID);
    }

    @Test
    void metaContextsAreListedAndSet() throws Exception {
        serve(demo());
        TestClient client = connect().greet(3);
        client.ask(Nbd.OPT_STRUCTURED_REPLY, NOTHING);
        int list = Nbd.OPT_LIST_META_CONTEXT;
        int set = Nbd.OPT_SET_META_CONTEXT;
        assertThat(contexts(client, list)).isEqualTo("00000000base:allocation");
        assertThat(contexts(client, list, "base:")).isEqualTo("00000000base:allocation");
        assertThat(contexts(client, list, "x-other:", "base:allocation")).isEqualTo("00000000base:allocation");
        assertThat(contexts(client, list, "base:nothing", "qemu:dirty-bitmap:a", "no colon"))
                .isEmpty();
        assertThat(contexts(client, set)).isEmpty();
        assertThat(contexts(client, set, "base:")).isEmpty();
        assertThat(contexts(client, set, "base:allocation", "base:allocation")).isEqualTo("00000001base:allocation");
        assertThat(TestClient.last(client.ask(set, TestClient.contextData("nope", "base:allocation")))
                        .type())
                .isEqualTo(Nbd.REP_ERR_UNKNOWN);
        byte[] right = TestClient.contextData("demo", "base:allocation");
        for (int length = 0; length < right.length; length++)
            assertThat(TestClient.last(client.ask(set, Arrays.copyOf(right, length)))
                            .type())
                    .isEqualTo(Nbd.REP_ERR_INVALID);
        assertThat(TestClient.last(client.ask(set, Arrays.copyOf(right, right.length + 1)))
                        .type())
                .isEqualTo(Nbd.REP_ERR_INVALID);
    }

    private static String contexts(TestClient client, int option, String... queries) throws Exception {
        List<TestClient.OptionReply> replies = client.ask(option, TestClient.contextData("demo", queries));
        assertThat(TestClient.last(replies).type()).isEqualTo(Nbd.REP_ACK);
        StringBuilder all = new StringBuilder();
        for (TestClient.OptionReply reply : replies.subList(0, replies.size() - 1)) {
            byte[] data = reply.data();
            all.append(HexFormat.of().formatHex(data, 0, 4));
            all.append(new String(data, 4, data.length - 4, StandardCharsets.US_ASCII));
        }
        return all.toString();
    }

    @Test
    void aFailedSetForgetsTheContextSetBefore() throws Exception {
        serve(demo());
        TestClient client = connect().greet(3);
        client.ask(Nbd.OPT_STRUCTURED_REPLY, NOTHING);
        client.ask(Nbd.OPT_SET_META_CONTEXT, TestClient.contextData("demo", "base:allocation"));
        client.ask(Nbd.OPT_SET_META_CONTEXT, new byte[3]);
        client.ask(Nbd.OPT_GO, TestClient.infoData("demo"));
        client.mode = Transmission.Mode.STRUCTURED;
        assertThat(client.call(Nbd.CMD_BLOCK_STATUS, 0, 0, 4096).error).isEqualTo(Nbd.EINVAL);
    }

    @Test
    void optionTooLongIsSkippedAndAMuchLongerOneEndsTheConnection() throws Exception {
        serve(demo());
        TestClient client = connect().greet(3);
        assertThat(client.ask(Nbd.OPT_GO, new byte[100_000]).get(0).type()).isEqualTo(Nbd.REP_ERR_TOO_BIG);
        assertThat(client.ask(Nbd.OPT_LIST, NOTHING)).hasSize(2);
        client.sendHex("49484156454f5054 00000007 ffffffff");
        assertThat(client.closed()).isTrue();
    }

    @Test
    void halfSentHandshakesCostTheirOwnConnectionOnly() throws Exception {
        serve(demo(), Map.of(), TestSettings.of(socket().toString()).withSeconds(2, 30));
        TestClient silent = connect();
        TestClient half = connect().greet(3);
        half.sendHex("49484156454f5054 00000007 0000");
        TestClient garbage = connect();
        garbage.sendHex("deadbeef".repeat(8));
        TestClient good = connect(Transmission.Mode.STRUCTURED);
        assertThat(garbage.closed()).isTrue();
        assertThat(silent.closed()).isTrue();
        assertThat(half.closed()).isTrue();
        assertThat(good.read(0, 512).error)
                .as("a client in transmission has no deadline")
                .isZero();
    }

    @Test
    void clientsBeyondTheLimitAreRefusedUntilOneLeaves() throws Exception {
        serve(demo(), Map.of(), TestSettings.of(socket().toString()).withConnections(2));
        TestClient first = connect(Transmission.Mode.SIMPLE);
        TestClient second = connect(Transmission.Mode.SIMPLE);
        assertThat(connect().closed()).isTrue();
        first.disconnect();
        assertThat(first.closed()).isTrue();
        eventually("a place is free", () -> {
            try (TestClient third = connect()) {
                third.go("demo", Transmission.Mode.SIMPLE);
                return true;
            } catch (Exception e) {
                return false;
            }
        });
        assertThat(second.read(0, 512).error).isZero();
    }

    @Test
    void readOnlyExportSaysSo() throws Exception {
        serve(demo(), Map.of("readOnly", "true"), TestSettings.of(socket().toString()));
        int flags = connect(Transmission.Mode.SIMPLE).flags;
        assertThat(flags & Nbd.FLAG_READ_ONLY).isNotZero();
        assertThat(flags & (Nbd.FLAG_SEND_TRIM | Nbd.FLAG_SEND_WRITE_ZEROES | Nbd.FLAG_SEND_FAST_ZERO))
                .isZero();
    }
}
