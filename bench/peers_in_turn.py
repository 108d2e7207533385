"""Training throughput beside PyTorch, for scripts/bench: one after the other, round by round."""
import json
import re
import statistics
import subprocess
import sys

SIZES, LENGTHS, DTYPES = ("10m", "60m"), (512, 2048), ("fp32", "bf16")


def of_peer(folder, python, implementation, size, dtype, length, threads):
    out = subprocess.run(
        [python, f"{folder}/train_torch.py", "--impl", implementation, "--size", size, "--dtype", dtype, "--seq", str(length),
         "--threads", str(threads), "--steps", "6", "--max-seconds", "40"], capture_output=True, text=True).stdout
    rate = re.search(r'"tokens_per_s": ([0-9.]+)', out)
    share = re.search(r'"mfu": ([0-9.]+)', out)
    memory = re.search(r'"rss_mb": ([0-9.]+)', out)  # MiB
    return tuple(float(x.group(1)) * factor for x, factor in ((rate, 1), (share, 1), (memory, 1.048576))) if rate and share and memory else None


def of_eyrie(bench, size, dtype, length):
    name = f"size:{size[:-1]}/length:{length}/bf16:{int(dtype == 'bf16')}/"
    out = subprocess.run([bench, f"--benchmark_filter={name}", "--benchmark_min_time=4", "--benchmark_format=json"],
                         capture_output=True, text=True, check=True).stdout
    one = json.loads(out)["benchmarks"][0]
    return one["tokens/s"], one["share_of_peak"], one["peak_MB"]


def against_peers(folder, python, bench, rounds, threads, only):
    """Case -> implementation -> medians of tokens/s, of the share of the product peak and of the largest resident memory."""
    cases = {}
    for size in SIZES:
        for length in LENGTHS:
            for dtype in DTYPES:
                case = f"{size} {length} {dtype}"
                if only and case.replace(" ", "/") not in only:
                    continue
                print(f"beside peers: {case}", file=sys.stderr)
                values = {}
                for number in range(rounds):
                    for implementation in ("best", "hf", "eyrie"):
                        if implementation == "hf" and number > 0:
                            continue  # slow and steady: once is enough
                        value = (of_eyrie(bench, size, dtype, length) if implementation == "eyrie" else
                                 of_peer(folder, python, implementation, size, dtype, length, threads))
                        if value:
                            values.setdefault(implementation, []).append(value)
                cases[case] = {name: {"tokens/s": float(f"{statistics.median(v[0] for v in all_):.4g}"),
                                      "share_of_peak": float(f"{statistics.median(v[1] for v in all_):.3g}"),
                                      "peak_MB": round(statistics.median(v[2] for v in all_))}
                               for name, all_ in values.items()}
    return cases
