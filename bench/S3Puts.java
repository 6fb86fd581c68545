import java.net.URI;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicLong;
import software.amazon.awssdk.core.checksums.RequestChecksumCalculation;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.LegacyMd5Plugin;
import software.amazon.awssdk.services.s3.S3Client;

/** Puts objects with nothing but the SDK, and prints how many a second: S3Puts ENDPOINT BUCKET CLIENTS SECONDS BYTES. */
class S3Puts {
    private static final int WARM = 100;

    public static void main(String[] args) throws InterruptedException {
        String bucket = args[1];
        int clients = Integer.parseInt(args[2]);
        double seconds = Double.parseDouble(args[3]);
        RequestBody body = RequestBody.fromBytes(new byte[Integer.parseInt(args[4])]);
        S3Client client = S3Client.builder()
                .httpClient(UrlConnectionHttpClient.create())
                .region(Region.US_EAST_1)
                .forcePathStyle(true)
                .endpointOverride(URI.create(args[0]))
                .requestChecksumCalculation(RequestChecksumCalculation.WHEN_REQUIRED)
                .addPlugin(LegacyMd5Plugin.create())
                .serviceConfiguration(s3 -> s3.chunkedEncodingEnabled(false).expectContinueEnabled(false))
                .build();
        String prefix = "bare/" + UUID.randomUUID() + "/";
        AtomicLong puts = new AtomicLong();
        Runnable put = () -> {
            String key = prefix + puts.incrementAndGet();
            client.putObject(object -> object.bucket(bucket).key(key).ifNoneMatch("*"), body);
        };
        for (int i = 0; i < WARM; i++) put.run();
        puts.set(WARM);
        Thread[] threads = new Thread[clients];
        long start = System.nanoTime();
        for (int i = 0; i < clients; i++) {
            threads[i] = new Thread(() -> {
                while (System.nanoTime() < start + seconds * 1e9) put.run();
            });
            threads[i].start();
        }
        for (Thread thread : threads) thread.join();
        System.out.printf("%.1f%n", (puts.get() - WARM) * 1e9 / (System.nanoTime() - start));
    }
}
