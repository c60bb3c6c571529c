"""Writes json_golden.json: values as Python's json.dump(indent=2) writes them.

    python3 json_golden.py > json_golden.json

Each line of the "values" list of json_test.go stands in the same place here.
"""

import json

VALUES = [
    None, True, False, 0, -7, 9007199254740993, 0.0, -0.0, 1.0, 0.1, -2.5, 1e-4, 0.00012345, 9.9e-5, 1e-5, 1.5e-7, 1e15, 123456789012345680.0, 1e16, 1e22, 1.7976931348623157e308,
    5e-324, 1 / 3, float("nan"), float("inf"), float("-inf"),
    "", "plain", 'quote " and \\ back', "\b\f\n\r\t", "\x00\x1f\x7f", "é ß 日本", "😀", "a/b", "\u2028",
    [], [1], [[], [1, [2]]], {}, {"a": {}}, {"k é": [1, {"x": None}], "": "v"},
]

print(json.dumps([json.dumps(v, indent=2) for v in VALUES], indent=0))
