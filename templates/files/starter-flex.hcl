# What `failover --region DFW3` does is written here, before the night that it is needed.
#
#   failover validate                    is this file right? (asks nobody)
#   failover --region DFW3 --dry-run     would it work now? (changes nothing)
#   failover --region DFW3               do it
#
# Every block and attribute: docs/plan-language.md

# service: the name under which runs, locks and created things are kept.
# home: the region where it lives when all is well. regions: where it may go; --region any tries them in this order.
service = "__SERVICE__"
home    = "IAD3"
regions = ["DFW3", "SJC3"]

# Where servers are made: Rackspace's OpenStack Flex. Each region has an identity service of its own, whose URL has the region
# in it; the home region's is never asked. The password is the account's API key. project is as the control panel names it:
# a UUID, or the account's number and "_Flex". What is different there: docs/rackspace.md
cloud "flex" {
  openstack {
    auth_url = "https://keystone.api.{region}.rackspacecloud.com/v3"
    username = env("RAX_USERNAME")
    password = env("RAX_API_KEY")
    project  = env("FLEX_PROJECT")
    domain   = "rackspace_cloud_domain"
  }
}

# Flex keeps no zones. Rackspace's Cloud DNS takes the same user and key; any other provider will do: docs/dns.md
cloud "rax" {
  rackspace {
    username = env("RAX_USERNAME")
    api_key  = env("RAX_API_KEY")
  }
}

# Where the certificate is kept. Put one in with:
#   failover seal edge --cert fullchain.pem --key privkey.pem -r age1... -o secrets.age
# age1... is what `age-keygen -o identity.txt` shows. The identity that opens it: `identity` here, or FAILOVER_AGE_IDENTITY, or you are asked.
secrets "sealed" {
  age {
    file = "secrets.age"
  }
}

certificate "edge" {
  from  = secrets.sealed
  path  = "edge"
  names = ["www.example.com"] # must cover these, or nothing is started
}

# The machines. They start the TLS proxy (haproxy) by themselves as soon as the certificate has arrived.
server "web" {
  cloud  = cloud.flex
  count  = 2
  image  = "Debian-12"
  flavor = ["gp.5.16.64", "gp.5.8.32"] # a ladder: the next when there is no room
  open   = ["443/tcp from any", "80/tcp from any", "22/tcp from me"]

  # A network of yours, with a subnet and a router to PUBLICNET: make them in every region before the night. Servers get a floating
  # address each; they cannot be put into PUBLICNET itself.
  networks    = ["private"]
  floating_ip = "PUBLICNET"
  # spread    = true          # no two on one hypervisor
  # need      = 1             # DNS moves as soon as one is proven, and the others join

  template = "tls-proxy" # or "plain", or a file of yours: docs/templates.md
  vars = {
    upstream = "127.0.0.1:8080"
    # setup   = file("setup.sh")                  # run once on each new server
    # service = "java -jar /opt/app/app.jar"      # kept running, whatever kills it
    # per_ip  = 50
  }
  certificate = certificate.edge

  # DNS is pointed at a server only after it has answered this, over TLS that a client would accept.
  ready {
    https  = "https://www.example.com/health"
    status = 200
    within = "5m"
  }

  # What differs in one region: names of images and flavors do. `failover check` says where one is missing.
  region "SJC3" {
    image  = "Debian 12"
    flavor = ["gp.0.16.64", "gp.0.8.32"]
  }
}

# Only these records are changed, and `failover abandon` puts them back.
dns "public" {
  zone = "example.com"

  clouddns {
    cloud = cloud.rax
  }
  # or: rfc2136 { server = "ns1.example.com"  key = "failover."  secret = env("TSIG_SECRET") }, one attribute a line
  # or: route53 { zone_id = "Z0123456789" }

  record "www" {
    type = "A"
    ttl  = 300 # Cloud DNS takes no less
    to   = server.web
  }
}

# A command of yours, run on this machine once the servers answer and before DNS moves.
# step "warm" {
#   run    = ["./warm-cache", server.web.addresses]
#   after  = server.web
#   before = dns.public
# }
