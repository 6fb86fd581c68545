package org.dblock.shell;

/**
 * What a command takes: an argument by its place, or an option by its name.
 *
 * @param isOption whether it is written with two dashes and its name
 * @param name an argument's is in capitals
 * @param type what its value may be
 * @param description one line, as help shows it
 * @param required whether it must be given
 * @param repeatable whether it may be given more than once
 */
record Parameter(boolean isOption, String name, Type type, String description, boolean required, boolean repeatable) {
    static Parameter argument(String name, Type type, String description) {
        return new Parameter(false, name, type, description, true, false);
    }

    static Parameter option(String name, Type type, String description) {
        return new Parameter(true, name, type, description, false, false);
    }

    static Parameter flag(String name, String description) {
        return new Parameter(true, name, Type.FLAG, description, false, false);
    }

    /** The same, not needed. */
    Parameter optional() {
        return new Parameter(isOption, name, type, description, false, repeatable);
    }

    /** The same, as often as wanted. */
    Parameter repeated() {
        return new Parameter(isOption, name, type, description, required, true);
    }

    /** As help shows it: {@code NAME}, {@code --volume NAME}, {@code --force}. */
    String syntax() {
        if (!isOption) return name;
        return "--" + name + (type.isFlag() ? "" : " " + type.placeholder());
    }

    /** As a usage line shows it, in brackets when it isn't needed. */
    String usage() {
        return (required ? syntax() : "[" + syntax() + "]") + (repeatable ? "…" : "");
    }
}
