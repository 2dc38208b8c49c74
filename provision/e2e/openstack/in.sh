#!/bin/bash
# Run a command inside the rig's namespace: in.sh COMMAND... There is no way out from there: build Go programs before.
[ -n "${RIG_CALLER_PATH:-}" ] || export RIG_CALLER_PATH=$PATH RIG_CALLER_CACHE=${XDG_CACHE_HOME:-}
. "$(dirname "$0")/env.sh"
enter_netns "$0" "$@"
PATH=$RIG_CALLER_PATH
if [ -n "$RIG_CALLER_CACHE" ]; then XDG_CACHE_HOME=$RIG_CALLER_CACHE; else unset XDG_CACHE_HOME; fi
unset RIG_CALLER_PATH RIG_CALLER_CACHE PYTHONPATH PYTHONDONTWRITEBYTECODE
exec "$@"
