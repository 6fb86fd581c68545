package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a journal still has after it was cut, damaged, or wrapped around. */
class JournalTest {
    private static final UUID VOLUME = new UUID(3, 4);
    private static final int BLOCK = Header.BLOCK;
    private static final int SIZE = Journal.RING + 64 * 1024;

    @TempDir
    Path folder;

    private Path file() {
        return folder.resolve("journal");
    }

    private void append(Journal journal, int number) throws IOException {
        byte[] data = new byte[BLOCK];
        Arrays.fill(data, (byte) number);
        ByteBuffer buffer = ByteBuffer.wrap(data);
        journal.append(number, 1, false, buffer, Header.crcOf(buffer, 0, BLOCK), 1000 + number);
    }

    private long recordsIn(byte[] content) throws IOException {
        Files.write(file(), content);
        Disk disk = new FileDisk(file());
        try {
            Journal journal = Journal.open(disk, VOLUME);
            return journal == null ? -1 : journal.nextNumber() - 1;
        } finally {
            disk.close();
        }
    }

    private byte[] five() throws IOException {
        Disk disk = new FileDisk(file());
        Journal journal = Journal.create(disk, VOLUME, SIZE, 0, 77, false);
        journal.epoch(1);
        for (int i = 1; i <= 5; i++) append(journal, i);
        journal.close();
        return Files.readAllBytes(file());
    }

    @Test
    void endsAtTheFirstRecordThatIsNotWhole() throws Exception {
        byte[] whole = five();
        assertThat(recordsIn(whole)).isEqualTo(5);
        int record = Journal.RECORD + BLOCK;
        for (int cut = 0; cut < 5 * record; cut += 16) {
            byte[] torn = whole.clone();
            Arrays.fill(torn, Journal.RING + cut, Journal.RING + 5 * record, (byte) 0);
            assertThat(recordsIn(torn)).as("cut at %d", cut).isEqualTo(cut / record);
        }
    }

    @Test
    void endsBeforeADamagedRecordWhateverFollowsIt() throws Exception {
        byte[] whole = five();
        int record = Journal.RECORD + BLOCK;
        for (int at = 0; at < 5 * record; at += 7) {
            byte[] damaged = whole.clone();
            damaged[Journal.RING + at] ^= 0x10;
            assertThat(recordsIn(damaged)).as("byte %d", at).isEqualTo(at / record);
        }
    }

    @Test
    void oneDamagedHeaderIsMadeUpForByTheOther() throws Exception {
        byte[] whole = five();
        for (int copy = 0; copy < 2; copy++) {
            byte[] damaged = whole.clone();
            damaged[copy * BLOCK + 100] ^= 1;
            assertThat(recordsIn(damaged)).isEqualTo(5);
        }
        whole[100] ^= 1;
        whole[BLOCK + 100] ^= 1;
        assertThat(recordsIn(whole)).as("both damaged: no journal").isEqualTo(-1);
    }

    @Test
    void goesAroundTheRingAsSpaceIsFreed() throws Exception {
        Disk disk = new FileDisk(file());
        Journal journal = Journal.create(disk, VOLUME, SIZE, 0, 77, false);
        for (int i = 1; i <= 100; i++) {
            if (!journal.fits(BLOCK)) {
                journal.free(journal.head());
                journal.headerSynced(journal.writeHeader());
            }
            append(journal, i);
        }
        Journal.Mark tail = journal.tail();
        disk.close();
        Disk again = new FileDisk(file());
        Journal found = Journal.open(again, VOLUME);
        assertThat(found.nextNumber()).isEqualTo(101);
        assertThat(found.tail()).isEqualTo(tail);
        assertThat(found.knows(77)).isTrue();
        assertThat(found.knows(78)).isFalse();
        again.close();
    }

    @Test
    void aJournalOfAnotherVolumeIsNone() throws Exception {
        five();
        Disk disk = new FileDisk(file());
        assertThat(Journal.open(disk, new UUID(9, 9))).isNull();
        disk.close();
    }
}
