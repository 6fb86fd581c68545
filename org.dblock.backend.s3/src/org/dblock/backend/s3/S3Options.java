package org.dblock.backend.s3;

import org.dblock.api.BlockStore;
import org.osgi.service.metatype.annotations.AttributeDefinition;
import org.osgi.service.metatype.annotations.ObjectClassDefinition;
import org.osgi.service.metatype.annotations.Option;

/** The options of a volume. */
@ObjectClassDefinition(
        name = "s3",
        description = "A volume in an S3 bucket, with a journal on the local disk",
        factoryPid = BlockStore.OPTIONS + "s3")
@interface S3Options {
    @AttributeDefinition(required = false, description = "URL of the object store; empty: Amazon's")
    String endpoint() default "";

    @AttributeDefinition(required = false, description = "the region's name")
    String region() default "us-east-1";

    @AttributeDefinition(description = "the bucket")
    String bucket();

    @AttributeDefinition(required = false, description = "what the keys of all objects begin with")
    String prefix() default "dblock/";

    @AttributeDefinition(
            required = false,
            description = "whether the bucket is named in the URL's path, as most servers but Amazon's want it")
    boolean pathStyle() default false;

    @AttributeDefinition(
            required = false,
            description = "profile of the AWS credentials file; empty: the SDK's default chain")
    String profile() default "";

    @AttributeDefinition(required = false, description = "whether to take the volume from a gateway that holds it")
    boolean takeover() default false;

    @AttributeDefinition(
            required = false,
            description = "for delete-volume only: whether to erase a volume that is too damaged to be opened")
    boolean eraseDamaged() default false;

    @AttributeDefinition(
            required = false,
            description = "VOLUME@SNAPSHOT: what a new volume begins with, as a clone; or, read-only, what is shown")
    String snapshot() default "";

    @AttributeDefinition(
            required = false,
            description = "what a flush waits for: the local disk, or the bucket",
            options = {
                @Option(label = "local-durable", value = "local-durable"),
                @Option(label = "remote-durable", value = "remote-durable")
            })
    String flush() default "local-durable";

    @AttributeDefinition(
            required = false,
            description = "size of a new journal on the local disk, at least 1M",
            min = "1048576")
    long journalSize() default 256 << 20;

    @AttributeDefinition(
            required = false,
            description =
                    "seconds of writes that a loss of the local disk may cost at most: writes wait while the bucket"
                            + " lags further behind; 0: no such limit, only the journal's size",
            min = "0")
    int maxLagSeconds() default 0;

    @AttributeDefinition(
            required = false,
            description = "days that a journal is kept which was put aside because another host has taken the volume"
                    + " over; 0: until somebody deletes it",
            min = "0")
    int asideDays() default 30;

    @AttributeDefinition(required = false, description = "memory for the read cache, for this volume", min = "0")
    long cacheSize() default 64 << 20;

    @AttributeDefinition(
            required = false,
            description = "size of the read cache on the local disk at most, for this volume; 0: none",
            min = "0")
    long diskCacheSize() default 1 << 30;

    @AttributeDefinition(
            required = false,
            description = "folder of the read cache on the local disk; empty: cache/s3 in the gateway's home")
    String diskCacheFolder() default "";

    @AttributeDefinition(
            required = false,
            description = "size of the log's objects, 64K to 64M",
            min = "65536",
            max = "67108864")
    long objectSize() default 8 << 20;

    @AttributeDefinition(
            required = false,
            description = "seconds that reads wait for the store before they fail",
            min = "1")
    int timeoutSeconds() default 60;

    @AttributeDefinition(
            required = false,
            description = "percentage of live data below which space is collected; 0: never",
            min = "0",
            max = "95")
    int collectBelow() default 75;

    @AttributeDefinition(required = false, description = "bytes per second that collecting reads at most", min = "4096")
    long collectRate() default 16 << 20;
}
