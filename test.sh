#!/usr/bin/env bash
# Installs what the tests need and passes every one of them: ./test.sh [arguments of cargo test]
set -euo pipefail
cd "$(dirname "$0")"

install() {
  echo "installing $*"
  if ! command -v apt-get >/dev/null; then
    echo "these packages are needed, and apt-get is not there to install them: $*" >&2
    exit 1
  fi
  local as_root=()
  ((EUID == 0)) || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

# A C compiler for SQLite and for the disk that fails, curl for an example, Python for clients, parsers and a fuzzer that are not ours, Node and
# Chromium for the page and its client, a NATS server.
missing=()
command -v cc >/dev/null || missing+=(build-essential)
command -v curl >/dev/null || missing+=(curl)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
command -v node >/dev/null || missing+=(nodejs)
command -v "${TIDINGS_CHROMIUM:-chromium}" chromium-browser google-chrome >/dev/null || missing+=(chromium)
PATH="$PATH:/usr/sbin" command -v nats-server >/dev/null || missing+=(nats-server)
((${#missing[@]} == 0)) || install "${missing[@]}"
command -v npm >/dev/null || install npm # some packages of Node bring it
node_version=$(node --print 'process.versions.node')
if ((${node_version%%.*} < 20)); then
  echo "Node 20 or later is needed for the tests of the page; this is $node_version" >&2
  exit 1
fi
if ! target/python/bin/python -c 'import jsonschema, kosoku, nats, openapi_spec_validator, prometheus_client, schemathesis, websockets' 2>/dev/null; then
  python3 -m venv target/python
  target/python/bin/pip install --quiet --disable-pip-version-check \
    'jsonschema==4.26.0' 'kosoku==0.1.0' 'nats-py==2.16.0' 'openapi-spec-validator==0.9.0' 'prometheus-client==0.26.0' 'schemathesis==4.32.5' 'websockets==15.0.1'
fi
if [[ ! tests/page/node_modules/.package-lock.json -nt tests/page/package-lock.json ]]; then
  npm ci --prefix tests/page --silent --no-audit --no-fund
fi

cargo test --workspace "$@"
# What needs the machine for itself.
if (($# == 0)); then
  cargo test -p tidings-tests -- --ignored
fi
