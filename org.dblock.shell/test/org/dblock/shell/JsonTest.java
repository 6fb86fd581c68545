package org.dblock.shell;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

class JsonTest {
    @Test
    void valuesOfAllKinds() {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("a", Arrays.asList(1, -2.5, true, null));
        map.put("b", Map.of());
        map.put("c", Double.NaN);
        assertThat(Json.write(map)).isEqualTo("{\"a\":[1,-2.5,true,null],\"b\":{},\"c\":\"NaN\"}");
    }

    @Test
    void stringsAreEscaped() {
        assertThat(Json.write("\"\\\n\r\t\0\u001f\u007fä€😀\u2028"))
                .isEqualTo("\"\\\"\\\\\\n\\r\\t\\u0000\\u001f\\u007fä€😀\\u2028\"");
        assertThat(Json.write("\ud83d")).isEqualTo("\"\\ud83d\"");
        assertThat(Json.write("\ude00\ud83d!")).isEqualTo("\"\\ude00\\ud83d!\"");
    }

    @Test
    void anyStringIsReadBackTheSame() {
        long seed = Long.getLong("seed", System.nanoTime());
        Random random = new Random(seed);
        for (int i = 0; i < 2000; i++) {
            StringBuilder text = new StringBuilder();
            for (int n = random.nextInt(20); n > 0; n--)
                text.append((char) random.nextInt(random.nextBoolean() ? 128 : 65536));
            assertThat(JsonReader.read(Json.write(List.of(text.toString(), Map.of(text.toString(), 1)))))
                    .as("seed %d", seed)
                    .isEqualTo(List.of(text.toString(), Map.of(text.toString(), 1L)));
        }
    }
}
