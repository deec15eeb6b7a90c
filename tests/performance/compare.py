# SPDX-License-Identifier: MIT
"""Runs flowmatch and its peers in turn, and writes the figures: called by tests/performance/run, which builds and
installs what this needs.

For each workload all programs are started, and then asked in turn to measure, round after round: so that what disturbs
the machine disturbs all of them. One measures at a time; the others wait for a line of input."""
import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
TITLES = {
    "A": "A: d 2, 3 x 64, batch 256",
    "B": "B: d 2, 3 x 256, batch 1,024",
    "C": "C: d 64, 3 x 512, batch 1,024",
    "D": "D: d 784, 3 x 1,024, batch 256",
    "H": "H: residual 4 x 256, batch 256",
    "E-euler100": "E: net A, 10,000 points, Euler 100",
    "E-rk4": "E: net A, 10,000 points, RK4 25",
    "E-one": "E: net A, one sample, Euler 10",
    "E-dopri5": "E: trained net A, 10,000 points, Dormand-Prince 1e-5",
    "F-256": "F: exact coupling of 256 points",
    "F-1024": "F: exact coupling of 1,024 points",
    "F-step": "F: training step of A with coupled batches",
    "G-likelihood": "G: log-likelihood of 1,000 points, Dormand-Prince 1e-5",
    "H-euler8-1": "H: one sample, Euler 8",
    "H-euler50-1": "H: one sample, Euler 50",
    "H-euler8-1000": "H: 1,000 samples, Euler 8",
    "H-euler50-1000": "H: 1,000 samples, Euler 50",
    "normal": "16,384 normal numbers",
    "uniform": "16,384 uniform numbers",
}
TRAINING, RESIDUAL, RANDOM = list("ABCD"), ["H"], ["normal", "uniform"]
COUPLING = [w for w in TITLES if w.startswith("F")]
SAMPLING = [w for w in TITLES if "-" in w and w not in COUPLING]


def peers_of(workload, quick):
    """(framework, variant) of the programs in peers/."""
    if quick:
        return [("jax", "scan")]
    if workload in RANDOM:
        return [("jax", "jit"), ("torch", "eager")]
    if workload in TRAINING:
        return [("jax", "scan"), ("jax", "scan_rbg"), ("torch", "compile"), ("torch", "eager"), ("torch", "torchcfm"),
                ("torch", "flow_matching")]
    if workload == "F-step":
        return [("torch", "torchcfm")]
    if workload in COUPLING:
        return [("torch", "pot"), ("torch", "scipy"), ("torch", "torchcfm")]
    if workload in RESIDUAL:
        return [("jax", "scan"), ("jax", "scan_rbg"), ("torch", "compile"), ("torch", "eager")]
    if workload == "E-rk4":
        return [("jax", "jit"), ("torch", "eager"), ("torch", "torchcfm"), ("torch", "flow_matching")]
    if workload in ("E-dopri5", "G-likelihood"):
        return [("jax", "jit"), ("torch", "flow_matching")]
    if workload.startswith("E"):
        return [("jax", "jit"), ("torch", "compile"), ("torch", "torchcfm"), ("torch", "flow_matching")]
    return [("jax", "jit"), ("torch", "compile"), ("torch", "eager")]


def peer_name(framework, variant):
    libraries = dict(torchcfm="torchcfm", flow_matching="flow_matching", pot="POT", scipy="SciPy")
    return libraries.get(variant, f"{framework} {variant}")


def cores():
    """One processor of each core that this process may use."""
    allowed, result, seen = sorted(os.sched_getaffinity(0)), [], set()
    for cpu in allowed:
        try:
            siblings = pathlib.Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
        except OSError:
            siblings = str(cpu)
        if siblings not in seen:
            seen.add(siblings)
            result.append(cpu)
    return result


def pinned(threads, command):
    return ["taskset", "-c", ",".join(map(str, cores()[:threads])), *map(str, command)]


class Program:
    """A benchmark that measures when asked. build: compiler and flags of a flowmatch, "" for a peer."""

    def __init__(self, name, build, command, threads, log):
        self.name, self.build, self.lines = name, build, []
        self.process = subprocess.Popen(pinned(threads, command), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=log, text=True)
        self.read()  # it measures once by itself

    def read(self):
        line = self.process.stdout.readline()
        if line:
            self.lines.append(json.loads(line))

    def measure(self):
        if self.lines:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            self.read()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def summary(programs, workload, threads):
    """One result a program, from all rounds."""
    lines = [line for program in programs for line in program.lines]
    gflop = max(line.get("gflop", 0) for line in lines)
    peaks = [line["fma_peak_gflops"] for line in lines if "fma_peak_gflops" in line]
    for program in programs:
        if not program.lines:
            continue
        medians = [line["median_us"] for line in program.lines]
        median = statistics.median(medians)
        result = dict(workload=workload, threads=threads, system=program.name, build=program.build, median_us=median,
                      min_us=min(line["min_us"] for line in program.lines), rounds_us=medians,
                      peak_rss_mb=max(line["peak_rss_mb"] for line in program.lines))
        if gflop:
            peak = max(peaks)  # a disturbance only lowers it
            result.update(gflop=gflop, gflops=gflop / median * 1e6, fma_peak_gflops=peak,
                          fraction_of_fma_peak=gflop / median * 1e6 / peak)
        yield result


def add_ratios(results):
    """A peer may be faster with fewer threads: the best of those."""
    for result in results:
        peers = [r for r in results if r["workload"] == result["workload"] and r["threads"] <= result["threads"]
                 and r["system"] != "flowmatch"]
        if peers:
            best = min(peers, key=lambda r: r["median_us"])
            result["best_peer"] = f"{best['system']}, {best['threads']} thread{'s' * (best['threads'] > 1)}"
            result["ratio_to_best_peer"] = best["median_us"] / result["median_us"]


class Comparison:
    def __init__(self, options):
        self.options = options
        self.builds = dict(options.flowmatch)
        self.pythons = {k: v for k, v in (("jax", options.jax), ("torch", options.torch)) if v}
        self.log = open(options.folder / "log", "w")
        self.results = []

    def peer_command(self, framework, variant, workload, threads):
        return [self.pythons[framework], HERE / "peers" / f"{framework}_peer.py", variant, workload, threads,
                self.options.seconds]

    def steps(self, workload, threads):
        programs = []
        try:
            for build, path in self.builds.items():
                programs.append(Program("flowmatch", build, [path, workload, threads, self.options.seconds], threads,
                                        self.log))
            if not any(p.lines for p in programs):
                say(f"{workload}: this flowmatch does not run on {threads} threads")
                return
            for framework, variant in peers_of(workload, self.options.quick):
                if framework in self.pythons:
                    name = peer_name(framework, variant)
                    programs.append(Program(name, "", self.peer_command(framework, variant, workload, threads),
                                            threads, self.log))
            for _ in range(self.options.rounds - 1):
                for program in programs:
                    program.measure()
        finally:
            for program in programs:
                program.close()
        for program in programs:
            if not program.lines:
                say(f"{workload}: {program.name} {program.build} failed; see {self.log.name}")
        found = list(summary(programs, workload, threads))
        self.results += found
        say(f"{workload}, {threads} thread{'s' * (threads > 1)}: " + "; ".join(
            f"{r['system']} {r['build']} {duration(r['median_us'])}".replace("  ", " ") for r in found))

    def processes(self):
        """2,000 steps of A from start to end, as the shell sees them."""
        commands = [("flowmatch", build, [path, "process", 1]) for build, path in self.builds.items()]
        for framework, variant in (("jax", "scan"), ("torch", "eager"), ("torch", "torchcfm"),
                                   ("torch", "flow_matching")):
            if framework in self.pythons:
                name = peer_name(framework, variant)
                commands.append((name, "", self.peer_command(framework, variant, "process", 1)))
        seen = {}
        for _ in range(self.options.rounds):
            for name, build, command in commands:
                start = time.perf_counter()
                run = subprocess.run(pinned(1, command), stdout=subprocess.PIPE, stderr=self.log, text=True)
                seconds = time.perf_counter() - start
                if run.returncode == 0:
                    memory = json.loads(run.stdout)["peak_rss_mb"]
                    seen.setdefault((name, build), []).append((seconds, memory))
        found = [dict(workload="process", threads=1, system=name, build=build,
                      median_us=statistics.median(t for t, _ in runs) * 1e6, min_us=min(t for t, _ in runs) * 1e6,
                      peak_rss_mb=max(m for _, m in runs)) for (name, build), runs in seen.items()]
        self.results += found
        say("process: " + "; ".join(f"{r['system']} {r['build']} {duration(r['median_us'])}" for r in found))

    def growth(self):
        """flowmatch alone, first build, one thread: each width and batch in a process of its own, for its memory."""
        build, path = next(iter(self.builds.items()))
        for width in self.options.widths:
            for batch in self.options.batches:
                run = subprocess.run(pinned(1, [path, f"{width}x{batch}", 1, 0.3]), stdin=subprocess.DEVNULL,
                                     stdout=subprocess.PIPE, stderr=self.log, text=True)
                if run.returncode == 0:
                    self.results.append(dict(json.loads(run.stdout), width=width, batch=batch, build=build))
                    r = self.results[-1]
                    say(f"width {width}, batch {batch}: {r['gflops']:.1f} GFLOP/s, {r['peak_rss_mb']:.0f} MB")


# --- The tables -------------------------------------------------------------------------------------------------------

def say(text):
    print(text, file=sys.stderr, flush=True)


def duration(us):
    for limit, factor, unit in ((1e3, 1, "us"), (1e6, 1e-3, "ms"), (float("inf"), 1e-6, "s")):
        if us < limit:
            return f"{us * factor:.3g} {unit}" if us * factor < 1000 else f"{us * factor:.0f} {unit}"


def table(head, rows):
    rows = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def keys(results):
    return list(dict.fromkeys((r["workload"], r["threads"]) for r in results if r["workload"] in TITLES))


def pick(results, key, **wanted):
    return next((r for r in results if (r["workload"], r["threads"]) == key
                 and all(r[k] == v for k, v in wanted.items())), None)


def flowmatch_table(results, builds):
    rows = []
    for key in keys(results):
        ours = {b: pick(results, key, system="flowmatch", build=b) for b in builds}
        plain = [r for b, r in ours.items() if r and "native" not in b]
        row = [TITLES[key[0]], str(key[1])] + [duration(r["median_us"]) if r else "" for r in ours.values()]
        fractions = [f"{r['fraction_of_fma_peak'] * 100:.0f}" for r in plain if "fraction_of_fma_peak" in r]
        row.append(" / ".join(fractions))
        with_peer = [r for r in plain if "best_peer" in r]
        if with_peer:
            row += [f"{with_peer[0]['best_peer']}",
                    " / ".join(f"{r['ratio_to_best_peer']:.2f}" for r in with_peer)]
        else:
            row += ["", ""]
        rows.append(row)
    plain = " / ".join(b.split()[0] for b in builds if "native" not in b)
    return table(["workload", "threads", *builds, f"% of FMA peak at -O2, {plain}", "best peer",
                  f"its time / flowmatch's at -O2, {plain}"], rows)


def peer_table(results, builds, wanted, title):
    shown = [r for r in results if r["workload"] in wanted]
    systems = list(dict.fromkeys(r["system"] for r in shown if r["system"] != "flowmatch"))
    if not systems:
        return ""
    rows = []
    for key in keys(shown):
        own = pick(shown, key, system="flowmatch", build=builds[0])
        row = [TITLES[key[0]], str(key[1])]
        for system in systems:
            r = pick(shown, key, system=system)
            row.append(f"{duration(r['median_us'])} ({r['median_us'] / own['median_us']:.2f})" if r and own else "")
        rows.append(row)
    return table([title, "threads", *systems], rows)


def process_table(results):
    rows = [[f"{r['system']} {r['build']}".strip(), duration(r["median_us"]), duration(r["min_us"]),
             f"{r['peak_rss_mb']:.0f} MB"] for r in results if r["workload"] == "process"]
    return table(["2,000 steps of A, one thread", "wall time, median", "least", "peak memory"], rows) if rows else ""


def growth_tables(results):
    points = {(r["width"], r["batch"]): r for r in results if "width" in r}
    widths, batches = sorted({w for w, _ in points}), sorted({b for _, b in points})

    def grid(title, show):
        rows = [[f"{b:,}"] + [show(points[w, b]) if (w, b) in points else "" for w in widths] for b in batches]
        return f"{title}; a row is a batch, a column a width:\n\n" + table(["", *map(str, widths)], rows) + "\n"
    return grid("GFLOP/s (% of FMA peak)", lambda r: f"{r['gflops']:.3g} ({r['fraction_of_fma_peak'] * 100:.0f})") + \
        grid("Peak memory of the whole process, MB", lambda r: f"{r['peak_rss_mb']:.0f}")


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def caches():
    result = []
    for index in sorted(pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = [(index / n).read_text().strip() for n in ("level", "type", "size")]
        if kind != "Instruction":
            result.append(f"L{level} {size}")
    return ", ".join(result)


def versions(python, packages):
    code = f"import importlib.metadata as m; print(', '.join(p + ' ' + m.version(p) for p in {packages!r}))"
    run = subprocess.run([python, "-c", code], stdout=subprocess.PIPE, text=True)
    return run.stdout.strip()


def machine(comparison, load):
    """What the figures belong to."""
    described = [json.loads(subprocess.check_output([path, "describe"])) for path in comparison.builds.values()]
    path = next(iter(comparison.builds.values()))
    limits = [json.loads(subprocess.check_output(pinned(n, [path, "limits", n]))) for n in (1, 2)[:len(cores())]]
    reads = [", ".join(f"{v:.0f} from {k}" for k, v in d["read_gb_per_s"].items()) for d in limits]
    kernel = ".".join(platform.release().split(".")[:2])
    peaks = [f"{d['fma_peak_gflops']:.0f}" for d in limits]
    lines = [f"{datetime.date.today():%d %B %Y}; {cpu_name()}, {len(cores())} cores ({caches()}), Linux "
             f"{kernel}; {', '.join(dict.fromkeys(d['compiler'] for d in described))}; Eigen "
             f"{described[0]['eigen']}; flowmatch {described[0]['flowmatch']}.",
             f"FMA peak in float32 by {limits[0]['instructions']}, threads 1 / 2: "
             f"{' / '.join(peaks)} GFLOP/s. Reading, GB/s: {' / '.join(reads)}."]
    pythons = comparison.pythons
    found = [versions(pythons["jax"], ["jax", "jaxlib", "diffrax"])] if "jax" in pythons else []
    if "torch" in pythons:
        found.append(versions(pythons["torch"], ["torch", "torchcfm", "flow-matching", "torchdyn", "POT", "scipy"]))
    if found:
        lines.append(f"Peers: {', '.join(found)}.")
    options = comparison.options
    each = "0.3 s each" if options.growth else f"{options.rounds} rounds of {options.seconds:g} s"
    lines.append(f"{each}; load average before: {load:.1f}" + (", so other programs ran and disturbed the figures." if load > 0.5 else "."))
    return "\n".join(lines) + "\n"


def replace_between(path, name, text):
    begin, end = f"<!-- {name}: begin, written by tests/performance/run -->", f"<!-- {name}: end -->"
    whole = path.read_text()
    before, rest = whole.split(begin)
    path.write_text(before + begin + "\n" + text.strip() + "\n" + end + rest.split(end)[1])


def main():
    numbers = lambda text: [int(n) for n in text.split(",")]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path, help="where results.jsonl and the log go")
    parser.add_argument("--flowmatch", action="append", required=True, nargs=2, metavar=("BUILD", "PROGRAM"))
    parser.add_argument("--jax", help="a Python that has JAX")
    parser.add_argument("--torch", help="a Python that has torch")
    parser.add_argument("--docs", type=pathlib.Path, help="the file whose tables are replaced")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--workloads", type=lambda text: text.split(","), help="only these")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of one measurement")
    parser.add_argument("--widths", type=numbers, default=[16, 32, 64, 128, 256, 512, 1024, 2048])
    parser.add_argument("--batches", type=numbers, default=[1, 4, 16, 64, 256, 1024, 4096, 16384, 65536])
    options = parser.parse_args()
    options.rounds = options.rounds or 3
    options.seconds = options.seconds or (0.4 if options.quick else 1.0)
    load = os.getloadavg()[0]
    comparison = Comparison(options)
    results, builds = comparison.results, list(comparison.builds)
    if options.growth:
        comparison.growth()
    else:
        os.environ["FLOWMATCH_BENCHMARK_NET"] = str(options.folder / "net.safetensors")
        subprocess.run([comparison.builds[builds[0]], "net", options.folder / "net.safetensors"], check=True)
        default = ["A", "B"] if options.quick else [*TITLES, "process"]
        for workload in options.workloads or default:
            if workload == "process":
                comparison.processes()
                continue
            alone = workload in [*RANDOM, "E-one", "F-256", "F-1024"] or workload.endswith("-1")
            for threads in (1, 2)[:1 if alone else len(cores())]:
                comparison.steps(workload, threads)
        add_ratios(results)
    file = options.folder / ("growth.jsonl" if options.growth else "results.jsonl")
    file.write_text("".join(json.dumps(r) + "\n" for r in results))

    if options.growth:
        parts = [growth_tables(results)]
    else:
        parts = [flowmatch_table(results, builds),
                 f"The peers: time, and how many times flowmatch's (`{builds[0]}`, as many threads).\n",
                 peer_table(results, builds, TRAINING + RESIDUAL, "training step"),
                 peer_table(results, builds, SAMPLING, "sampling"),
                 peer_table(results, builds, COUPLING, "coupling"),
                 peer_table(results, builds, RANDOM, "random numbers"), process_table(results)]
    text = "\n".join(filter(None, [machine(comparison, load), *parts]))
    print(text)
    if options.docs:
        replace_between(options.docs, "growth" if options.growth else "figures", text)


if __name__ == "__main__":
    main()
