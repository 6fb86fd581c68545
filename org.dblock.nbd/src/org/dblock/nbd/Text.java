package org.dblock.nbd;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Strings as the protocol has them: UTF-8, without NUL, bounded. */
final class Text {
    private static final int MOST = 1024;

    private Text() {}

    /** A message for a person at the other end, cut to {@value #MOST} bytes. */
    static byte[] bytes(String message) {
        byte[] bytes = message.replace('\0', '?').getBytes(StandardCharsets.UTF_8);
        if (bytes.length <= MOST) return bytes;
        int end = MOST;
        while ((bytes[end] & 0xc0) == 0x80) end--; // not amid a character
        return Arrays.copyOf(bytes, end);
    }

    /** Takes a string of that length out of a buffer; null if it is no string. */
    static String take(ByteBuffer from, int length) {
        ByteBuffer bytes = from.slice(from.position(), length);
        from.position(from.position() + length);
        if (length > Nbd.MAX_STRING) return null;
        try {
            String text = StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
            return text.indexOf('\0') < 0 ? text : null;
        } catch (CharacterCodingException e) {
            return null;
        }
    }
}
