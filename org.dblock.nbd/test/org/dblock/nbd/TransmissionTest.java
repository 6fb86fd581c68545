package org.dblock.nbd;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.dblock.api.Capability;
import org.dblock.api.Reason;
import org.dblock.nbd.TestClient.Reply;
import org.dblock.nbd.Transmission.Mode;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** What each command answers, in each shape of replies, on volumes that block and that don't. */
class TransmissionTest extends ServerCase {
    static Stream<Arguments> all() {
        return Stream.of(Mode.values()).flatMap(mode -> Stream.of(false, true).map(b -> Arguments.of(mode, b)));
    }

    private FakeDevice start(boolean blocking) throws Exception {
        FakeDevice device = new FakeDevice("demo", 40 * MIB, 512);
        return serve(blocking ? device.blocking() : device);
    }

    private static byte[] bytes(int length, int seed) {
        byte[] data = new byte[length];
        new Random(seed).nextBytes(data);
        return data;
    }

    @ParameterizedTest
    @MethodSource("all")
    void whatIsWrittenIsRead(Mode mode, boolean blocking) throws Exception {
        start(blocking);
        TestClient client = connect(mode);
        for (int length : new int[] {512, 4096, 65536, 262144, 262656, 1 << 20, 3 * MIB + 512, 32 * MIB}) {
            byte[] data = bytes(length, length);
            assertThat(client.write(1024, data)).isZero();
            assertThat(client.read(1024, length).data()).as("%d bytes", length).isEqualTo(data);
        }
    }

    @ParameterizedTest
    @MethodSource("all")
    void commandsReachTheVolumeAsAsked(Mode mode, boolean blocking) throws Exception {
        FakeDevice device = start(blocking);
        TestClient client = connect(mode);
        client.call(Nbd.CMD_WRITE, Nbd.CMD_FLAG_FUA, 512, 512, new byte[512]);
        client.call(Nbd.CMD_FLUSH, Nbd.CMD_FLAG_FUA, 0, 0);
        client.call(Nbd.CMD_TRIM, 0, 4096, 8192);
        client.call(Nbd.CMD_TRIM, Nbd.CMD_FLAG_FUA, 4096, 4096);
        client.call(Nbd.CMD_WRITE_ZEROES, 0, 0, 1024);
        client.call(Nbd.CMD_WRITE_ZEROES, Nbd.CMD_FLAG_NO_HOLE | Nbd.CMD_FLAG_FUA, 0, 1024);
        client.call(Nbd.CMD_WRITE_ZEROES, Nbd.CMD_FLAG_FAST_ZERO, 0, 40 * MIB);
        assertThat(device.calls)
                .containsExactly(
                        "write-fua 512 512",
                        "flush 0 0",
                        "discard 4096 8192",
                        "discard 4096 4096",
                        "flush 0 0",
                        "zeroes-unmap 0 1024",
                        "zeroes-fua 0 1024",
                        "zeroes-unmap 0 41943040");
    }

    @ParameterizedTest
    @MethodSource("all")
    void eachBadRequestGetsItsErrorAndTheNextIsServed(Mode mode, boolean blocking) throws Exception {
        start(blocking);
        TestClient client = connect(mode);
        long end = 40 * MIB;
        byte[] block = new byte[512];
        List<String> wrong = new ArrayList<>();
        Object[][] cases = {
            {"read beyond the end", Nbd.CMD_READ, 0, end, 512L, Nbd.EINVAL},
            {"read across the end", Nbd.CMD_READ, 0, end - 512, 1024L, Nbd.EINVAL},
            {"read at an offset that overflows", Nbd.CMD_READ, 0, -512L, 1024L, Nbd.EINVAL},
            {"read of nothing", Nbd.CMD_READ, 0, 0L, 0L, Nbd.EINVAL},
            {"read unaligned", Nbd.CMD_READ, 0, 1L, 512L, Nbd.EINVAL},
            {"read of part of a block", Nbd.CMD_READ, 0, 0L, 511L, Nbd.EINVAL},
            {"read of too much", Nbd.CMD_READ, 0, 0L, 32L * MIB + 512, mode == Mode.SIMPLE ? Nbd.EINVAL : Nbd.EOVERFLOW
            },
            {"read with NO_HOLE", Nbd.CMD_READ, Nbd.CMD_FLAG_NO_HOLE, 0L, 512L, Nbd.EINVAL},
            {"read with an unknown flag", Nbd.CMD_READ, 1 << 15, 0L, 512L, Nbd.EINVAL},
            {"write beyond the end", Nbd.CMD_WRITE, 0, end, 512L, Nbd.ENOSPC},
            {"write unaligned", Nbd.CMD_WRITE, 0, 256L, 512L, Nbd.EINVAL},
            {"write with DF", Nbd.CMD_WRITE, Nbd.CMD_FLAG_DF, 0L, 512L, Nbd.EINVAL},
            {"flush with a length", Nbd.CMD_FLUSH, 0, 0L, 512L, Nbd.EINVAL},
            {"flush with an offset", Nbd.CMD_FLUSH, 0, 512L, 0L, Nbd.EINVAL},
            {"trim beyond the end", Nbd.CMD_TRIM, 0, end, 512L, Nbd.EINVAL},
            {"trim with REQ_ONE", Nbd.CMD_TRIM, Nbd.CMD_FLAG_REQ_ONE, 0L, 512L, Nbd.EINVAL},
            {"cache beyond the end", Nbd.CMD_CACHE, 0, end, 512L, Nbd.EINVAL},
            {"cache with a flag", Nbd.CMD_CACHE, Nbd.CMD_FLAG_DF, 0L, 512L, Nbd.EINVAL},
            {"zeroes beyond the end", Nbd.CMD_WRITE_ZEROES, 0, end - 512, 1024L, Nbd.ENOSPC},
            {
                "fast zeroes without a hole",
                Nbd.CMD_WRITE_ZEROES,
                Nbd.CMD_FLAG_FAST_ZERO | Nbd.CMD_FLAG_NO_HOLE,
                0L,
                512L,
                Nbd.ENOTSUP
            },
            {"resize", 8, 0, 0L, 512L, Nbd.EINVAL},
            {"unknown command", 4711, 0, 0L, 512L, Nbd.EINVAL},
            {"block status beyond the end", Nbd.CMD_BLOCK_STATUS, 0, end, 512L, Nbd.EINVAL},
            {"block status of nothing", Nbd.CMD_BLOCK_STATUS, 0, 0L, 0L, Nbd.EINVAL},
        };
        for (Object[] each : cases) {
            int type = (int) each[1];
            byte[] payload = type == Nbd.CMD_WRITE ? block : new byte[0];
            Reply reply = client.call(type, (int) each[2], (long) each[3], (long) each[4], payload);
            if (reply.error != (int) each[5]) wrong.add(each[0] + ": " + reply.error);
            if (mode != Mode.SIMPLE && reply.message.isEmpty()) wrong.add(each[0] + ": no message");
            if (client.read(0, 512).error != 0) wrong.add(each[0] + ": the next one fails");
        }
        assertThat(wrong).isEmpty();
    }

    @ParameterizedTest
    @MethodSource("all")
    void failuresOfTheVolumeHaveTheirErrors(Mode mode, boolean blocking) throws Exception {
        FakeDevice device = start(blocking);
        TestClient client = connect(mode);
        Map<Reason, Integer> errors = Map.ofEntries(
                Map.entry(Reason.IO, 5),
                Map.entry(Reason.NO_SPACE, 28),
                Map.entry(Reason.READ_ONLY, 1),
                Map.entry(Reason.UNSUPPORTED, 22),
                Map.entry(Reason.INVALID, 22),
                Map.entry(Reason.NOT_FOUND, 5),
                Map.entry(Reason.EXISTS, 5),
                Map.entry(Reason.IN_USE, 5),
                Map.entry(Reason.FENCED, 5),
                Map.entry(Reason.TIMED_OUT, 5),
                Map.entry(Reason.SHUTTING_DOWN, 108));
        for (Reason reason : Reason.values()) {
            device.failure = reason;
            byte[] big = new byte[MIB];
            assertThat(client.write(0, big)).as("%s", reason).isEqualTo(errors.get(reason));
            assertThat(client.read(0, 512).error).isEqualTo(errors.get(reason));
            assertThat(client.read(0, 2 * MIB).error).isEqualTo(errors.get(reason));
            assertThat(client.call(Nbd.CMD_FLUSH, 0, 0, 0).error).isEqualTo(errors.get(reason));
            assertThat(client.call(Nbd.CMD_TRIM, 0, 0, 512).error).isEqualTo(errors.get(reason));
        }
        device.failure = null;
        device.thrown = new IllegalStateException("a bug");
        assertThat(client.read(0, 512).error).isEqualTo(Nbd.EIO);
        device.thrown = null;
        assertThat(client.read(0, 512).error).isZero();
    }

    @ParameterizedTest
    @MethodSource("all")
    void readOnlyExportRefusesWhatWrites(Mode mode, boolean blocking) throws Exception {
        FakeDevice device = blocking ? demo().blocking() : demo();
        serve(device, Map.of("readOnly", "true"), TestSettings.of(socket().toString()));
        TestClient client = connect(mode);
        assertThat(client.write(0, new byte[512])).isEqualTo(Nbd.EPERM);
        assertThat(client.call(Nbd.CMD_TRIM, 0, 0, 512).error).isEqualTo(Nbd.EPERM);
        assertThat(client.call(Nbd.CMD_WRITE_ZEROES, 0, 0, 512).error).isEqualTo(Nbd.EPERM);
        assertThat(client.call(Nbd.CMD_FLUSH, 0, 0, 0).error).isZero();
        assertThat(client.read(0, 512).error).isZero();
        assertThat(device.calls).containsExactly("flush 0 0", "read 0 512");
    }

    @Test
    void readOnlyGeometryIsAReadOnlyExport() throws Exception {
        FakeDevice device = demo();
        device.geometry = device.geometry.withReadOnly(true);
        serve(device);
        TestClient client = connect(Mode.STRUCTURED);
        assertThat(client.flags & Nbd.FLAG_READ_ONLY).isNotZero();
        assertThat(client.write(0, new byte[512])).isEqualTo(Nbd.EPERM);
    }

    @ParameterizedTest
    @MethodSource("all")
    void holesAreReadAsHolesUnlessFragmentsAreForbidden(Mode mode, boolean blocking) throws Exception {
        FakeDevice device = start(blocking);
        device.fill(65536, 8192);
        TestClient client = connect(mode);
        byte[] expected = new byte[262144];
        for (int i = 65536; i < 65536 + 8192; i++) expected[i] = FakeDevice.pattern(i);
        Reply reply = client.read(0, 262144);
        assertThat(reply.data()).isEqualTo(expected);
        if (mode == Mode.SIMPLE) return;
        assertThat(reply.chunks).containsExactly("hole 0 65536", "data 65536 8192", "hole 73728 188416");
        Reply one = client.call(Nbd.CMD_READ, Nbd.CMD_FLAG_DF, 0, 262144);
        assertThat(one.chunks).containsExactly("data 0 262144");
        assertThat(one.data()).isEqualTo(expected);
        Reply huge = client.call(Nbd.CMD_READ, Nbd.CMD_FLAG_DF, 0, 32 * MIB);
        assertThat(huge.chunks).containsExactly("data 0 33554432");
    }

    @ParameterizedTest
    @EnumSource(
            value = Mode.class,
            names = {"STRUCTURED", "EXTENDED"})
    void blockStatusTellsTheAllocationMap(Mode mode) throws Exception {
        FakeDevice device = start(mode == Mode.EXTENDED);
        device.fill(65536, 8192);
        TestClient client = connect(mode);
        Reply reply = client.call(Nbd.CMD_BLOCK_STATUS, 0, 4096, 40 * MIB - 4096);
        assertThat(reply.extents)
                .containsExactly(new long[] {61440, 3}, new long[] {8192, 0}, new long[] {40L * MIB - 65536 - 8192, 3});
        Reply one = client.call(Nbd.CMD_BLOCK_STATUS, Nbd.CMD_FLAG_REQ_ONE, 0, 1024);
        assertThat(one.extents).containsExactly(new long[] {1024, 3});
        device.failure = Reason.IO;
        assertThat(client.call(Nbd.CMD_BLOCK_STATUS, 0, 0, 4096).error).isEqualTo(Nbd.EIO);
    }

    @Test
    void blockStatusIsBoundedAndGoesOnWhereItEnded() throws Exception {
        FakeDevice device = start(false);
        for (int at = 0; at < 40 * MIB; at += 8192) device.fill(at, 4096);
        TestClient client = connect(Mode.STRUCTURED);
        long at = 0;
        int calls = 0;
        for (; at < 40 * MIB; calls++) {
            Reply reply = client.call(Nbd.CMD_BLOCK_STATUS, 0, at, 40 * MIB - at);
            assertThat(reply.extents.size()).isBetween(1, 4096);
            for (long[] extent : reply.extents) at += extent[0];
        }
        assertThat(at).isEqualTo(40 * MIB);
        assertThat(calls).isEqualTo(3); // 10240 extents
    }

    @Test
    void blockStatusWithoutAContextIsInvalid() throws Exception {
        start(false);
        TestClient client = connect(Mode.SIMPLE);
        assertThat(client.call(Nbd.CMD_BLOCK_STATUS, 0, 0, 4096).error).isEqualTo(Nbd.EINVAL);
    }

    @Test
    void extendedRequestsCarryTheirPayloadByFlag() throws Exception {
        FakeDevice device = start(false);
        TestClient client = connect(Mode.EXTENDED);
        client.raw(Nbd.CMD_WRITE, 0, 0, 512, new byte[0]);
        assertThat(client.reply(0).error).as("a write without payload").isEqualTo(Nbd.EINVAL);
        client.raw(Nbd.CMD_READ, Nbd.CMD_FLAG_PAYLOAD_LEN, 0, 512, new byte[512]);
        assertThat(client.reply(0).error).as("a read with payload").isEqualTo(Nbd.EINVAL);
        client.raw(Nbd.CMD_TRIM, Nbd.CMD_FLAG_PAYLOAD_LEN, 0, MIB, new byte[MIB]);
        assertThat(client.reply(0).error).as("a trim with payload").isEqualTo(Nbd.EINVAL);
        assertThat(device.calls).isEmpty();
        assertThat(client.call(Nbd.CMD_WRITE_ZEROES, 0, 0, 1L << 33).error).isEqualTo(Nbd.ENOSPC);
        assertThat(client.call(Nbd.CMD_TRIM, 0, 0, -512).error).isEqualTo(Nbd.EINVAL);
        client.raw(Nbd.CMD_WRITE, Nbd.CMD_FLAG_PAYLOAD_LEN, 0, 1L << 40, new byte[0]);
        assertThat(client.closed()).as("a payload that is too large").isTrue();
    }

    @Test
    void blockStatusWithPayloadPicksItsContexts() throws Exception {
        start(false);
        TestClient client = connect(Mode.EXTENDED);
        int flag = Nbd.CMD_FLAG_PAYLOAD_LEN;
        byte[] right = ByteBuffer.allocate(12).putLong(8192).putInt(1).array();
        client.raw(Nbd.CMD_BLOCK_STATUS, flag, 0, right.length, right);
        assertThat(client.reply(0).extents).containsExactly(new long[] {8192, 3});
        byte[] other = ByteBuffer.allocate(12).putLong(8192).putInt(2).array();
        byte[] twice = ByteBuffer.allocate(16).putLong(8192).putInt(1).putInt(1).array();
        for (byte[] wrong : new byte[][] {other, twice, new byte[8], new byte[3], new byte[100_000]}) {
            client.raw(Nbd.CMD_BLOCK_STATUS, flag, 0, wrong.length, wrong);
            assertThat(client.reply(0).error).as("%d bytes", wrong.length).isEqualTo(Nbd.EINVAL);
        }
        assertThat(client.read(0, 512).error).isZero();
    }

    @Test
    void extendedRepliesByTheGoldenBytes() throws Exception {
        FakeDevice device = start(false);
        device.fill(0, 512);
        TestClient client = connect(Mode.EXTENDED);
        client.sendHex("21e41c71 0000 0003 00000000000000aa 0000000000000000 0000000000000000");
        assertThat(client.receiveHex(32)).isEqualTo("6e8a278c" + "0001" + "0000" + "00000000000000aa" + "0".repeat(32));
        client.sendHex("21e41c71 0000 0000 00000000000000ab 0000000000000000 0000000000000200");
        assertThat(client.receiveHex(40))
                .isEqualTo("6e8a278c" + "0001" + "0001" + "00000000000000ab" + "0000000000000000" + "0000000000000208"
                        + "0000000000000000");
        assertThat(client.receive(512).get(1)).isEqualTo(FakeDevice.pattern(1));
        client.sendHex("21e41c71 0008 0007 00000000000000ac 0000000000001000 0000000000001000");
        assertThat(client.receiveHex(56))
                .isEqualTo("6e8a278c" + "0001" + "0006" + "00000000000000ac" + "0000000000001000" + "0000000000000018"
                        + "00000001" + "00000001" + "0000000000001000" + "0000000000000003");
    }

    @Test
    void structuredRepliesByTheGoldenBytes() throws Exception {
        start(false);
        TestClient client = connect(Mode.STRUCTURED);
        client.sendHex("25609513 0000 0000 00000000000000ab 0000000000000200 00000200");
        assertThat(client.receiveHex(28))
                .isEqualTo("668e33ef" + "0001" + "0001" + "00000000000000ab" + "00000208" + "0000000000000200");
        client.receive(512);
        client.sendHex("25609513 0000 0000 00000000000000ac 0000000000000000 00010000");
        assertThat(client.receiveHex(32))
                .isEqualTo("668e33ef" + "0001" + "0002" + "00000000000000ac" + "0000000c" + "0000000000000000"
                        + "00010000");
        client.sendHex("25609513 0000 0063 00000000000000ad 0000000000000000 00000000");
        assertThat(client.receiveHex(16)).isEqualTo("668e33ef" + "0001" + "8001" + "00000000000000ad");
    }

    @Test
    void requestWithoutItsMagicNumberOrOversizeEndsTheConnectionOnly() throws Exception {
        start(false);
        TestClient other = connect(Mode.STRUCTURED);
        TestClient client = connect(Mode.STRUCTURED);
        client.sendHex("25609514 0000 0000 00000000000000ab 0000000000000000 00000200");
        assertThat(client.closed()).isTrue();
        TestClient oversize = connect(Mode.STRUCTURED);
        oversize.sendHex("25609513 0000 0001 00000000000000ab 0000000000000000 ffffffff");
        assertThat(oversize.closed()).isTrue();
        assertThat(other.read(0, 512).error).isZero();
    }

    @Test
    void cacheReadsAheadWhereReadingWaits() throws Exception {
        FakeDevice device = start(true);
        TestClient client = connect(Mode.STRUCTURED);
        assertThat(client.call(Nbd.CMD_CACHE, 0, 0, 300 << 10).error).isZero();
        assertThat(device.calls).containsExactly("read 0 262144", "read 262144 45056");
    }

    @Test
    void fastZeroesNeedAVolumeThatHasThem() throws Exception {
        FakeDevice device = demo();
        device.geometry = device.geometry.with(Capability.WRITE_ZEROES);
        serve(device);
        TestClient client = connect(Mode.STRUCTURED);
        assertThat(client.flags & Nbd.FLAG_SEND_TRIM).isZero();
        assertThat(client.call(Nbd.CMD_WRITE_ZEROES, Nbd.CMD_FLAG_FAST_ZERO, 0, 512).error)
                .isEqualTo(Nbd.ENOTSUP);
        assertThat(client.call(Nbd.CMD_WRITE_ZEROES, 0, 0, 512).error).isZero();
    }

    @Test
    void aResizedDeviceHasItsNewLimits() throws Exception {
        FakeDevice device = start(false);
        TestClient client = connect(Mode.STRUCTURED);
        device.geometry = device.geometry.withSize(MIB);
        device.clients.forEach(each -> each.resized(MIB));
        assertThat(client.write(MIB, new byte[512])).isEqualTo(Nbd.ENOSPC);
        assertThat(client.write(MIB - 512, new byte[512])).isZero();
    }

    @ParameterizedTest
    @EnumSource(Mode.class)
    void randomCommandsAgreeWithAModel(Mode mode) throws Exception {
        long seed = Long.getLong("seed", System.nanoTime());
        System.out.println("TransmissionTest: -Dseed=" + seed);
        Random random = new Random(seed);
        boolean blocking = random.nextBoolean();
        start(blocking);
        TestClient client = connect(mode);
        byte[] model = new byte[40 * MIB];
        for (int i = 0; i < 400; i++) {
            int length = 512 * (1 + random.nextInt(random.nextInt(8) == 0 ? 4096 : 64));
            int offset = 512 * random.nextInt((model.length - length) / 512 + 1);
            switch (random.nextInt(4)) {
                case 0 -> {
                    byte[] data = bytes(length, random.nextInt());
                    assertThat(client.write(offset, data)).isZero();
                    System.arraycopy(data, 0, model, offset, length);
                }
                case 1 -> {
                    assertThat(client.call(Nbd.CMD_WRITE_ZEROES, 0, offset, length).error)
                            .isZero();
                    java.util.Arrays.fill(model, offset, offset + length, (byte) 0);
                }
                default ->
                    assertThat(client.read(offset, length).data())
                            .as("seed %d, read %d at %d", seed, length, offset)
                            .isEqualTo(java.util.Arrays.copyOfRange(model, offset, offset + length));
            }
        }
    }
}
