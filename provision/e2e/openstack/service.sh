#!/bin/bash
# Take services down and bring them back: service.sh kill|hang|start NAME...
# NAME is a service (services.sh lists them) or a whole region: IAD. keystone and designate belong to no region.
#   kill    every process killed: connections are refused
#   hang    every process stopped: connections hang
#   start   go on with what was stopped, start what was killed, wait until it answers
set -euo pipefail
. "$(dirname "$0")/env.sh"
[ -s "$RIG_DIR/services" ] || { echo "the rig is not up" >&2; exit 1; }
enter_netns "$0" "$@"
# As the rig was brought up, whatever the caller's environment says.
. "$RIG_DIR/settings"
. "$RIG_HOME/config.sh"
. "$RIG_HOME/services.sh"
how=$1; shift
names= vms=
for n in "$@"; do
    if grep -qx "$n" "$RIG_DIR/services"; then
        names+=" $n"
    elif grep -q "^$n-" "$RIG_DIR/services"; then
        names+=" $(grep "^$n-" "$RIG_DIR/services" | tr '\n' ' ')"
        [ "$n" != ORD ] || vms=1
    else
        echo "no service or region $n" >&2; exit 2
    fi
done
case $how in
    kill) for n in $names; do sig KILL "$n"; done; [ -z "$vms" ] || sig_vms KILL
        # A connection is refused only when the process is gone.
        for n in $names; do while alive "$n"; do sleep 0.05; done; done;;
    hang) for n in $names; do sig STOP "$n"; done; [ -z "$vms" ] || sig_vms STOP;;
    start) [ -z "$vms" ] || sig_vms CONT
        for n in $names; do sig CONT "$n"; launch "$n"; done
        for n in $names; do answers "$n"; done;;
    *) echo "service.sh kill|hang|start NAME..." >&2; exit 2;;
esac
