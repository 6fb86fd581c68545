package org.dblock.backend.s3;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assertions.fail;

import java.util.List;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** In whatever order things happen, and whatever is lost or late: nobody loses what was promised. */
@Execution(ExecutionMode.CONCURRENT)
class FenceModelTest {
    private static final int MOST = Integer.getInteger("dblock.worlds", 1_000_000);

    /** Who there is, and what may happen. */
    enum Scene {
        AN_OWNER_AND_TWO_TAKERS(2, 0, role(2, 0), role(0, 0), role(0, 0)),
        A_BUSY_OWNER_AND_A_TAKER_WITH_A_FAULT(2, 1, role(2, 0), role(1, 0)),
        AN_OWNER_WITH_CHECKPOINTS_AND_A_TAKER(1, 0, role(3, 2), role(0, 0)),
        AN_OWNER_AND_A_TAKER_WITH_CHECKPOINTS_AND_A_FAULT(1, 1, role(1, 0), role(3, 2)),
        AN_OWNER_WITH_CHECKPOINTS_AND_A_READER(3, 0, role(3, 2), new FenceModel.Role(0, 0, true, false)),
        AN_OWNER_THAT_IS_KILLED_AND_COMES_BACK_AND_A_TAKER(
                2, 0, role(2, 0), new FenceModel.Role(1, 0, false, true), role(1, 0));

        final int window;
        final int faults;
        final List<FenceModel.Role> roles;

        Scene(int window, int faults, FenceModel.Role... roles) {
            this.window = window;
            this.faults = faults;
            this.roles = List.of(roles);
        }

        private static FenceModel.Role role(int records, int checkpoints) {
            return FenceModel.Role.writer(records, checkpoints);
        }
    }

    @ParameterizedTest
    @EnumSource
    void noPromiseIsBroken(Scene scene) throws Exception {
        long start = System.nanoTime();
        int worlds = new FenceModel(scene.roles, scene.window, scene.faults, new Rules()).explore(MOST);
        System.out.println(scene + ": " + worlds + " worlds, " + (System.nanoTime() - start) / 1_000_000 + " ms");
        assertThat(worlds).isGreaterThan(100);
    }

    /** A rule switched off, and where that matters. */
    enum Mistake {
        TAKEOVER_LEAVES_NO_VOID_SLOTS(Scene.AN_OWNER_AND_TWO_TAKERS, new Rules() {
            @Override
            long resumeAt(long slot, int window) {
                return slot + 1;
            }
        }),
        ANY_REFUSED_PUT_IS_A_LOST_REPLY(Scene.A_BUSY_OWNER_AND_A_TAKER_WITH_A_FAULT, new Rules() {
            @Override
            boolean isOwn(Header mine, Header found) {
                return true;
            }
        }),
        OBJECTS_ARE_APPLIED_WHEN_STORED(Scene.A_BUSY_OWNER_AND_A_TAKER_WITH_A_FAULT, new Rules() {
            @Override
            boolean appliesEarly() {
                return true;
            }
        }),
        REMOTE_FLUSH_LOOKS_AT_THE_NEWEST_OBJECT(Scene.A_BUSY_OWNER_AND_A_TAKER_WITH_A_FAULT, new Rules() {
            @Override
            long stored(long contiguous, long newestStored) {
                return newestStored;
            }
        }),
        A_GAP_IS_ALWAYS_CORRUPTION(Scene.A_BUSY_OWNER_AND_A_TAKER_WITH_A_FAULT, new Rules() {
            @Override
            boolean beyondWindow(long slot, long last, int window) {
                return true;
            }
        }),
        NOBODY_LOOKS_FOR_A_NEW_ROOT_AFTER_TAKING(Scene.AN_OWNER_WITH_CHECKPOINTS_AND_A_TAKER, new Rules() {
            @Override
            boolean unchangedAfter(String rootRead, String newestRoot) {
                return true;
            }
        }),
        NOBODY_LOOKS_FOR_A_NEW_ROOT_AFTER_READING(Scene.AN_OWNER_WITH_CHECKPOINTS_AND_A_READER, new Rules() {
            @Override
            boolean unchangedBefore(String rootRead, String newestRoot) {
                return true;
            }
        }),
        THE_OLDER_ROOT_IS_FORGOTTEN(Scene.AN_OWNER_WITH_CHECKPOINTS_AND_A_TAKER, new Rules() {
            @Override
            boolean forgetsOlderRoot() {
                return true;
            }
        }),
        TAKEOVERS_ARE_DELETED(Scene.AN_OWNER_AND_A_TAKER_WITH_CHECKPOINTS_AND_A_FAULT, new Rules() {
            @Override
            boolean keepsTakeovers() {
                return false;
            }
        });

        final Scene scene;
        final Rules rules;

        Mistake(Scene scene, Rules rules) {
            this.scene = scene;
            this.rules = rules;
        }
    }

    @ParameterizedTest
    @EnumSource
    void aRuleThatIsSwitchedOffBreaksOne(Mistake mistake) {
        Scene scene = mistake.scene;
        try {
            new FenceModel(scene.roles, scene.window, scene.faults, mistake.rules).explore(MOST);
        } catch (FenceModel.Broken e) {
            System.out.println(mistake + ": " + e.getMessage());
            return;
        }
        fail(mistake + " went unnoticed");
    }
}
