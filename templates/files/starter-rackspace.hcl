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

# Where servers are made: Rackspace's first cloud. The API key is under My Profile in the control panel. With rackspace {} alone
# they are RAX_USERNAME and RAX_API_KEY, or what ~/.rackspace_cloud_credentials says. What is different there: docs/rackspace.md
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

# A giant box, or two: the largest that the account's limit of memory allows (128 GB a region, unless it was raised).
# They start the TLS proxy (haproxy) by themselves as soon as the certificate has arrived.
server "web" {
  cloud  = cloud.rax
  count  = 2
  image  = { name = "Debian 12*", newest = true }
  flavor = ["io1-60", "io1-30", "general1-8"] # a ladder: the next when there is no room

  # Flavors of the classes compute1 and memory1 bring no disk. To use them:
  # volume {
  #   size = "100GB"
  # }
  # need  = 1 # DNS moves as soon as one is proven, and the others join

  template = "tls-proxy" # or "plain", or a file of yours: docs/templates.md
  vars = {
    upstream = "127.0.0.1:8080"
    # setup   = file("setup.sh")                  # run once on each new server; every port is open there: the place for a firewall
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

  # region "DFW" { image = "Debian 12 of ours" }      # what differs in one region
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
    to   = server.web
  }
}

# A command of yours, run on this machine once the servers answer and before DNS moves.
# step "warm" {
#   run    = ["./warm-cache", server.web.addresses]
#   after  = server.web
#   before = dns.public
# }
