#!/usr/bin/env bash
# Follows what concerns you with curl, over server-sent events. When the connection is lost, it goes on where it was.
set -euo pipefail
url=${TIDINGS_URL:-http://127.0.0.1:7400}
id='' last='' event=''
while :; do
  resume=()
  [[ -z $last ]] || resume=(-H "Last-Event-ID: $last")
  while IFS= read -r line; do
    case $line in
      'id: '*) id=${line#id: } ;;
      'event: '*) event=${line#event: } ;;
      'data: '*) printf '%s %s\n' "$event" "${line#data: }" ;;
      '') last=$id ;; # the event is whole, and dealt with
    esac
  done < <(curl --silent --show-error --fail --no-buffer "$url/v1/events" -H "Authorization: Bearer $TIDINGS_TOKEN" "${resume[@]}")
  status=0
  wait $! || status=$?
  ((status != 22)) || exit 1 # refused: trying again would not help
  sleep 1
done
