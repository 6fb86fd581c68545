package org.dblock.api.device;

import java.util.List;

/**
 * A kind of storage that is there now.
 *
 * @param name as {@link DeviceSpec#backend()} takes it
 * @param bundle the symbolic name of the bundle that brought it
 * @param version that bundle's version
 * @param description one line; empty if the backend has no Metatype definition
 * @param options what can be set for a volume
 */
public record Backend(String name, String bundle, String version, String description, List<Option> options) {

    /**
     * An option of a backend's volumes, as its Metatype definition declares it.
     *
     * @param name the key
     * @param type {@code String}, {@code Long}, {@code Integer}, {@code Boolean}, {@code Double} …
     * @param required whether it has no default and must be given
     * @param defaultValue as text; empty where there is none
     * @param choices the only values; empty: any
     * @param description for people
     */
    public record Option(
            String name,
            String type,
            boolean required,
            String defaultValue,
            List<String> choices,
            String description) {}
}
