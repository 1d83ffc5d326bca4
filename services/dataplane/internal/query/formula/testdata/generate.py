"""Writes oracle.json: what the published Python client computes for random formulas.

    python generate.py >oracle.json        with the packages of clients/python/requirements.txt
"""

import json
import random

from qdrant_client.http import models
from qdrant_client.hybrid import formula

rng = random.Random(11)
m = models


def leaf():
    return rng.choice([
        lambda: round(rng.uniform(-3, 3), 2),
        lambda: rng.choice([0.0, 1.0, 2.0]),
        lambda: rng.choice(["$score", "$score[1]", "$score[2]", "n", "a.b", "list[].x", "list[1].x", "gone", "single", "text", "defaulted"]),
        lambda: m.GeoDistance(geo_distance=m.GeoDistanceParams(origin=m.GeoPoint(lon=13.4, lat=52.5), to=rng.choice(["place", "n", "home"]))),
        lambda: m.DatetimeExpression(datetime=rng.choice(["2024-02-03T04:05:06Z", "2024-02-03 04:05", "1969-12-31"])),
        lambda: m.DatetimeKeyExpression(datetime_key=rng.choice(["when", "then", "text"])),
    ])()


def expr(depth):
    if depth == 0 or rng.random() < 0.2:
        return leaf()
    sub = lambda: expr(depth - 1)
    decay = lambda linear: m.DecayParamsExpression(x=sub(), target=sub() if rng.random() < 0.5 else None, scale=rng.choice([None, 0.5, 10.0]),
                                                   midpoint=rng.choice([None, 0.1, 0.9] + ([0.0, 1.0] if linear else [])))
    return rng.choice([
        lambda: m.MultExpression(mult=[sub() for _ in range(rng.randint(0, 3))]),
        lambda: m.SumExpression(sum=[sub() for _ in range(rng.randint(0, 3))]),
        lambda: m.MaxExpression(max=[sub() for _ in range(rng.randint(1, 3))]),
        lambda: m.MinExpression(min=[sub() for _ in range(rng.randint(1, 3))]),
        lambda: m.NegExpression(neg=sub()),
        lambda: m.AbsExpression(abs=sub()),
        lambda: m.DivExpression(div=m.DivParams(left=sub(), right=sub(), by_zero_default=rng.choice([None, 4.0]))),
        lambda: m.SqrtExpression(sqrt=sub()),
        lambda: m.PowExpression(pow=m.PowParams(base=sub(), exponent=sub())),
        lambda: m.ExpExpression(exp=sub()),
        lambda: m.Log10Expression(log10=sub()),
        lambda: m.LnExpression(ln=sub()),
        lambda: m.AcoshExpression(acosh=sub()),
        lambda: m.ExpDecayExpression(exp_decay=decay(False)),
        lambda: m.GaussDecayExpression(gauss_decay=decay(False)),
        lambda: m.LinDecayExpression(lin_decay=decay(True)),
    ])()


payload = {"n": 3, "a": {"b": -1.5}, "list": [{"x": 1}, {"x": 2}], "single": [7], "text": "words", "place": {"lon": 2.35, "lat": 48.85},
           "when": "2024-05-06T07:08:09.5Z"}
defaults = {"defaulted": 2.5, "$score[2]": 0.25, "home": {"lon": -0.1, "lat": 51.5}, "then": "2020-01-01"}
scores = [{1: 0.75}, {1: -2.0}, {}]
cases = []
while len(cases) < 400:
    e = expr(3)
    try:
        formula.validate_expression(e)
        value = formula.evaluate_expression(e, 1, scores, payload, {}, formula.parse_defaults(defaults))
    except (ValueError, TypeError, AttributeError):
        value = None
    if value is None and rng.random() < 0.6:
        continue
    if value is not None and abs(value) > 1e37:
        continue
    cases.append({"expr": json.loads(e.model_dump_json(exclude_none=True)) if hasattr(e, "model_dump_json") else e, "value": value})
print(json.dumps({"payload": payload, "defaults": defaults, "scores": [0.75, -2.0, None], "cases": cases}))
