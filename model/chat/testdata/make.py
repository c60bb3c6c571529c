#!/usr/bin/env python3
"""Writes golden.json: what transformers makes of the templates and conversations here.

    python3 make.py .        (transformers 5.12.1, jinja2 3.1.6)

The templates are written for this test, with the statements, filters, methods and
white space of the public models' templates that they are named after.
"""
import datetime, json, os, random, sys
import transformers.utils.chat_template_utils as t


class Fixed(datetime.datetime):
    @classmethod
    def now(cls):
        return cls(2026, 11, 3, 4, 5, 6)


t.datetime = Fixed


def msg(role):
    return lambda content, **more: {"role": role, "content": content, **more}


U, A, S, T = msg("user"), msg("assistant"), msg("system"), msg("tool")
CALL = [{"id": "abcDEF123", "type": "function", "function": {"name": "weather", "arguments": {
    "city": "Zürich", "b": {"z": 1, "a": [1, 2.5, 1e16, 1e-5, -0.0, True, None, "<&'\">\u2028é\n\x01"]}, "a": {}}}}]
CONVERSATIONS = {
    "user": [U("Hi")],
    "system": [S("You are terse."), U("Hi")],
    "turns": [U("Hi"), A("Hello."), U("And now?")],
    "system-turns": [S("You are terse."), U("Hi"), A("Hello."), U("And now?"), A("Bye."), U("?")],
    "ends-with-assistant": [S("s"), U("Hi"), A("Hello.")],
    "unicode": [S("Grüße 你好 🙂‍↔️ \u0301"), U("日本語\u3000のテスト\u00a0\ufeff é e\u0301 \U0001d11e\x00\x07")],
    "spaces": [S("  \n\t s \r\n"), U("\n\n  a  b\t\n "), A(" \x0b\x0c x \x1c\x85\u2028 "), U("\u00a0\u3000y\u2003 \u200b")],
    "tags": [U("a\\nb {{ bos_token }} {% raw %} {# c #} <b>&amp;'\"</b> %s {0}"), A("}} %} #}"), U("[INST] <|im_end|></s><|eot_id|>")],
    "line-ends": [U("a\r\nb\rc\n")],
    "empty": [U("")],
    "empty-system": [S(""), U("x")],
    "numbers": [S("1"), U("2"), A("3.0"), U("True")],
    "assistant-first": [A("Hello."), U("Hi")],
    "two-users": [U("a"), U("b")],
    "same-users": [S("s"), U("a"), A("b"), U("a")],
    "system-late": [U("a"), A("b"), S("c"), U("d")],
    "only-system": [S("a")],
    "unknown-role": [U("a"), msg("critic")("b")],
    "think": [U("2+2?"), A("<think>\nwell\n\n</think>\n\n4"), U("sure?")],
    "think-last": [U("2+2?"), A("<think>\nwell\n</think>\n\n4")],
    "think-no-start": [U("q"), A("well\n</think>\n\n4")],
    "think-twice": [U("q"), A("<think>a</think>b<think>c</think>\nd")],
    "reasoning": [U("2+2?"), A("4", reasoning_content="\nlet me see\n")],
    "tool-call": [U("Weather?"), A("", tool_calls=CALL), T('{"t": 20}', tool_call_id="abcDEF123"), A("20 degrees."), U("Thanks")],
    "tool-call-id": [U("Weather?"), A("", tool_calls=[{"id": "1", "function": {"name": "f", "arguments": {}}}])],
    "two-calls": [U("?"), A("Look:", tool_calls=CALL + CALL), T("a", tool_call_id="abcDEF123"), T("b", tool_call_id="abcDEF123"), U("x")],
    "name": [U("Hi", name="bob")],
}
EXPRESSIONS = r"""{{ messages|tojson }}
{{ messages[0].nope }}|{{ nope }}|{{ messages[0].nope is defined }}{{ messages[0].nope is none }}{{ tools is none }}{{ tools is defined }}
{% if not tools %}a{% endif %}{% if nope %}b{% endif %}{% if '' or [] or {} or 0 or none %}c{% endif %}
{% set l = ['a'] %}{{ l[-1] }}{{ (messages[:1] | list)[-1].content }}
{% set l = [1] + [2, 3] %}{{ l[-3] }}{{ l[1:] | length }}{{ l|first }}{{ l|last }}
{{ 'a' if 1 == 2 else 'b' }}{{ 'a' if true }}{{ 'a' if false }}
{{ 'z' not in 'abc' and 'a' in 'abc' and not 'z' in 'abc' }}{{ 'role' in messages[0] }}{{ 1 in [1, 2] }}
{{ 'abc'[1:] }}{{ 'abc'[:-1] }}{{ 'abc'[::-1] }}{{ 'é日本'[1:] }}
{{ 'a' ~ 1 ~ true }}{{ 1 + 2 - 4 }}{{ 7 % 3 }}{{ 1 < 2 }}{{ 'a' < 'b' }}{{ 1 == 1.0 }}
{{ ' a b '.split() | join('-') }}{{ 'a,b,c'.split(',', 1) | tojson }}{{ ''.split(',') | length }}
{{ 'aXbX'.replace('X', 'y') }}{{ 'aXbX'.replace('X', 'y', 1) }}{{ 'aXbX' | replace('X', '') }}
{{ 'xxaxx'.strip('x') }}{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith('ab') }}{{ 'aB'.upper() }}{{ 'aB' | lower }}
{% for i in range(5) %}{% if i == 3 %}{% break %}{% endif %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}
{% for i in range(4, 0, -2) %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ i }}{% endfor %}
{% for m in messages if m.role == 'nope' %}x{% else %}none{% endfor %}
{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}{{ v }}{% endfor %}
{% set x = 1 %}{% for i in [1, 2] %}{% set x = 2 %}{% endfor %}{{ x }}{% if true %}{% set x = 3 %}{% endif %}{{ x }}
{% set x %}a{{ 1 }}b{% endset %}{{ x }}{% raw %}{{ x }}{% endraw %}
{{ nope | default('d') }}{{ '' | default('d') }}{{ '' | default('d', true) }}
{{ {'b': [1.0, 1e22, 0.1], 'a': none} | tojson }}{{ {'b': 1, 'a': 2} | tojson(sort_keys=true, separators=(',', ':')) }}{{ ['é<'] | tojson(ensure_ascii=true) }}
{{ messages[0].get('content') }}{{ messages[0].get('nope', 'd') }}
{{ strftime_now('%Y-%m-%d %H:%M:%S %B %b %A %a %y %I %p %j %%') }}
{% generation %}a{% endgeneration %}b
{{ "a\n\t\\\"\u00e9\x41" }}
{{ 'it' 's' }}
{{ 1.0 }}{{ true }}{{ [1, 'a'] }}
{{ messages | map(attribute='role') | list }}
{{ messages[0].content is string }}{{ messages is mapping }}{{ messages[0] is mapping }}{{ messages is sequence }}{{ 1 is number }}{{ true is false }}
{{ nope.nope }}
{{ messages[9].content }}
{{ 'a' + 1 }}
{{ raise_exception('a reason') }}""".split("\n")

random.seed(7)
DATA = ["a", " ", "\n", "  ", "\t", "\n  ", "a\n", " \n "]
TAGS = ["{{ 'v' }}", "{{- 'v' }}", "{{ 'v' -}}", "{# c #}", "{#- c #}", "{# c -#}"]


def tag(s):
    return "{%" + random.choice(["", "", "-"]) + " " + s + " " + random.choice(["", "", "-"]) + "%}"


def spaces(depth=0):
    s = ""
    for _ in range(random.randint(1, 4)):
        r = random.random()
        if r < .45:
            s += random.choice(DATA)
        elif r < .7:
            s += random.choice(TAGS)
        elif depth < 3:
            s += tag("if true") + spaces(depth + 1) + tag("endif")
        else:
            s += tag("set x = 1")
    return s


def render(template, messages, generate=True):
    try:
        text = t.render_jinja_template([messages], chat_template=template, add_generation_prompt=generate,
                                       bos_token="<s>", eos_token="</s>")[0][0]
        return {"text": text}
    except Exception as e:
        return {"refused": str(e) if type(e).__name__ == "TemplateError" else type(e).__name__}


here = sys.argv[1]
golden = {"conversations": CONVERSATIONS, "templates": {}, "expressions": [], "spaces": []}
for f in sorted(os.listdir(here + "/templates")):
    source = open(f"{here}/templates/{f}", newline="").read()
    golden["templates"][f] = {n: [render(source, c, g) for g in (True, False)] for n, c in CONVERSATIONS.items()}
golden["expressions"] = [[e, render(e, CONVERSATIONS["turns"])] for e in EXPRESSIONS]
golden["spaces"] = [[s, render(s, [])] for s in (spaces() for _ in range(500))]
with open(here + "/golden.json", "w") as out:
    json.dump(golden, out, ensure_ascii=True, indent=0)
    out.write("\n")
