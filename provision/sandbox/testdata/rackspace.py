# What Apache libcloud's own drivers for Rackspace's first cloud do, against the sandbox: AUTH_URL USERNAME API_KEY
# REGION, and on standard input the id of an image and a public key.
import sys
import time

from libcloud.common.exceptions import BaseHTTPError
from libcloud.common.types import InvalidCredsError, LibcloudError
from libcloud.compute.types import NodeState, Provider as Compute
from libcloud.compute.providers import get_driver as compute
from libcloud.dns.types import Provider as DNS, RecordType
from libcloud.dns.providers import get_driver as dns
from libcloud.loadbalancer.base import Algorithm, Member
from libcloud.loadbalancer.types import MemberCondition, Provider as Balancers, State
from libcloud.loadbalancer.providers import get_driver as balancers
from libcloud.loadbalancer.drivers.rackspace import RackspaceAccessRule, RackspaceAccessRuleType, RackspaceConnectionThrottle, RackspaceHTTPHealthMonitor

url, user, key, region = sys.argv[1:]
image, public = sys.stdin.read().splitlines()


def check(what, ok, seen):
    print(("ok   " if ok else "FAIL ") + what + ("" if ok else ": %r" % (seen,)))
    if not ok:
        sys.exit(1)


try:
    compute(Compute.RACKSPACE)(user, "wrong", region=region, ex_force_auth_url=url, ex_force_auth_version="2.0").list_nodes()
    check("a wrong key is refused", False, "it was taken")
except InvalidCredsError as e:
    check("a wrong key is refused", True, e)

nova = compute(Compute.RACKSPACE)(user, key, region=region, ex_force_auth_url=url, ex_force_auth_version="2.0")
sizes = {s.id: s for s in nova.list_sizes()}
check("flavors", sizes["io1-60"].ram == 61440 and sizes["io1-60"].vcpus == 16 and sizes["memory1-30"].disk == 0, sorted(sizes))
pair = nova.import_key_pair_from_string("mine", public)
check("key pairs", pair.public_key == public and [p.name for p in nova.list_key_pairs()] == ["mine"], pair)
nets = {n.id for n in nova.ex_list_networks()}
check("networks", nets == {"00000000-0000-0000-0000-000000000000", "11111111-1111-1111-1111-111111111111"}, nets)


class Image:
    id = image


node = nova.create_node(name="one", size=sizes["io1-30"], image=Image, ex_keyname="mine", ex_metadata={"a": "b"}, ex_config_drive=True, ex_userdata="#cloud-config\n")
for _ in range(100):
    node = nova.ex_get_node_details(node.id)
    if node.state == NodeState.RUNNING:
        break
    time.sleep(0.05)
check("a server runs", node.state == NodeState.RUNNING and node.public_ips and node.private_ips, (node.state, node.public_ips, node.private_ips))
check("its metadata", node.extra["metadata"] == {"a": "b"} and node.extra["flavorId"] == "io1-30", node.extra)
check("the list", [n.name for n in nova.list_nodes()] == ["one"], nova.list_nodes())
try:
    nova.ex_get_console_output(node)
    check("there is no console", False, "it was shown")
except (LibcloudError, BaseHTTPError, Exception) as e:
    check("there is no console", "404" in str(e), e)
check("it is destroyed", nova.destroy_node(node), node)
for _ in range(100):
    if not nova.list_nodes():
        break
    time.sleep(0.05)
check("it is gone", not nova.list_nodes(), nova.list_nodes())

names = dns(DNS.RACKSPACE)(user, key, ex_force_auth_url=url, ex_force_auth_version="2.0")
names.connection.poll_interval = 0.1
zones = names.list_zones()
check("domains", [z.domain for z in zones] == ["dripstat.test"], zones)
zone = zones[0]
before = [(r.name, r.type, r.data, r.extra["ttl"]) for r in zone.list_records() if r.type == RecordType.A and r.name != "ns1"]
check("records", before == [("collector", RecordType.A, "203.0.113.10", 300)], before)
made = zone.create_record("www", RecordType.A, "203.0.113.7", {"ttl": 300})
check("a record is made", made.name == "www" and made.data == "203.0.113.7", made)
names.update_record(made, data="203.0.113.8", extra={"ttl": 600})
again = names.get_record(zone.id, made.id)
check("it is changed", again.data == "203.0.113.8" and again.extra["ttl"] == 600, (again, again.extra))
try:
    zone.create_record("low", RecordType.A, "203.0.113.9", {"ttl": 60})
    check("a TTL of 60 s is refused", False, "it was taken")
except (LibcloudError, BaseHTTPError, Exception) as e:
    check("a TTL of 60 s is refused", "300" in str(e), e)
check("it is deleted", names.delete_record(again), again)
left = [r.name for r in zone.list_records() if r.type == RecordType.A and r.name != "ns1"]
check("it is gone", left == ["collector"], left)

lbs = balancers(Balancers.RACKSPACE)(user, key, region=region, ex_force_auth_url=url, ex_force_auth_version="2.0")
lbs.connection.poll_interval = 0.05
check("no load balancers", lbs.list_balancers() == [] and "http" in lbs.list_protocols(), lbs.list_balancers())
made = lbs.create_balancer("front", [], protocol="http", port=80, algorithm=Algorithm.ROUND_ROBIN)
check("a load balancer is asked for", made.state == State.PENDING and made.ip and made.port == 80, (made.state, made.ip))
try:
    lbs.balancer_attach_member(made, Member(None, "10.0.0.7", 8080))
    check("it takes nothing while it is made", False, "it did")
except BaseHTTPError as e:
    check("it takes nothing while it is made", e.code == 422 and "immutable" in repr(e.message), e.message)
made = lbs._get_updated_balancer(made)
check("it is there", made.state == State.RUNNING and [v["type"] for v in made.extra["virtualIps"]][0] == "PUBLIC", (made.state, made.extra))
member = lbs.balancer_attach_member(made, Member(None, "10.0.0.7", 8080, extra={"condition": MemberCondition.DRAINING}))
check("a member drains", member.ip == "10.0.0.7" and member.extra["condition"] == MemberCondition.DRAINING, member.extra)
made = lbs._get_updated_balancer(made)
member = lbs.ex_balancer_update_member(made, member, condition=MemberCondition.ENABLED)
check("it is enabled", member.extra["condition"] == MemberCondition.ENABLED, member.extra)
check("it is found by its member", [b.name for b in lbs.list_balancers(ex_member_address="10.0.0.7")] == ["front"] and not lbs.list_balancers(ex_member_address="10.0.0.8"), lbs.list_balancers())
made = lbs.ex_update_balancer_health_monitor(made, RackspaceHTTPHealthMonitor(type="HTTP", delay=5, timeout=3, attempts_before_deactivation=2, path="/health", status_regex="^200$", body_regex=None))
check("its monitor", made.extra["healthMonitor"].path == "/health" and made.extra["healthMonitor"].attempts_before_deactivation == 2, made.extra)
made = lbs.ex_update_balancer_connection_throttle(made, RackspaceConnectionThrottle(min_connections=0, max_connections=100, max_connection_rate=0, rate_interval_seconds=60))
check("its throttle", made.extra["connectionThrottle"].max_connections == 100, made.extra)
rules = lbs.ex_create_balancer_access_rules(made, [RackspaceAccessRule(rule_type=t, address=a) for t, a in ((RackspaceAccessRuleType.DENY, "0.0.0.0/0"), (RackspaceAccessRuleType.ALLOW, "203.0.113.0/24"))])
check("its access list", len(rules) == 2 and len(lbs.ex_balancer_access_list(made)) == 2, rules)
made = lbs.update_balancer(made, name="renamed", algorithm=Algorithm.LEAST_CONNECTIONS)
check("it is changed", made.name == "renamed" and made.extra["algorithm"] == Algorithm.LEAST_CONNECTIONS, (made.name, made.extra))
check("its members", [(m.ip, m.port) for m in lbs.balancer_list_members(made)] == [("10.0.0.7", 8080)], lbs.balancer_list_members(made))
check("it is deleted", lbs.destroy_balancer(made), made)
for _ in range(100):
    if not lbs.list_balancers():
        break
    time.sleep(0.05)
check("it is gone", not lbs.list_balancers(), lbs.list_balancers())
