"""S3 servers for the suites: S3Proxy, in memory, and Ceph's RADOS gateway. Their keys are made up for each run, and are only in files."""

import configparser
import datetime
import hashlib
import hmac
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
import xml.etree.ElementTree

from gateway import PATIENCE, ROOT, wait_for

BUCKET = "volumes"
LIB = ROOT / "cnf/generated/s3proxy"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class Store:
    """A running server with an empty bucket, whose keys gateways find through their environment."""

    def __init__(self, kind):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{kind}-"))
        self.credentials = self.folder / "credentials"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def ready(self):
        os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(self.credentials)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            os.environ.pop(name, None)
        self.request("PUT")

    def keys(self):
        file = configparser.ConfigParser()
        file.read(self.credentials)
        return file["default"]["aws_access_key_id"], file["default"]["aws_secret_access_key"]

    def request(self, method, **query):
        """Sends one signed request about the bucket; the answer's body."""
        key, secret = self.keys()
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        host, empty = f"127.0.0.1:{self.port}", hashlib.sha256(b"").hexdigest()
        words = urllib.parse.urlencode(sorted(query.items()), quote_via=urllib.parse.quote)
        signed = "host;x-amz-content-sha256;x-amz-date"
        request = f"{method}\n/{BUCKET}\n{words}\nhost:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{now}\n\n{signed}\n{empty}"
        scope = f"{now[:8]}/us-east-1/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signer = ("AWS4" + secret).encode()
        for part in scope.split("/"):
            signer = hmac.new(signer, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(signer, text.encode(), hashlib.sha256).hexdigest()
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/{BUCKET}?{words}", method=method, headers={
                "x-amz-date": now, "x-amz-content-sha256": empty,
                "Authorization": f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={signed}, Signature={signature}"})) as answer:
            return answer.read()

    def objects(self, prefix):
        """The keys below a prefix, each with its size."""
        found, after = {}, ""
        while True:
            more = {"start-after": after} if after else {}
            tree = xml.etree.ElementTree.fromstring(self.request("GET", **{"list-type": "2", "prefix": prefix, **more}))
            space = tree.tag[:tree.tag.index("}") + 1]
            for item in tree.iter(f"{space}Contents"):
                after = item.find(f"{space}Key").text
                found[after] = int(item.find(f"{space}Size").text)
            if tree.find(f"{space}IsTruncated").text != "true":
                return found

    def options(self, prefix, **more):
        """A volume's options, for the command create."""
        known = {"endpoint": self.url, "bucket": BUCKET, "pathStyle": "true", "prefix": f"{prefix}/", "takeover": "true",
                 "journalSize": "64M", "objectSize": "256K", **more}
        return [f"--{name}={value}" for name, value in known.items()]

    def leaks(self, home):
        """The files in a gateway's home, and the processes, that show the secret."""
        secret = self.keys()[1].encode()
        files = [p for p in pathlib.Path(home).rglob("*") if p.is_file() and p.stat().st_size < 64 << 20] + list(
            pathlib.Path("/proc").glob("[0-9]*/cmdline"))
        found = []
        for file in files:
            try:
                if secret in file.read_bytes():
                    found.append(str(file))
            except OSError:
                pass  # it has ended
        return found


class S3Proxy(Store):
    """
    An object store in memory.

    heap: its JVM's; milliseconds: how long it takes over a put or a get before it begins
    """

    def __init__(self, heap="1g", milliseconds=0):
        super().__init__("s3proxy")
        self.heap, self.milliseconds = heap, milliseconds

    def __enter__(self):
        if not list(LIB.glob("s3proxy-*.jar")):
            subprocess.run(["mvn", "-B", "-q", "-f", ROOT / "test/s3proxy/pom.xml", "initialize", f"-Dlib={LIB}"], check=True)
        key, secret = secrets.token_hex(10), secrets.token_hex(20)
        self.credentials.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
        delays = "".join(f"s3proxy.latency-blobstore.{what}.latency={self.milliseconds}\n" for what in ("put", "get"))
        (self.folder / "conf").write_text(
            f"s3proxy.endpoint={self.url}\ns3proxy.authorization=aws-v2-or-v4\n"
            f"s3proxy.identity={key}\ns3proxy.credential={secret}\n"
            "jclouds.provider=transient-nio2\njclouds.identity=x\njclouds.credential=x\n" + (delays if self.milliseconds else ""))
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(
            ["java", f"-Xmx{self.heap}", f"-Dlogback.configurationFile={ROOT / 'test/s3proxy/logback.xml'}", "-cp", f"{LIB}/*",
             "org.gaul.s3proxy.Main", "--properties", self.folder / "conf"], stdout=self.log, stderr=self.log)
        if not wait_for(self.answers, 2 * PATIENCE):
            raise RuntimeError("S3Proxy doesn't start: " + (self.folder / "log").read_text()[-2000:])
        self.ready()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def stall(self):
        """It answers nothing until resume."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)


class Rgw(Store):
    """Ceph on the local disk, in a folder of its own."""

    def __init__(self):
        super().__init__("rgw")

    def cluster(self, command, *words):
        # not by pipes: the daemons would keep them open
        with open(self.folder / "cluster.log", "w+") as log:
            done = subprocess.run([ROOT / "test/rgw/cluster", command, self.folder, *map(str, words)],
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            log.seek(0)
            printed = log.read()
        if done.returncode != 0:
            raise RuntimeError(f"cluster {command}: {printed[-3000:]}")
        return printed

    def __enter__(self):
        began = time.monotonic()
        try:
            self.cluster("up", self.port)
            self.ready()
        except BaseException:
            self.__exit__()
            raise
        print(f"Ceph is up after {time.monotonic() - began:.1f} s", flush=True)
        return self

    def __exit__(self, *_):
        self.cluster("down")
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self, daemon):
        """kill -9 of the mon, osd or rgw."""
        pid = int(self.cluster("pid", daemon))
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not pathlib.Path(f"/proc/{pid}").exists())

    def start(self):
        """Starts again what was killed."""
        self.cluster("start")
