"""What `foundations.data` does when things go wrong. Every server here is on 127.0.0.1 and misbehaves to order.

The real full set is tested when MNIST_FILES names a folder with the original .gz files.
"""
import contextlib, errno, functools, gzip, hashlib, json, os, signal, socket, struct, subprocess, sys, tempfile, threading
import time, tracemalloc, warnings
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pooch
import pytest
import requests  # noqa: F401  imported now, so that no test below pays for it or needs to find it

from foundations import data

IMAGES, LABELS = data.FILES
TINY = 30                                                        # images in the stand-in for the full set


def idx(array): return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()

rng = np.random.default_rng(0)
PLAIN = {IMAGES: idx(rng.integers(0, 256, (TINY, 28, 28), dtype=np.uint8)), LABELS: idx(rng.integers(0, 10, TINY, dtype=np.uint8))}
TABLE = {name: (len(raw), hashlib.sha256(raw).hexdigest()) for name, raw in PLAIN.items()}
GOOD = {f"/{name}.gz": gzip.compress(raw, mtime=0) for name, raw in PLAIN.items()}


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    "Nobody's proxy, nobody's folder, nobody's cache, and a full set of 30 images."
    for name in ("FOUNDATIONS_DATA", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        if name != "FOUNDATIONS_DATA": monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "user-cache" / project)
    monkeypatch.setattr(data, "FILES", TABLE)


@contextlib.contextmanager
def serving(answer):
    "A web server on loopback. `answer(request)` does what it likes with each GET; `paths` collects what was asked for."
    paths = []
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            with contextlib.suppress(OSError): answer(self)          # the client may have hung up
        def log_message(self, *args): pass
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=.02), daemon=True).start()
    server.url, server.paths = f"http://127.0.0.1:{server.server_port}/", paths
    try: yield server
    finally:
        server.shutdown()
        server.server_close()


def reply(request, body, status=200, length=None, **headers):
    request.send_response(status)
    for name, value in headers.items(): request.send_header(name.replace("_", "-"), value)
    if length is not False: request.send_header("Content-Length", str(len(body) if length is None else length))
    request.end_headers()
    request.wfile.write(body)


def right(request): reply(request, GOOD[request.path])

@pytest.fixture
def good():
    with serving(right) as server: yield server


def check(got):
    "The four arrays are those of the tiny set."
    x, y, x_valid, y_valid = got
    assert (x.shape, y.shape, x_valid.shape, y_valid.shape) == ((TINY, 784), (TINY,), (0, 784), (0,))
    assert (x.dtype, y.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(np.round(x * 255), np.frombuffer(PLAIN[IMAGES][16:], np.uint8).reshape(TINY, 784))
    np.testing.assert_array_equal(y, np.frombuffer(PLAIN[LABELS][8:], np.uint8))


def check_cache(folder):
    "Both files, whole, and nothing else."
    assert {p.name: p.read_bytes() for p in Path(folder).iterdir()} == PLAIN


def load(mirrors, cache, **kwargs): return data.mnist("full", mirrors=mirrors, cache=cache, progress=False, **{"timeout": 5, **kwargs})


def closed_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{s.getsockname()[1]}/"


# ---- the small set ----

def test_small_set_is_small_quick_and_offline(monkeypatch):
    monkeypatch.setattr(socket, "socket", None)                       # whoever opens a connection fails
    folder = Path(data.__file__).parent / "mnist"
    assert sum(p.stat().st_size for p in folder.iterdir()) <= 2_500_000
    times = []
    for _ in range(3):
        start = time.perf_counter()
        x, y, x_valid, y_valid = data.mnist()
        times.append(time.perf_counter() - start)
    assert min(times) < 1
    assert (x.shape, y.shape, x_valid.shape, y_valid.shape) == ((10_000, 784), (10_000,), (2_000, 784), (2_000,))
    assert y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert "MNIST" in (folder / "LICENSE.md").read_text() and "CC BY-SA 3.0" in (folder / "LICENSE.md").read_text()


def test_small_set_ignores_foundations_data(monkeypatch, tmp_path):
    monkeypatch.setenv("FOUNDATIONS_DATA", str(tmp_path / "nowhere"))
    assert len(data.mnist()[0]) == 10_000


@pytest.mark.parametrize("size", ["medium", None, 10_000, "SMALL"])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match="'small' or 'full'"): data.mnist(size)


def test_import_does_no_work():
    code = """
import sys, numpy, array_api_compat, importlib.resources
seen = []
sys.addaudithook(lambda event, args: seen.append((event, args)) if event in ("open", "socket.connect", "subprocess.Popen") else None)
import foundations.data
opened = [str(args[0]) for event, args in seen if not str(args[0]).endswith((".py", ".pyc")) and ".pyc." not in str(args[0])]
assert not opened, opened
loaded = {"pooch", "requests", "torch", "matplotlib", "tqdm"} & set(sys.modules)
assert not loaded, loaded
foundations.data.mnist()
loaded = {"pooch", "requests", "torch", "matplotlib", "tqdm"} & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stderr
    assert "pickle" not in Path(data.__file__).read_text()


def test_normalize_on_torch_tensors():
    torch = pytest.importorskip("torch")
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        for number in (float, np.float64, torch.tensor):
            out = data.normalize(torch.tensor([1., 2., 5.], dtype=dtype), number(2.), number(4.))
            assert out.dtype == dtype and out.tolist() == [-0.25, 0., 0.75]
    with pytest.raises(TypeError, match="int64"): data.normalize(torch.tensor([1, 2]), 0., 1.)
    with pytest.raises(ValueError, match="std"): data.normalize(torch.ones(2), 0., torch.ones(2).std())


# ---- the way that works ----

def test_download_then_cache(good, tmp_path):
    check(load([good.url], tmp_path / "new" / "cache"))
    assert good.paths == list(GOOD)
    check_cache(tmp_path / "new" / "cache")
    check(load([], tmp_path / "new" / "cache"))                       # no mirror is needed any more
    assert len(good.paths) == 2


def test_default_cache_is_the_users(good, tmp_path):
    check(data.mnist("full", mirrors=good.url.rstrip("/"), progress=False))      # one address, no final slash
    check_cache(tmp_path / "user-cache" / "foundations")


def test_mirror_that_sends_plain_bytes(tmp_path):
    with serving(lambda r: reply(r, PLAIN[r.path[1:-3]])) as server: check(load([server.url], tmp_path))
    check_cache(tmp_path)


def test_mirror_that_unpacks_on_the_way(tmp_path):
    with serving(lambda r: reply(r, GOOD[r.path], Content_Encoding="gzip")) as server: check(load([server.url], tmp_path))
    check_cache(tmp_path)


def test_mirror_that_does_not_tell_the_length(tmp_path):
    with serving(lambda r: reply(r, GOOD[r.path], length=False)) as server: check(load([server.url], tmp_path))


def test_progress_bar(good, tmp_path, capsys):
    data.mnist("full", mirrors=[good.url], cache=tmp_path)
    shown = capsys.readouterr().err
    assert IMAGES in shown and LABELS in shown and "100%" in shown
    data.mnist("full", mirrors=[good.url], cache=tmp_path / "other", progress=False)
    assert capsys.readouterr() == ("", "")


# ---- mirrors that fail: refused, nothing kept, and the next one asked ----

def altered(r): reply(r, gzip.compress(PLAIN[r.path[1:-3]][:-1] + b"\xff", mtime=0))
def altered_gzip(r): reply(r, GOOD[r.path][:30] + bytes([GOOD[r.path][30] ^ 1]) + GOOD[r.path][31:])
@functools.cache
def bomb(size=20_000_000): return gzip.compress(bytes(size), mtime=0)          # 19 kB: less than the images may have
def endless(r):
    reply(r, b"\x1f\x8b", length=False)
    while True: r.wfile.write(bytes(65536))
def login_elsewhere(r):
    if r.path == "/login": reply(r, b"<html>Please log in</html>", Content_Type="text/html")
    else: reply(r, b"", 302, Location="/login")

FAULTS = {                                                       # what the mirror does, and what must be said about it
    "404": (lambda r: reply(r, b"gone", 404), "404"),
    "500": (lambda r: reply(r, b"oops", 500), "500"),
    "cut short, length told": (lambda r: reply(r, GOOD[r.path][:-9], length=len(GOOD[r.path])), "IncompleteRead"),
    "cut short, length not told": (lambda r: reply(r, GOOD[r.path][:-9], length=False), "damaged gzip"),
    "cut short, plain": (lambda r: reply(r, PLAIN[r.path[1:-3]][:-1], length=False), "SHA-256"),
    "empty": (lambda r: reply(r, b""), "0 bytes"),
    "altered": (altered, "SHA-256"),
    "altered gzip": (altered_gzip, "damaged gzip|SHA-256"),
    "trailing bytes": (lambda r: reply(r, gzip.compress(PLAIN[r.path[1:-3]] + b"x")), "more than"),
    "trailing bytes after the gzip": (lambda r: reply(r, GOOD[r.path] + b"trailing"), "damaged gzip"),
    "login page": (lambda r: reply(r, b"<html>Please log in</html>", Content_Type="text/html"), "<html>Pleas"),
    "sent to a login page": (login_elsewhere, "<html>Pleas"),
    "sent in circles": (lambda r: reply(r, b"", 302, Location=r.path), "TooManyRedirects"),
    "not gzip after all": (lambda r: reply(r, b"\x1f\x8bnonsense"), "damaged gzip"),
    "says gzip encoding, is not": (lambda r: reply(r, b"nonsense", Content_Encoding="gzip"), "Error"),
    "another file": (lambda r: reply(r, gzip.compress(b"".join(PLAIN.values()))), "SHA-256"),
    "gzip bomb": (lambda r: reply(r, bomb()), "more than .* bytes beginning"),
    "gzip bomb as an encoding": (lambda r: reply(r, bomb(), Content_Encoding="gzip"), "bytes were sent"),
    "endless": (endless, "bytes were sent"),
    "not HTTP": (lambda r: r.wfile.write(b"220 smtp.example ready\r\n"), "BadStatusLine|ProtocolError|RemoteDisconnected"),
    "hangs up": (lambda r: None, "RemoteDisconnected|ConnectionReset"),
    "length is no number": (lambda r: (r.send_response(200), r.send_header("Content-Length", "many"), r.end_headers(),
                                       r.wfile.write(b"x")), "many|SHA-256"),
}

@pytest.mark.parametrize("fault", FAULTS)
def test_bad_mirror_is_refused_and_the_next_asked(fault, good, tmp_path):
    answer, said = FAULTS[fault]
    with serving(answer) as bad:
        with pytest.raises(ConnectionError, match=said) as error: load([bad.url], tmp_path)
        assert f"{bad.url}{IMAGES}.gz" in str(error.value)
        assert list(tmp_path.iterdir()) == []                         # nothing half-written, nothing at all
        check(load([bad.url, good.url], tmp_path))
    check_cache(tmp_path)


def test_bombs_and_endless_answers_take_no_memory(tmp_path):
    bomb()                                                            # made before memory is measured
    for fault in ("gzip bomb", "gzip bomb as an encoding", "endless"):
        with serving(FAULTS[fault][0]) as bad:
            tracemalloc.start()
            with pytest.raises(ConnectionError): load([bad.url], tmp_path)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < 8_000_000, (fault, peak)


def test_huge_file_in_the_cache_takes_no_memory(good, tmp_path):
    with open(tmp_path / IMAGES, "wb") as file: file.truncate(100_000_000)
    tracemalloc.start()
    with pytest.warns(UserWarning, match="is damaged"): check(load([good.url], tmp_path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000, peak


def test_first_mirror_dead(good, tmp_path):
    check(load([closed_port(), good.url], tmp_path))
    check_cache(tmp_path)


def test_first_mirror_silent(good, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:            # takes the call and never answers
        start = time.perf_counter()
        check(load([f"http://127.0.0.1:{silent.getsockname()[1]}/", good.url], tmp_path, timeout=.2))
        assert time.perf_counter() - start < 3


def test_mirror_falls_silent_half_way(good, tmp_path):
    over = threading.Event()
    def half(r):
        reply(r, GOOD[r.path][:100], length=len(GOOD[r.path]))
        over.wait(10)
    with serving(half) as bad:
        with pytest.raises(ConnectionError, match="timed out"): load([bad.url], tmp_path, timeout=.2)
        check(load([bad.url, good.url], tmp_path, timeout=.2))
        over.set()


def test_each_file_may_come_from_another_mirror(good, tmp_path):
    def only_images(r): right(r) if IMAGES in r.path else reply(r, b"", 404)
    with serving(only_images) as half: check(load([half.url, good.url], tmp_path))
    assert good.paths == [f"/{LABELS}.gz"]


def test_no_network_names_mirrors_and_ways_out(monkeypatch, tmp_path):
    def nobody(host, *args, **kwargs): raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with pytest.raises(ConnectionError) as error: data.mnist("full", cache=tmp_path, progress=False)
    said = str(error.value)
    assert len(data.MIRRORS) == 2 and all(mirror in said for mirror in data.MIRRORS)
    for part in ("Failed to resolve", "FOUNDATIONS_DATA", "mnist('small')", IMAGES, LABELS): assert part in said, said
    assert list(tmp_path.iterdir()) == []


def test_refused_connections_are_listed_one_by_one(tmp_path):
    ports = [closed_port(), closed_port()]
    with pytest.raises(ConnectionError, match=r"(?s)refused.*refused") as error: load(ports, tmp_path)
    assert all(port in str(error.value) for port in ports)


def test_ctrl_c_while_downloading_stops_at_once(good, monkeypatch, tmp_path):
    def interrupted(*args): raise KeyboardInterrupt
    monkeypatch.setattr(data._Bounded, "write", interrupted)
    with pytest.raises(KeyboardInterrupt): load([good.url, good.url], tmp_path)
    assert len(good.paths) == 1 and list(tmp_path.iterdir()) == []


# ---- the cache ----

DAMAGE = {"cut short": lambda raw: raw[:-1], "empty": lambda raw: b"", "altered": lambda raw: raw[:20] + b"\xff\xfe" + raw[22:],
          "longer": lambda raw: raw + b"x", "gzip cut short": lambda raw: gzip.compress(raw)[:-5], "bomb": lambda raw: bomb(10_000_000)}

@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_cache_is_removed_and_fetched_anew(damage, good, tmp_path):
    load([good.url], tmp_path)
    (tmp_path / LABELS).write_bytes(DAMAGE[damage](PLAIN[LABELS]))
    with pytest.warns(UserWarning, match=f"{LABELS} is damaged"), pytest.raises(ConnectionError): load([closed_port()], tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [IMAGES]           # gone, even though nothing could replace it
    (tmp_path / LABELS).write_bytes(DAMAGE[damage](PLAIN[LABELS]))
    with pytest.warns(UserWarning, match=f"{LABELS} is damaged"): check(load([good.url], tmp_path))
    check_cache(tmp_path)
    assert good.paths == [*GOOD, f"/{LABELS}.gz"]                     # the sound file was not fetched again


def test_file_where_the_cache_should_be(good, tmp_path):
    (tmp_path / "cache").write_text("mine")
    with pytest.warns(UserWarning, match="cannot be kept in .*cache") as caught: check(load([good.url], tmp_path / "cache"))
    assert len(caught) == 2 and (tmp_path / "cache").read_text() == "mine"


def test_folder_where_the_file_should_be(good, tmp_path):
    (tmp_path / IMAGES).mkdir()
    with pytest.warns(UserWarning, match="cannot be kept"): check(load([good.url], tmp_path))
    assert sorted(p.name for p in tmp_path.iterdir()) == [IMAGES, LABELS]


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX permissions")
def test_read_only_cache(good):
    folder = tempfile.mkdtemp(dir="/tmp")                             # not tmp_path, which only its owner may enter
    root = os.geteuid() == 0
    os.chmod(folder, 0o555)
    if root: os.seteuid(65534)                                        # permissions do not bind root
    try:
        with pytest.warns(UserWarning, match="cannot be kept in .*Permission denied"): check(load([good.url], folder))
    finally:
        if root: os.seteuid(0)
        os.chmod(folder, 0o755)
    assert os.listdir(folder) == []
    os.rmdir(folder)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX permissions")
def test_damaged_file_in_a_read_only_cache_is_not_trusted(good):
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    root = os.geteuid() == 0
    for name, raw in PLAIN.items(): (folder / name).write_bytes(raw[:-1])
    os.chmod(folder, 0o555)
    if root: os.seteuid(65534)
    try:
        with pytest.warns(UserWarning, match="is damaged|cannot be kept") as caught: check(load([good.url], folder))
        assert len(caught) == 4
    finally:
        if root: os.seteuid(0)
        os.chmod(folder, 0o755)
    for name in PLAIN: (folder / name).unlink()
    folder.rmdir()


def test_full_disk_said_by_the_system(good, monkeypatch, tmp_path):
    def full(path, raw):
        with path.open("wb") as file: file.write(raw[:100])
        raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.warns(UserWarning, match="No space left"): check(load([good.url], tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_rename_that_fails(good, monkeypatch, tmp_path):
    def refuse(*args): raise OSError(errno.EIO, "Input/output error")
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.warns(UserWarning, match="Input/output error"): check(load([good.url], tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["write_bytes", "replace"])
def test_ctrl_c_while_writing_leaves_nothing(where, good, monkeypatch, tmp_path):
    def interrupted(path, *args):
        path.touch()
        raise KeyboardInterrupt
    monkeypatch.setattr(*{"write_bytes": (Path, "write_bytes"), "replace": (os, "replace")}[where], interrupted)
    with pytest.raises(KeyboardInterrupt): load([good.url], tmp_path)
    assert list(tmp_path.iterdir()) == []


# ---- other processes ----

CHILD = """
import json, os, pathlib, signal, sys
from foundations import data
table, mirror, cache, before = json.loads(sys.argv[1])
data.FILES = table
exec(before)
x, y, _, _ = data.mnist("full", mirrors=[mirror], cache=cache, progress=False, timeout=15)
print(len(x), int(y.sum()))
"""
def child(mirror, cache, before=""):
    "A process of its own that loads the full set."
    env = {k: v for k, v in os.environ.items() if k != "FOUNDATIONS_DATA" and "proxy" not in k.lower()}
    return subprocess.Popen([sys.executable, "-c", CHILD, json.dumps([TABLE, mirror, str(cache), before])], env=env, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

SUM = f"{TINY} {sum(PLAIN[LABELS][8:])}\n"


def test_two_processes_at_once(tmp_path):
    together = {path: threading.Barrier(2) for path in GOOD}
    def wait_for_both(r):
        together[r.path].wait(15)                                     # answers nobody until both have asked
        right(r)
    with serving(wait_for_both) as server:
        both = [child(server.url, tmp_path) for _ in range(2)]
        assert [p.communicate(timeout=20) for p in both] == [(SUM, "")] * 2
        assert sorted(server.paths) == sorted([*GOOD, *GOOD])
    check_cache(tmp_path)


def test_reader_beside_writers_sees_all_or_nothing(tmp_path):
    raw, stop, failed = PLAIN[IMAGES], threading.Event(), []
    def write():
        try:
            while not stop.is_set(): data._to_cache(tmp_path, IMAGES, raw)
        except UserWarning as error: failed.append(error)
    writers = [threading.Thread(target=write) for _ in range(3)]
    data._to_cache(tmp_path, IMAGES, raw)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for w in writers: w.start()
            seen = [data._from_cache(tmp_path, IMAGES) for _ in range(300)]
            stop.set()
            for w in writers: w.join()
    finally: stop.set()
    assert failed == [] and set(seen) == {raw}
    assert [p.name for p in tmp_path.iterdir()] == [IMAGES]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_in_the_middle_of_the_write(good, tmp_path):
    die = """
def half(path, raw):
    with path.open("wb") as file:
        file.write(raw[:len(raw) // 2])
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
pathlib.Path.write_bytes = half
"""
    victim = child(good.url, tmp_path, die)
    victim.communicate(timeout=20)
    assert victim.returncode == -signal.SIGKILL
    assert [p.suffix for p in tmp_path.iterdir()] == [".part"]        # half a file, under a name that nobody reads
    with pytest.raises(ConnectionError): load([closed_port()], tmp_path)
    check(load([good.url], tmp_path))


def test_write_that_stops_half_way_for_lack_of_room(good, tmp_path):
    pytest.importorskip("resource")                                   # a file-size limit: a short write by the system itself
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))"
    out, err = child(good.url, tmp_path, limit).communicate(timeout=20)
    assert out == SUM and "cannot be kept" in err and "File too large" in err
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {LABELS: PLAIN[LABELS]}


# ---- FOUNDATIONS_DATA ----

def own_folder(monkeypatch, folder, contents):
    folder.mkdir()
    for name, raw in contents.items(): (folder / name).write_bytes(raw)
    monkeypatch.setenv("FOUNDATIONS_DATA", str(folder))


@pytest.mark.parametrize("gz", [(), (IMAGES,), (IMAGES, LABELS)], ids=["plain", "mixed", "gz"])
def test_own_folder(gz, good, monkeypatch, tmp_path):
    contents = {f"{n}.gz" if n in gz else n: gzip.compress(raw) if n in gz else raw for n, raw in PLAIN.items()}
    own_folder(monkeypatch, tmp_path / "own", contents)
    check(load([good.url], tmp_path / "cache"))
    assert good.paths == [] and not (tmp_path / "cache").exists()
    assert {p.name: p.read_bytes() for p in (tmp_path / "own").iterdir()} == contents


def test_own_folder_without_the_file(good, monkeypatch, tmp_path):
    load([good.url], tmp_path / "cache")                              # not even the cache is used in its place
    own_folder(monkeypatch, tmp_path / "own", {IMAGES: PLAIN[IMAGES]})
    with pytest.raises(FileNotFoundError, match=f"FOUNDATIONS_DATA.*{tmp_path / 'own'}.*{LABELS}"):
        load([good.url], tmp_path / "cache")
    assert len(good.paths) == 2


def test_own_folder_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("FOUNDATIONS_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere"): load([], tmp_path)


def test_own_file_that_is_wrong_is_refused_and_kept(good, monkeypatch, tmp_path):
    wrong = PLAIN[LABELS][:-1] + b"\x0b"
    own_folder(monkeypatch, tmp_path / "own", {IMAGES: PLAIN[IMAGES], LABELS: wrong})
    with pytest.raises(ValueError) as error: load([good.url], tmp_path / "cache")
    for part in (str(tmp_path / "own" / LABELS), "FOUNDATIONS_DATA", hashlib.sha256(wrong).hexdigest(), TABLE[LABELS][1]):
        assert part in str(error.value)
    assert (tmp_path / "own" / LABELS).read_bytes() == wrong and good.paths == []


def test_empty_variable_is_no_folder(good, monkeypatch, tmp_path):
    monkeypatch.setenv("FOUNDATIONS_DATA", "")
    check(load([good.url], tmp_path))


# ---- the real full set ----

REAL = os.environ.get("MNIST_FILES")
real = pytest.mark.skipif(not REAL, reason="MNIST_FILES names no folder with the original files")

@pytest.fixture
def table(monkeypatch): monkeypatch.setattr(data, "FILES", REAL_TABLE)
REAL_TABLE = data.FILES


def check_full(x, y, x_valid, y_valid):
    assert (x.shape, y.shape, x_valid.shape, y_valid.shape) == ((50_000, 784), (50_000,), (10_000, 784), (10_000,))
    np.testing.assert_allclose([x.mean(dtype=float), x.std(dtype=float)], [.1310, .3085], atol=5e-5)
    small = data.mnist()
    for name, ours, full in zip(("x_train", "y_train", "x_valid", "y_valid"), small, (x, y, x_valid, y_valid)):
        np.testing.assert_array_equal(ours, full[:len(ours)], err_msg=name)


@real
def test_real_files_in_own_folder(table, monkeypatch, tmp_path):
    monkeypatch.setenv("FOUNDATIONS_DATA", REAL)
    check_full(*load([], tmp_path))


@real
def test_real_files_over_http(table, tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=REAL)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        check_full(*load([f"http://127.0.0.1:{server.server_port}/"], tmp_path))
        server.shutdown()
    check_full(*load([], tmp_path))


@real
def test_small_set_is_built_from_the_real_files(table, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "scripts"))
    import small_set
    assert small_set.gzipped(b"x" * 99)[:10].hex() == "1f8b08000000000002ff"      # no time, no name
    monkeypatch.setattr(small_set, "gzipped", functools.partial(gzip.compress, compresslevel=1))     # quicker, same content
    small_set.build(REAL, tmp_path)
    for path in tmp_path.iterdir():
        kept = Path(data.__file__).parent / "mnist" / path.name
        assert gzip.decompress(path.read_bytes()) == gzip.decompress(kept.read_bytes()), path.name
    assert len(list(tmp_path.iterdir())) == 4
    (tmp_path / f"{IMAGES}.gz").write_bytes(GOOD[f"/{IMAGES}.gz"])
    with pytest.raises(ValueError, match="SHA-256"): small_set.build(tmp_path, tmp_path)
