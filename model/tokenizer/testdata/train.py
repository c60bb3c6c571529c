"""Trains the small tokenizers of this folder. Run with Python, tokenizers 0.23.1, sentencepiece 0.2.2:

    python3 train.py CORPUS OUT

CORPUS is any UTF-8 text in many languages; ours was the Go sources of GOROOT/src/{strconv,strings,text,unicode}
(Go 1.26) and golang.org/x/text v0.43.0. The files imitate the tokenizers named in each function.
"""

import json, sys
import sentencepiece as spm
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

corpus, out = sys.argv[1:3]
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
          r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def train(tok, size, alphabet):
    tok.train([corpus], trainers.BpeTrainer(vocab_size=size, show_progress=False, initial_alphabet=list(alphabet), limit_alphabet=400))
    return tok


def save(tok, name, **change):
    d = json.loads(tok.to_str())
    d["model"].update(change)
    json.dump(d, open(f"{out}/{name}.json", "w"), ensure_ascii=False, separators=(",", ":"))


def bytelevel(pattern, size, regex=False, first=()):
    tok = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    tok.pre_tokenizer = pre_tokenizers.Sequence([*first, *([pre_tokenizers.Split(Regex(pattern), "isolated")] if pattern else []), level])
    tok.decoder = decoders.ByteLevel()
    return train(tok, size, alphabet=pre_tokenizers.ByteLevel.alphabet())


def bos(tok, token):
    return processors.TemplateProcessing(single=f"{token} $A", pair=f"{token} $A {token} $B", special_tokens=[(token, tok.token_to_id(token))])


def llama3():  # Llama 3: ignore_merges, template inside a Sequence
    tok = bytelevel(LLAMA3, 2000)
    tok.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
                           + [f"<|reserved_special_token_{i}|>" for i in range(20)])
    tok.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), bos(tok, "<|begin_of_text|>")])
    save(tok, "llama3", ignore_merges=True)


def qwen2():  # Qwen 2 and 3: NFC, added tokens that are not special, merges as lines (files before tokenizers 0.20)
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN2), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    train(tok, 2000, alphabet=pre_tokenizers.ByteLevel.alphabet())
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    tok.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tok.add_tokens([AddedToken(t, normalized=False) for t in ["<tool_call>", "</tool_call>", "<think>", "</think>"]])
    merges = json.loads(tok.to_str())["model"]["merges"]
    save(tok, "qwen2", merges=[f"{a} {b}" for a, b in merges])


def tekken():  # Mistral Nemo and later
    tok = bytelevel(TEKKEN, 1500)
    tok.add_special_tokens(["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]"])
    tok.post_processor = bos(tok, "<s>")
    save(tok, "tekken", ignore_merges=True)


def smollm():  # SmolLM: digits, then GPT-2's own pattern
    tok = bytelevel(None, 1500, regex=True, first=[pre_tokenizers.Digits(individual_digits=True)])
    tok.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    save(tok, "smollm")


def spm_pieces(tok_size):
    """Vocabulary and merges as the conversion of a SentencePiece model has them: <unk>, <s>, </s>, 256 bytes, then the rest."""
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    train(tok, tok_size, alphabet=["▁"])
    model = json.loads(tok.to_str())["model"]
    head = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    vocab = {t: i for i, t in enumerate(head)}
    for t in sorted(model["vocab"], key=model["vocab"].get):
        vocab.setdefault(t, len(vocab))
    return vocab, [tuple(m) for m in model["merges"]]


def llama2():  # Llama 2, TinyLlama: everything in the normalizer, specials that are normalized
    vocab, merges = spm_pieces(1600)
    tok = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tok.add_special_tokens([AddedToken(t, normalized=False) for t in ["<unk>", "<s>", "</s>"]])
    tok.post_processor = bos(tok, "<s>")
    save(tok, "llama2")
    # Older conversions mark the special tokens as normalized.
    tok = Tokenizer.from_file(f"{out}/llama2.json")
    d = json.loads(tok.to_str())
    for t in d["added_tokens"]:
        t["normalized"] = True
    json.dump(d, open(f"{out}/llama2old.json", "w"), ensure_ascii=False, separators=(",", ":"))


def phi3():  # Phi-3: the same with specials that take white space on the right
    tok = Tokenizer.from_file(f"{out}/llama2.json")
    tok.add_special_tokens([AddedToken("<|endoftext|>", normalized=False)]
                           + [AddedToken(t, rstrip=True, normalized=False) for t in ["<|assistant|>", "<|system|>", "<|end|>", "<|user|>"]])
    tok.add_tokens([AddedToken("word", single_word=True, normalized=False), AddedToken("left", lstrip=True, normalized=False),
                    AddedToken("  both ", lstrip=True, rstrip=True), AddedToken("norm ed")])
    save(tok, "phi3")


def mistral():  # Mistral v0.3, Llama 2 with legacy false: Metaspace, no normalizer
    vocab, merges = spm_pieces(1200)
    tok = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tok.add_special_tokens(["<unk>", "<s>", "</s>", "[INST]", "[/INST]"])
    tok.post_processor = bos(tok, "<s>")
    save(tok, "mistral")


def odd():  # not seen in practice: no byte fallback, unk not fused, Metaspace that splits, a template with two texts
    vocab, merges = spm_pieces(900)
    tok = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=False))
    tok.normalizer = normalizers.NFKD()
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split("(", "merged_with_previous"), pre_tokenizers.Split(Regex("[A-Z]+"), "merged_with_next"),
                                                 pre_tokenizers.Split(Regex(r"\t|\d+"), "removed"), pre_tokenizers.Split(Regex("[a-z ]+"), "contiguous", invert=True),
                                                 pre_tokenizers.Metaspace(prepend_scheme="always", split=True)])
    tok.decoder = decoders.Metaspace(prepend_scheme="always")
    tok.add_special_tokens(["<unk>", "<s>", "</s>"])
    tok.post_processor = processors.TemplateProcessing(single="<s> $A </s> $A", special_tokens=[("<s>", 1), ("</s>", 2)])
    save(tok, "odd")


def sentencepiece():  # Llama 2's own options of SentencePiece
    spm.SentencePieceTrainer.train(
        input=corpus, model_prefix=f"{out}/spm", model_type="bpe", vocab_size=1500, byte_fallback=True, character_coverage=0.995,
        normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=True, split_digits=True,
        allow_whitespace_only_pieces=True, max_sentence_length=20000, minloglevel=2, user_defined_symbols=["<|user|>", "::="])


for f in [llama3, qwen2, tekken, smollm, llama2, phi3, mistral, odd, sentencepiece]:
    f()
