package org.dblock.backend.s3;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.URI;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.ResponseInputStream;
import software.amazon.awssdk.core.checksums.RequestChecksumCalculation;
import software.amazon.awssdk.core.checksums.ResponseChecksumValidation;
import software.amazon.awssdk.core.exception.ApiCallAttemptTimeoutException;
import software.amazon.awssdk.core.exception.SdkException;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.retries.DefaultRetryStrategy;
import software.amazon.awssdk.services.s3.LegacyMd5Plugin;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.S3ClientBuilder;
import software.amazon.awssdk.services.s3.model.DeleteObjectsResponse;
import software.amazon.awssdk.services.s3.model.GetObjectRequest;
import software.amazon.awssdk.services.s3.model.GetObjectResponse;
import software.amazon.awssdk.services.s3.model.ObjectIdentifier;
import software.amazon.awssdk.services.s3.model.PutObjectRequest;

/** An S3 bucket, through the AWS SDK: it signs and finds credentials; retrying is ours. */
final class AwsObjectStore implements ObjectStore {
    /** Longer no request takes, whatever trickles in. */
    private static final Duration LONGEST = Duration.ofSeconds(60);

    private static final String MOST_CONNECTIONS = "http.maxConnections";

    static {
        // how many idle connections the JDK keeps; with its 5, most requests of a busy volume would open their own
        if (System.getProperty(MOST_CONNECTIONS) == null) System.setProperty(MOST_CONNECTIONS, "64");
    }

    private final S3Client client;
    private final String bucket;
    private final String noCredentials;

    AwsObjectStore(S3Options options) {
        bucket = options.bucket();
        noCredentials = "there are no credentials for bucket " + bucket + ": set AWS_ACCESS_KEY_ID and"
                + " AWS_SECRET_ACCESS_KEY in the gateway's environment, or write them into the profile '"
                + (options.profile().isEmpty() ? "default" : options.profile())
                + "' of ~/.aws/credentials (no role of a container or an instance was found either)";
        AwsCredentialsProvider credentials = options.profile().isEmpty()
                ? DefaultCredentialsProvider.builder().build()
                : DefaultCredentialsProvider.builder()
                        .profileName(options.profile())
                        .build();
        S3ClientBuilder builder = S3Client.builder()
                .httpClient(UrlConnectionHttpClient.builder()
                        .connectionTimeout(Duration.ofSeconds(5))
                        .socketTimeout(Duration.ofSeconds(30))
                        .build())
                .credentialsProvider(credentials)
                .region(Region.of(options.region()))
                .forcePathStyle(options.pathStyle())
                // servers other than Amazon's know neither trailing checksums nor chunked signatures
                .requestChecksumCalculation(RequestChecksumCalculation.WHEN_REQUIRED)
                .responseChecksumValidation(ResponseChecksumValidation.WHEN_REQUIRED)
                .addPlugin(LegacyMd5Plugin.create())
                // no waiting for the store's consent before a body is sent: a round trip a put
                .serviceConfiguration(s3 -> s3.chunkedEncodingEnabled(false).expectContinueEnabled(false))
                .overrideConfiguration(
                        o -> o.retryStrategy(DefaultRetryStrategy.doNotRetry()).apiCallAttemptTimeout(LONGEST));
        if (!options.endpoint().isEmpty()) builder.endpointOverride(URI.create(options.endpoint()));
        client = builder.build();
    }

    @Override
    public boolean putIfAbsent(String key, ByteBuffer body) throws IOException {
        byte[] bytes = body.array();
        int offset = body.arrayOffset() + body.position();
        int length = body.remaining();
        try {
            client.putObject(
                    PutObjectRequest.builder()
                            .bucket(bucket)
                            .key(key)
                            .ifNoneMatch("*")
                            .contentMD5(md5(bytes, offset, length))
                            .contentLength((long) length)
                            .build(),
                    RequestBody.fromContentProvider(
                            () -> new ByteArrayInputStream(bytes, offset, length), length, "application/octet-stream"));
            return true;
        } catch (AwsServiceException e) {
            if (e.statusCode() == 412) return false;
            throw failure("put", key, e);
        } catch (SdkException e) {
            throw failure("put", key, e);
        }
    }

    private static String md5(byte[] bytes, int offset, int length) {
        try {
            MessageDigest digest = MessageDigest.getInstance("MD5");
            digest.update(bytes, offset, length);
            return Base64.getEncoder().encodeToString(digest.digest());
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    @Override
    public void get(String key, long offset, ByteBuffer into) throws IOException {
        GetObjectRequest request = GetObjectRequest.builder()
                .bucket(bucket)
                .key(key)
                .range("bytes=" + offset + "-" + (offset + into.remaining() - 1))
                .build();
        long end = System.nanoTime() + LONGEST.toNanos();
        try (ResponseInputStream<GetObjectResponse> in = client.getObject(request)) {
            Long length = in.response().contentLength();
            if (length == null || length > into.remaining()) {
                in.abort();
                throw new IOException("get " + bucket + "/" + key + ": the store ignores the range that was asked for");
            }
            int limit = into.position() + length.intValue();
            while (into.position() < limit) {
                int n = in.read(into.array(), into.arrayOffset() + into.position(), limit - into.position());
                if (n < 0 || System.nanoTime() > end) {
                    in.abort();
                    throw new IOException("get " + bucket + "/" + key + ": the answer was cut short, or took more than "
                            + LONGEST.toSeconds() + " s");
                }
                into.position(into.position() + n);
            }
        } catch (AwsServiceException e) {
            if (e.statusCode() == 416) return; // the object ends before
            // a missing bucket, or what a proxy doesn't know, is trouble; only this says something about the volume
            if (e.statusCode() == 404 && "NoSuchKey".equals(code(e))) throw new Missing(key);
            throw failure("get", key, e);
        } catch (SdkException e) {
            throw failure("get", key, e);
        }
    }

    @Override
    public List<Item> list(String prefix, String after, int most) throws IOException {
        try {
            List<Item> items = new ArrayList<>();
            client.listObjectsV2(list -> {
                        list.bucket(bucket).prefix(prefix).maxKeys(most);
                        if (!after.isEmpty()) list.startAfter(after);
                    })
                    .contents()
                    .forEach(object -> items.add(new Item(object.key(), object.size())));
            return items;
        } catch (SdkException e) {
            throw failure("list", prefix, e);
        }
    }

    @Override
    public void delete(List<String> keys) throws IOException {
        if (keys.isEmpty()) return;
        List<ObjectIdentifier> objects = new ArrayList<>();
        for (String key : keys) objects.add(ObjectIdentifier.builder().key(key).build());
        try {
            DeleteObjectsResponse response = client.deleteObjects(delete ->
                    delete.bucket(bucket).delete(all -> all.objects(objects).quiet(true)));
            if (response.hasErrors() && !response.errors().isEmpty())
                throw new IOException("delete " + response.errors().get(0).key() + ": "
                        + response.errors().get(0).message());
        } catch (SdkException e) {
            throw failure("delete", keys.get(0), e);
        }
    }

    private IOException failure(String what, String key, SdkException e) {
        String message = String.valueOf(e.getMessage());
        if (message.startsWith("Unable to load credentials")) return new IOException(noCredentials, e);
        return new IOException(what + " " + bucket + "/" + key + ": " + why(e), e);
    }

    /** What is wrong, in one short sentence. */
    private String why(SdkException e) {
        if (e instanceof AwsServiceException service)
            return "status " + service.statusCode() + ", " + code(service) + hint(code(service));
        if (e instanceof ApiCallAttemptTimeoutException) return "no answer in " + LONGEST.toSeconds() + " s";
        Throwable cause = e;
        while (cause.getCause() != null) cause = cause.getCause();
        if (cause instanceof UnknownHostException) return "host " + cause.getMessage() + " is unknown";
        return String.valueOf(cause == e || cause.getMessage() == null ? e.getMessage() : cause.getMessage());
    }

    private String hint(String code) {
        return switch (code) {
            case "NoSuchBucket" -> ": there is no bucket " + bucket;
            case "RequestTimeTooSkewed" -> ": the clocks of this host and the store differ too much";
            case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired" -> ": the credentials have expired";
            case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken" -> ": the credentials are wrong";
            case "AccessDenied" -> ": the credentials don't allow it";
            default -> "";
        };
    }

    private static String code(AwsServiceException e) {
        boolean none = e.awsErrorDetails() == null || e.awsErrorDetails().errorCode() == null;
        return none ? "no details" : e.awsErrorDetails().errorCode();
    }

    @Override
    public void close() {
        client.close();
    }
}
