#!/usr/bin/python3
"""Fill the rig: `keystone` makes users, roles and the catalog of all regions; `cloud` makes flavors, the public
network, an image and a zone, and writes clouds.yaml under $RIG_DIR; `real` adds the bootable image and a zone
around the libvirt host of ORD. Safe to run again."""
import concurrent.futures
import os
import subprocess
import sys
import time

import openstack

for k in [k for k in os.environ if k.startswith('OS_')]:
    del os.environ[k]   # a sourced openrc must not leak in

ENV = subprocess.run(
    ['bash', '-c', '. %s/env.sh; echo "$RIG_DIR $RIG_CACHE/image $PW $P_KEYSTONE $P_DESIGNATE $P_BARBICAN $P_OCTAVIA";'
     'for r in $RIG_REGIONS; do echo "$r $(region_port $r nova) $(region_port $r placement) '
     '$(region_port $r glance) $(region_port $r neutron)" $(fakes_of $r); done' % os.path.dirname(os.path.abspath(__file__))],
    check=True, capture_output=True, text=True).stdout.splitlines()
DIR, IMAGE, PW, KEYSTONE, DESIGNATE, BARBICAN, OCTAVIA = ENV[0].split()
REGIONS = {l.split()[0]: l.split()[1:] for l in ENV[1:]}
URL = 'http://127.0.0.1:%s'
USERS = {'demo': ('demo', ['member', 'creator', 'load-balancer_member']), 'reader': ('demo', ['reader']), 'other': ('other', ['member'])}


def conn(user='admin', project='admin', region=None):
    return openstack.connect(
        auth_url=URL % KEYSTONE + '/v3', username=user, password=PW, project_name=project,
        user_domain_name='Default', project_domain_name='Default',
        region_name=region or next(iter(REGIONS)), identity_api_version='3')


def keystone():
    c = conn().identity
    domain = c.find_domain('Default') or c.get_domain('default')

    def get(find, create, name, **kw):
        return find(name) or create(name=name, **kw)

    role = {n: get(c.find_role, c.create_role, n) for n in ('admin', 'member', 'reader', 'service', 'creator', 'load-balancer_member')}
    service = get(c.find_project, c.create_project, 'service', domain_id=domain.id)
    for name in ('nova', 'placement', 'glance', 'neutron', 'designate', 'barbican', 'octavia'):
        u = get(c.find_user, c.create_user, name, password=PW, domain_id=domain.id, default_project_id=service.id)
        for r in ('admin', 'service'):
            c.assign_project_role_to_user(service, u, role[r])
    for name, (project, roles) in USERS.items():
        p = get(c.find_project, c.create_project, project, domain_id=domain.id)
        u = get(c.find_user, c.create_user, name, password=PW, domain_id=domain.id, default_project_id=p.id)
        for r in roles:
            c.assign_project_role_to_user(p, u, role[r])

    have = {(e.service_id, e.region_id, e.interface) for e in c.endpoints()}
    for r in REGIONS:
        if not any(x.id == r for x in c.regions()):
            c.create_region(id=r)
    services = {s.type: s for s in c.services()}

    def endpoint(stype, name, region, url):
        if stype not in services:
            services[stype] = c.create_service(type=stype, name=name)
        s = services[stype]
        if (s.id, region, 'public') not in have:   # every service falls back to public
            c.create_endpoint(service_id=s.id, region_id=region, interface='public', url=url)

    for r, (nova, placement, glance, neutron, *_) in REGIONS.items():
        endpoint('identity', 'keystone', r, URL % KEYSTONE + '/v3')
        endpoint('compute', 'nova', r, URL % nova + '/v2.1')
        endpoint('placement', 'placement', r, URL % placement)
        endpoint('image', 'glance', r, URL % glance)
        endpoint('network', 'neutron', r, URL % neutron)
        # Not bound to a region: it outlives a region's outage.
        endpoint('dns', 'designate', r, URL % DESIGNATE)
    endpoint('key-manager', 'barbican', 'ORD', URL % BARBICAN)
    endpoint('load-balancer', 'octavia', 'ORD', URL % OCTAVIA)


def region(n, r):
    c = conn(region=r)
    for name, ram, vcpus, disk in (('small', 1024, 1, 4), ('large', 2048, 2, 8), ('toobig', 4096, 4, 8)):
        if not c.compute.find_flavor(name):
            c.compute.create_flavor(name=name, ram=ram, vcpus=vcpus, disk=disk)
    if not c.compute.find_flavor('tiny'):
        # Takes no vCPU of a host, so that many of them fit.
        c.compute.create_flavor_extra_specs(c.compute.create_flavor(name='tiny', ram=64, vcpus=1, disk=1), {'resources:VCPU': '0'})
    net = c.network.find_network('public') or c.network.create_network(
        name='public', shared=True, is_router_external=True,
        provider_network_type='flat', provider_physical_network='physnet1')
    if not c.network.find_subnet('public'):
        # No DHCP: a server learns its address from the config drive.
        c.network.create_subnet(
            name='public', network_id=net.id, ip_version=4, cidr='10.77.%d.0/24' % n,
            gateway_ip='10.77.%d.1' % n, enable_dhcp=False,
            allocation_pools=[{'start': '10.77.%d.10' % n, 'end': '10.77.%d.200' % n}])
    if not c.image.find_image('stub'):
        c.create_image('stub', disk_format='raw', container_format='bare', visibility='public',
                       data=b'\0' * 1048576, wait=True)
    hosts(c, 'fake', ['%s-fake%s' % (r.lower(), i) for i in REGIONS[r][4:]])


def hosts(c, name, which):
    """An availability zone around some of the hosts.

    nova tells placement of it when the host is added, and never again: a host that placement does not know by
    then is in no zone for the scheduler, and every boot there ends in "No valid host". The default zone, nova, is
    no help: whoever asks for it may get any host."""
    want = {}

    def known():
        for h in c.compute.hypervisors(details=True):
            if h.service_details['host'] in which and next(iter(c.placement.resource_providers(name=h.name)), None):
                want[h.service_details['host']] = True
        return len(want) == len(which)
    until(known, 'placement does not know ' + ' '.join(which))
    a = next((a for a in c.compute.aggregates() if a.name == name), None) or \
        c.compute.create_aggregate(name=name, availability_zone=name)
    for h in want:
        if h not in (a.hosts or []):
            c.compute.add_host_to_aggregate(a, h)


def zone(user, name):
    c = conn(user, USERS[user][0]).dns
    z = next(iter(c.zones(name=name)), None) or c.create_zone(name=name, email='hostmaster@rig.test')
    until(lambda: c.get_zone(z.id).status == 'ACTIVE', 'zone %s is not ACTIVE' % name)


def until(done, what):
    for _ in range(600):
        if done():
            return
        time.sleep(.2)
    sys.exit(what)


def cloud():
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(region, range(1, 9), REGIONS))
    zone('demo', 'rig.test.')
    zone('other', 'other.test.')
    auth = dict(auth_url=URL % KEYSTONE + '/v3', user_domain_name='Default', project_domain_name='Default', password=PW)
    with open(DIR + '/clouds.yaml', 'w') as f:
        f.write('# Written by seed.py; throwaway credentials.\nclouds:\n')
        for name, user, project in (('rig', 'demo', 'demo'), ('rig-reader', 'reader', 'demo'), ('rig-admin', 'admin', 'admin')):
            f.write('  %s:\n    auth:\n' % name)
            for k, v in dict(auth, username=user, project_name=project).items():
                f.write('      %s: %s\n' % (k, v))
            f.write("    identity_api_version: '3'\n    regions:\n")
            f.writelines('      - %s\n' % r for r in REGIONS)


def real():
    c = conn(region='ORD')
    ids = {}
    for name, fmt, file in (('debian-kernel', 'aki', 'vmlinuz'), ('debian-ramdisk', 'ari', 'initrd')):
        img = c.image.find_image(name) or c.create_image(
            name, filename='%s/%s' % (IMAGE, file), disk_format=fmt, container_format=fmt,
            visibility='public', wait=True)
        ids[name] = img.id
    if not c.image.find_image('debian'):
        c.create_image('debian', filename=IMAGE + '/disk.qcow2', disk_format='qcow2', container_format='bare',
                       visibility='public', wait=True, kernel_id=ids['debian-kernel'],
                       ramdisk_id=ids['debian-ramdisk'],
                       os_command_line='root=/dev/vda ro console=ttyS0 net.ifnames=0 quiet')
    hosts(c, 'real', ['ord-real'])


{'keystone': keystone, 'cloud': cloud, 'real': real}[sys.argv[1]]()
