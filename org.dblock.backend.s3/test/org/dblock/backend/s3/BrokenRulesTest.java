package org.dblock.backend.s3;

import static org.junit.jupiter.api.Assertions.fail;

import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The simulation notices each rule that is broken: it can fail. */
@Execution(ExecutionMode.CONCURRENT)
class BrokenRulesTest {
    private static final int SEEDS = Integer.getInteger("dblock.seeds", 1000);

    /** A mistake that one could make. */
    enum Mistake {
        TAKEOVER_LEAVES_NO_VOID_SLOTS(new Rules() {
            @Override
            long resumeAt(long slot, int window) {
                return slot + 1;
            }
        }),
        ANY_REFUSED_PUT_IS_A_LOST_REPLY(new Rules() {
            @Override
            boolean isOwn(Header mine, Header found) {
                return true;
            }
        }),
        JOURNAL_IS_KNOWN_BY_THE_VOLUME_ALONE(new Rules() {
            @Override
            boolean isOurs(Journal journal, State state) {
                return true;
            }
        }),
        OBJECTS_ARE_APPLIED_WHEN_STORED(new Rules() {
            @Override
            boolean appliesEarly() {
                return true;
            }
        }),
        IDLE_OWNERS_DO_NOT_LOOK(new Rules() {
            @Override
            boolean looksAhead() {
                return false;
            }
        }),
        NOBODY_LOOKS_FOR_A_NEW_ROOT_AFTER_TAKING(new Rules() {
            @Override
            boolean unchangedAfter(String rootRead, String newestRoot) {
                return true;
            }
        }),
        TAKEOVERS_ARE_DELETED(new Rules() {
            @Override
            boolean keepsTakeovers() {
                return false;
            }
        }),
        FLUSH_DOES_NOT_SYNC(new Rules() {
            @Override
            boolean syncs() {
                return false;
            }
        }),
        A_GAP_IS_ALWAYS_CORRUPTION(new Rules() {
            @Override
            boolean beyondWindow(long slot, long last, int window) {
                return true;
            }
        }),
        COPIES_WIN_OVER_NEWER_WRITES(new Rules() {
            @Override
            boolean stillThere(long object, int at, long sourceSlot, int sourceAt) {
                return true;
            }
        }),
        JOURNAL_IS_REUSED_BEFORE_ITS_HEADER_IS_SYNCED(new Rules() {
            @Override
            boolean headerBeforeReuse() {
                return false;
            }
        }),
        WHAT_SNAPSHOTS_SHOW_IS_DELETED(new Rules() {
            @Override
            boolean keepsWhatSnapshotsShow() {
                return false;
            }
        }),
        PARTS_OF_SNAPSHOTS_ARE_DELETED(new Rules() {
            @Override
            boolean keepsPartsOfSnapshots() {
                return false;
            }
        }),
        CHECKPOINTS_OVERTAKE_SNAPSHOTS(new Rules() {
            @Override
            boolean writesSnapshotsFirst() {
                return false;
            }
        }),
        CLONES_ARE_PINNED_AFTER_LOOKING(new Rules() {
            @Override
            boolean pinsBeforeLooking() {
                return false;
            }
        }),
        PINS_ARE_NOT_HEEDED(new Rules() {
            @Override
            boolean heedsPins() {
                return false;
            }
        }),
        REMOTE_FLUSH_LOOKS_AT_THE_NEWEST_OBJECT(new Rules() {
            @Override
            long stored(long contiguous, long newestStored) {
                return newestStored;
            }
        });

        final Rules rules;

        Mistake(Rules rules) {
            this.rules = rules;
        }
    }

    @ParameterizedTest
    @EnumSource
    void theSimulationGoesRed(Mistake mistake) {
        for (long seed = 1; seed <= SEEDS; seed++) {
            try {
                new Simulation(seed, mistake.rules).run();
            } catch (AssertionError e) {
                System.out.println(mistake + ": seed " + seed + ": " + e.getMessage());
                return;
            }
        }
        fail(mistake + " went unnoticed in " + SEEDS + " seeds");
    }
}
