# The plan that `failover --sandbox` runs when none is given. Its cloud, its name servers and its machines
# are made by the sandbox, on this computer; nothing leaves it.

service = "dripstat"
home    = "IAD"
regions = ["ORD", "IAD"]

cloud "main" {
  openstack {
    cloud = "sandbox"
  }
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

server "collector" {
  cloud       = cloud.main
  count       = 2
  image       = "debian-12"
  flavor      = ["m1.4xlarge", { vcpus = 8, ram = "32GiB" }]
  networks    = ["public"]
  open        = ["443/tcp from any", "80/tcp from any", "22/tcp from me"]
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

  designate {
    cloud = cloud.main
  }

  record "collector" {
    type = "A"
    ttl  = 60
    to   = server.collector
  }
}
