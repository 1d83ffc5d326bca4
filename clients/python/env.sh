#!/usr/bin/env bash
# Makes the environment with the pinned clients of requirements.txt, once, in .bin/clients-python (PANDO_WORK: beside it, another
# folder), and prints its python. `env.sh stores` makes that of the stores, in .bin/clients-python-stores.
set -euo pipefail
env=$(realpath -m "${PANDO_WORK:-$(dirname "$0")/../../.bin}")/clients-python${1:+-$1}
cd "$(dirname "$0")/${1:-}"
stamp=$(sha256sum requirements.txt)
if [[ $(cat "$env/stamp" 2>/dev/null) != "$stamp" ]]; then
  rm -rf "$env"
  mkdir -p "$(dirname "$env")"
  python3 -m venv "$env" >&2
  timeout 300 "$env/bin/pip" install -q --disable-pip-version-check -r requirements.txt >&2
  echo "$stamp" >"$env/stamp"
fi
echo "$env/bin/python"
