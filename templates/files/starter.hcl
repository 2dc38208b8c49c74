# What `failover --region ORD` does is written here, before the night that it is needed.
#
#   failover validate                    is this file right? (asks nobody)
#   failover --region ORD --dry-run      would it work now? (changes nothing)
#   failover --region ORD                do it
#
# Every block and attribute: docs/plan-language.md

# service: the name under which runs, locks and created things are kept.
# home: the region where it lives when all is well. regions: where it may go; --region any tries them in this order.
service = "__SERVICE__"
home    = "IAD"
regions = ["ORD", "DFW"]

# Where servers are made. "main" is an entry of clouds.yaml; leave `cloud` out to use the OS_* variables.
cloud "main" {
  openstack {
    cloud = "main"
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
  cloud  = cloud.main
  count  = 2
  image  = "debian-12"                                 # or { name = "debian-12-*", newest = true }
  flavor = ["m1.xlarge", { vcpus = 8, ram = "16GiB" }] # a ladder: the next when there is no room
  open   = ["443/tcp from any", "80/tcp from any", "22/tcp from me"]

  networks = ["public"]
  # floating_ip = "public"    # where the cloud wants one
  # spread      = true        # no two on one hypervisor
  # need        = 1           # DNS moves as soon as one is proven, and the others join
  # hedge       = 1           # one more than count is made; the slowest is not waited for, and deleted afterwards

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

  # region "DFW" { image = "debian-12-dfw" }      # what differs in one region
}

# Only these records are changed, and `failover abandon` puts them back.
dns "public" {
  zone = "example.com"

  designate {
    cloud = cloud.main
  }
  # or: rfc2136 { server = "ns1.example.com"  key = "failover."  secret = env("TSIG_SECRET") }, one attribute a line
  # or: route53 { zone_id = "Z0123456789" }

  record "www" {
    type = "A"
    ttl  = 60
    to   = server.web
  }
}

# A command of yours, run on this machine once the servers answer and before DNS moves.
# step "warm" {
#   run    = ["./warm-cache", server.web.addresses]
#   after  = server.web
#   before = dns.public
# }
