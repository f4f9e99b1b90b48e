"""Chapter 11: parts, ring and buckets; and real processes, some of which are killed, hang, or find no port."""
import os, re, shutil, signal, socket, subprocess, sys, threading
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from foundations import nn, scaling
from foundations.check import tdist, test_near
from foundations.files import load
from foundations.nn import functional as F
from foundations.scaling.__main__ import main
from foundations.scaling.checkpoints import newest
from foundations.scaling.workers import place

test_near.__test__ = False
ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 300                                        # seconds for a machine that is busy


# ---- in one process ----

@pytest.mark.parametrize("n, k", [(10, 3), (64, 4), (2, 5), (0, 2), (7, 1), (10_000, 1024)])
def test_parts_share_all_rows_evenly(n, k):
    found = [range(n)[part] for part in scaling.parts(n, k)]
    assert [row for part in found for row in part] == [*range(n)]
    assert len(found) == k and max(map(len, found)) - min(map(len, found)) <= 1


@pytest.mark.parametrize("k", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("shape", [(1,), (3,), (7, 5), (16,)])
def test_a_ring_gives_everybody_the_sum(k, shape):
    arrays = [np.random.default_rng(r).standard_normal(shape) for r in range(k)]
    before = [a.copy() for a in arrays]
    for total in scaling.ring_all_reduce(arrays): test_near(total, sum(before), rtol=1e-12)
    assert all((a == b).all() for a, b in zip(arrays, before))


def test_a_ring_sends_less_than_twice_the_array():
    sent, k, size = [], 5, 60
    class Piece(np.ndarray):
        def __iadd__(self, other): sent.append(other.size); return super().__iadd__(other)
        def __setitem__(self, key, value): sent.append(value.size); super().__setitem__(key, value)
    held = [[p.view(Piece) for p in np.split(np.ones(size), k)] for _ in range(k)]
    for step in range(2 * (k - 1)): scaling.ring_step(held, step)
    assert sum(sent) == k * 2 * (k - 1) / k * size and all((p == k).all() for row in held for p in row)


def model_and_loss(seed=0):
    rng = np.random.default_rng(seed)
    tied = nn.Linear(6, 6, generator=rng)             # used twice: its gradient is whole only at the second
    model = nn.Sequential(tied, nn.Tanh(), tied, nn.LayerNorm(6), nn.Linear(6, 3, generator=rng)).double()
    x, y = rng.standard_normal((8, 6)), rng.integers(3, size=8)
    return model, lambda: F.cross_entropy(model(x), y)


def test_the_walk_that_tells_gives_the_gradients_of_backward():
    model, loss = model_and_loss()
    loss().backward()
    found = list(scaling.as_they_come(loss()))
    assert {p for p, _ in found} == set(model.parameters()) and len(found) == len({p for p, _ in found})
    for p, g in found: test_near(g, p.grad, rtol=1e-12)


@pytest.mark.parametrize("limit", [1, 100, 400, 1 << 20])
def test_gradients_are_summed_in_buckets_that_are_sent_before_any_is_waited_for(limit):
    model, loss = model_and_loss()
    loss().backward()
    wanted = [3 * p.grad for p in model.parameters()]
    said = []
    def triple(a):                                    # two others with the same gradient
        said.append(("sent", a.nbytes))
        def wait():
            said.append(("waited", a.nbytes))
            a[...] *= 3
        return wait
    scaling.shared_backward(loss(), triple, limit)
    for p, g in zip(model.parameters(), wanted):
        test_near(p.grad, g, rtol=1e-12)
        assert p.grad.shape == p.shape and p.grad.dtype == p.dtype
    sent = [size for word, size in said if word == "sent"]
    assert [word for word, _ in said] == ["sent"] * len(sent) + ["waited"] * len(sent)
    assert sum(sent) == sum(g.nbytes for g in wanted) and all(size >= limit for size in sent[:-1])


def test_the_time_of_a_step():
    assert scaling.step_time(1, 3.0, 1e9, 1e9, 1.0) == 3.0
    assert scaling.step_time(4, 8.0, 4.0, 2.0, 0.5) == 2.0 + 6 * (0.5 + 0.5)


WRONG = {"--batch 0": "argument --batch: 0 is not a whole number, 1 or more", "--engine jax": "invalid choice: 'jax'",
         "--lr fast": "fast is not a number, 0 or more", "--momentum 2": "2 is not between 0 and 1", "--epoch 3": "unrecognized arguments: --epoch 3",
         "--data nowhere": "--data is nowhere; expected small, full, or a folder", "--compile --engine torch": "--compile is for --engine ours",
         "--lr 1e6 --rows 300": "is the learning rate too large?"}

@pytest.mark.parametrize("args", WRONG)
def test_what_is_wrong_is_one_clear_line(args, capsys):
    with pytest.raises(SystemExit) as stopped, np.errstate(all="ignore"): main(args.split())
    said = capsys.readouterr().err or f"{stopped.value.code}\n"
    assert stopped.value.code and said.count("\n") == 1 and said.startswith("foundations.scaling: ") and WRONG[args] in said


ARGUMENTS = "data", "rows", "epochs", "batch", "lr", "momentum", "seed", "engine", "compile", "folder", "every", "seconds"

def test_help_names_every_argument(capsys):
    with pytest.raises(SystemExit): main(["--help"])
    said = capsys.readouterr().out
    assert all(f"--{name} " in said for name in ARGUMENTS)


def test_a_checkpoint_cut_short_is_passed_over(tmp_path, capsys):
    "The run goes on from the one before, and ends with the same weights."
    args = ["--rows", "640", "--epochs", "3", "--every", "4"]
    main([*args, "--folder", str(tmp_path / "whole")])
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    assert [p.name for p in sorted((tmp_path / "cut").iterdir())] == ["step-00000028.npz", "step-00000030.npz"]
    last = tmp_path / "cut/step-00000030.npz"
    last.write_bytes(last.read_bytes()[:1000])
    capsys.readouterr()
    main([*args, "--folder", str(tmp_path / "cut")])
    assert re.match(r"step-00000030.npz is damaged; trying the one before\ngoing on after step 28\n", capsys.readouterr().out)
    assert same(tmp_path / "whole", tmp_path / "cut")


def test_a_compiled_run_says_and_ends_as_the_eager_one(tmp_path, capsys):
    args = ["--rows", "300", "--epochs", "2", "--folder"]          # 5 steps an epoch, the last of 44 rows
    main([*args, str(tmp_path / "eager")])
    eager = capsys.readouterr().out
    main([*args, str(tmp_path / "compiled"), "--compile"])
    assert capsys.readouterr().out == eager and re.fullmatch(r"accuracy on the validation set: \d+\.\d %", eager.splitlines()[-1])
    one, two = state_in(tmp_path / "eager"), state_in(tmp_path / "compiled")
    for name in one: assert tdist(two[name], one[name]) < 1e-5, name


@pytest.mark.parametrize("gpus, processes, which, device, backend", [
    (0, 1, 0, "cpu", "gloo"), (0, 2, 1, "cpu", "gloo"), (1, 2, 0, "cpu", "gloo"), (3, 4, 2, "cpu", "gloo"),
    (1, 1, 0, "cuda:0", "cpu:gloo,cuda:nccl"), (2, 2, 1, "cuda:1", "cpu:gloo,cuda:nccl"), (8, 4, 3, "cuda:3", "cpu:gloo,cuda:nccl")])
def test_nccl_where_each_process_has_a_gpu(gpus, processes, which, device, backend):
    assert place(gpus, processes, which) == (device, backend)


def state_in(folder): return newest(folder)[1]
def same(one, other):
    "Do two runs end with the very same numbers?"
    a, b = state_in(one), state_in(other)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


# ---- in several processes ----

torch = pytest.mark.skipif(not shutil.which("torchrun", path=Path(sys.executable).parent), reason="PyTorch is not installed")
ENV = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")} | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextmanager
def running(*command, **env):
    "A program, in a session of its own that ends with the block."
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT, env=ENV | env, start_new_session=True, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    timer = threading.Timer(PATIENCE, lambda: os.killpg(process.pid, signal.SIGKILL))
    timer.start()
    try: yield process
    finally:
        timer.cancel()
        with suppress(ProcessLookupError): os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@contextmanager
def ranks(k, *command):
    "k processes that find each other as those of torchrun do, but start in half the time."
    place = dict(WORLD_SIZE=str(k), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()))
    with ExitStack() as stack:
        yield [stack.enter_context(running(*command, RANK=str(rank), **place)) for rank in range(k)]


def finished(processes):
    "What each has printed, after all have ended well."
    said = [p.communicate() for p in processes]
    assert not any(p.returncode for p in processes), said
    return [out for out, _ in said]


STEPS = """
import sys, numpy as np
from foundations.files import save
from foundations.scaling import parts
from foundations.scaling.engines import Compiled, Ours, Torch
from foundations.scaling.workers import group
rng, kept = np.random.default_rng(0), {}
x, y = rng.standard_normal((24, 784), np.float32), rng.integers(10, size=24)
with group(60) as processes:
    for kind in (Ours, Compiled, Torch):
        engine = kind(processes, 0.05, 0.9, seed=0)
        for step, rows in enumerate([24, 7, 1, 2, *[24] * 4]):       # of 7 rows two processes have 3 and 4, of 1 none and 1
            mine = parts(rows, processes.size)[processes.rank]
            loss = np.array([engine.step(x[mine], y[mine], rows)])
            processes.all_reduce(loss)()
            kept |= {f"{kind.__name__} {step} {name}": v.copy() for name, v in engine.state().items()}
            kept[f"{kind.__name__} {step} loss"] = loss
        if kind is Compiled: assert engine.part.plans and not engine.part.why
    if processes.rank == 0: save(kept, sys.argv[1])
"""
RUN = ["--epochs", "6", "--every", "20", "--batch", "100"]
PAIR = STEPS + """
import os
from contextlib import redirect_stdout
from foundations.scaling.__main__ import main
_, _, folder, *ports = sys.argv
def meet(): os.environ["MASTER_PORT"] = ports.pop()
meet()
with open(f"{folder}-{processes.rank}.txt", "w") as said, redirect_stdout(said): main([*RUN, "--folder", folder])
print("done", flush=True)
input()
meet()
main(["--epochs", "1000", "--seconds", "3"])
"""

@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    "Two processes, started once: the steps; a run that nobody disturbs; and, once they are told to, one without end."
    folder = tmp_path_factory.mktemp("scaling")
    program = [sys.executable, "-u", "-c", f"RUN = {RUN}\n{PAIR}", folder / "2.npz", folder / "undisturbed", free_port(), free_port()]
    with ranks(2, *program) as processes, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["here", str(folder / "1.npz")])
        exec(STEPS, {})                               # one process, this one
        assert all(p.stdout.readline() == "done\n" for p in processes), [p.communicate() for p in processes]
        yield folder, processes


@pytest.fixture
def undisturbed(pair):
    "The folder of the run that nobody disturbs, and what each of its processes printed."
    return pair[0] / "undisturbed", [(pair[0] / f"undisturbed-{rank}.txt").read_text() for rank in (0, 1)]


@torch
def test_two_processes_make_the_steps_of_one(pair):
    "All engines; with uneven parts, and with a rank that has no rows."
    one, two = (load(pair[0] / f"{k}.npz") for k in (1, 2))
    assert one.keys() == two.keys() and len(one) == 3 * 8 * 9
    for name in one: assert tdist(two[name], one[name]) < 2e-5, name
    ours = [name for name in one if name.startswith("Ours")]
    for name in ours: assert tdist(one[name.replace("Ours", "Torch")], one[name]) < 2e-5, name
    for name in ours:                                 # straight code is the same step
        for found in (one, two): assert tdist(found[name.replace("Ours", "Compiled")], found[name]) < 1e-6, name


@torch
def test_only_rank_0_speaks_and_ends_with_the_accuracy(undisturbed):
    first, second = undisturbed[1]
    assert second == "" and [line[:7] for line in first.splitlines()] == [f"epoch {i}" for i in range(1, 7)] + ["accurac"]
    last = re.fullmatch(r"accuracy on the validation set: (\d+\.\d) %", first.splitlines()[-1])
    assert 92 < float(last[1]) < 97


@torch
def test_a_worker_that_is_killed_changes_nothing_in_the_end(undisturbed, tmp_path):
    "torchrun starts all anew; they go on from the last checkpoint, to the very same weights."
    args = ["--standalone", "--nproc-per-node", 2, "--max-restarts", 2, "-m", "foundations.scaling"]
    with running(*TORCHRUN, *args, *RUN, "--folder", tmp_path) as run:
        said = [run.stdout.readline()]
        workers = subprocess.run(["ps", "-o", "pid=", "--ppid", str(run.pid)], capture_output=True, text=True).stdout.split()
        assert "epoch 1" in said[0] and len(workers) == 2
        os.kill(int(workers[1]), signal.SIGKILL)
        said += run.communicate()[0].splitlines(keepends=True)
    assert run.returncode == 0, said
    [again] = [int(line.split()[-1]) for line in said if line.startswith("going on after step")]
    assert 80 <= again < 600 and again % 20 == 0
    assert same(tmp_path, undisturbed[0]) and said[-1] == undisturbed[1][0].splitlines(keepends=True)[-1]


@torch
def test_a_rank_that_hangs_is_named(pair):
    first, second = pair[1]
    for p in pair[1]: print(file=p.stdin, flush=True)
    assert "epoch 1 " in first.stdout.readline()
    os.kill(second.pid, signal.SIGSTOP)
    error = first.communicate()[1].splitlines()[-1]
    assert first.returncode == 1
    assert error == "foundations.scaling: rank 1 of 2 did not answer within 3 s; rank 0 waited in vain"


@torch
def test_a_port_that_is_taken_is_said_in_one_line(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        env = dict(RANK="0", WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        for name, value in env.items(): monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as stopped: main(["--seconds", "5"])
    said = str(stopped.value.code)
    assert said.startswith(f"foundations.scaling: 127.0.0.1:{port} is taken by another program") and "\n" not in said


# ---- on two machines, as nearly as one can have them ----

def ip(*args): return subprocess.run(["ip", *args], capture_output=True).returncode == 0


@pytest.fixture
def machines():
    "Two network namespaces with a cable between them: for each a prefix of commands, its address, and its device."
    names = [f"scaling-{os.getpid()}-{i}" for i in (0, 1)]
    cable = [f"sc{os.getpid()}{i}" for i in (0, 1)]
    made = shutil.which("ip") and ip("netns", "add", names[0]) and ip("netns", "add", names[1])
    made = made and ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
    for i, (name, device) in enumerate(zip(names, cable)):
        made = made and ip("link", "set", device, "netns", name) and ip("-n", name, "addr", "add", f"10.77.0.{i + 1}/24", "dev", device)
        made = made and ip("-n", name, "link", "set", device, "up") and ip("-n", name, "link", "set", "lo", "up")
    try:
        if made: yield [(["ip", "netns", "exec", name], f"10.77.0.{i + 1}", device) for i, (name, device) in enumerate(zip(names, cable))]
        else: yield [([], f"127.0.0.{i + 1}", "lo") for i in (0, 1)]
    finally:
        for name in names: shutil.which("ip") and ip("netns", "del", name)


@torch
@pytest.mark.skipif(sys.platform != "linux", reason="a second address of loopback, or a namespace, is Linux's")
def test_two_machines_train_as_one(machines, undisturbed, tmp_path):
    place = f"{machines[0][1]}:{free_port()}"
    args = ["--nnodes", 2, "--nproc-per-node", 1, "--rdzv-backend", "c10d", "--rdzv-endpoint", place, "--rdzv-id", "digits"]
    with ExitStack() as stack:
        nodes = [stack.enter_context(running(*prefix, *TORCHRUN, *args, "--rdzv-conf", f"is_host={1 - i}", "--local-addr", address, "-m", "foundations.scaling", *RUN,
                                             "--folder", tmp_path, GLOO_SOCKET_IFNAME=device)) for i, (prefix, address, device) in enumerate(machines)]
        said = "".join(finished(nodes))
    assert same(tmp_path, undisturbed[0]) and said.count("accuracy") == 1
