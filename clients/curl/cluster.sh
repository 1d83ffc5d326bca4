# What a cluster is asked: where the replicas are, and the same points through every peer. Sourced by conformance.sh.
# The sample is that of Qdrant's documentation: six shards, each on two peers, are twelve replicas.

each_peer() { local _; for _ in "${peers[@]}"; do next; "$@"; done; }
whole() {
  call GET "/collections/$coll/cluster"
  agrees '$b.result | replicas | all(.state == "Active") and length == '"$((6 * factor))"
}
placement() { # placement SECONDS: every peer tells of the same replicas, all active after some seconds
  within "$1" whole
  check 'logical shards' '$b.result | .shard_count == 6 and (replicas | map(.shard) | unique) == [range(6)]'
  check 'physical shards' '$b.result | replicas | length == '"$((6 * factor))"
  check 'no two replicas of a shard on one peer' '$b.result | replicas | (unique_by([.shard, .peer]) | length) == length'
  check 'all replicas are active' '$b.result | replicas | all(.state == "Active")'
  [[ -f $tmp/placed ]] || cp "$tmp/body" "$tmp/placed"
  check 'every peer says the same' '($b.result | replicas) == ('"$(jq -c .result "$tmp/placed")"' | replicas)'
}
survey() {
  call POST "/collections/$coll/points/count" '{"exact": true}'
  check 'sample: count' '$b.result.count == ($t | length)'
  same_points 'sample: points' "$(make '[$t[].id]')"
  ask "{\"query\": $(make 'vector(10001; 300)'), \"limit\": 1000}"
  check 'sample: query for all' '$b.result.points | length == ($t | length) and agrees(.; ranked(vector(10001; 300); true))'
}
write() {
  k=$((k + 1))
  truth ". + [point($k) | .id = 1000 + $k]"
  call PUT "/collections/$coll/points?wait=true" "$(make '{points: [$t[-1]]}')"
  check 'sample: upsert' '$b.result.status == "completed"'
  truth "map(if .id == $k then .payload.through = $k else . end)"
  change POST payload "{\"payload\": {\"through\": $k}, \"points\": [$k]}" 'sample: set payload'
  same_points 'sample: written' "[$k, $((1000 + k))]"
}
undo() {
  truth "map(select(.id != 1000 + $k) | if .id == $k then .payload = payload($k) else . end)"
  change POST delete "{\"points\": [$((1000 + k))]}" 'sample: delete'
  change PUT payload "$(make "{payload: payload($k), points: [$k]}")" 'sample: overwrite payload'
  same_points 'sample: undone' "[$k]"
  k=$((k - 1))
}
sample() {
  local k=0
  coll+=_sample
  if [[ $mode == cluster ]]; then remake; fi
  if [[ $mode != cluster-down ]]; then each_peer placement $([[ $mode == cluster ]] && echo 15 || echo 120); fi
  truth "[range($count) | point(.)]"
  if [[ $mode == cluster ]]; then
    for from in 0 40 80; do
      next
      call PUT "/collections/$coll/points?wait=true" "$(make "{points: \$t[$from:$from + 40]}")"
      check 'sample: load' '$b.result.status == "completed"'
    done
  fi
  each_peer survey
  each_peer write
  each_peer survey
  each_peer undo
  survey
  coll=${coll%_sample}
}
