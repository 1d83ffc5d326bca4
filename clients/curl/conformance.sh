#!/usr/bin/env bash
# Checks a running peer over REST with curl, and compares every answer with one computed here by jq.
#   conformance.sh [--host 127.0.0.1] [--rest-port 6333] [-v] [cluster | cluster-down | cluster-back]
# The defaults come from PANDO_HOST, PANDO_REST_PORT and PANDO_API_KEY; a cluster is named by PANDO_PEERS="rest/grpc,…",
# in which the PANDO_DOWN-th peer is down. The last line is `N passed, M failed`.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
host=${PANDO_HOST:-127.0.0.1} port=${PANDO_REST_PORT:-6333} verbose='' mode=''
while (($#)); do
  case $1 in
    --host) host=$2; shift 2 ;;
    --rest-port) port=$2; shift 2 ;;
    -v) verbose=1; shift ;;
    cluster | cluster-down | cluster-back) mode=$1; shift ;;
    *) echo "unknown argument $1; see the head of $0" >&2; exit 2 ;;
  esac
done
for tool in curl jq; do command -v $tool >/dev/null || { echo "$tool is needed" >&2; exit 2; }; done

peers=("$host:$port") turn=0 factor=
if [[ $mode ]]; then
  IFS=, read -ra peers <<<"${PANDO_PEERS:?"is not set: $mode needs \"rest/grpc,…\", each host:port"}"
  if [[ $mode == cluster-down ]]; then unset "peers[${PANDO_DOWN:-0} - 1]"; fi
  peers=("${peers[@]%%/*}") factor=${PANDO_FACTOR:-2}
fi
# next: the calls that follow go to the next peer.
next() { peer=${peers[turn++ % ${#peers[@]}]}; }
next

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0 status=0
coll=conformance_curl
count=120
facts=$(<"$here/truth.jq")
echo '[]' >"$tmp/truth"

# make EXPRESSION: JSON computed from the truth ($t).
make() { jq -nc --argjson count "$count" --slurpfile in "$tmp/truth" "\$in[0] as \$t | $facts $1"; }
# call METHOD PATH [BODY]: leaves status and $tmp/body. A body of @name is the file.
call() {
  local args=(-sS --max-time 60 -o "$tmp/body" -w '%{http_code}' -X "$1" --path-as-is "http://$peer$2")
  [[ -n ${PANDO_API_KEY:-} ]] && args+=(-H "api-key: $PANDO_API_KEY")
  if (($# > 2)); then
    printf '%s' "$3" >"$tmp/request"
    args+=(-H 'content-type: application/json' --data-binary "@$tmp/request")
  fi
  : >"$tmp/body"
  status=$(curl "${args[@]}" 2>"$tmp/error") || status="none: $(<"$tmp/error")"
}
tell() { # tell NAME GOOD DETAIL
  if [[ $2 == true ]]; then
    passed=$((passed + 1))
    if [[ $verbose ]]; then echo "ok   curl: $1"; fi
  else
    failed=$((failed + 1))
    echo "FAIL curl: $1: ${3:0:600}"
  fi
}
# agrees EXPRESSION: the last answer is a success and the expression over $b (body) and $t (truth) is true.
agrees() {
  local good
  good=$(jq -n --slurpfile in "$tmp/truth" --slurpfile body "$tmp/body" "\$in[0] as \$t | \$body[0] as \$b | $facts \$b.status == \"ok\" and ($1)" 2>"$tmp/error")
  [[ $status == 200 && $good == true ]]
}
check() { # check NAME EXPRESSION
  tell "$1" "$(agrees "$2" && echo true)" "status $status, $(head -c 300 "$tmp/body") $(head -c 200 "$tmp/error")"
}
# refused NAME STATUS [TEXT]: the last answer has this status, and an error in the envelope, which has no result.
refused() {
  local good
  good=$(jq --arg text "${3:-}" '(.status.error | contains($text)) and (has("result") | not) and has("time")' "$tmp/body" 2>/dev/null)
  [[ $status == "$2" ]] || good=false
  tell "$1" "${good:-false}" "status $status, want $2: $(head -c 300 "$tmp/body")"
}
# truth EXPRESSION: changes what should be there.
truth() { make "\$t | $1" >"$tmp/new" && mv "$tmp/new" "$tmp/truth"; }
# same_points NAME IDS: reads the points back and compares all of them.
same_points() {
  call POST "/collections/$coll/points" "{\"ids\": $2, \"with_vector\": true, \"with_payload\": true}"
  check "$1" "holds(\$b.result; $2)"
}
ask() { call POST "/collections/$coll/points/query" "$1"; }
change() { call "$1" "/collections/$coll/points/$2?wait=true" "$3"; check "$4" '$b.result.status == "completed"'; }

# within SECONDS COMMAND...: asks again until it is true or the seconds are over.
within() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.1
  done
}
seen() { # seen PEER: it knows the collection
  local peer=$1
  call GET "/collections/$coll/exists"
  agrees '$b.result.exists'
}
remake() { # the collection, anew
  call DELETE "/collections/$coll"
  call DELETE "/collections/${coll}_named"
  call GET "/collections/$coll/exists"
  check 'exists before it is created' '$b.result == {exists: false}'
  call PUT "/collections/$coll" "{\"vectors\": {\"size\": 300, \"distance\": \"Cosine\"}, \"shard_number\": 6${factor:+, \"replication_factor\": $factor}}"
  check create '$b.result == true and ($b.time | type) == "number"'
  local p
  for p in "${peers[@]}"; do # the others hear of it a little later
    tell 'the collection is seen by every peer' "$(within 10 seen "$p" && echo true)" 'not after 10 s'
  done
}

finish() {
  echo "$passed passed, $failed failed"
  ((failed == 0))
  exit
}
. "$here/cluster.sh"
[[ -z $mode ]] || sample
case $mode in cluster-down | cluster-back) finish ;; esac

# -- service and collection
call GET /
[[ $status == 200 ]] || { echo "FAIL curl: GET http://$peer/: status $status"; echo '0 passed, 1 failed'; exit 1; }
tell 'the version of the API' "$(jq '.version | startswith("1.19.")' "$tmp/body")" "$(<"$tmp/body")"
tell 'a commit of 40 characters' "$(jq '.commit | length == 40' "$tmp/body")" "$(<"$tmp/body")"
for path in /healthz /livez /readyz /metrics; do
  call GET $path
  tell "$path" "$([[ $status == 200 ]] && echo true)" "status $status"
done
remake
call GET /collections
check list '[$b.result.collections[].name] | index("'$coll'") != null'

# -- upsert and get
next
truth "[range($count) | point(.)]"
call PUT "/collections/$coll/points?wait=true" "$(make '{points: $t[:60]}')"
check 'upsert a list' '$b.result.status == "completed" and ($b.result.operation_id | type) == "number"'
call PUT "/collections/$coll/points?wait=true" "$(make '{batch: {ids: [$t[60:][].id], vectors: [$t[60:][].vector], payloads: [$t[60:][].payload]}}')"
check 'upsert in columns' '$b.result.status == "completed"'
call PUT "/collections/$coll/points?wait=true" "$(make '{points: [($t[7] | .payload = {n: -1}), $t[7], $t[8]]}')"
check 'upsert again' '$b.result.status == "completed"'
call PUT "/collections/$coll/points" "$(make '{points: $t[:3]}')"
check 'upsert without waiting' '$b.result.status == "acknowledged" or $b.result.status == "completed"'
call POST "/collections/$coll/points/count" '{"exact": true}'
check count '$b.result == {count: ($t | length)}'
same_points get "$(make '[$t[].id]')"
call POST "/collections/$coll/points" '{"ids": [3, 1000000000]}'
check 'get: absent ids are left out, vectors are not sent unasked' '[$b.result[].id] == [3] and ($b.result[0] | has("vector") | not)'
call POST "/collections/$coll/points" '{"ids": [3], "with_payload": ["color", "nested.deep"]}'
check 'get with some keys' '$b.result[0].payload == {color: "red", nested: {deep: 3}}'
call GET "/collections/$coll/points/3"
check 'GET of one point' '$b.result | .id == 3 and .payload == payload(3) and near_all(.vector; vector(3; 300) | unit)'
call GET "/collections/$coll/points/$(make 'id(9)' | tr -d '"')"
check 'GET of a point by UUID' '$b.result.id == id(9)'
call GET "/collections/$coll/points/1000000000"
refused 'GET of an absent point' 404

# -- query
next
q=$(make 'vector(10001; 300)')
ask "{\"query\": $q, \"with_payload\": true, \"with_vector\": true}"
check 'query by vector' '$b.result.points | length == 10 and agrees(.; ranked('"$q"'; true)) and holds(.; map(.id))'
ask "{\"query\": $q, \"limit\": 1000}"
check 'query for all' '$b.result.points | length == ($t | length) and agrees(.; ranked('"$q"'; true)) and (.[0] | has("payload") or has("vector") | not)'
ask '{"query": 5, "limit": 8}'
check 'query by id' '$b.result.points | length == 8 and agrees(.; ranked(vector(5; 300); .id != 5))'
ask "{\"query\": {\"nearest\": $q}, \"limit\": 7, \"offset\": 13}"
check 'query with offset' '$b.result.points | length == 7 and agrees(.; ranked('"$q"'; true)[13:])'
cut=$(make "ranked($q; true) | (.[24].score + .[25].score) / 2")
ask "{\"query\": $q, \"limit\": 100, \"score_threshold\": $cut}"
check 'query with threshold' '$b.result.points | length == 25 and agrees(.; ranked('"$q"'; true))'
ask '{"limit": 6}'
check 'query for nothing: by id' '[$b.result.points[].id] == ([$t[].id] | in_order | .[:6])'
call POST "/collections/$coll/points/query/batch" "$(make '{searches: [range(3) | {query: vector(20000 + .; 300), limit: (3 + .)}]}')"
check 'query in a batch' '[$b.result[].points | length] == [3, 4, 5] and all(range(3); . as $k | agrees($b.result[$k].points; ranked(vector(20000 + $k; 300); true)))'
call POST "/collections/$coll/points/search" "{\"vector\": $q, \"limit\": 9, \"offset\": 2, \"filter\": {\"must\": {\"key\": \"n\", \"range\": {\"gte\": 60}}}}"
check search '$b.result | length == 9 and agrees(.; ranked('"$q"'; .payload.n >= 60)[2:])'
call POST "/collections/$coll/points/search/batch" "{\"searches\": [{\"vector\": $q, \"limit\": 2}, {\"vector\": $q, \"top\": 3}]}"
check 'search in a batch' '[$b.result[] | length] == [2, 3] and agrees($b.result[1]; ranked('"$q"'; true))'


# -- the older calls, which published clients have dropped or are about to
next
mean='[range(300) as $i | ((vector(5; 300) | unit)[$i] * 2 - (vector(6; 300) | unit)[$i])]'
call POST "/collections/$coll/points/recommend" '{"positive": [5], "negative": [6], "limit": 7, "offset": 1}'
check recommend '$b.result | length == 7 and agrees(.; ranked('"$mean"'; .id != 5 and .id != 6)[1:])'
call POST "/collections/$coll/points/recommend/batch" "{\"searches\": [{\"positive\": [$q], \"limit\": 4}, {\"positive\": [5], \"negative\": [6], \"limit\": 2}]}"
check 'recommend in a batch' '[$b.result[] | length] == [4, 2] and agrees($b.result[0]; ranked('"$q"'; true)) and agrees($b.result[1]; ranked('"$mean"'; .id != 5 and .id != 6))'
call POST "/collections/$coll/points/search/groups" "{\"vector\": $q, \"group_by\": \"color\", \"limit\": 2, \"group_size\": 5}"
check 'search in groups' '$b.result.groups | length == 2 and all(.[]; .id as $c | .hits | length == 5 and agrees(.; ranked('"$q"'; .payload.color == $c)))'
call POST "/collections/$coll/points/recommend/groups" '{"positive": [5], "negative": [6], "group_by": "nested.deep", "limit": 3, "group_size": 4, "with_payload": true}'
check 'recommend in groups' '$b.result.groups | length == 3 and all(.[]; .id as $d | .hits | length == 4 and all(.[]; .payload.nested.deep == $d) and agrees(.; ranked('"$mean"'; .payload.nested.deep == $d and .id != 5 and .id != 6)))'
call POST "/collections/$coll/points/query/groups" "{\"prefetch\": {\"query\": $q, \"limit\": 20}, \"query\": {\"fusion\": \"rrf\"}, \"group_by\": \"tags\", \"limit\": 1, \"group_size\": 2}"
check 'fused, in groups' '$b.result.groups | length == 1 and ([.[0].hits[].score] | length == 2 and .[0] == 0.5)'
call POST "/collections/$coll/points/discover" '{"limit": 3}'
refused 'discover without target and context' 400 'target or context'

# -- filters: NAME | FILTER | what it lets through
filters() { # filters AFTER: every case; AFTER tells the names of its checks apart
  local name filter keep
  while IFS='|' read -r name filter keep; do
    ask "{\"query\": $q, \"limit\": 1000, \"filter\": $filter}"
    check "filter $name$1: query" '$b.result.points | agrees(.; ranked('"$q"'; '"$keep"')) and (map(.id) | in_order) == ([$t[] | select('"$keep"') | .id] | in_order)'
    call POST "/collections/$coll/points/count" "{\"filter\": $filter, \"exact\": true}"
    check "filter $name$1: count" '$b.result.count == ([$t[] | select('"$keep"')] | length)'
    call POST "/collections/$coll/points/scroll" "{\"filter\": $filter, \"limit\": 1000}"
    check "filter $name$1: scroll" '[$b.result.points[].id] == ([$t[] | select('"$keep"') | .id] | in_order) and $b.result.next_page_offset == null'
  done <<'CASES'
match keyword|{"must": [{"key": "color", "match": {"value": "red"}}]}|.payload.color == "red"
one condition alone|{"must": {"key": "color", "match": {"value": "red"}}}|.payload.color == "red"
match integer|{"must": [{"key": "n", "match": {"value": 42}}]}|.payload.n == 42
match bool|{"must": [{"key": "flag", "match": {"value": true}}]}|.payload.flag
match any|{"must": [{"key": "color", "match": {"any": ["red", "blue"]}}]}|.payload.color != "green"
match except|{"must": [{"key": "color", "match": {"except": ["red"]}}]}|.payload.color != "red"
range|{"must": [{"key": "price", "range": {"gte": 5.25, "lt": 20.5}}]}|.payload.price >= 5.25 and .payload.price < 20.5
has_id|{"must": [{"has_id": [3, 4, "00000000-0000-5eed-0000-000000000009", 1000000000]}]}|IN(.id; 3, 4, id(9))
is_empty|{"must": [{"is_empty": {"key": "maybe"}}]}|IN(.payload.maybe; null, [])
is_null|{"must": [{"is_null": {"key": "maybe"}}]}|.payload as $p | ($p | has("maybe")) and $p.maybe == null
should|{"should": [{"key": "color", "match": {"value": "red"}}, {"key": "flag", "match": {"value": true}}]}|.payload.color == "red" or .payload.flag
must_not|{"must_not": [{"key": "color", "match": {"value": "red"}}, {"key": "flag", "match": {"value": true}}]}|(.payload.color == "red" or .payload.flag) | not
min_should|{"min_should": {"min_count": 2, "conditions": [{"key": "color", "match": {"value": "red"}}, {"key": "flag", "match": {"value": true}}, {"key": "n", "range": {"lt": 50}}]}}|[.payload.color == "red", .payload.flag, .payload.n < 50] | map(select(.)) | length >= 2
key into a list|{"must": [{"key": "nested.list[].a", "match": {"value": 2}}]}|any(.payload.nested.list[]; .a == 2)
filter in a filter|{"must": [{"should": [{"key": "nested.deep", "match": {"value": 3}}, {"key": "nested.deep", "match": {"value": 4}}]}, {"must_not": [{"key": "flag", "match": {"value": true}}]}]}|IN(.payload.nested.deep; 3, 4) and (.payload.flag | not)
nested objects|{"must": [{"nested": {"key": "nested.list", "filter": {"must": [{"key": "a", "match": {"value": 2}}, {"key": "b", "match": {"value": 7}}]}}}]}|any(.payload.nested.list[]; .a == 2 and .b == 7)
empty|{}|true
CASES
}
next
filters ''

# -- indexes on payload fields: the same questions, the same answers
next
index() { # index FIELD SCHEMA
  call PUT "/collections/$coll/index?wait=true" "{\"field_name\": \"$1\", \"field_schema\": $2}"
  check "index $1" '$b.result.status == "completed" and ($b.result.operation_id | type) == "number"'
}
index color '{"type": "keyword", "is_tenant": true, "on_disk": true}'
index n '"integer"'
index price '"float"'
index flag '"bool"'
index tags '"keyword"'
index maybe '"keyword"'
index nested.deep '{"type": "integer", "lookup": true, "range": false}'
index 'nested.list[].a' '"integer"'
index when '"datetime"'
index ref '"uuid"'
next
filters ', indexed'
call GET "/collections/$coll"
check 'payload_schema' '$b.result.payload_schema | (keys | length) == 10 and .color == {data_type: "keyword", params: {type: "keyword", is_tenant: true, on_disk: true}, points: ($t | length)}
  and .n.points == ($t | length) and .maybe.points == ([$t[] | select(.payload.maybe == "x")] | length) and .["nested.deep"].params == {type: "integer", lookup: true, range: false}
  and .["nested.list[].a"].data_type == "integer" and .when == {data_type: "datetime", params: {type: "datetime"}, points: 0} and .ref.data_type == "uuid"'
counted() { call POST "/collections/$coll/facet" "$1"; }
counted '{"key": "color", "exact": true}'
check 'facet of a keyword' '$b.result.hits == ([$t[].payload.color] | group_by(.) | map({value: .[0], count: length}) | sort_by([-.count, .value]))'
counted '{"key": "nested.deep", "exact": true, "limit": 4, "filter": {"must": [{"key": "color", "match": {"value": "red"}}]}}'
check 'facet of an integer, filtered' '$b.result.hits == ([$t[].payload | select(.color == "red") | .nested.deep] | group_by(.) | map({value: .[0], count: length}) | sort_by([-.count, .value]) | .[:4])'
counted '{"key": "flag"}'
check 'facet of a bool' '$b.result.hits == ([$t[].payload.flag] | group_by(.) | map({value: .[0], count: length}) | sort_by([-.count, .value]))'
counted '{"key": "price"}'
refused 'facet of a float' 400 price
call POST "/collections/$coll/points/scroll" '{"order_by": "price", "limit": 9, "filter": {"must": [{"key": "flag", "match": {"value": true}}]}}'
check 'scroll by a field' '[$b.result.points[] | {id, order_value}] == ([$t[] | select(.payload.flag) | {id, order_value: .payload.price}] | sort_by(.order_value) | .[:9]) and $b.result.next_page_offset == null'
call POST "/collections/$coll/points/scroll" '{"order_by": {"key": "n", "direction": "desc", "start_from": 50}, "limit": 7}'
check 'scroll by a field, from a value down' '[$b.result.points[] | {id, order_value}] == ([$t[] | select(.payload.n <= 50) | {id, order_value: .payload.n}] | sort_by(-.order_value) | .[:7])'
call POST "/collections/$coll/points/scroll" '{"order_by": "nested.deep"}'
refused 'scroll by a field without ranges' 400 nested.deep
call POST "/collections/$coll/points/scroll" '{"order_by": "n", "offset": 3}'
refused 'scroll by a field and from an id' 400 offset
call DELETE "/collections/$coll/index/price?wait=true"
check 'drop an index' '$b.result.status == "completed"'
call DELETE "/collections/$coll/index/price?wait=true"
check 'drop it again' '$b.result.status == "completed"'
call POST "/collections/$coll/points/count" '{"filter": {"must": [{"key": "price", "range": {"lt": 5}}]}}'
check 'count without that index' '$b.result.count == ([$t[] | select(.payload.price < 5)] | length)'
call PUT "/collections/$coll/index" '{"field_name": "color", "field_schema": "keyword"}'
check 'index without waiting' '$b.result.status == "acknowledged"'
call PUT "/collections/$coll/index" '{"field_name": "color"}'
refused 'index of no type' 400 field_schema
call PUT "/collections/$coll/index" '{"field_name": "color", "field_schema": "colour"}'
refused 'index of an unknown type' 400
call PUT "/collections/$coll/index" '{"field_name": "a..b", "field_schema": "keyword"}'
refused 'index on a bad path' 400 a..b
call PUT "/collections/$coll/index" '{"field_name": "", "field_schema": "keyword"}'
refused 'index on no field' 422 field_name
call PUT "/collections/$coll/index" '{"field_name": "n", "field_schema": {"type": "integer", "lookup": false, "range": false}}'
refused 'index for nothing' 422 lookup
call PUT /collections/no_such/index '{"field_name": "n", "field_schema": "integer"}'
refused 'index in an unknown collection' 404 no_such

# -- scroll through all pages
next
offset=null pages=0 seen='[]'
while ((pages == 0)) || [[ $offset != null && $pages -lt 100 ]]; do
  call POST "/collections/$coll/points/scroll" "{\"limit\": 17, \"offset\": $offset, \"with_payload\": true}"
  [[ $status == 200 ]] || break
  offset=$(jq -c .result.next_page_offset "$tmp/body")
  seen=$(jq -c --argjson seen "$seen" '$seen + [.result.points[] | {id, n: .payload.n}]' "$tmp/body")
  pages=$((pages + 1))
done
check 'scroll: every id once, in order' "$seen"' == ($t | map({id, n: .payload.n}) | sort_by([(.id | type) == "string", .id]))'
tell 'scroll: pages' "$([[ $pages == 8 ]] && echo true)" "$pages"

# -- payload
next
change POST payload '{"payload": {"extra": [1, 2.5, null], "n": 1000}, "points": [20]}' 'set payload'
truth 'map(if .id == 20 then .payload += {extra: [1, 2.5, null], n: 1000} else . end)'
change POST payload '{"payload": {"extra": "z"}, "filter": {"must": [{"key": "n", "range": {"gte": 21, "lt": 24}}]}}' 'set payload by filter'
truth 'map(if IN(.id; 21, 22, 23) then .payload += {extra: "z"} else . end)'
change POST payload '{"payload": {"new": {"x": 1}}, "key": "nested", "points": [24]}' 'set payload under a key'
truth 'map(if .id == 24 then .payload.nested += {new: {x: 1}} else . end)'
change PUT payload '{"payload": {"only": {"this": true}}, "points": [25]}' 'overwrite payload'
truth 'map(if .id == 25 then .payload = {only: {this: true}} else . end)'
change POST payload/delete '{"keys": ["color", "nested.deep"], "points": [26, 27]}' 'delete keys'
truth 'map(if IN(.id; 26, 27) then .payload |= del(.color, .nested.deep) else . end)'
change POST payload/clear '{"points": [28]}' 'clear payload'
truth 'map(if .id == 28 then .payload = {} else . end)'
same_points 'payloads after that' '[20, 21, 22, 23, 24, 25, 26, 27, 28, 30]'

# -- delete and batch
next
change POST delete '{"points": [31, 1000000000]}' 'delete by id'
change POST delete '{"filter": {"must": [{"key": "n", "range": {"gte": 40, "lt": 50}}]}}' 'delete by filter'
truth 'map(select(.id != 31 and (.payload.n == null or .payload.n < 40 or .payload.n >= 50)))'
call POST "/collections/$coll/points/count" '{}'
check 'count after delete' '$b.result.count == ($t | length) and $b.result.count == 109'
call POST "/collections/$coll/points/batch?wait=true" "$(make '{operations: [
  {upsert: {points: [{id: 5000, vector: vector(5000; 300), payload: {a: 1}}, {id: 5001, vector: vector(5001; 300)}]}},
  {set_payload: {payload: {b: 2}, points: [5000]}}, {delete_payload: {keys: ["a"], points: [5000]}},
  {update_vectors: {points: [{id: 5000, vector: vector(5002; 300)}]}}, {delete: {points: [5001]}}]}')"
check 'batch of writes' '[$b.result[].status] == ["completed", "completed", "completed", "completed", "completed"]'
truth '. + [{id: 5000, vector: vector(5002; 300), payload: {b: 2}}]'
same_points 'all that is left' "$(make '[$t[].id]')"

# -- named vectors
next
named=/collections/${coll}_named
call PUT "$named" '{"vectors": {"a": {"size": 8, "distance": "Dot"}, "b": {"size": 4, "distance": "Euclid"}}}'
check 'create with named vectors' '$b.result == true'
call PUT "$named/points?wait=true" "$(make '{points: [range(30) | {id: ., vector: ({a: vector(.; 8)} + if . % 6 == 5 then {} else {b: vector(. + 100; 4)} end)}]}')"
check 'upsert named vectors' '$b.result.status == "completed"'
q4=$(make 'vector(777; 4)')
call POST "$named/points/query" "{\"query\": $q4, \"using\": \"b\", \"limit\": 100, \"with_vector\": [\"b\"]}"
check 'query by a named vector' '[range(30) | select(. % 6 != 5) | . as $i | {id: $i, score: ([range(4) | (vector($i + 100; 4)[.] - '"$q4"'[.]) | . * .] | add | sqrt)}] | sort_by(.score) as $want
  | ($b.result.points | length) == 25 and agrees($b.result.points; $want) and all($b.result.points[]; (.vector | keys) == ["b"] and near_all(.vector.b; vector(.id + 100; 4)))'
call PUT "$named/points/vectors?wait=true" "$(make '{points: [{id: 3, vector: {a: vector(9; 8)}}]}')"
check 'update a vector' '$b.result.status == "completed"'
call POST "$named/points/vectors/delete?wait=true" '{"points": [4], "vector": ["b"]}'
check 'delete a vector' '$b.result.status == "completed"'
call POST "$named/points" '{"ids": [3, 4], "with_vector": true}'
check 'vectors after both' '($b.result | sort_by(.id)) as $r | near_all($r[0].vector.a; vector(9; 8)) and near_all($r[0].vector.b; vector(103; 4)) and ($r[1].vector | keys) == ["a"]'

# -- aliases and information
next
call POST /collections/aliases "{\"actions\": [{\"create_alias\": {\"collection_name\": \"$coll\", \"alias_name\": \"${coll}_alias\"}}]}"
check 'create an alias' '$b.result == true'
call GET "/collections/$coll/aliases"
check 'aliases of the collection' '$b.result.aliases == [{alias_name: "'${coll}'_alias", collection_name: "'$coll'"}]'
call POST "/collections/${coll}_alias/points/count" '{}'
check 'count through the alias' '$b.result.count == ($t | length)'
call POST /collections/aliases "{\"actions\": [{\"delete_alias\": {\"alias_name\": \"${coll}_alias\"}}]}"
check 'delete the alias' '$b.result == true'
call POST "/collections/${coll}_alias/points/count" '{}'
refused 'the alias is gone' 404
call GET "/collections/$coll"
check info '$b.result | .status == "green" and .points_count == ($t | length) and .config.params.vectors == {size: 300, distance: "Cosine"} and .config.params.shard_number == 6'
call GET "/collections/$coll/cluster"
check 'shards of the collection' '$b.result | (replicas | map(.shard) | unique) == [range(6)] and all(.local_shards[]; .state == "Active")'
call GET /cluster
check cluster '$b.result | .status == "enabled" and .peers[.peer_id | tostring].uri != null'

# -- errors
next
call GET /collections/no_such
refused 'unknown collection' 404 no_such
call POST /collections/no_such/points/count '{}'
refused 'count in an unknown collection' 404 no_such
call PUT "/collections/$coll" '{"vectors": {"size": 4, "distance": "Dot"}}'
refused 'create twice' 409
call PUT "/collections/$coll/points?wait=true" '{"points": [{"id": 6000, "vector": [1, 2]}]}'
refused 'wrong dimension, upsert' 400
ask '{"query": [1, 2]}'
refused 'wrong dimension, query' 400
ask "{\"query\": $q, \"using\": \"nope\"}"
refused 'unknown vector name' 400
ask "{\"query\": $q, \"limit\": 0}"
refused 'limit 0' 422
call POST "/collections/$coll/points/count" '{"filter": {"mst": []}}'
refused 'unknown key in a filter' 400
call POST "/collections/$coll/points/count" '{"filter": {"must": [{"key": "a[", "match": {"value": 1}}]}}'
refused 'bad key in a filter' 400
call POST "/collections/$coll/points/count" '{"filter": {'
refused 'truncated JSON' 400
call POST "/collections/$coll/points" '{"ids": [-1]}'
refused 'negative id' 400
call PUT /collections/never '{"vectors": {"size": 0, "distance": "Dot"}}'
refused 'size 0' 422
call PUT /collections/never '{"vectors": {"size": 4, "distance": "Dot"}, "replication_factor": 0}'
refused 'replication_factor 0' 422
call GET "//collections//$coll/"
check 'double and trailing slashes' '$b.result.status == "green"'
call POST "/collections/$coll/points/count" '{}'
check 'nothing was half applied' '$b.result.count == ($t | length)'

# -- drop
next
for name in "$coll" "${coll}_named"; do
  call DELETE "/collections/$name"
  check "drop $name" '$b.result == true'
done
call DELETE "/collections/$coll"
check 'drop what is gone' '$b.result == false'

finish
