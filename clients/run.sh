#!/usr/bin/env bash
# Starts a fresh `pando serve` on free loopback ports with a folder of its own, runs the conformance programs of this
# folder against it, and stops it. Programs whose toolchain is not there are named and left out.
#   clients/run.sh [curl] [python-rest] [python-grpc] [go]      without names: all
# PANDO names the binary (./pando), PANDO_WORK a folder for tools that are built once (.bin). The last line is
# `conformance: N passed, M failed`; the exit code is 0 only when M is 0 and something ran.
set -uo pipefail
cd "$(dirname "$0")/.."
pando=$(realpath "${PANDO:-./pando}")
work=$(realpath -m "${PANDO_WORK:-.bin}")
[[ -x $pando ]] || { echo "$pando is not there; run \`make build\` first" >&2; exit 2; }
(($#)) || set -- curl python-rest python-grpc go

tmp=$(mktemp -d)
server=
passed=0 failed=0 out=()

stop() { # ends the server; false when it had to be killed or failed
  local code
  [[ $server ]] || return 0
  kill -TERM "$server" 2>/dev/null
  for _ in {1..200}; do kill -0 "$server" 2>/dev/null || break; sleep 0.1; done
  kill -KILL "$server" 2>/dev/null && echo 'the server did not stop within 20 s and was killed'
  wait "$server" 2>/dev/null
  code=$?
  server=
  return $code
}
trap 'stop >/dev/null; rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

free_port() {
  local p
  while p=$((20000 + RANDOM % 12000)); do
    (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || { echo $p; return; }
  done
}

start() { # start until it is ready; a port taken in between is no reason to give up
  for _ in 1 2 3 4 5; do
    export PANDO_HOST=127.0.0.1 PANDO_REST_PORT PANDO_GRPC_PORT
    PANDO_REST_PORT=$(free_port) PANDO_GRPC_PORT=$(free_port)
    rm -rf "$tmp/serve" && mkdir "$tmp/serve"
    (cd "$tmp/serve" && exec env PANDO__SERVICE__HOST=127.0.0.1 PANDO__SERVICE__HTTP_PORT="$PANDO_REST_PORT" PANDO__SERVICE__GRPC_PORT="$PANDO_GRPC_PORT" \
      PANDO__CLUSTER__P2P__PORT="$(free_port)" "$pando" serve) >"$tmp/log" 2>&1 &
    server=$!
    for _ in {1..600}; do
      if curl -sf -o /dev/null "http://127.0.0.1:$PANDO_REST_PORT/readyz" 2>/dev/null; then return 0; fi
      kill -0 $server 2>/dev/null || break
      sleep 0.1
    done
    stop >/dev/null
    (($? == 3)) || return 1
  done
  return 1
}

python=
find_python() { # makes an environment with the pinned client, once
  local home="$work/clients-python" want
  [[ $python ]] && return 0
  command -v python3 >/dev/null || { why='no python3'; return 1; }
  want=$(sha256sum clients/python/requirements.txt)
  if [[ $(cat "$home/stamp" 2>/dev/null) != "$want" ]]; then
    rm -rf "$home"
    { python3 -m venv "$home" && timeout 300 "$home/bin/pip" install -q --disable-pip-version-check -r clients/python/requirements.txt; } >"$tmp/pip" 2>&1 ||
      { why="cannot install the client: $(tail -1 "$tmp/pip")"; return 1; }
    echo "$want" >"$home/stamp"
  fi
  python="$home/bin/python"
}

prepare() { # sets command, or why not
  case $1 in
    curl)
      for t in curl jq; do command -v $t >/dev/null || { why="no $t"; return 1; }; done
      command=(clients/curl/conformance.sh) ;;
    python-*)
      find_python || return 1
      command=("$python" clients/python/conformance.py --over "${1#python-}") ;;
    go)
      command -v go >/dev/null || { why='no go'; return 1; }
      GOWORK=off go -C clients/go build -o "$work/conformance-go" ./conformance || { why='it does not build'; failed=$((failed + 1)); return 1; }
      command=("$work/conformance-go") ;;
    *) echo "there is no program $1" >&2; exit 2 ;;
  esac
}

run() {
  local begin=$SECONDS last
  echo "== $1"
  timeout 240 "${command[@]}" 2>&1 | tee "$tmp/out"
  last=$(tail -1 "$tmp/out")
  if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
    passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
  else
    failed=$((failed + 1)) last='broke off'
  fi
  out+=("$1: $last, $((SECONDS - begin)) s")
}

mkdir -p "$work"
command -v curl >/dev/null || { echo 'curl is needed to see when the server is ready' >&2; exit 2; }
start || { echo 'the server did not become ready:'; tail -20 "$tmp/log"; exit 1; }
for name in "$@"; do
  why=
  if prepare "$name"; then run "$name"; else out+=("$name: left out: $why"); fi
done
stop || { failed=$((failed + 1)); out+=("stop: the server ended with code $?"); }
((failed == 0)) || { echo '== end of the log of the server'; tail -20 "$tmp/log"; }
echo '== summary'
printf '%s\n' "${out[@]}"
echo "conformance: $passed passed, $failed failed"
((failed == 0 && passed > 0))
