# The plan that `failover --sandbox=rackspace` runs when none is given. Its cloud, its name servers and its machines
# are made by the sandbox, on this computer; nothing leaves it.

service = "dripstat"
home    = "IAD"
regions = ["ORD", "IAD"]

cloud "rax" {
  rackspace {}
}

secrets "sandbox" {
  age {
    file     = "secrets.age"
    identity = "identity.txt"
  }
}

certificate "edge" {
  from  = secrets.sandbox
  path  = "edge"
  names = ["collector.dripstat.test"]
  ca    = file("ca.pem")
}

# Servers there have a public address of their own and no firewall before them: there is nothing to name or to open.
server "collector" {
  cloud       = cloud.rax
  count       = 2
  image       = { name = "Debian 12*", newest = true }
  flavor      = ["io1-60", "io1-30", "general1-8"]
  template    = "tls-proxy"
  vars        = { upstream = "127.0.0.1:8080" }
  certificate = certificate.edge

  ready {
    https  = "https://collector.dripstat.test/health"
    status = 200
    within = "60s"
  }
}

dns "public" {
  zone = "dripstat.test"

  clouddns {
    cloud = cloud.rax
  }

  record "collector" {
    type = "A"
    ttl  = 300 # Cloud DNS takes no less
    to   = server.collector
  }
}
