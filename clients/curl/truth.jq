# What the collections must hold, and how answers are compared with it. Prepended to every expression of conformance.sh,
# which binds $b (the body of the answer) and $t (the points that should be there).

# Numbers of a small congruential generator, equal in every language of this folder.
def vector($i; $n):
  reduce range($n) as $_ ({s: (($i * 7919 + 17) % 233280), v: []}; .s = (.s * 9301 + 49297) % 233280 | .v += [.s / 116640 - 1]) | .v;

def id($i): if $i % 10 == 9 then "00000000-0000-5eed-0000-0000000000" + ("0123456789abcdef" as $x | $x[$i / 16 | floor:($i / 16 | floor) + 1] + $x[$i % 16:$i % 16 + 1]) else $i end;

def payload($i):
  {n: $i, color: ["red", "green", "blue"][$i % 3], price: ($i / 4), flag: ($i % 2 == 0), tags: ["t\($i % 5)", "s\($i % 7)"],
   nested: {deep: ($i % 11), list: [{a: ($i % 3), b: ($i % 2)}, {a: ($i % 4), b: 7}]}}
  + if $i % 4 == 0 then {} else {maybe: [null, null, [], "x"][$i % 4]} end;

def point($i): {id: id($i), vector: vector($i; 300), payload: payload($i)};

def near($a; $b): ($a - $b | fabs) <= 2e-5 * ([1, ($b | fabs)] | max);
def near_all($a; $b): ($a | length) == ($b | length) and all(range($a | length); near($a[.]; $b[.]));
def dot($a; $b): reduce range($a | length) as $i (0; . + $a[$i] * $b[$i]);
def norm($a): dot($a; $a) | sqrt;
def unit: norm(.) as $n | map(. / $n);
def in_order: sort_by([type == "string", .]);

# The points that keep lets through, best first, as {id, score}.
def ranked($q; keep): norm($q) as $nq | [$t[] | select(keep) | {id, score: (dot(.vector; $q) / (norm(.vector) * $nq))}] | sort_by(-.score);

# Answers $got agree with the ranking $want: the same scores in order, each that of its id.
def agrees($got; $want):
  (reduce $want[] as $w ({}; .[$w.id | tostring] = $w.score)) as $scores
  | ($got | map(.id) | unique | length) == ($got | length)
  and all(range($got | length); $got[.] as $g | near($g.score; $want[.].score) and near($g.score; $scores[$g.id | tostring] // 1e9));

# $got is exactly these stored points, in any order.
def holds($got; $ids):
  ($got | map(.id) | in_order) == ($ids | in_order)
  and all($got[]; . as $g | ($t[] | select(.id == $g.id)) as $w | $g.payload == $w.payload and near_all($g.vector; $w.vector | unit));

# The replicas in what a peer says of a collection's shards.
def replicas:
  .peer_id as $me | [(.local_shards[] | {shard: .shard_id, peer: $me, state}), (.remote_shards[] | {shard: .shard_id, peer: .peer_id, state})]
  | sort_by([.shard, .peer]);
