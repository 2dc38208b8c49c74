# Every service by name: `launch NAME` starts it unless it runs, `answers NAME` waits until it does its work.
# Names: mariadb rabbitmq named keystone designate-{api,central,worker,mdns,producer}, libvirtd, and of each
# region R: R-{placement,neutron,nova-api,nova-conductor,nova-scheduler,glance,nova-fake1...}; ORD-{barbican,octavia-api,octavia-worker,linuxbridge,nova-real}.
GLOBAL="keystone designate-central designate-api designate-worker designate-mdns designate-producer"
of_region() {
    local n
    for n in placement neutron nova-conductor nova-scheduler nova-api glance; do echo "$1-$n"; done
    for n in $(fakes_of $1); do echo "$1-nova-fake$n"; done
    [ "$1" != ORD ] || echo "ORD-barbican ORD-octavia-api ORD-octavia-worker"
    [ "$1" != ORD ] || [ "$RIG_REAL" != 1 ] || echo "ORD-linuxbridge ORD-nova-real"
}
wsgi() { # wsgi NAME PORT FILE [VAR=VALUE...]
    local name=$1 port=$2 file=$3; shift 3
    start "$name" env "$@" uwsgi_python3 --http-socket "$LO:$port" --wsgi-file "$file" \
        --processes 1 --threads 4 --enable-threads --need-app --die-on-term --buffer-size 65535 \
        --add-header 'Connection: close' --thunder-lock --log-5xx
}
launch() {
    local r=${1%%-*} L=$RIG_DIR/libvirt
    case $1 in
    mariadb) start mariadb mariadbd --no-defaults --user=root --datadir="$RIG_DIR/mysql" \
        --socket="$RIG_DIR/mysql.sock" --pid-file="$RIG_DIR/mysql.pid" --tmpdir="$RIG_DIR/tmp" \
        --bind-address=$LO --port=$P_DB --max-connections=600 --skip-name-resolve \
        --innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=0 --innodb-buffer-pool-size=256M \
        --innodb-flush-method=O_DIRECT_NO_FSYNC --skip-log-bin --performance-schema=off \
        --character-set-server=utf8mb3 --collation-server=utf8mb3_general_ci;;
    rabbitmq) start rabbitmq env HOME="$RIG_DIR/mq" RABBITMQ_NODENAME=rig@localhost ERL_EPMD_PORT=14369 ERL_EPMD_ADDRESS=$LO \
        RABBITMQ_DIST_PORT=15674 RABBITMQ_MNESIA_BASE="$RIG_DIR/mq/mnesia" RABBITMQ_LOG_BASE="$LOGS" \
        RABBITMQ_CONFIG_FILE="$RIG_DIR/mq/rabbitmq.conf" RABBITMQ_ENABLED_PLUGINS_FILE="$RIG_DIR/mq/plugins" \
        RABBITMQ_PID_FILE="$RIG_DIR/mq/pid" RABBITMQ_CONF_ENV_FILE=/dev/null TMPDIR="$RIG_DIR/tmp" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none" \
        /usr/lib/rabbitmq/bin/rabbitmq-server;;
    named) start named named -f -c "$ETC/named.conf";;
    keystone) write_keystone
        wsgi keystone $P_KEYSTONE /usr/bin/keystone-wsgi-public OS_KEYSTONE_CONFIG_FILES="$ETC/keystone/keystone.conf";;
    designate-*) start "$1" "$1" --config-file "$ETC/designate.conf";;
    libvirtd) # Its folders are ours in a mount namespace of its own: the machine's libvirt is not touched.
        start libvirtd unshare -m sh -ec '
            mkdir -p /run/libvirt
            mount --bind "$1/etc" /etc/libvirt; mount --bind "$1/run" /run/libvirt
            mount --bind "$1/lib" /var/lib/libvirt; mount --bind "$1/log" /var/log/libvirt
            mount --bind "$1/cache" /var/cache/libvirt
            PATH=$1/bin:/usr/sbin:/sbin; exec libvirtd -f "$2" -p "$1/libvirtd.pid"' sh "$L" "$ETC/libvirtd.conf";;
    *-placement) wsgi "$1" "$(region_port $r placement)" /usr/bin/placement-api OS_PLACEMENT_CONFIG_DIR="$ETC/placement-$r";;
    *-barbican) wsgi "$1" $P_BARBICAN "$RIG_HOME/lib/barbican_wsgi.py" HOME="$RIG_DIR/barbican" RIG_PASTE="$ETC/barbican-api-paste.ini";;
    *-octavia-*) start "$1" "${1#*-}" --config-file "$ETC/octavia.conf";;
    *-neutron) start "$1" neutron-server --config-file "$ETC/neutron-$r.conf";;
    *-glance) start "$1" glance-api --config-file "$ETC/glance-$r.conf";;
    *-linuxbridge) start "$1" neutron-linuxbridge-agent --config-file "$ETC/linuxbridge-$r.conf";;
    *-nova-real) start "$1" nova-compute --config-file "$ETC/nova-$r.conf" --config-file "$ETC/nova-$r-real.conf";;
    *-nova-fake*) start "$1" nova-compute --config-file "$ETC/nova-$r.conf" --config-file "$ETC/nova-$r-${1##*-}.conf";;
    *-nova-*) start "$1" "${1#*-}" --config-file "$ETC/nova-$r.conf";;
    *) say "no service $1" >&2; return 1;;
    esac
}
answers() {
    local r=${1%%-*} n=${1#*-}
    case $1 in
    keystone) wait_http "http://$LO:$P_KEYSTONE/v3" 60;;
    designate-api) wait_http "http://$LO:$P_DESIGNATE/" 60;;
    named) wait_port $P_DNS 20;;
    *-barbican) wait_http "http://$LO:$P_BARBICAN/" 60;;
    *-octavia-api) wait_http "http://$LO:$P_OCTAVIA/" 60;;
    *-placement|*-neutron|*-glance|*-nova-api) wait_http "http://$LO:$(region_port $r "${n%-api}")/" 120;;
    esac
}
# qemu processes outlive libvirtd; they have pid files.
sig_vms() {
    local f
    for f in "$RIG_DIR"/libvirt/run/qemu/*.pid; do
        [ ! -s "$f" ] || kill "-$1" "$(cat "$f")" 2>/dev/null || true
    done
}
