# Settings of the rig and how its processes are kept; every script sources this. Every secret here is throwaway.
RIG_HOME=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
RIG_DIR=${RIG_DIR:-${XDG_STATE_HOME:-$HOME/.local/state}/failover-rig}      # all state; "down.sh wipe" removes it
RIG_CACHE=${RIG_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/openstack-rig}       # packages and the bootable image
RIG_REGIONS=${RIG_REGIONS:-"IAD ORD"}
RIG_FAKES=${RIG_FAKES:-3}            # fake compute hosts of ORD, 2 vCPUs and 8 GiB each; other regions have one
RIG_REAL=${RIG_REAL:-0}              # 1: one libvirt host in ORD too
RIG_VIRT=${RIG_VIRT:-qemu}           # kvm where KVM works
RIG_TOKEN_SECONDS=${RIG_TOKEN_SECONDS:-14400}
# The whole rig lives in a network namespace of its own: nothing of it is seen outside, no port collides, no
# packet leaves, and whatever runs in there is the rig's.
RIG_NETNS=${RIG_NETNS:-failover-rig}
PW=rig
LO=127.0.0.1
P_DB=13306 P_MQ=15673 P_KEYSTONE=13500 P_DESIGNATE=19001 P_MDNS=15354 P_DNS=15053 P_RNDC=15953
P_BARBICAN=29311 P_OCTAVIA=29876        # of ORD: it alone has load balancers and a key manager
PIDS=$RIG_DIR/pids LOGS=$RIG_DIR/logs ETC=$RIG_DIR/etc
region_port() { # region_port ORD nova: IAD has 1xxxx, ORD 2xxxx
    local d; case $1 in IAD) d=1;; ORD) d=2;; *) echo "no region $1" >&2; return 1;; esac
    case $2 in
        nova) echo ${d}8774;; placement) echo ${d}8778;;
        glance) echo ${d}9292;; neutron) echo ${d}9696;;
    esac
}
fakes_of() { if [ "$1" = ORD ]; then seq "$RIG_FAKES"; else echo 1; fi; }
# Debian's python, not one of another place that comes first in PATH.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export XDG_CACHE_HOME=$RIG_DIR/cache   # of python's own
export PATH RIG_DIR RIG_CACHE RIG_REAL RIG_NETNS PYTHONPATH="$RIG_HOME/lib" PYTHONDONTWRITEBYTECODE=1
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY

enter_netns() { # enter_netns SCRIPT ARGS...: run again inside the namespace
    [ -e "/run/netns/$RIG_NETNS" ] || { ip netns add "$RIG_NETNS" && ip -n "$RIG_NETNS" link set lo up; }
    [ "$(stat -Lc %i /proc/self/ns/net)" = "$(stat -Lc %i "/run/netns/$RIG_NETNS")" ] ||
        exec ip netns exec "$RIG_NETNS" "$@"   # gives it a /sys of its own too
}
say() { printf '%s %s\n' "$(date +%T)" "$*"; }
# A pid counts as ours only with the start time that was recorded at launch.
pid_start() { awk '{sub(/^.*\) /,""); print $20}' "/proc/$1/stat" 2>/dev/null; }
alive() {
    local pid st
    [ -s "$PIDS/$1" ] || return 1
    read -r pid st <"$PIDS/$1"
    [ -n "$pid" ] && [ "$(pid_start "$pid")" = "$st" ]
}
start() { # start NAME CMD...: session of its own, output to a log, pid recorded
    local name=$1; shift
    alive "$name" && return 0
    setsid nohup "$@" >>"$LOGS/$name.log" 2>&1 </dev/null &
    local pid=$!
    echo "$pid $(pid_start $pid)" >"$PIDS/$name"
}
sig() { # sig SIGNAL NAME: to the whole process group
    local pid st
    alive "$2" || return 0
    read -r pid st <"$PIDS/$2"
    kill "-$1" -- "-$pid" 2>/dev/null || kill "-$1" "$pid" 2>/dev/null || true
}
wait_port() { # wait_port PORT SECONDS
    local i
    for ((i = 0; i < $2 * 5; i++)); do
        (exec 3<>"/dev/tcp/$LO/$1") 2>/dev/null && return 0
        sleep 0.2
    done
    say "port $1 is not open after $2 s" >&2; return 1
}
wait_http() { # wait_http URL SECONDS: any HTTP answer below 500
    local i c
    for ((i = 0; i < $2 * 4; i++)); do
        c=$(curl -s -m 5 -o /dev/null -w '%{http_code}' "$1" || true)
        [ "$c" != 000 ] && [ "$c" -lt 500 ] && return 0
        sleep 0.25
    done
    say "$1 gives $c after $2 s" >&2; return 1
}
