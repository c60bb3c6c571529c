// Makes the golden data of the tokenizer tests. Run with node 20 and npm's tokenizers@0.23.2 (its own prebuilt engine):
//
//   node golden.mjs NODE_MODULES FILE.json...      writes FILE.golden.json.gz beside each, and texts.json.gz
//   node golden.mjs NODE_MODULES live N SEED FILE.json...   N random texts and their ids as JSON lines on stdout
//   node golden.mjs NODE_MODULES speed TEXT FILE.json       milliseconds of one encoding of the text
//
// The texts do not depend on the tokenizer: a seeded generator makes them from the lists below.
import fs from 'node:fs'
import path from 'node:path'
import zlib from 'node:zlib'
import { createRequire } from 'node:module'

const [modules, ...args] = process.argv.slice(2)
const { Tokenizer } = createRequire(path.resolve(modules) + '/')('tokenizers')

function random(seed) { // mulberry32
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

const specials = ['<|begin_of_text|>', '<|end_of_text|>', '<|eot_id|>', '<|endoftext|>', '<|im_start|>', '<|im_end|>', '<tool_call>', '<think>',
  '<s>', '</s>', '<unk>', '[INST]', '[/INST]', '<|user|>', '<|end|>', '<|assistant|>', 'word', 'left', '  both ', 'norm ed', '>>TITLE<<', '::=', '<0x41>', '<0xE2>']
const words = ['the', 'Hello', 'world', 'func', 'return', 'I\'m', 'you\'LL', 'we\'ve', 'HTTPServer', 'camelCase', 'snake_case', 'x1', '3.14159', '1234567', '0xFF', '你好世界',
  'привет', 'γειά', 'नमस्ते', 'สวัสดี', 'مرحبا', 'שלום', '안녕', 'ありがとう', 'naïve', 'cafe\u0301', 'Ǆungla', 'ﬁne', 'straße', 'İstanbul', '👩‍👩‍👧', '🇩🇪', '½', '²', '٣٤', 'Ⅷ', '㍿', '̈a']
const gaps = [' ', ' ', ' ', '  ', '   ', '\n', '\n\n', '\r\n', '\t', ' \n', '\n ', '\t\t', '\u00a0', '\u3000', '\u2028', '\u0085', '\u200b', '\ufeff', '', '', '.', ', ', '/', '(', ')', '"', '▁', 'Ġ', '—', '…']
const code = ['for i := 0; i < n; i++ {\n\t\tx[i] += y[i]\n\t}\n', 'def f(a, b=2):\n    return a**b  # power\n', '<div class="x">&nbsp;</div>\r\n', 'SELECT * FROM t WHERE a >= 1.5e-3;', '#include <stdio.h>\n\nint main(void) { return 0; }\n',
  'if err != nil {\n\treturn fmt.Errorf("%w", err)\n}\n\n\n', '\\frac{a}{b} \\sum_{i=0}^{n}', '{"key": [1, 2.0, null, true]}', 'https://example.org/a?b=c&d=%20#e', '$ ls -la | grep "^d"\n', '// \u00e9t\u00e9 \u2014 comment\n']

function fixed() {
  const out = ['', ' ', '  ', '\n', '\t', 'a', ' a', 'a ', '  a', 'a  ', ' \n', '\n ', '\r\n', '\r\n\r\n', '\n\n\n', ' \t \n', 'a\n b', 'a \n\n b', 'a\n \n', '.\n\n', '!!!\r\n', '▁', '▁▁', ' ▁', '▁ a', 'Ġ', 'Ċ', '\ufffd', '\u0000', 'a\u0000b', '\ufeffa', 'e\u0301', '\u1100\u1161\u11a8', '가', 'Å', 'Å', 'ﬀ', '\u0344', '\u0fb5\u0fb2\u0f71']
  for (const c of ["'s", "'S", "'ſ", "'t", "'T", "'re", "'RE", "'rE", "'ve", "'m", "'M", "'ll", "'LL", "'d", "'D", "''s", "' s", "'x", "’s"]) out.push('it' + c, c, ' ' + c, 'It' + c + 'x', '1' + c)
  for (let n = 1; n <= 40; n++) out.push(' '.repeat(n) + 'x', 'x' + ' '.repeat(n), '\n'.repeat(n), '\t'.repeat(n), '1'.repeat(n), 'a'.repeat(n), '='.repeat(n))
  for (const n of [64, 129, 300]) out.push(' '.repeat(n), 'ab'.repeat(n), '9'.repeat(n), '好'.repeat(n), '\u0301'.repeat(n), '-'.repeat(n) + '\n')
  for (let c = 0; c < 0x20; c++) out.push('a' + String.fromCharCode(c) + 'b' + String.fromCharCode(c, c) + ' c')
  for (let c = 0x7f; c < 0xa1; c++) out.push('a' + String.fromCharCode(c) + ' b')
  for (const s of specials) out.push(s, ' ' + s, s + ' ', 'a' + s + 'b', 'a ' + s + ' b', s + s, s + '\n' + s, '\t ' + s + ' \t' + s, s.slice(0, -1), s.toUpperCase(), 'é' + s + '\u0301')
  return out.concat(words, code)
}

const assigned = /^\p{Assigned}$/u
function blocks(rnd) { // twelve characters from each block of 256
  const out = []
  for (let b = 0; b < 0x110000; b += b < 0x20000 ? 256 : 4096) {
    const all = []
    for (let c = b; c < b + 256; c++) if ((c < 0xd800 || c > 0xdfff) && assigned.test(String.fromCodePoint(c))) all.push(String.fromCodePoint(c))
    if (all.length === 0) continue
    let s = ''
    for (let i = 0; i < 12; i++) s += (rnd() < 0.2 ? gaps[Math.floor(rnd() * gaps.length)] : '') + all[Math.floor(rnd() * all.length)]
    out.push(s)
  }
  return out
}

function mixed(rnd, n, anything) {
  const pick = (a) => a[Math.floor(rnd() * a.length)]
  const out = []
  for (let i = 0; i < n; i++) {
    let s = ''
    for (let j = Math.floor(rnd() * 9) + 1; j > 0; j--) {
      const k = rnd()
      if (anything && k < 0.5) {
        const base = Math.floor(rnd() * 0x32000)
        for (let m = Math.floor(rnd() * 6) + 1; m > 0; m--) {
          const c = rnd() < 0.8 ? base + Math.floor(rnd() * 64) : Math.floor(rnd() * 0x110000)
          if (c < 0x110000 && (c < 0xd800 || c > 0xdfff)) s += String.fromCodePoint(c)
        }
      } else if (k < 0.75) s += pick(words)
      else if (k < 0.8) s += pick(specials)
      else if (k < 0.87) { const c = pick(code), p = Math.floor(rnd() * c.length); s += c.slice(p, p + 12) }
      else s += String.fromCharCode(32 + Math.floor(rnd() * 95)).repeat(Math.floor(rnd() * 4) + 1)
      s += pick(gaps)
    }
    out.push(s.toWellFormed ? s.toWellFormed() : s)
  }
  return out
}

const write = (file, v) => fs.writeFileSync(file, zlib.gzipSync(JSON.stringify(v), { level: 9, mtime: 0 }))

if (args[0] === 'live') {
  const [, n, seed, ...files] = args
  const texts = mixed(random(Number(seed)), Number(n), true)
  for (const f of files) {
    const tok = Tokenizer.fromFile(f)
    for (const t of texts) {
      const ids = (await tok.encode(t)).getIds()
      console.log(JSON.stringify({ file: path.basename(f), text: t, ids, decoded: await tok.decode(ids, false) }))
    }
  }
} else if (args[0] === 'speed') {
  const text = fs.readFileSync(args[1], 'utf8'), times = []
  for (let i = 0; i < 7; i++) {
    const tok = Tokenizer.fromFile(args[2]), t = performance.now()
    const n = (await tok.encode(text)).getLength()
    times.push(performance.now() - t)
    if (i === 0) console.log(`${n} ids`)
  }
  console.log(times.map((t) => t.toFixed(1)).join(' ') + ' ms')
} else {
  const rnd = random(1)
  const texts = [...new Set([...fixed(), ...blocks(rnd), ...mixed(rnd, 900, false)])]
  console.log(`${texts.length} texts`)
  write(path.join(path.dirname(args[0]), 'texts.json.gz'), texts)
  for (const f of args) {
    const tok = Tokenizer.fromFile(f), rnd = random(2), size = tok.getVocabSize(true)
    const golden = { size, texts: [], random: [] }
    for (const t of texts) {
      const ids = (await tok.encode(t)).getIds()
      const r = { ids } // and what differs: ids without special tokens, the text decoded with and without them
      const plain = (await tok.encode(t, null, { addSpecialTokens: false })).getIds()
      if (plain.length !== ids.length) r.plain = plain
      const d = await tok.decode(ids, false), s = await tok.decode(ids, true)
      if (d !== t) r.decoded = d
      if (s !== t) r.skipped = s
      golden.texts.push(r)
    }
    for (let i = 0; i < 400; i++) {
      const ids = Array.from({ length: Math.floor(rnd() * 12) + 1 }, () => Math.floor(rnd() ** 2 * size))
      golden.random.push({ ids, decoded: await tok.decode(ids, false), skipped: await tok.decode(ids, true) })
    }
    write(f.replace(/\.json$/, '.golden.json.gz'), golden)
  }
}
