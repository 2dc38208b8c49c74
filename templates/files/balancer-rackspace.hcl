# What `failover --region ORD` does is written here, before the night that it is needed. TLS ends on a load balancer
# of the region that is gone to, so no server ever has the private key.
#
#   failover validate                    is this file right? (asks nobody)
#   failover --region ORD --dry-run      would it work now? (changes nothing)
#   failover --region ORD                do it
#
# What is different at Rackspace: docs/rackspace.md. Every block and attribute: docs/plan-language.md

service = "__SERVICE__"
home    = "IAD"
regions = ["ORD", "DFW"]

# Where servers and load balancers are made: Rackspace's first cloud. The API key is under My Profile in the control panel. With
# rackspace {} alone they are RAX_USERNAME and RAX_API_KEY, or what ~/.rackspace_cloud_credentials says.
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

# Its key must be RSA: these load balancers take no other.
certificate "edge" {
  from  = secrets.sealed
  path  = "edge"
  names = ["www.example.com"] # must cover these, or nothing is started
}

# The machines. They speak plain HTTP with the load balancer, over the network inside the region. No firewall stands before them: let
# setup bring one up that lets in nobody else.
server "web" {
  cloud  = cloud.rax
  count  = 2
  image  = { name = "Debian 12*", newest = true }
  flavor = ["general1-8", "general1-4"] # a ladder: the next when there is no room
  # need = 1                            # DNS moves as soon as one is proven, and the others join

  template = "plain" # or a file of yours: docs/templates.md
  vars = {
    service = "/usr/bin/python3 -m http.server 8080" # kept running, whatever kills it
    # setup = file("setup.sh")                       # run once on each new server
  }

  # A member gets traffic only after its server has answered this, several times in a row.
  ready {
    http   = "http://www.example.com:8080/health"
    status = 200
    within = "5m"
  }
}

# It is made, and given the certificate, while the servers boot. `failover abandon` and `back --remove` delete it.
load_balancer "edge" {
  cloud     = cloud.rax
  members   = server.web
  terminate = certificate.edge
  # existing = { member = "10.181.4.7" } # joins the one that has this member, and takes its place; or "NAME". It keeps its own settings
  # tls_versions            = ["1.2", "1.3"] # turns the older ones off
  # connection_limit_per_ip = 100
  # allowed_cidrs           = ["203.0.113.0/24"]

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

  clouddns {
    cloud = cloud.rax
  }

  record "www" {
    type = "A"
    ttl  = 300 # Cloud DNS takes no less
    to   = load_balancer.edge
  }
}
