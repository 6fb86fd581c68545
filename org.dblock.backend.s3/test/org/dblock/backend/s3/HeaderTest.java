package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HexFormat;
import java.util.UUID;
import org.junit.jupiter.api.Test;

/** The log's headers are what docs/s3-format.md says, byte by byte. */
class HeaderTest {
    private static Header sample() {
        Header header = new Header();
        header.type = Header.Type.DATA;
        header.volume = UUID.fromString("00112233-4455-6677-8899-aabbccddeeff");
        header.slot = 5;
        header.epoch = 2;
        header.nonce = 0x0102030405060708L;
        header.previousCrc = 0x11223344;
        header.firstRecord = 7;
        header.lastRecord = 9;
        header.time = 1000;
        header.host = "here";
        header.room(2);
        header.add(16, 1, 0);
        header.add(32, 4, ExtentMap.ZEROES);
        header.payloadCrc = new int[] {0x0a0b0c0d};
        return header;
    }

    private static ByteBuffer encoded(Header header) {
        ByteBuffer out = ByteBuffer.allocate(header.headerBlocks() * Header.BLOCK);
        header.encode(out);
        return out.flip();
    }

    @Test
    void isTheseBytes() {
        ByteBuffer bytes = encoded(sample());
        String begin = HexFormat.of().formatHex(bytes.array(), 0, 152);
        assertThat(begin)
                .isEqualTo(
                        "44424c4b4c4f4731" // magic
                                + "01000000" + "01000000" // version, type
                                + "00112233445566778899aabbccddeeff"
                                + "0500000000000000" + "0200000000000000" + "0807060504030201" // slot, epoch, nonce
                                + "44332211" + "01000000" // previous CRC, header blocks
                                + "0700000000000000" + "0900000000000000" // first and last record
                                + "01000000" + "02000000" // payload blocks, extents
                                + "0000000000000000" + "e803000000000000" // argument, time
                                + "04000000" + "00000000" // length of the host's name
                                + "1000000000000000" + "01000000" + "00000000" // block 16, 1 block, at 0
                                + "2000000000000000" + "04000000" + "ffffffff" // block 32, 4 blocks of zeroes
                                + "0d0c0b0a" // CRC of the payload's block
                                + "68657265");
        assertThat(bytes.order(ByteOrder.LITTLE_ENDIAN).getInt(4092)).isEqualTo(Header.crcOf(bytes, 0, 4092));
    }

    @Test
    void isReadAsItWasWritten() throws Exception {
        Header read = Header.decode(encoded(sample()));
        assertThat(read).usingRecursiveComparison().ignoringFields("crc").isEqualTo(sample());
    }

    @Test
    void isRefusedWithAnyBitWrong() {
        ByteBuffer bytes = encoded(sample());
        for (int bit = 0; bit < 4096 * 8; bit++) {
            bytes.array()[bit / 8] ^= (byte) (1 << bit % 8);
            assertThatThrownBy(() -> Header.decode(bytes.duplicate()))
                    .as("bit %d", bit)
                    .isInstanceOf(Corruption.class);
            bytes.array()[bit / 8] ^= (byte) (1 << bit % 8);
        }
    }
}
