#!/bin/bash
# Start the rig: one keystone, one designate with BIND, and for each region its own placement, nova, glance and
# neutron; ORD has barbican and octavia too. Idempotent: what runs is left alone, what died is started again. All state is under $RIG_DIR.
set -euo pipefail
. "$(dirname "$0")/env.sh"
[ "$(id -u)" = 0 ] || { echo "the rig needs root" >&2; exit 1; }
[ "$RIG_REAL" != 1 ] || [ -s "$RIG_CACHE/image/disk.qcow2" ] || { echo "RIG_REAL=1 needs the image: image.sh" >&2; exit 1; }
enter_netns "$0" "$@"
. "$RIG_HOME/config.sh"
. "$RIG_HOME/services.sh"
T0=$(date +%s); lap() { say "+$(($(date +%s) - T0))s $*"; }
mkdir -p "$PIDS" "$LOGS" "$ETC" "$RIG_DIR/bind" "$RIG_DIR/mq" "$RIG_DIR/designate" "$RIG_DIR/tmp"
chmod 755 "$RIG_DIR"
[ -s "$RIG_DIR/rndc.secret" ] || head -c 32 /dev/urandom | base64 >"$RIG_DIR/rndc.secret"
printf 'RIG_REAL=%s RIG_FAKES=%s RIG_VIRT=%s RIG_REGIONS="%s"\n' "$RIG_REAL" "$RIG_FAKES" "$RIG_VIRT" "$RIG_REGIONS" >"$RIG_DIR/settings"
{ printf '%s\n' $GLOBAL named; for r in $RIG_REGIONS; do of_region $r | tr ' ' '\n'; done; } >"$RIG_DIR/services"
write_keystone; write_designate; write_barbican; write_octavia
for r in $RIG_REGIONS; do write_placement $r; write_glance $r; write_neutron $r; write_nova $r; done

# --- MariaDB and RabbitMQ -------------------------------------------------
if [ ! -d "$RIG_DIR/mysql/mysql" ]; then
    mysql_install_db --no-defaults --user=root --datadir="$RIG_DIR/mysql" --tmpdir="$RIG_DIR/tmp" \
        --auth-root-authentication-method=normal --skip-test-db >"$LOGS/mysql-init.log" 2>&1
fi
launch mariadb
cat >"$RIG_DIR/mq/rabbitmq.conf" <<E
listeners.tcp.default = $LO:$P_MQ
load_definitions = $RIG_DIR/mq/definitions.json
loopback_users = none
log.console = true
log.file = false
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
E
python3 - "$PW" $RIG_REGIONS >"$RIG_DIR/mq/definitions.json" <<'E'
import json, sys
vh = ['/', 'global'] + sys.argv[2:]
print(json.dumps({
    'users': [{'name': 'rig', 'password': sys.argv[1], 'tags': 'administrator'}],
    'vhosts': [{'name': v} for v in vh],
    'permissions': [{'user': 'rig', 'vhost': v, 'configure': '.*', 'write': '.*', 'read': '.*'} for v in vh]}))
E
: >"$RIG_DIR/mq/plugins"; echo '[].' >"$RIG_DIR/mq/plugins"
launch rabbitmq
launch named

wait_port $P_DB 60
sql() { mariadb --no-defaults -uroot -S "$RIG_DIR/mysql.sock" "$@"; }
for i in $(seq 50); do sql -e 'select 1' >/dev/null 2>&1 && break; sleep 0.2; done
DBS="keystone designate barbican octavia"
for r in $RIG_REGIONS; do DBS+=" glance_$r placement_$r neutron_$r nova_api_$r nova_$r nova_${r}_cell0"; done
{ for d in $DBS; do echo "create database if not exists \`$d\`;"; done
  echo "create user if not exists 'rig'@'%' identified by '$PW'; create user if not exists 'rig'@'localhost' identified by '$PW';"
  echo "grant all on *.* to 'rig'@'%'; grant all on *.* to 'rig'@'localhost';"; } | sql
lap "mariadb up"

# --- Schemas: synced once for the first region, copied to the others ---------
F=${RIG_REGIONS%% *}
once() { # once STAMP CMD...: run once, log kept, stamp left
    local s=$1; shift
    [ -e "$RIG_DIR/done.$s" ] && return 0
    "$@" >>"$LOGS/sync-$s.log" 2>&1 || { say "$s failed: $LOGS/sync-$s.log"; tail -5 "$LOGS/sync-$s.log"; return 1; }
    touch "$RIG_DIR/done.$s"
}
nova_sync() {
    nova-manage --config-file "$ETC/nova-$F.conf" api_db sync
    # cell0 first: its schema is that of a cell, then copied.
    nova-manage --config-file "$ETC/nova-$F.conf" db sync --local_cell
    sql -e "drop database nova_${F}_cell0; create database nova_${F}_cell0"
    mariadb-dump --no-defaults -uroot -S "$RIG_DIR/mysql.sock" "nova_$F" | sql "nova_${F}_cell0"
}
copy_region() { # copy_region REGION: schemas of the first region
    local d
    for d in glance_X placement_X neutron_X nova_api_X nova_X nova_X_cell0; do
        mariadb-dump --no-defaults -uroot -S "$RIG_DIR/mysql.sock" "${d/X/$F}" | sql "${d/X/$1}"
    done
}
cells() { # map cell0 and cell1 of a region
    local c="nova-manage --config-file $ETC/nova-$1.conf cell_v2"
    $c map_cell0 --database_connection "$(db nova_${1}_cell0)"
    $c create_cell --name cell1 --database_connection "$(db nova_$1)" --transport-url "$(mq $1)"
}
keystone_init() {
    keystone-manage --config-file "$ETC/keystone/keystone.conf" db_sync
    mkdir -p "$ETC/keystone/fernet" "$ETC/keystone/credential"
    keystone-manage --config-file "$ETC/keystone/keystone.conf" fernet_setup --keystone-user root --keystone-group root
    keystone-manage --config-file "$ETC/keystone/keystone.conf" credential_setup --keystone-user root --keystone-group root
    keystone-manage --config-file "$ETC/keystone/keystone.conf" bootstrap --bootstrap-password $PW \
        --bootstrap-region-id "$F" --bootstrap-public-url "http://$LO:$P_KEYSTONE/v3" \
        --bootstrap-internal-url "http://$LO:$P_KEYSTONE/v3" --bootstrap-admin-url "http://$LO:$P_KEYSTONE/v3"
}
# Two lanes, one for each core.
(set -e
 once keystone keystone_init
 once nova nova_sync
 once placement env OS_PLACEMENT_CONFIG_DIR="$ETC/placement-$F" placement-manage --config-file "$ETC/placement-$F/placement.conf" db sync
) & A=$!
(set -e
 once neutron neutron-db-manage --config-file "$ETC/neutron-$F.conf" upgrade heads
 once glance glance-manage --config-file "$ETC/glance-$F.conf" db sync
 once designate designate-manage --config-file "$ETC/designate.conf" database sync
 once barbican env HOME="$RIG_DIR/barbican" barbican-manage db upgrade --db-url "$(db barbican)"
 once octavia octavia-db-manage --config-file "$ETC/octavia.conf" upgrade head
) & B=$!
wait $A; wait $B
for r in $RIG_REGIONS; do
    [ "$r" = "$F" ] || once "copy-$r" copy_region "$r"
done
lap "schemas ready"

# --- Services -------------------------------------------------------------
wait_port $P_MQ 90
launch keystone
cp=; for r in $RIG_REGIONS; do once "cells-$r" cells "$r" & cp+=" $!"; done
answers keystone
for p in $cp; do wait "$p"; done
once seed-keystone /usr/bin/python3 "$RIG_HOME/seed.py" keystone
lap "keystone up"
if [ "$RIG_REAL" = 1 ]; then
    write_real
    # A veth pair is the physical network of the real host: the agent puts ordp0 into its bridge, the namespace
    # keeps ordh0 as the gateway. The bridge must not hand frames to iptables.
    if ! ip link show ordh0 >/dev/null 2>&1; then
        ip link add ordh0 type veth peer name ordp0
        ip addr add 10.77.2.1/24 dev ordh0
        ip link set ordh0 up; ip link set ordp0 up
    fi
    sysctl -q -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0 2>/dev/null || true
    launch libvirtd
    for i in $(seq 50); do [ -S "$RIG_DIR/libvirt/libvirt-sock" ] && break; sleep 0.2; done
fi
for n in $(cat "$RIG_DIR/services"); do launch "$n"; done
answers designate-api
once pool designate-manage --config-file "$ETC/designate.conf" pool update --file "$ETC/pools.yaml"
for n in $(cat "$RIG_DIR/services"); do answers "$n"; done
lap "all services answer"
once seed-cloud /usr/bin/python3 "$RIG_HOME/seed.py" cloud
[ "$RIG_REAL" != 1 ] || once seed-real /usr/bin/python3 "$RIG_HOME/seed.py" real
lap "rig is up"
