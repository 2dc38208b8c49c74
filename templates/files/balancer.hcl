# What `failover --region ORD` does is written here, before the night that it is needed. TLS ends on a load balancer
# of the region that is gone to, so no server ever has the private key.
#
#   failover validate                    is this file right? (asks nobody)
#   failover --region ORD --dry-run      would it work now? (changes nothing)
#   failover --region ORD                do it
#
# What the cloud must have for this: docs/load-balancer.md. Every block and attribute: docs/plan-language.md

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

# The machines. They speak plain HTTP, to the load balancer and to you alone.
server "web" {
  cloud  = cloud.main
  count  = 2
  image  = "debian-12"
  flavor = ["m1.xlarge", { vcpus = 8, ram = "16GiB" }] # a ladder: the next when there is no room

  networks = ["public"]
  # need   = 1                 # the load balancer takes the first one in as soon as it is proven, and the others when they are
  # spread = true              # no two on one hypervisor

  template = "plain" # or a file of yours: docs/templates.md
  vars = {
    service = "/usr/bin/python3 -m http.server 8080" # kept running, whatever kills it
    # setup = file("setup.sh")                       # run once on each new server
  }

  # A server becomes a member only after it has answered this, several times in a row.
  ready {
    http   = "http://www.example.com:8080/health"
    status = 200
    within = "5m"
  }
}

# It is made while the servers boot. The certificate goes into the key manager of the region for this run, and
# `failover abandon` and `back --remove` take it out again.
load_balancer "edge" {
  cloud     = cloud.main
  members   = server.web
  terminate = certificate.edge # or several: the client's name (SNI) chooses
  # network       = "private"    # of its own address; otherwise the members' first
  # floating_ip   = "public"     # where that address is not public
  # allowed_cidrs = ["203.0.113.0/24"]

  # DNS is pointed at it only after it has answered this, over TLS that a client would accept.
  ready {
    https  = "https://www.example.com/health"
    status = 200
    within = "5m"
  }
}

# Only these records are changed, and `failover abandon` puts them back.
dns "public" {
  zone = "example.com"

  designate {
    cloud = cloud.main
  }

  record "www" {
    type = "A"
    ttl  = 60
    to   = load_balancer.edge
  }
}
