#!/bin/sh
# `serve` (the default), with options added; or any other leadline command, such as `keys add ana --ring /keys`.
# Inside a container every interface is reached from outside, so keys are required.
set -eu
if [ "${1:-serve}" != serve ]; then
  exec leadline "$@"
fi
[ "$#" -gt 0 ] && shift
exec leadline serve --bind "tcp://0.0.0.0:${LEADLINE_PORT:-5570}" --http 8080 --http-host 0.0.0.0 --keys /keys \
  --metrics-host 0.0.0.0 --metrics-port 9570 "$@"
