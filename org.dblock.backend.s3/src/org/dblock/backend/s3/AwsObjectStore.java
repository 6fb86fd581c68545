package org.dblock.backend.s3;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.URI;
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
                .serviceConfiguration(s3 -> s3.chunkedEncodingEnabled(false))
                .overrideConfiguration(o -> o.retryStrategy(DefaultRetryStrategy.doNotRetry())
                        .apiCallAttemptTimeout(Duration.ofSeconds(60)));
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
        try (ResponseInputStream<GetObjectResponse> in = client.getObject(request)) {
            int start = into.position();
            while (into.hasRemaining()) {
                int n = in.read(into.array(), into.arrayOffset() + into.position(), into.remaining());
                if (n < 0) break;
                into.position(into.position() + n);
            }
            Long promised = in.response().contentLength();
            if (promised != null && promised != into.position() - start)
                throw new IOException("get " + bucket + "/" + key + ": the answer ended after "
                        + (into.position() - start) + " of " + promised + " bytes");
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
        if (String.valueOf(e.getMessage()).startsWith("Unable to load credentials"))
            return new IOException(noCredentials, e);
        String why = e instanceof AwsServiceException service
                ? "status " + service.statusCode() + ", " + code(service)
                : e.getMessage();
        return new IOException(what + " " + bucket + "/" + key + ": " + why, e);
    }

    private static String code(AwsServiceException e) {
        return e.awsErrorDetails() == null ? "no details" : e.awsErrorDetails().errorCode();
    }

    @Override
    public void close() {
        client.close();
    }
}
