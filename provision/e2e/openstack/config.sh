# Writes every configuration file, under $RIG_DIR/etc; sourced by the scripts that start services.
db() { echo "mysql+pymysql://rig:$PW@$LO:$P_DB/$1?charset=utf8"; }
mq() { echo "rabbit://rig:$PW@$LO:$P_MQ/$1"; }

auth_opts() { # auth_opts USER [REGION]
    cat <<E
auth_type = password
auth_url = http://$LO:$P_KEYSTONE/v3
username = $1
password = $PW
project_name = service
user_domain_name = Default
project_domain_name = Default
E
    [ -z "${2:-}" ] || echo "region_name = $2"
}
authtoken() {
    echo "[keystone_authtoken]"
    echo "www_authenticate_uri = http://$LO:$P_KEYSTONE/v3"
    auth_opts "$1"
    echo "service_token_roles_required = false"
    echo "memcache_use_advanced_pool = false"
}
dbopts() { printf '[database]\nconnection = %s\nmax_pool_size = 5\n' "$(db "$1")"; }
lock() { mkdir -p "$RIG_DIR/lock/$1"; printf '[oslo_concurrency]\nlock_path = %s\n' "$RIG_DIR/lock/$1"; }

write_keystone() {
    mkdir -p "$ETC/keystone"
    cat >"$ETC/keystone/keystone.conf" <<E
[DEFAULT]
log_dir =
[database]
connection = $(db keystone)
[identity]
# Cheap hashes: a login costs 2 ms instead of 300.
password_hash_rounds = 4
[token]
provider = fernet
expiration = $RIG_TOKEN_SECONDS
[fernet_tokens]
key_repository = $ETC/keystone/fernet
[credential]
key_repository = $ETC/keystone/credential
[fernet_receipts]
key_repository = $ETC/keystone/fernet
[cache]
enabled = true
backend = dogpile.cache.memory
E
}

write_placement() { # REGION
    mkdir -p "$ETC/placement-$1"
    { printf '[placement_database]\nconnection = %s\n[api]\nauth_strategy = keystone\n' "$(db placement_$1)"
      authtoken placement; } >"$ETC/placement-$1/placement.conf"
}

write_glance() {
    local r=$1
    mkdir -p "$RIG_DIR/$r/images"
    { cat <<E
[DEFAULT]
bind_host = $LO
bind_port = $(region_port $r glance)
workers = 0
transport_url = $(mq $r)
enabled_backends = fs:file
public_endpoint = http://$LO:$(region_port $r glance)
[glance_store]
default_backend = fs
[fs]
filesystem_store_datadir = $RIG_DIR/$r/images
[os_glance_staging_store]
filesystem_store_datadir = $RIG_DIR/$r/staging
[os_glance_tasks_store]
filesystem_store_datadir = $RIG_DIR/$r/tasks
[paste_deploy]
flavor = keystone
config_file = /etc/glance/glance-api-paste.ini
E
      dbopts glance_$r; authtoken glance; lock glance_$r; } >"$ETC/glance-$r.conf"
}

write_neutron() {
    local r=$1 mech=rigfake
    [ "$RIG_REAL" = 1 ] && [ "$r" = ORD ] && mech=linuxbridge,rigfake
    { cat <<E
[DEFAULT]
bind_host = $LO
bind_port = $(region_port $r neutron)
state_path = $RIG_DIR/$r/neutron
core_plugin = ml2
service_plugins = router
api_paste_config = /etc/neutron/api-paste.ini
api_workers = 1
rpc_workers = 1
rpc_state_report_workers = 0
dhcp_agent_notification = false
transport_url = $(mq $r)
notify_nova_on_port_status_changes = true
notify_nova_on_port_data_changes = true
[experimental]
linuxbridge = true
[ml2]
type_drivers = flat,local,vxlan
tenant_network_types = vxlan
mechanism_drivers = $mech
extension_drivers = port_security
[ml2_type_flat]
flat_networks = *
[ml2_type_vxlan]
vni_ranges = 1:1000
[quotas]
quota_port = 500
[nova]
$(auth_opts nova $r)
[placement]
$(auth_opts placement $r)
E
      dbopts neutron_$r; authtoken neutron; lock neutron_$r; } >"$ETC/neutron-$r.conf"
}

write_nova() {
    local r=$1 n
    { cat <<E
[DEFAULT]
state_path = $RIG_DIR/$r/nova
my_ip = $LO
transport_url = $(mq $r)
enabled_apis = osapi_compute
osapi_compute_listen = $LO
osapi_compute_listen_port = $(region_port $r nova)
osapi_compute_workers = 1
service_down_time = 60
# Else the first look for new hosts is up to a minute late.
periodic_fuzzy_delay = 0
cpu_allocation_ratio = 1.0
ram_allocation_ratio = 1.0
reserved_host_memory_mb = 0
[wsgi]
api_paste_config = /etc/nova/api-paste.ini
[api]
auth_strategy = keystone
[api_database]
connection = $(db nova_api_$r)
max_pool_size = 5
[conductor]
workers = 1
[scheduler]
workers = 1
discover_hosts_in_cells_interval = 5
[vnc]
enabled = false
[placement]
$(auth_opts placement $r)
[neutron]
$(auth_opts neutron $r)
default_floating_pool = public
[glance]
$(auth_opts glance $r)
[service_user]
send_service_user_token = true
$(auth_opts nova)
E
      dbopts nova_$r; authtoken nova; lock nova_$r; } >"$ETC/nova-$r.conf"
    for n in $(fakes_of $r); do
        mkdir -p "$RIG_DIR/$r/fake$n"
        cat >"$ETC/nova-$r-fake$n.conf" <<E
[DEFAULT]
host = ${r,,}-fake$n
state_path = $RIG_DIR/$r/fake$n
compute_driver = fake.SmallFakeDriver
report_interval = 10
E
    done
}

write_designate() {
    cat >"$ETC/rndc.key" <<E
key "rig" { algorithm hmac-sha256; secret "$(cat "$RIG_DIR/rndc.secret")"; };
E
    cat >"$ETC/named.conf" <<E
include "$ETC/rndc.key";
options {
    directory "$RIG_DIR/bind";
    pid-file "$RIG_DIR/bind/named.pid";
    session-keyfile "$RIG_DIR/bind/session.key";
    managed-keys-directory "$RIG_DIR/bind";
    listen-on port $P_DNS { $LO; };
    listen-on-v6 { none; };
    recursion no;
    allow-new-zones yes;
    allow-notify { $LO; };
    dnssec-validation no;
    request-ixfr no;
    minimal-responses yes;
    notify no;
};
controls { inet $LO port $P_RNDC allow { $LO; } keys { "rig"; }; };
E
    cat >"$ETC/rndc.conf" <<E
include "$ETC/rndc.key";
options { default-key "rig"; default-server $LO; default-port $P_RNDC; };
E
    cat >"$ETC/pools.yaml" <<E
- name: default
  description: rig pool
  attributes: {}
  ns_records:
    - hostname: ns1.rig.test.
      priority: 1
  nameservers:
    - host: $LO
      port: $P_DNS
  targets:
    - type: bind9
      description: BIND on loopback
      masters:
        - host: $LO
          port: $P_MDNS
      options:
        host: $LO
        port: $P_DNS
        rndc_host: $LO
        rndc_port: $P_RNDC
        rndc_config_file: $ETC/rndc.conf
E
    { cat <<E
[DEFAULT]
state_path = $RIG_DIR/designate
transport_url = $(mq global)
root_helper =
[service:api]
listen = $LO:$P_DESIGNATE
api_base_uri = http://$LO:$P_DESIGNATE/
enable_host_header = true
auth_strategy = keystone
enable_api_v2 = true
enable_api_admin = true
enabled_extensions_admin = quotas
api_paste_config = /etc/designate/api-paste.ini
workers = 1
[service:central]
workers = 1
[service:producer]
workers = 1
[producer_task:worker_periodic_recovery]
# Two minutes otherwise: how long a record set stays in ERROR after its name server is back.
interval = 30
[service:worker]
workers = 1
threads = 20
poll_delay = 1
poll_retry_interval = 1
poll_max_retries = 20
poll_timeout = 5
[service:mdns]
workers = 1
listen = $LO:$P_MDNS
[storage:sqlalchemy]
connection = $(db designate)
E
      authtoken designate; lock designate; } >"$ETC/designate.conf"
}

# One real compute host in ORD: libvirtd, nova-compute, and neutron's linuxbridge agent.
write_real() {
    local r=ORD L=$RIG_DIR/libvirt d
    mkdir -p "$L/etc" "$RIG_DIR/$r/real/instances" "$RIG_DIR/lock/real"
    for d in run lib log cache bin; do mkdir -p "$L/$d"; done
    # libvirtd probes every emulator that it finds in PATH, which takes a minute where there are many.
    ln -sf /usr/bin/qemu-system-x86_64 /usr/bin/qemu-img "$L/bin/"
    cat >"$ETC/libvirtd.conf" <<E
listen_tls = 0
listen_tcp = 0
unix_sock_dir = "$L"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
log_outputs = "2:stderr"
host_uuid = "7a5c1c0e-5f6d-4c3b-9d2e-0a1b2c3d4e5f"
E
    # Read from /etc/libvirt only: services.sh puts our folder there, for libvirtd alone.
    cat >"$L/etc/qemu.conf" <<E
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
E
    cat >"$ETC/nova-$r-real.conf" <<E
[DEFAULT]
host = ord-real
state_path = $RIG_DIR/$r/real
instances_path = $RIG_DIR/$r/real/instances
compute_driver = libvirt.LibvirtDriver
force_config_drive = true
vif_plugging_timeout = 60
vif_plugging_is_fatal = true
report_interval = 10
reserved_host_memory_mb = 512
[libvirt]
virt_type = $RIG_VIRT
connection_uri = qemu+unix:///system?socket=$L/libvirt-sock
cpu_mode = none
use_virtio_for_bridges = true
inject_partition = -2
[oslo_concurrency]
lock_path = $RIG_DIR/lock/real
[nova_sys_admin]
helper_command = privsep-helper
[vif_plug_linux_bridge_privileged]
helper_command = privsep-helper
[privsep_osbrick]
helper_command = privsep-helper
E
    cat >"$ETC/linuxbridge-$r.conf" <<E
[DEFAULT]
host = ord-real
state_path = $RIG_DIR/$r/neutron-agent
transport_url = $(mq $r)
[linux_bridge]
physical_interface_mappings = physnet1:ordp0
[vxlan]
enable_vxlan = false
[securitygroup]
enable_security_group = false
firewall_driver = noop
[agent]
report_interval = 10
polling_interval = 1
[AGENT]
root_helper =
[oslo_concurrency]
lock_path = $RIG_DIR/lock/real
[privsep]
helper_command = privsep-helper --config-file $ETC/linuxbridge-$r.conf
E
}

write_barbican() {
    # Barbican's WSGI application reads only its default places: HOME is one of them.
    mkdir -p "$RIG_DIR/barbican/.barbican"
    [ -s "$RIG_DIR/barbican.kek" ] || head -c 32 /dev/urandom | base64 >"$RIG_DIR/barbican.kek"
    { cat <<E
[DEFAULT]
host_href = http://$LO:$P_BARBICAN
sql_connection = $(db barbican)
db_auto_create = false
transport_url = $(mq ORD)
[queue]
enable = false
[secretstore]
enabled_secretstore_plugins = store_crypto
[crypto]
enabled_crypto_plugins = simple_crypto
[simple_crypto_plugin]
kek = $(cat "$RIG_DIR/barbican.kek")
E
      dbopts barbican; authtoken barbican; lock barbican; } >"$RIG_DIR/barbican/.barbican/barbican.conf"
    # The stock paste file, with the API behind keystone.
    sed 's#^/v1: .*#/v1: barbican-api-keystone#' /etc/barbican/barbican-api-paste.ini >"$ETC/barbican-api-paste.ini"
}

# The API, its checks and its changes of state are real, and so is the reading of certificates from barbican. There is no
# data plane: the drivers below the worker do nothing, and every address is 198.51.100.1.
write_octavia() {
    mkdir -p "$RIG_DIR/octavia"
    [ -s "$RIG_DIR/octavia/ca.pem" ] || openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=rig-octavia \
        -keyout "$RIG_DIR/octavia/ca.key" -out "$RIG_DIR/octavia/ca.pem" 2>/dev/null
    { cat <<E
[DEFAULT]
transport_url = $(mq ORD)
[api_settings]
bind_host = $LO
bind_port = $P_OCTAVIA
auth_strategy = keystone
enabled_provider_drivers = amphora:rig, octavia:rig
default_provider_driver = amphora
allow_tls_terminated_listeners = true
api_base_uri = http://$LO:$P_OCTAVIA
[certificates]
cert_manager = barbican_cert_manager
barbican_auth = barbican_acl_auth
ca_certificate = $RIG_DIR/octavia/ca.pem
ca_private_key = $RIG_DIR/octavia/ca.key
region_name = ORD
[neutron]
region_name = ORD
[nova]
region_name = ORD
[glance]
region_name = ORD
[service_auth]
$(auth_opts octavia)
[oslo_messaging]
topic = octavia
[controller_worker]
amphora_driver = amphora_noop_driver
compute_driver = compute_noop_driver
network_driver = network_noop_driver
volume_driver = volume_noop_driver
image_driver = image_noop_driver
client_ca = $RIG_DIR/octavia/ca.pem
[driver_agent]
status_socket_path = $RIG_DIR/octavia/status.sock
stats_socket_path = $RIG_DIR/octavia/stats.sock
get_socket_path = $RIG_DIR/octavia/get.sock
[health_manager]
bind_ip = $LO
heartbeat_key = rig
E
      dbopts octavia; authtoken octavia; lock octavia; } >"$ETC/octavia.conf"
}
