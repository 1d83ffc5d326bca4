#!/usr/bin/env bash
# Starts fresh peers on free loopback ports, each with a folder of its own, runs the conformance programs of this folder
# against them, and stops them. Programs whose toolchain is not there are named and left out.
#   clients/run.sh [curl] [python[-rest|-grpc|-async]] [go] [typescript[-rest|-grpc]] [rust] [java]      without names: all these
#   clients/run.sh stores      LangChain's, LlamaIndex's and Haystack's, with PEERS=1 (installs 400 MB of packages the first time)
# PEERS=1 (default): one peer. PEERS=3: a cluster; each program runs against it, then one peer is killed (KILL=2: the
# second) and each checks the points of before through the two that live, then the peer is started again and each checks
# that all is whole. PANDO_FACTOR (2) is the replication factor of the cluster's collections; with 1 nothing is asked while
# the peer is down, since nobody else has its shards.
# PANDO names the binary (./pando), PANDO_WORK a folder for tools that are built once (.bin). The last line is
# `conformance: N passed, M failed`; the exit code is 0 only when M is 0 and something ran.
set -uo pipefail
cd "$(dirname "$0")/.."
pando=$(realpath "${PANDO:-./pando}")
work=$(realpath -m "${PANDO_WORK:-.bin}")
peers=${PEERS:-1} kill=${KILL:-2}
[[ -x $pando ]] || { echo "$pando is not there; run \`make build\` first" >&2; exit 2; }
[[ $peers == 1 || $peers == 3 ]] || { echo "PEERS is 1 or 3, not $peers" >&2; exit 2; }
[[ $kill == [1-3] ]] || { echo "KILL is 1, 2 or 3, not $kill" >&2; exit 2; }

names=()
(($#)) || set -- curl python go typescript rust java
for name in "$@"; do
  case $name in
    stores) ((peers == 1)) || { echo 'the stores run against one peer' >&2; exit 2; }; names+=("$name") ;;
    curl | go | rust | java | python-rest | python-grpc | python-async | typescript-rest | typescript-grpc) names+=("$name") ;;
    python) names+=(python-rest python-grpc); ((peers > 1)) || names+=(python-async) ;; # against a cluster by name only
    typescript) names+=(typescript-rest typescript-grpc) ;;
    *) echo "there is no program $name; see the head of $0" >&2; exit 2 ;;
  esac
done

tmp=$(mktemp -d)
passed=0 failed=0 out=()

# -- peers

pid=() rest=() grpc=() p2p=() # by number, from 1

signal() { # signal NAME NUMBER...: to the peers that run
  local n
  for n in "${@:2}"; do [[ -z ${pid[n]:-} ]] || kill "-$1" "${pid[n]}" 2>/dev/null; done
}
ended() { # ended NUMBER: waits until it has ended; false when it had to be killed or failed
  local code
  [[ ${pid[$1]:-} ]] || return 0
  for _ in {1..200}; do kill -0 "${pid[$1]}" 2>/dev/null || break; sleep 0.1; done
  kill -KILL "${pid[$1]}" 2>/dev/null && echo "peer $1 did not stop within 20 s and was killed"
  wait "${pid[$1]}" 2>/dev/null
  code=$?
  pid[$1]=
  return $code
}
stop() { signal TERM "$1"; ended "$1"; }
trap 'signal KILL "${!pid[@]}"; wait; rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

free_port() {
  local p
  while p=$((20000 + RANDOM % 12000)); do
    (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || { echo $p; return; }
  done
}

launch() { # launch NUMBER: starts the peer on its ports; true when it is ready
  local n=$1 flags=()
  ((peers == 1)) || flags=(--uri "http://127.0.0.1:${p2p[n]}")
  ((n == 1)) || flags+=(--bootstrap "http://127.0.0.1:${p2p[1]}")
  (cd "$tmp/peer$n" && exec env PANDO__SERVICE__HOST=127.0.0.1 PANDO__SERVICE__HTTP_PORT="${rest[n]}" PANDO__SERVICE__GRPC_PORT="${grpc[n]}" \
    PANDO__CLUSTER__P2P__PORT="${p2p[n]}" PANDO__CLUSTER__SECRET=conformance "$pando" serve "${flags[@]}") >>"$tmp/log$n" 2>&1 &
  pid[n]=$!
  for _ in {1..600}; do
    if curl -sf -o /dev/null "http://127.0.0.1:${rest[n]}/readyz" 2>/dev/null; then return 0; fi
    kill -0 "${pid[n]}" 2>/dev/null || break
    sleep 0.1
  done
  return 1
}
start() { # start NUMBER: a new peer; a port taken in between is no reason to give up
  local n=$1
  for _ in 1 2 3 4 5; do
    rest[n]=$(free_port) grpc[n]=$(free_port) p2p[n]=$(free_port)
    rm -rf "$tmp/peer$n" && mkdir "$tmp/peer$n"
    launch "$n" && return 0
    stop "$n" >/dev/null
    (($? == 3)) || return 1
  done
  return 1
}

# -- programs

python=$work/clients-python/bin/python
quietly() { "$@" >"$tmp/said" 2>&1; }
needs() { # needs TOOL...: or says why not
  local t
  for t in "$@"; do command -v "$t" >/dev/null || { why="no $t"; return 1; }; done
}
broken() { # broken WHAT: a program of ours that cannot be built is a failure
  tail -20 "$tmp/said"
  why=$1 failed=$((failed + 1))
  return 1
}

set_up() { # set_up NAME: makes it ready to run, or says why not
  case $1 in
    curl) needs curl jq ;;
    python-*) # an environment with the pinned client, made once
      needs python3 || return
      PANDO_WORK=$work quietly clients/python/env.sh || { why="cannot install the client: $(tail -1 "$tmp/said")"; return 1; } ;;
    stores)
      needs python3 || return
      PANDO_WORK=$work quietly clients/python/env.sh stores || { why="cannot install them: $(tail -1 "$tmp/said")"; return 1; } ;;
    go)
      needs go || return
      GOWORK=off quietly go -C clients/go build -o "$work/conformance-go" ./conformance || broken 'it does not build' ;;
    typescript-*)
      needs node npm || return
      if [[ ! clients/typescript/node_modules/.package-lock.json -nt clients/typescript/package-lock.json ]]; then
        quietly timeout 300 npm --prefix clients/typescript ci --ignore-scripts --no-audit --no-fund --loglevel=error ||
          { why="cannot install the client: $(tail -1 "$tmp/said")"; return 1; }
      fi
      quietly npm --prefix clients/typescript run build || broken 'it does not build' ;;
    rust)
      needs cargo || return
      quietly timeout 300 cargo fetch --manifest-path clients/rust/Cargo.toml ||
        { why="cannot fetch the client: $(tail -1 "$tmp/said")"; return 1; }
      quietly cargo build --offline --manifest-path clients/rust/Cargo.toml || broken 'it does not build' ;;
    java)
      needs javac java mvn || return
      quietly mvn -q -B -f clients/java/pom.xml compile || broken 'it does not build' ;;
  esac
}

run() { # run NAME [MODE]
  local begin=$SECONDS last command
  case $1 in
    curl) command=(clients/curl/conformance.sh) ;;
    python-async) command=("$python" clients/python/conformance.py --async) ;;
    python-*) command=("$python" clients/python/conformance.py --over "${1#python-}") ;;
    stores) command=("$work/clients-python-stores/bin/python" -B clients/python/stores) ;;
    go) command=("$work/conformance-go") ;;
    typescript-*) command=(node "clients/typescript/dist/${1#typescript-}.js") ;;
    rust) command=(clients/rust/target/debug/conformance) ;;
    java) command=(java -cp 'clients/java/target/classes:clients/java/target/dependency/*' pando.conformance.Main) ;;
  esac
  echo "== $*"
  timeout 240 "${command[@]}" ${2:+"$2"} 2>"$tmp/errors" | tee "$tmp/out"
  last=$(tail -1 "$tmp/out")
  if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
    passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
  else
    cat "$tmp/errors"
    failed=$((failed + 1)) last='broke off'
  fi
  out+=("$*: $last, $((SECONDS - begin)) s")
}
run_all() { for name in "${ready[@]}"; do run "$name" "$@"; done; }

# -- all of it

mkdir -p "$work"
command -v curl >/dev/null || { echo 'curl is needed to see when a peer is ready' >&2; exit 2; }
ready=()
for name in "${names[@]}"; do
  why='' begin=$SECONDS
  if set_up "$name"; then ready+=("$name"); else out+=("$name: left out: $why"); fi
  ((SECONDS - begin < 5)) || out+=("$name: set up in $((SECONDS - begin)) s")
done

addresses=()
for ((n = 1; n <= peers; n++)); do
  start $n || { echo "peer $n did not become ready:"; tail -20 "$tmp/log$n"; exit 1; }
  addresses+=("127.0.0.1:${rest[n]}/127.0.0.1:${grpc[n]}")
done
export PANDO_HOST=127.0.0.1 PANDO_REST_PORT=${rest[1]} PANDO_GRPC_PORT=${grpc[1]} PANDO_DOWN=$kill PANDO_PEERS PANDO_API_KEY=
PANDO_PEERS=$(IFS=,; echo "${addresses[*]}")

if ((peers == 1)); then
  run_all
else
  run_all cluster
  signal KILL "$kill"
  ended "$kill" >/dev/null 2>&1
  ((${PANDO_FACTOR:-2} == 1)) || run_all cluster-down
  if launch "$kill"; then run_all cluster-back; else failed=$((failed + 1)) out+=("peer $kill did not become ready again"); fi
fi

signal TERM "${!pid[@]}"
for n in "${!pid[@]}"; do
  ended "$n" || { code=$? failed=$((failed + 1)); out+=("stop: peer $n ended with code $code"); }
done
if ((failed > 0)); then
  for n in "${!pid[@]}"; do echo "== end of the log of peer $n"; tail -20 "$tmp/log$n"; done
fi
echo '== summary'
printf '%s\n' "${out[@]}"
echo "conformance: $passed passed, $failed failed"
((failed == 0 && passed > 0))
