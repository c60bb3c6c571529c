"""Writes golden.json: what CPython's re (3.11) says of a table of patterns and
of random ones. For each pattern either "error", or "match": one digit a text,
1 where re.search finds it.

    python3 golden.py > golden.json
"""

import json
import random
import re
import sys
import warnings

warnings.simplefilter("ignore")

TEXTS = [
    "", "a", "b", "aa", "ab", "ba", "abc", "aab", "abab", "AB", "aB1_", "1", "12", "a1", "a b", " ", "\t", "\n", "a\n", "a\nb", "\nab",
    "model.embed_tokens", "model.layers.0", "model.layers.1.mlp.gate_up_proj", "model.layers.0.self_attn.rotary_emb",
    "model.layers.10.self_attn.qkv_proj", "model.norm", "lm_head", "logits_processor", "-", "]", "[", "a-b", "a]", "^", "\\", "{", "a{2}",
    "a{", "{,2}", "#", "a#b", "é", "É", "ß", "٣", "Ⅷ", "²", "_", "‿", "\u0301", "a\u0301", "\xa0", "\x85", "\x1c", "\u200b", "日本", "\x00", "\x08",
    "\U0001f600", "xyx", "xyy", "aaa", "aaaa", "(a)", "a.b", "axb", "foobar", "barfoo", "foo1", "a|b", "zz", "zZ",
]

TABLE = r"""
abc
model\.norm
layers\.0\.(?!.*rotary_emb).*
rotary_emb
embed_tokens
^model\.layers\.(\d+)\.mlp
layers\.[0-3]$
(?:a|b)c
(?i:ab)
(?i)AB
(?s)a.b
(?m)^ab$
(?x) a  b # comment
(?xi) A [ #] b
(?P<n>a)(?P=n)
(?P<n>a)(b)\1\2
(a)(?P<n>b)\2
(?P<a>.)(?P<b>.)(?P=a)
(.)(.)\2
(.)(.)\1
(?:(a)|b)(?(1)b|a)
(?P<q>a)?b(?(q)a|c)
(a)?(?(1)b)
(?(1)a|b)(a)
(?(2)a|b)(a)
(?(0)a)
(?(x)a)
(?(1)a|b|c)(a)
(?<=a)b
(?<!a)b
(?<=foo)bar
(?<=\.)0
(?<=a|b)c
(?<=ab|c)d
(?<=a*)b
(?<=a+)b
(?<=a?)b
(?<=a{2})a
(?<=a{1,2})a
(?<!a{3})a
(?<=(a))b
(?<=(a)\1)b
(a)(?<=\1)b
(?<=(?P<x>a)(?P=x))b
(?<=^)a
(?<=\b)a
(?<=(?=a))a
(?<=(?>a))b
(?<=a{2}+)a
(?=a)
(?!a)
(?=a)*
(?=a){2}b
a(?=b)
a(?!b)
(?>a+)b
(?>a+)a
a++b
a++a
a*+a
a?+a
a{1,2}+a
a{2}+
a+++
(?:ab)++
a{2}
a{2,}
a{,2}
a{,2}b
a{1,2}?
a{,}
a{}
a{
a{2
a{2,
a{,b}
{
{2}
{,2}
a{2,1}
a{4294967294}
a{4294967295}
a{99999999999999999999}
a{0}
a{0,0}b
a**
a*?
a*??
a+*
a??
a???
a{2}{3}
(?:a{2}){2}
*
+a
?
^*
$+
\b+
\A*
(?:^)*
(?:)*
()*
(a|)*b
(a*)*b
(?:a?)*?b
(?#c)*a
a(?#c)*
a(?#c\))b
(?#c
\
a\
\\
\.
\-
\_
\ 
\a
\e
\g
\k<n>
\z
\Z
a\Z
\A
\Aa
\b
\B
\ba\b
\Ba
a\B
\d
\D
\s
\S
\w
\W
\w+
^\w+$
^\W$
^\S$
^\D$
[\d]
[\D]
[\s]
[\S]
[\w]
[\W]
[^\d]
[^\D]
[^\s]
[^\S]
[^\w]
[^\W]
[\W\d]
[^\W\d]
[\s\d]
[a\W]
[^a\W]
(?a)\w
(?a)\W
(?a)[\W]
(?a)[^\W]
(?a)\d
(?a)\D
(?a)\s
(?a)\S
(?a)\b
(?a)\B
(?a:\w)
(?a:\w)\w
(?u)\w
(?u:\w)
(?a)a?(?u:\w)
(?a)(?u)\w
(?au)a
(?L)a
(?L:a)
(?aL)a
(?i)(?m)^B
(?i)(?x) b
a(?i)b
(?i)a|(?i)b
((?i)a)
(?:(?i)a)
 (?i)a
(?#c)(?i)A
(?i-s:a.)
(?s-i:a.b)
(?-i:a)
(?i)(?-i:a)B
(?-a:a)
(?i-i:a)
(?i-:a)
(?-)
(?i
(?i-
(?k)
(?k:a)
(?ik:a)
(?i-k:a)
(?
(?P
(?P<
(?P<n
(?P<n>
(?P<>a)
(?P<1>a)
(?P<n m>a)
(?P<é>a)
(?P<n>a)(?P<n>b)
(?P<n>a|(?P=n))
(?P=n)
(?P>n)
(?P!a)
(?<n>a)
(?'n'a)
(?<
(?|a|b)
(?&a)
(?R)
(?+1)
(?1)
(
)
a)
(a
(a))
()
(|a)
a|
|a
a||b
\0
\00
\07
\08
\1
(a)\1
(a)\2
(a\1)
(a)\01
(a)\11
\11
\111
\400
\377
\8
\81
\x41
\x4
\xgg
\u0041
\u004
\U00000041
\U0001f600
\U00110000
\ud800
\N{DIGIT ONE}
\N
\p{L}
\pL
\P{L}
\Q.\E
\R
\X
\h
\K
\G
\c
\cA
[
[]
[^]
[]]
[^]]
[]a]
[^]a]
[a
[a-
[a-]
[-a]
[a-c]
[c-a]
[a-\d]
[\d-a]
[\d-]
[a\-c]
[a-a]
[--a]
[a--]
[a--b]
[!--]
[[:alpha:]]
[a-z-[aeiou]]
[a[b]]
[[]
[\]]
[\[]
[\\]
[\b]
[\B]
[\A]
[\z]
[\Z]
[\a]
[\e]
[\1]
[\8]
[\400]
[\x41-\x43]
[\u0041]
[\N{DIGIT ONE}]
[\p{L}]
[^^]
[a^]
[&&a]
[a||b]
[a~~b]
[.]
[$]
[\n]
[ #]
[é]
(?i)É
(?i)[é]
(?i)ß
(?i)[a-z]
(?i)(.)\1
.
^.$
(?s)^.$
$
^$
(?m)$\n^
a$
a\n$
(?m)a$
\n
a#b
(?x)a#b
(?x)a\#b
(?x)a\ b
(?x)a[ ]b
(?x) a {2}
(?x)a{2} {2}
(?x)a {1,2} ?
(?x)( ?:a)
(?x: a b )b
(?x)(?-x:a b)
(?-x: a)
(?x)a #c\
(?:(?:(?:a)))
((((((((((a))))))))))\10
(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)\10
(?=(a))\1
(?!(a))\1
(?:(a)|b)\1
(a)|\1b
(?:(a)|(b))+\2
(ab)+?\1
^(?:a|ab)$
^(?:a|ab)(?:c|)$
^(?>a|ab)$
^(?>a|ab)c?$
""".strip("\n").split("\n")


def random_pattern(r, depth=0):
    atoms = ["a", "b", "ab", ".", "1", r"\w", r"\W", r"\d", r"\s", r"\b", r"\B", "^", "$", "[ab]", "[^a]", r"[\w-]", r"[^\W_]", r"\.", "_",
             r"\A", r"\Z", "{", "]", "(?#x)", r"\1", r"\2", "(?P=n)", "[a-", r"\x61", "é"]
    opens = ["(", "(?:", "(?P<n>", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?s-i:", "(?a:", "(?(1)", "(?i)", "(?x: "]
    out = []
    for _ in range(r.randint(1, 4)):
        if depth < 3 and r.random() < 0.35:
            s = r.choice(opens) + random_pattern(r, depth + 1) + (")" if r.random() < 0.97 else "")
        else:
            s = r.choice(atoms)
        if r.random() < 0.4:
            s += r.choice(["*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{,2}", "{1,}", "*+", "++", "?+", "{1,2}+", "{0}", "{2"])
        out.append(s)
        if r.random() < 0.12:
            out.append("|")
    return "".join(out)


def entry(pattern):
    try:
        p = re.compile(pattern)
    except (re.error, OverflowError, RecursionError, ValueError) as e:
        return {"pattern": pattern, "error": str(e)}
    return {"pattern": pattern, "match": "".join("1" if p.search(t) else "0" for t in TEXTS)}


def main():
    seed, count = (int(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) > 2 else (1, 700)
    r = random.Random(seed)
    patterns = TABLE + ["a\nb", "(?x)a\nb", "(?x)a # c\nb", "(?x)a # c \\\nb", "[\n]", "a\\\nb", "\x00"]
    patterns += [random_pattern(r) for _ in range(count)]
    lines = [json.dumps(entry(p)) for p in dict.fromkeys(patterns)]
    print('{"texts": ' + json.dumps(TEXTS) + ',\n"patterns": [\n' + ",\n".join(lines) + "\n]}")


main()
