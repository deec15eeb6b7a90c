# SPDX-License-Identifier: MIT
"""What the peers share: the workloads of docs/performance.md, their data, and the loop that measures."""
import json
import os
import sys
import time

import numpy as np

TRAINING = {  # d, width, batch, steps timed together
    "A": (2, 64, 256, 100),
    "B": (2, 256, 1024, 20),
    "C": (64, 512, 1024, 5),
    "D": (784, 1024, 256, 5),
}
H_DIM, H_CONDITIONS, H_WIDTH, H_BLOCKS, H_FREQUENCIES, H_BATCH, H_TOGETHER = 16, 10, 256, 3, 8, 256, 20
SAMPLING = {  # net, samples, steps of Euler's method (E-rk4: of Runge-Kutta's, four evaluations each)
    "E-euler100": ("A", 10_000, 100),
    "E-rk4": ("A", 10_000, 25),
    "E-one": ("A", 1, 10),
    "H-euler8-1": ("H", 1, 8),
    "H-euler50-1": ("H", 1, 50),
    "H-euler8-1000": ("H", 1000, 8),
    "H-euler50-1000": ("H", 1000, 50),
}
ADAPTIVE = {"E-dopri5": 10_000, "G-likelihood": 1000}  # points; Dormand-Prince with tolerances of 1e-5, trained net A
COUPLING = {"F-256": 256, "F-1024": 1024}  # points
RANDOM_NUMBERS = 16_384


def moons(n, rng):
    angle, upper = rng.uniform(0, np.pi, n), rng.random(n) < 0.5
    x = np.where(upper, np.cos(angle), 1 - np.cos(angle))
    y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle))
    return (np.stack([x, y], 1) + rng.normal(0, 0.05, (n, 2))).astype(np.float32)


def dataset(d):
    rng = np.random.default_rng(1)
    return moons(100_000, rng) if d == 2 else rng.standard_normal((20_000, d), dtype=np.float32)


def residual_dataset():
    """Samples (n, 16) of ten classes and their one-hot conditions (n, 10)."""
    classes = one_hot(20_000)
    data = np.random.default_rng(1).standard_normal((20_000, H_DIM), dtype=np.float32)
    data[:, :H_CONDITIONS] += 2 * classes
    return data, classes


def trained_net():
    """(weight, bias) of each layer, as flowmatch saved them."""
    data = open(os.environ["FLOWMATCH_BENCHMARK_NET"], "rb").read()
    size = int.from_bytes(data[:8], "little")
    header, values = json.loads(data[8:8 + size]), data[8 + size:]

    def tensor(name):
        begin, end = header[name]["data_offsets"]
        return np.frombuffer(values[begin:end], np.float32).reshape(header[name]["shape"]).copy()
    layers = [name.removesuffix(".weight") for name in header if name.endswith(".weight")]
    return [(tensor(f"{name}.weight"), tensor(f"{name}.bias")) for name in sorted(layers)]


def one_hot(n):
    return np.eye(H_CONDITIONS, dtype=np.float32)[np.arange(n) % H_CONDITIONS]


def arguments():
    """variant, workload, threads, seconds. Call it before the framework is imported: it sets the number of threads."""
    if len(sys.argv) < 4:
        sys.exit(f"usage: {sys.argv[0]} VARIANT WORKLOAD THREADS [SECONDS]")
    threads = int(sys.argv[3])
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    os.environ["NPROC"] = str(threads)
    if threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return sys.argv[1], sys.argv[2], threads, float(sys.argv[4]) if len(sys.argv) > 4 else 1.0


def peak_memory_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))


def measure(system, workload, threads, seconds, step, together=1, warm=3):
    """As benchmark.cpp: one line of JSON, and one more for every line of standard input. step() does `together` steps."""
    def timed():
        start = time.perf_counter()
        step()
        return (time.perf_counter() - start) * 1e6 / together

    for _ in range(warm):
        timed()
    while True:
        times, end = [], time.perf_counter() + seconds
        timed()
        while time.perf_counter() < end or len(times) < 3:
            times.append(timed())
        print(json.dumps(dict(workload=workload, threads=threads, system=system, median_us=float(np.median(times)),
                              min_us=min(times), steps=len(times) * together, peak_rss_mb=round(peak_memory_mb(), 1))), flush=True)
        if not sys.stdin.readline():
            return
