#!/bin/bash
# Install the Debian packages that the rig needs. Idempotent.
# No service is started and no database is configured: policy-rc.d answers 101 during the install, and the
# debconf answers below turn off dbconfig.
set -euo pipefail
. "$(dirname "$0")/env.sh"
export DEBIAN_FRONTEND=noninteractive
mapfile -t PKGS < <(grep -v '^#' "$RIG_HOME/packages.txt" | tr ' ' '\n' | grep .)
if dpkg-query -W -f '${db:Status-Status}\n' "${PKGS[@]}" 2>/dev/null | grep -c '^installed$' | grep -qx "${#PKGS[@]}"; then
    echo "install: all ${#PKGS[@]} packages present"; exit 0
fi
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
for p in keystone glance placement nova neutron designate barbican octavia; do
    for s in "$p" "$p-common" "$p-api"; do
        for q in configure_db configure_rabbit configure_ksat register-endpoint create-admin-tenant; do
            echo "$s $p/$q boolean false"
        done
    done
done | debconf-set-selections 2>/dev/null || true
# An archive folder of our own: another apt on the machine may clean the shared one.
mkdir -p "$RIG_CACHE/apt/partial"
apt=(apt-get -y --no-install-recommends -o DPkg::Lock::Timeout=900
     -o Dir::Cache::archives="$RIG_CACHE/apt" -o Dpkg::Use-Pty=0
     -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Options::=--force-confold)
apt-get -o DPkg::Lock::Timeout=900 update -qq
# A mirror that breaks off is asked again; what was fetched is kept.
for try in 1 2 3; do
    "${apt[@]}" install "${PKGS[@]}" && exit 0
    echo "install: try $try failed" >&2; sleep 5
    dpkg --configure -a || true
    "${apt[@]}" -f install || true
done
exit 1
