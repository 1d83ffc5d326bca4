"""Compares Pando's graph with hnswlib's: same vectors, M = 16, ef_construction = 128, k = 10, one thread, in turn.

    python3 -m venv .bin/hnswlib && .bin/hnswlib/bin/pip install -r tools/hnswlib/requirements.txt
    go test -c -o .bin/hnsw.test ./services/dataplane/internal/index/hnsw
    .bin/hnswlib/bin/python tools/hnswlib/compare.py .bin/hnsw.test FOLDER [ROUNDS]

FOLDER is one set of vectors (base.*.npy.gz, queries.*.npy, distances.f32.npy). Speeds are searches in a second of CPU
time, interpolated in log(speed) to equal recall@10, which is scored by distance. Each round runs both programs; the best
round of each counts, and the ratios of all are shown.
"""
import gzip, io, os, pathlib, re, subprocess, sys, time

import hnswlib
import numpy as np

EFS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)
HERE = pathlib.Path(__file__).resolve().parents[2]


def load(folder):
    base = np.load(io.BytesIO(gzip.decompress(next(folder.glob("base.*.npy.gz")).read_bytes()))).astype(np.float32)
    queries = np.load(next(folder.glob("queries.*.npy"))).astype(np.float32)
    return base, queries, np.load(folder / "distances.f32.npy")[:, 9]


def build(folder, base, cache):
    space = "l2" if folder.name.endswith("euclidean") else "cosine"
    index = hnswlib.Index(space, base.shape[1])
    kept = cache / (folder.name + ".hnswlib")
    if kept.exists():
        index.load_index(str(kept))
        return index
    index.init_index(len(base), M=16, ef_construction=128, random_seed=1)
    cpu = time.process_time()
    index.add_items(base, num_threads=1)
    print(f"hnswlib build: {time.process_time() - cpu:.1f} s of CPU, one thread")
    index.save_index(str(kept))
    return index


def theirs(index, queries, worst, euclid):
    out = []
    for ef in EFS:
        index.set_ef(ef)
        best = 0.0
        for _ in range(3):
            cpu = time.process_time()
            _, distances = index.knn_query(queries, k=10, num_threads=1)
            best = max(best, len(queries) / (time.process_time() - cpu))
        distances = np.sqrt(np.maximum(distances, 0)) if euclid else distances
        out.append(((distances <= (worst + 1e-6 * np.maximum(1, worst))[:, None]).sum(axis=1).mean() / 10, best))
    return out


def ours(binary, folder, cache, data):
    env = dict(os.environ, PANDO_DATA=str(data), PANDO_GRAPHS=str(cache))
    run = subprocess.run([binary, "-test.run=^$", f"-test.bench=Search/^{folder.name}$/ef=", "-test.benchtime=500x"],
                         cwd=HERE / "services/dataplane/internal/index/hnsw", env=env, capture_output=True, text=True, check=True)
    rows = re.findall(r"ef=\d+\S*\s.*?([\d.]+) cpu-qps\s+([\d.]+) recall", run.stdout)
    return [(float(recall), float(qps)) for qps, recall in rows]


def at(curve, recall):
    for (r0, q0), (r1, q1) in zip(curve, curve[1:]):
        if r0 <= recall <= r1 and r1 > r0:
            return float(np.exp(np.interp(recall, [r0, r1], np.log([q0, q1]))))
    return float("nan")


def main():
    binary, folder = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    cache = HERE / ".bin/graphs"
    cache.mkdir(parents=True, exist_ok=True)
    data = cache / ("only-" + folder.name)
    data.mkdir(exist_ok=True)
    if not (data / folder.name).exists():
        (data / folder.name).symlink_to(folder)
    base, queries, worst = load(folder)
    index = build(folder, base, cache)
    del base
    turns = [(ours(binary, folder, cache, data), theirs(index, queries, worst, folder.name.endswith("euclidean"))) for _ in range(rounds)]
    for recall in (0.90, 0.95, 0.99):
        pairs = [(at(a, recall), at(b, recall)) for a, b in turns]
        ratios = " ".join(f"{a / b:.2f}" for a, b in pairs)
        print(f"{folder.name} recall {recall}: Pando {max(a for a, _ in pairs):.0f}, hnswlib {max(b for _, b in pairs):.0f} per second of CPU; ratio by round: {ratios}")


if __name__ == "__main__":
    main()
