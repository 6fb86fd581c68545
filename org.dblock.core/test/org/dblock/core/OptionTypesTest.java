package org.dblock.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.dblock.core.DeviceTest.fails;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Proxy;
import java.util.List;
import java.util.Map;
import org.dblock.api.BlockException;
import org.dblock.api.BlockStore;
import org.dblock.api.Reason;
import org.junit.jupiter.api.Test;
import org.osgi.framework.Bundle;
import org.osgi.framework.Version;
import org.osgi.service.metatype.AttributeDefinition;
import org.osgi.service.metatype.MetaTypeInformation;
import org.osgi.service.metatype.MetaTypeService;
import org.osgi.service.metatype.ObjectClassDefinition;

/** Options are checked against a backend's Metatype definition: here of bucket, mode, size, cached. */
class OptionTypesTest {
    private static final List<AttributeDefinition> ATTRIBUTES = List.of(
            attribute("bucket", AttributeDefinition.STRING, null),
            attribute("mode", AttributeDefinition.STRING, "fast", "fast", "safe"),
            attribute("size", AttributeDefinition.LONG, "4096"),
            attribute("cached", AttributeDefinition.BOOLEAN, "true"));

    private final OptionTypes types = new OptionTypes(metatype());
    private final Store store = new Store("some", proxyOf(BlockStore.class), bundle(), new Version("1.2"), 0, 1);

    private static <T> T proxy(Class<T> type, InvocationHandler handler) {
        return type.cast(Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, handler));
    }

    private static <T> T proxyOf(Class<T> type) {
        return proxy(type, (self, method, arguments) -> null);
    }

    private static Bundle bundle() {
        return proxy(
                Bundle.class,
                (self, method, arguments) -> method.getName().equals("getSymbolicName") ? "com.example.some" : null);
    }

    private static AttributeDefinition attribute(String id, int type, String preset, String... choices) {
        return proxy(AttributeDefinition.class, (self, method, arguments) -> switch (method.getName()) {
            case "getID" -> id;
            case "getDescription" -> "the " + id;
            case "getType" -> type;
            case "getCardinality" -> 0;
            case "getDefaultValue" -> preset == null ? null : new String[] {preset};
            case "getOptionValues" -> choices.length == 0 ? null : choices;
            case "validate" -> arguments[0].equals("8192") ? "at most 4096" : "";
            default -> null;
        });
    }

    private static MetaTypeService metatype() {
        ObjectClassDefinition definition =
                proxy(ObjectClassDefinition.class, (self, method, arguments) -> switch (method.getName()) {
                    case "getAttributeDefinitions" -> ATTRIBUTES.toArray(AttributeDefinition[]::new);
                    case "getDescription" -> "some storage";
                    default -> null;
                });
        MetaTypeInformation information = proxy(MetaTypeInformation.class, (self, method, arguments) -> {
            if (arguments[0].equals("org.dblock.volume.some")) return definition;
            throw new IllegalArgumentException("no such definition");
        });
        return proxy(MetaTypeService.class, (self, method, arguments) -> information);
    }

    @Test
    void goodOptionsPass() {
        assertThatCode(() -> types.check(store, Map.of("bucket", "b", "mode", "safe", "size", "2K", "cached", false)))
                .doesNotThrowAnyException();
    }

    @Test
    void whatIsWrongIsNamedWithWhatWouldBeRight() {
        fails(
                Reason.INVALID,
                "backend some has no option 'buckets': it has bucket, cached, mode, size",
                () -> types.check(store, Map.of("bucket", "b", "buckets", "c")));
        fails(Reason.INVALID, "backend some needs option bucket: the bucket", () -> types.check(store, Map.of()));
        fails(
                Reason.INVALID,
                "option mode 'slow': must be one of fast, safe",
                () -> types.check(store, Map.of("bucket", "b", "mode", "slow")));
        fails(
                Reason.INVALID,
                "option cached 'yes': must be true or false",
                () -> types.check(store, Map.of("bucket", "b", "cached", "yes")));
        fails(
                Reason.INVALID,
                "option size 'big': 'big' is no size",
                () -> types.check(store, Map.of("bucket", "b", "size", "big")));
        fails(
                Reason.INVALID,
                "option size '8K': at most 4096",
                () -> types.check(store, Map.of("bucket", "b", "size", "8K")));
    }

    @Test
    void aBackendWithoutADefinitionTakesAnything() throws BlockException {
        types.check(new Store("other", store.service(), store.bundle(), store.version(), 0, 2), Map.of("x", "y"));
    }

    @Test
    void aBackendIsDescribedWithItsOptions() {
        var backend = types.describe(store);
        assertThat(backend.bundle()).isEqualTo("com.example.some");
        assertThat(backend.version()).isEqualTo("1.2.0");
        assertThat(backend.description()).isEqualTo("some storage");
        assertThat(backend.options().get(0).required()).isTrue();
        assertThat(backend.options().get(1).choices()).containsExactly("fast", "safe");
        assertThat(backend.options().get(2).type()).isEqualTo("Long");
        assertThat(backend.options().get(3).defaultValue()).isEqualTo("true");
    }
}
