#!/bin/bash
# Stop the rig: "down.sh" keeps its state for a warm start, "down.sh wipe" leaves nothing.
# Whatever runs in the rig's network namespace is the rig's.
set -euo pipefail
. "$(dirname "$0")/env.sh"
inside() { ip netns pids "$RIG_NETNS" 2>/dev/null || true; }
if [ "${1:-}" != wipe ]; then
    # The two that mind being killed.
    for n in mariadb rabbitmq; do sig TERM $n; done
    for i in $(seq 100); do alive mariadb || alive rabbitmq || break; sleep 0.2; done
fi
for i in $(seq 100); do
    pids=$(inside)
    [ -n "$pids" ] || break
    kill -KILL $pids 2>/dev/null || true
    sleep 0.1
done
[ -z "$(inside)" ] || { say "these do not die: $(inside | tr '\n' ' ')" >&2; exit 1; }
rm -rf "$PIDS" "$RIG_DIR/services"
[ ! -e "/run/netns/$RIG_NETNS" ] || ip netns del "$RIG_NETNS"   # its bridges and links go with it
[ "${1:-}" != wipe ] || rm -rf "$RIG_DIR"
say "rig is down"
