#!/usr/bin/env bash
# Publishing with curl: one notification, a batch, a CloudEvent, and a retry that publishes nothing twice.
# TIDINGS_TOKEN needs the scope publish: TIDINGS_TOKEN=$(tidings token --user ada --scope publish)
set -euo pipefail
url=${TIDINGS_URL:-http://127.0.0.1:7400}
token=${TIDINGS_TOKEN:?set it to the output of: tidings token --user ada --scope publish}

post() { # post PATH CONTENT-TYPE BODY [more of curl's arguments]
  curl --silent --show-error --fail-with-body "$url$1" --header "Authorization: Bearer $token" \
    --header "Content-Type: $2" --data "$3" "${@:4}"
  echo
}

echo "one:"
post /v1/notifications application/json '{
  "type": "booking.accepted", "title": "Booking 17 was accepted", "audience": { "users": ["ada"] }
}'

echo "a batch, with a result for each:"
post /v1/notifications/batch application/json '[
  { "type": "order.paid", "title": "Order 1 was paid", "audience": { "users": ["ada"] } },
  { "type": "order.paid", "title": "Nobody is addressed" }
]'

echo "a CloudEvent, sent twice and published once:"
for _ in 1 2; do
  post /v1/notifications application/cloudevents+json '{
    "specversion": "1.0", "id": "order-1-shipped", "source": "/examples/publish.sh", "type": "order.shipped",
    "data": { "title": "Order 1 was shipped", "audience": { "users": ["ada"] } }
  }'
done
