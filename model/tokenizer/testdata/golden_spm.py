"""Makes spm.golden.json.gz: ids and texts of spm.model by the SentencePiece library (0.2.2) for the texts of texts.json.gz.

    python3 golden_spm.py FOLDER
"""

import gzip, json, sys
import sentencepiece as spm

folder = sys.argv[1]
sp = spm.SentencePieceProcessor(model_file=f"{folder}/spm.model")
texts = json.load(gzip.open(f"{folder}/texts.json.gz"))
out = []
for t in texts:
    ids = sp.encode(t)
    d = sp.decode(ids)
    out.append({"ids": ids} if d == t else {"ids": ids, "decoded": d})
with gzip.GzipFile(f"{folder}/spm.golden.json.gz", "wb", mtime=0) as f:
    f.write(json.dumps({"size": sp.get_piece_size(), "texts": out}).encode())
