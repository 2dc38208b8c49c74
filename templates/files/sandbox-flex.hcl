# The plan that `failover --sandbox=flex` runs when none is given. Its cloud, its name servers and its machines
# are made by the sandbox, on this computer; nothing leaves it.

service = "dripstat"
home    = "IAD3"
regions = ["DFW3", "SJC3", "IAD3"]

# Each region has an identity service of its own. The sandbox puts its addresses and its user in the place of these.
cloud "flex" {
  openstack {
    auth_url = "https://keystone.api.{region}.rackspacecloud.com/v3"
    username = "demo"
    password = "none"
    project  = "123456_Flex"
    domain   = "rackspace_cloud_domain"
  }
}

# Flex keeps no zones. Cloud DNS takes the same user and API key.
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

server "collector" {
  cloud       = cloud.flex
  count       = 2
  image       = "Debian-12"
  flavor      = ["gp.5.16.64", "gp.5.8.32"]
  networks    = ["private"]
  floating_ip = "PUBLICNET"
  template    = "tls-proxy"
  vars        = { upstream = "127.0.0.1:8080" }
  certificate = certificate.edge

  ready {
    https  = "https://collector.dripstat.test/health"
    status = 200
    within = "60s"
  }

  region "SJC3" {
    image  = "Debian 12"
    flavor = ["gp.0.16.64", "gp.0.8.32"]
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
