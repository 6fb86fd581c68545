package org.dblock.backend.s3;

import org.dblock.api.BlockException;
import org.dblock.api.Reason;

/** Something stored is not what was written. Never repaired silently. */
final class Corruption extends BlockException {
    private static final long serialVersionUID = 1;

    Corruption(String message) {
        super(Reason.IO, message);
    }
}
