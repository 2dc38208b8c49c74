#!/usr/bin/env bash
# Runs inside the rig's namespace, with IAD dead: the real binary moves a name to servers in ORD and undoes it.
# Fake hosts have no body behind their address, so nothing is delivered or proven here; that needs a real VM (docs/performance.md).
set -euo pipefail
failover=$1 work=$2 reader=$3
cd "$work"
export FAILOVER_STATE_DIR="$work/state"
cat >failover.hcl <<'P'
service = "ci"
home    = "IAD"
regions = ["ORD"]
cloud "main" {
  openstack { cloud = "rig" }
}
server "box" {
  cloud    = cloud.main
  count    = 2
  image    = "stub"
  flavor   = ["toobig", "small"]
  networks = ["public"]
  spread   = true
  open     = ["443/tcp from any", "22/tcp from me"]
}
dns "public" {
  zone         = "ci.test"
  name_servers = ["127.0.0.1:15053"]
  designate { cloud = cloud.main }
  record "www" {
    type     = "A"
    ttl      = 30
    to       = server.box
    unproven = true
  }
}
P
served() { dig +short @127.0.0.1 -p 15053 www.ci.test A | sort | paste -sd' '; }
expect() { [ "$2" = "$3" ] || { echo "FAIL: $1: got '$2', wanted '$3'"; exit 1; }; echo "ok: $1"; }
refused() { # refused CODE WORDS...: the command ends with that exit code
    local want=$1 got=0
    shift
    "$@" >"$work/out" 2>&1 || got=$?
    expect "exit code of $(basename "$1") ${*:2}" "$got" "$want"
}
"$failover" --region ORD --dry-run >/dev/null
echo "ok: a dry run, IAD being dead"
OS_CLIENT_CONFIG_FILE=$reader "$failover" --region ORD --dry-run >/dev/null
echo "ok: a dry run with the reader role alone"
refused 2 "$failover" --region NOPE --dry-run
grep -q 'valid: IAD, ORD' "$work/out" || { cat "$work/out"; exit 1; }
sed 's/count    = 2/count    = 50/' failover.hcl >many.hcl
refused 3 "$failover" --region ORD --plan many.hcl --dry-run
grep -q 'quota' "$work/out" || { cat "$work/out"; exit 1; }
expect "the name before" "$(served)" "192.0.2.10"
"$failover" --region ORD --yes
case "$(served)" in 10.77.2.*\ 10.77.2.*) echo "ok: the name after, $(served)";; *) echo "FAIL: the name after: $(served)"; exit 1;; esac
"$failover" abandon --yes
for _ in 1 2 3 4 5 6 7 8 9 10; do [ "$(served)" = 192.0.2.10 ] && break; sleep 0.5; done
expect "the name after abandon" "$(served)" "192.0.2.10"
"$failover" --region ORD --dry-run --json >plan.json
! grep -q '"earlier run"' plan.json || { echo "FAIL: abandon left servers"; exit 1; }
echo "ok: nothing of the run is left"
