package org.dblock.core;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.dblock.api.BlockException;
import org.dblock.api.BlockStore;
import org.dblock.api.Reason;
import org.dblock.api.Size;
import org.dblock.api.device.Backend;
import org.osgi.framework.Bundle;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.metatype.AttributeDefinition;
import org.osgi.service.metatype.MetaTypeInformation;
import org.osgi.service.metatype.MetaTypeService;
import org.osgi.service.metatype.ObjectClassDefinition;

/**
 * What can be set for the volumes of a backend, as its Metatype definition says. A component of its own, so that core
 * runs where Metatype is absent: nothing is checked then.
 */
@Component(service = OptionTypes.class)
public final class OptionTypes {
    private final MetaTypeService metatype;

    @Activate
    public OptionTypes(@Reference MetaTypeService metatype) {
        this.metatype = metatype;
    }

    /** The definition of a backend's options; null if it has none. */
    private ObjectClassDefinition definition(Bundle bundle, String backend) {
        MetaTypeInformation information = metatype.getMetaTypeInformation(bundle);
        if (information == null) return null; // the bundle is stopping, e.g. to be updated
        try {
            return information.getObjectClassDefinition(BlockStore.OPTIONS + backend, null);
        } catch (IllegalArgumentException e) {
            return null; // no such definition
        }
    }

    /** What a person sees of a backend. */
    Backend describe(Store store) {
        ObjectClassDefinition definition = definition(store.bundle(), store.backend());
        List<Backend.Option> options = new ArrayList<>();
        String description = "";
        if (definition != null) {
            description = definition.getDescription() == null ? definition.getName() : definition.getDescription();
            for (AttributeDefinition each : attributes(definition, ObjectClassDefinition.ALL))
                options.add(new Backend.Option(
                        each.getID(),
                        type(each),
                        required(definition, each),
                        each.getDefaultValue() == null ? "" : String.join(",", each.getDefaultValue()),
                        each.getOptionValues() == null ? List.of() : List.of(each.getOptionValues()),
                        each.getDescription() == null ? "" : each.getDescription()));
        }
        return new Backend(
                store.backend(),
                store.bundle().getSymbolicName(),
                store.version().toString(),
                description,
                options);
    }

    /**
     * Checks the options that are given for a volume.
     *
     * @throws BlockException {@link Reason#INVALID}, naming what is wrong and what would be right
     */
    void check(Store store, Map<String, Object> given) throws BlockException {
        ObjectClassDefinition definition = definition(store.bundle(), store.backend());
        if (definition == null) return;
        Map<String, AttributeDefinition> known = new TreeMap<>();
        for (AttributeDefinition each : attributes(definition, ObjectClassDefinition.ALL))
            known.put(each.getID(), each);
        String where = "backend " + store.backend();
        for (Map.Entry<String, Object> entry : given.entrySet()) {
            AttributeDefinition attribute = known.get(entry.getKey());
            if (attribute == null)
                throw invalid(where + " has no option '" + entry.getKey() + "': "
                        + (known.isEmpty() ? "it has none" : "it has " + String.join(", ", known.keySet())));
            String wrong = wrong(attribute, entry.getValue());
            if (!wrong.isEmpty())
                throw invalid(where + ", option " + entry.getKey() + " '" + entry.getValue() + "': " + wrong);
        }
        for (AttributeDefinition each : known.values())
            if (required(definition, each) && !given.containsKey(each.getID()))
                throw invalid(where + " needs option " + each.getID()
                        + (each.getDescription() == null ? "" : ": " + each.getDescription()));
    }

    /** What is wrong with a value; empty: nothing. */
    private static String wrong(AttributeDefinition attribute, Object value) {
        String text = value.toString().strip();
        String[] choices = attribute.getOptionValues();
        if (choices != null && choices.length > 0)
            return Arrays.asList(choices).contains(text) ? "" : "must be one of " + String.join(", ", choices);
        switch (attribute.getType()) {
            case AttributeDefinition.BOOLEAN -> {
                return text.equals("true") || text.equals("false") ? "" : "must be true or false";
            }
            case AttributeDefinition.LONG, AttributeDefinition.INTEGER -> {
                if (!text.startsWith("-")) // sizes may have units
                try {
                        text = Long.toString(Size.parse(text));
                    } catch (IllegalArgumentException e) {
                        return e.getMessage();
                    }
            }
            default -> {}
        }
        if (attribute.getCardinality() != 0) return "";
        String verdict = attribute.validate(text);
        return verdict == null ? "" : verdict;
    }

    private static boolean required(ObjectClassDefinition definition, AttributeDefinition attribute) {
        String[] preset = attribute.getDefaultValue();
        if (preset != null && preset.length > 0) return false;
        return attributes(definition, ObjectClassDefinition.REQUIRED).stream()
                .anyMatch(each -> each.getID().equals(attribute.getID()));
    }

    private static List<AttributeDefinition> attributes(ObjectClassDefinition definition, int which) {
        AttributeDefinition[] array = definition.getAttributeDefinitions(which);
        return array == null ? List.of() : List.of(array);
    }

    private static String type(AttributeDefinition attribute) {
        return switch (attribute.getType()) {
            case AttributeDefinition.LONG -> "Long";
            case AttributeDefinition.INTEGER -> "Integer";
            case AttributeDefinition.SHORT -> "Short";
            case AttributeDefinition.CHARACTER -> "Character";
            case AttributeDefinition.BYTE -> "Byte";
            case AttributeDefinition.DOUBLE -> "Double";
            case AttributeDefinition.FLOAT -> "Float";
            case AttributeDefinition.BOOLEAN -> "Boolean";
            case AttributeDefinition.PASSWORD -> "Password";
            default -> "String";
        };
    }

    private static BlockException invalid(String message) {
        return new BlockException(Reason.INVALID, message);
    }
}
