"""What the benchmarks share: the servers they start, the load they make, the report they write.

Python 3.9 or later and its standard library; `openssl` makes the certificates and `h2load` the load.
"""

from __future__ import annotations

import csv
import datetime
import http.client
import json
import math
import os
import platform
import re
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Sequence
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "bench"
PROGRAM = TARGET / "k8s-proxy-image-swapper"
FLOOR = TARGET / "floor"
CREATE_WEB = ROOT / "tests/reviews/create-web.json"

PATH = "/mutate?timeout=5s"
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json, */*",
    "User-Agent": "kube-apiserver-admission",
}

# The server has the last core to itself, the client all others, where there are two or more.
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORES = set(CORES[-1:])
CLIENT_CORES = set(CORES[:-1] or CORES)
# The servers end with the script, however it ends.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
TICKS = os.sysconf("SC_CLK_TCK")


def need(*tools: str) -> None:
    """Ends the script unless these programs are there."""
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        sys.exit(f"{sys.argv[0]}: install {', '.join(missing)} first: see bench/README.md")


def build() -> None:
    """Builds the program and the floor as the container image has its program: static."""
    need("cargo", "openssl", "h2load")
    for arguments in ([], ["", "floor"]):
        command = [str(ROOT / ".ci/build-static"), str(TARGET), *arguments]
        if subprocess.run(command, stdout=sys.stderr).returncode != 0:
            sys.exit(f"{sys.argv[0]}: the build failed")


# Certificates


class Certificates:
    """A CA, and leaves of it in a directory as a kubelet mounts a Secret: the files are symlinks
    through `..data`, itself a symlink, which a renewal swaps."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = directory / "ca.crt"
        self.ca_key = directory / "ca.key"
        self.cert = directory / "tls" / "tls.crt"
        self.key = directory / "tls" / "tls.key"
        self.version = 0
        self.cert.parent.mkdir()
        self._make(self.ca_key, self.ca, "benchmark CA", "basicConstraints=critical,CA:TRUE")
        self.renew()
        for file in (self.cert, self.key):
            file.symlink_to(f"..data/{file.name}")

    def issue(self) -> Path:
        """Makes the next pair, which nobody sees yet."""
        self.version += 1
        new = self.cert.parent / f"..version-{self.version}"
        new.mkdir()
        self._make(
            new / "tls.key",
            new / "tls.crt",
            "localhost",
            "basicConstraints=critical,CA:FALSE",
            "extendedKeyUsage=serverAuth",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            ca=("-CA", self.ca, "-CAkey", self.ca_key),
        )
        return new

    def renew(self, new: Path | None = None) -> None:
        """Swaps a new pair in, as the kubelet does it."""
        new = new or self.issue()
        link = self.cert.parent / "..data_tmp"
        link.symlink_to(new.name)
        data = self.cert.parent / "..data"
        old = data.resolve() if data.exists() else None
        os.replace(link, data)
        if old:
            shutil.rmtree(old)

    def context(self) -> ssl.SSLContext:
        """What a client needs that trusts the CA."""
        return ssl.create_default_context(cafile=str(self.ca))

    @staticmethod
    def _make(key: Path, cert: Path, name: str, *extensions: str, ca: tuple = ()) -> None:
        command = ["openssl", "req", "-x509", *ca, "-newkey", "ec", "-noenc", "-days", "1"]
        command += ["-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", key, "-out", cert]
        command += ["-subj", f"/CN={name}"]
        for extension in extensions:
            command += ["-addext", extension]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


# Servers


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def cpu_seconds(pid: int) -> float:
    """The processor time of a process so far, in steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def field_of(file: str, name: str) -> int:
    """A figure of a file like /proc/meminfo."""
    for line in Path(file).read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise ValueError(f"{file} has no {name}")


class Server:
    """A server on a free port and on a core of its own, ended at the end of its `with`."""

    def __init__(self, program: Path, certificates: Certificates) -> None:
        self.name = "floor" if program == FLOOR else "program"
        self.certificates = certificates
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}{PATH}"
        self.log = certificates.directory / f"{self.name}.log"
        env = {
            "PROXY_URL": "registry.example.com",
            "LISTEN_ADDR": f"127.0.0.1:{self.port}",
            "ADMIN_ADDR": "127.0.0.1:0",
            "TLS_CERT_FILE": str(certificates.cert),
            "TLS_KEY_FILE": str(certificates.key),
        }
        # What is started has the cores of whoever starts it.
        os.sched_setaffinity(0, SERVER_CORES)
        try:
            with self.log.open("wb") as log:
                self.started = time.perf_counter()
                self.process = subprocess.Popen(
                    [program, *(["serve"] if self.name == "program" else [])],
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
        finally:
            os.sched_setaffinity(0, CLIENT_CORES)
        self.pid = self.process.pid

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def connect(self) -> socket.socket:
        """Connects as soon as that is possible."""
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
                # Otherwise a request waits 40 ms for the acknowledgement of the handshake.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return connection
            except ConnectionRefusedError:
                if self.process.poll() is not None:
                    sys.exit(f"{self.name} ended:\n{self.log.read_text()}")

    def check(self, review: Path) -> None:
        """Waits until it serves, and proves that it answers this review as it should."""
        self.connect().close()
        answer = ask(self.url, review, self.certificates.context())
        if self.name == "program" and "patch" not in answer:
            sys.exit(f"{review.name} got no patch: {answer}")

    def cpu(self) -> float:
        return cpu_seconds(self.pid)

    def status(self, name: str) -> int:
        """A figure of /proc/PID/status: `VmHWM` is the peak of its memory in KiB."""
        return field_of(f"/proc/{self.pid}/status", name)

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def post(url: str, body: bytes, context: ssl.SSLContext) -> dict:
    """Sends a review on a connection of its own, and returns the answer's `response`."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPSConnection(parts.netloc, context=context, timeout=10)
    try:
        connection.request("POST", f"{parts.path or '/'}?{parts.query}", body, HEADERS | {"Connection": "close"})
        response = connection.getresponse()
        text = response.read()
    finally:
        connection.close()
    try:
        answer = json.loads(text)["response"]
        if response.status == 200 and answer["allowed"] is True:
            return answer
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(f"not an answer to a review, but {response.status}: {text[:500]!r}")


def ask(url: str, review: Path, context: ssl.SSLContext) -> dict:
    """The same, for a script that ends if there is no answer."""
    try:
        return post(url, review.read_bytes(), context)
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.exit(f"{url}: {error}")


# Load


@dataclass
class Request:
    """A line of h2load's log: when it ended, how long it took, and whether it was answered."""

    end: float
    seconds: float
    ok: bool


class Load:
    """h2load over HTTP/1.1: so many requests on so many connections; `fresh`: a new connection for
    each request, with a full handshake. `rate` is in requests per second and connection; otherwise
    as many as it can.

    h2load can also stop by time, but then it sometimes never ends; and with a rate it loses requests
    of its own where an answer closes the connection and it is late: see `Visitors`."""

    def __init__(
        self,
        url: str,
        review: Path,
        connections: int,
        requests: int,
        fresh: bool = False,
        rate: float | None = None,
    ) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.log = Path(self.directory.name) / "log"
        self.cores = min(len(CLIENT_CORES), connections, 4)
        command = ["h2load", "--h1", f"-c{connections}", f"-t{self.cores}", f"-n{requests}"]
        command += [f"--log-file={self.log}", "-d", str(review)]
        headers = HEADERS | ({"Connection": "close"} if fresh else {})
        for name, value in headers.items():
            command += ["-H", f"{name}: {value}"]
        if rate:
            command.append(f"--rps={rate}")
        self.process = subprocess.Popen(
            [*command, url],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def cpu(self) -> float:
        return cpu_seconds(self.process.pid)

    def has_ended(self) -> bool:
        """Whether it has; what the kernel counted of it can still be read."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.process.pid, flags) is not None

    def finish(self) -> tuple[list[Request], int]:
        """Waits for its end: what was answered, in that order, and how many requests failed."""
        output = self.process.communicate()[0]
        counts = re.search(r"^requests: .* (\d+) failed", output, re.M)
        if self.process.returncode != 0 or not counts:
            sys.exit(f"h2load failed:\n{output}")
        requests = []
        with self.log.open() as lines:
            for line in lines:
                start, status, micros = line.split("\t")
                took = int(micros) / 1e6
                requests.append(Request(int(start) / 1e6 + took, took, status == "200"))
        self.directory.cleanup()
        requests.sort(key=lambda request: request.end)
        wrong = sum(not request.ok for request in requests)
        # Those that timed out or could not be sent are among the failed.
        return requests, max(wrong, int(counts[1]))


class Visitors:
    """Clients that connect anew for each review, verify the certificate, and come at a rate, in
    requests per second and client."""

    def __init__(self, server: Server, review: Path, clients: int, rate: float) -> None:
        self.url, self.body = server.url, review.read_bytes()
        self.context, self.rate = server.certificates.context(), rate
        self.requests: list[Request] = []
        self.errors: list[str] = []
        self.leaving = threading.Event()
        self.threads = [threading.Thread(target=self._visit, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def _visit(self) -> None:
        while not self.leaving.wait(1 / self.rate):
            start = time.time()
            ok = True
            try:
                post(self.url, self.body, self.context)
            except (OSError, ValueError, http.client.HTTPException) as error:
                ok = False
                self.errors.append(f"{type(error).__name__}: {error}")
            end = time.time()
            self.requests.append(Request(end, end - start, ok))

    def finish(self) -> tuple[list[Request], int]:
        self.leaving.set()
        for thread in self.threads:
            thread.join()
        for error in self.errors[:10]:
            print(f"a review on a new connection failed: {error}", file=sys.stderr)
        return self.requests, len(self.errors)


@dataclass
class Measurement:
    """What a server did within a window of time, when all connections were there."""

    requests: int
    failed: int
    seconds: float
    per_second: float
    p50: float
    p99: float
    p999: float
    client_busy: float
    # Not a number where the server is not ours to look into.
    cpu: float
    busy: float
    peak_kib: float


def measure(
    server: Server | str,
    review: Path,
    connections: int,
    seconds: float,
    fresh: bool = False,
) -> Measurement:
    """Loads a server, or a URL, for about `seconds`. What counts is from when the connections have
    all been there for a while until they begin to have no more to send."""
    ours, url = (server, server.url) if isinstance(server, Server) else (None, server)
    # How many requests that is, short loads tell.
    count, took = 10 * connections, 0.0
    while took < seconds / 10:
        answered, _ = Load(url, review, connections, count, fresh).finish()
        if len(answered) < 2:
            sys.exit(f"{url} answers nothing")
        took = answered[-1].end - answered[0].end
        rate = len(answered) / took
        count *= 4
    count = max(20 * connections, round(rate * seconds))

    load = Load(url, review, connections, count, fresh)
    samples = []
    while not load.has_ended():
        samples.append((time.time(), load.cpu(), ours.cpu() if ours else math.nan))
        time.sleep(0.005)
    requests, failed = load.finish()
    start, end = (requests[len(requests) * part // 100].end for part in (5, 95))
    inside = [sample for sample in samples if start <= sample[0] <= end] or samples
    (start, client_start, server_start), (end, client_end, server_end) = inside[0], inside[-1]
    times = sorted(r.seconds for r in requests if start <= r.end <= end and r.ok)
    if not times:
        sys.exit(f"{url} answered nothing within {end - start:.3f} s")
    took, used = end - start, server_end - server_start
    return Measurement(
        requests=len(times),
        failed=failed,
        seconds=took,
        per_second=len(times) / took,
        p50=quantile(times, 0.5),
        p99=quantile(times, 0.99),
        p999=quantile(times, 0.999),
        cpu=used / len(times),
        busy=used / took,
        client_busy=(client_end - client_start) / took / load.cores,
        peak_kib=ours.status("VmHWM") if ours else math.nan,
    )


def quantile(ordered: list[float], part: float) -> float:
    """The smallest value that at least this part of all values does not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * part) - 1)]


# Reports


def spread(values: list[float], digits: int = 2) -> str:
    """The median, and the least and the greatest where there are several."""
    median = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return median
    return f"{median} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    except FileNotFoundError:
        return "none"
    return done.stdout.strip() or done.stderr.strip() or "none"


def machine() -> dict[str, str]:
    """What figures depend on."""
    cpu = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.M)
    changed = " and uncommitted changes" if run("git", "status", "--porcelain", "-uno") != "none" else ""
    return {
        "processor": cpu[1] if cpu else platform.machine(),
        "cores": f"{len(CORES)}: the server on {show(SERVER_CORES)}, the client on {show(CLIENT_CORES)}",
        "memory": f"{field_of('/proc/meminfo', 'MemTotal') / 1e6:.0f} GB",
        "kernel": f"{platform.system()} {platform.release()}",
        "rustc": run("rustc", "--version"),
        "h2load": run("h2load", "--version"),
        "openssl": run("openssl", "version"),
        "python": platform.python_version(),
        "revision": run("git", "rev-parse", "HEAD") + changed,
    }


def show(cores: set[int]) -> str:
    return " and ".join(map(str, sorted(cores)))


@dataclass
class Panel:
    """A diagram of a plot: lines by name, each a list of (x, y)."""

    title: str
    x: str
    y: str
    lines: dict[str, list[tuple[float, float]]]
    log_x: bool = False
    log_y: bool = False
    x_ticks: list[float] = field(default_factory=list)
    # Where something happened: a thin line from bottom to top.
    events: list[float] = field(default_factory=list)
    dots: bool = True


class Report:
    """What a script writes: tables on stdout and into NAME.md, NAME.csv, NAME.svg, and its marks
    into NAME-marks.csv."""

    def __init__(self, name: str, out: Path | None) -> None:
        now = datetime.datetime.now(datetime.timezone.utc)
        self.name = name
        self.out = out or ROOT / "bench/runs" / f"{now:%Y-%m-%d}"
        self.out.mkdir(parents=True, exist_ok=True)
        self.text = ""
        self.marks: list[list[str]] = []
        command = " ".join(["bench/" + name, *hide_out(sys.argv[1:])])
        load = ", ".join(f"{average:.2f}" for average in os.getloadavg())
        self.say(f"`{command}`, begun {now:%Y-%m-%d %H:%M} UTC at a load average of {load}.")
        rows = "".join(f"| {key} | {value} |\n" for key, value in machine().items())
        (self.out / "machine.md").write_text(f"| machine | |\n|---|---|\n{rows}")

    def say(self, text: str) -> None:
        print(text + "\n", flush=True)
        self.text += text + "\n\n"

    def table(self, columns: list[str], rows: list[list[str]]) -> None:
        """A table of Markdown, its columns aligned for who reads it as it is."""
        widths = [max(map(len, column)) for column in zip(columns, *rows)]
        cells = [[c.ljust(w) for c, w in zip(row, widths)] for row in [columns, *rows]]
        lines = ["| " + " | ".join(row) + " |" for row in cells]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        self.say("\n".join(lines))

    def mark(self, what: str, limit: str, value: str, met: bool) -> None:
        self.marks.append([what, limit, value, "met" if met else "MISSED"])

    def csv(self, columns: list[str], rows: Sequence[Sequence[object]], name: str = "") -> None:
        with (self.out / f"{name or self.name}.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)

    def plot(self, title: str, panels: list[Panel]) -> None:
        (self.out / f"{self.name}.svg").write_text(svg(title, panels))

    def save(self) -> None:
        if self.marks:
            columns = ["mark", "limit", "value", "is"]
            self.table(columns, self.marks)
            self.csv(columns, self.marks, f"{self.name}-marks")
        (self.out / f"{self.name}.md").write_text(self.text)
        print(f"written: {self.out}/{self.name}.*")


def hide_out(arguments: list[str]) -> list[str]:
    """The arguments without `--out DIR`, which says nothing to others."""
    shown, skip = [], False
    for argument in arguments:
        if not skip and not argument.startswith("--out"):
            shown.append(argument)
        skip = argument == "--out"
    return shown


# Plots

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 440, 270, 64, 16, 34, 46
COLOURS = ["#2f81f7", "#8b949e", "#d1741a", "#3fa34d"]
STYLE = """
  svg { background: #ffffff; }
  text { font: 11px sans-serif; fill: #24292f; }
  .title { font-size: 15px; } .panel { font-size: 12px; font-weight: bold; }
  .grid { stroke: #d0d7de; stroke-width: 1; } .event { stroke: #d1741a; stroke-width: 1; opacity: .5; }
  .line { fill: none; stroke-width: 1.6; }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117; } text { fill: #e6edf3; } .grid { stroke: #30363d; }
  }
"""


class Scale:
    """Puts the values of an axis between two positions."""

    def __init__(
        self, values: list[float], low: float, high: float, log: bool, room: float = 1
    ) -> None:
        values = [value for value in values if not log or value > 0] or [1]
        self.log, self.low, self.high = log, low, high
        if log:
            self.least, self.most = min(values) / 1.15, max(values) * 1.15
        else:
            self.least, self.most = min(values + [0]), max(values) * room or 1

    def __call__(self, value: float) -> float:
        least, most = self.least, self.most
        if self.log:
            value, least, most = math.log(max(value, least)), math.log(least), math.log(most)
        return self.low + (self.high - self.low) * (value - least) / (most - least)

    def ticks(self) -> list[float]:
        if self.log:
            decades = range(math.floor(math.log10(self.least)), math.ceil(math.log10(self.most)) + 1)
            steps = (1,) if len(decades) > 4 else (1, 2, 5)
            ticks = [step * 10.0**decade for decade in decades for step in steps]
        else:
            rough = (self.most - self.least) / 5
            power = 10 ** math.floor(math.log10(rough))
            step = next(n * power for n in (1, 2, 5, 10) if n * power >= rough)
            ticks = [step * n for n in range(math.ceil(self.least / step), 12)]
        return [tick for tick in ticks if self.least <= tick <= self.most]


def short(value: float) -> str:
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def svg(title: str, panels: list[Panel]) -> str:
    """Draws the panels, two in a row; readable on light and on dark ground."""
    columns = min(2, len(panels))
    width, height = columns * WIDTH, 30 + math.ceil(len(panels) / columns) * HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="14" y="22">{escape(title)}</text>',
    ]
    for number, panel in enumerate(panels):
        x, y = number % columns * WIDTH, 30 + number // columns * HEIGHT
        parts.append(f'<g transform="translate({x} {y})">{draw(panel)}</g>')
    return "\n".join([*parts, "</svg>", ""])


def draw(panel: Panel) -> str:
    points = [point for line in panel.lines.values() for point in line]
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    x = Scale([point[0] for point in points] + panel.x_ticks, LEFT, right, panel.log_x)
    y = Scale([point[1] for point in points], bottom, TOP, panel.log_y, room=1.25)
    parts = [f'<text class="panel" x="14" y="18">{escape(panel.title)}</text>']
    for tick in y.ticks():
        parts.append(f'<path class="grid" d="M{LEFT} {y(tick):.1f}H{right}"/>')
        parts.append(
            f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{short(tick)}</text>'
        )
    for tick in panel.x_ticks or x.ticks():
        parts.append(f'<path class="grid" d="M{x(tick):.1f} {bottom}v4"/>')
        parts.append(
            f'<text x="{x(tick):.1f}" y="{bottom + 17}" text-anchor="middle">{short(tick)}</text>'
        )
    middle = (TOP + bottom) / 2
    parts.append(
        f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(panel.x)}</text>'
    )
    parts.append(
        f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{escape(panel.y)}</text>'
    )
    for event in panel.events:
        parts.append(f'<path class="event" d="M{x(event):.1f} {TOP}V{bottom}"/>')
    for number, (name, line) in enumerate(panel.lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in line)
        parts.append(f'<polyline class="line" stroke="{colour}" points="{path}"/>')
        if panel.dots:
            parts += [f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="2.6" fill="{colour}"/>' for a, b in line]
        at = TOP + 12 + 15 * number
        parts.append(f'<rect x="{LEFT + 10}" y="{at - 8}" width="12" height="8" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + 27}" y="{at}">{escape(name)}</text>')
    return "\n".join(parts)
