#!/usr/bin/env python3
"""Packs the part of a corpus of .pt files that the tests always walk.

    pack.py CORPUS OUT.tar.gz

A corpus is a folder of files with a manifest.json: what PyTorch 1.7, 1.13, 2.6
and 2.14 read from them (ptcorpus), or what each broken file tries
(ptcorpus_bad). The pack holds all files but the large ones, and of the manifest
what the tests look at. It is the same for the same corpus.
"""
import gzip, io, json, os, sys, tarfile

LARGE = 20_000
KEEP_LARGE = {"t113/dt_float16_all.pt", "t26/shape_dim70000.legacy.pt", "t214/align4096.pt"}
FILE_KEYS = "file expect optional location fill note tries tensors".split()
TENSOR_KEYS = "path dtype shape stride storage_offset sha256 quant device".split()


def main(corpus, out):
    with open(os.path.join(corpus, "manifest.json")) as f:
        files = json.load(f)["files"]
    kept = []
    with open(out, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, 0) as gz, tarfile.open(fileobj=gz, mode="w") as tar:
        def add(name, data):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))

        for f in files:
            with open(os.path.join(corpus, f["file"]), "rb") as r:
                data = r.read()
            # A large file that is nearly all one pattern costs nothing.
            if len(data) > LARGE and f["file"] not in KEEP_LARGE and len(gzip.compress(data)) > LARGE:
                continue
            add(f["file"], data)
            f = {k: f[k] for k in FILE_KEYS if f.get(k)}
            f["tensors"] = [{k: t[k] for k in TENSOR_KEYS if k in t} for t in f.get("tensors", [])]
            kept.append(f)
        add("manifest.json", json.dumps({"files": kept}, ensure_ascii=False).encode())


main(*sys.argv[1:])
