#!/bin/bash
# Run a command inside the rig's namespace: in.sh COMMAND... There is no way out from there: build Go programs before.
[ -n "${RIG_CALLER_PATH:-}" ] || export RIG_CALLER_PATH=$PATH
. "$(dirname "$0")/env.sh"
enter_netns "$0" "$@"
PATH=$RIG_CALLER_PATH
unset RIG_CALLER_PATH PYTHONPATH PYTHONDONTWRITEBYTECODE
exec "$@"
