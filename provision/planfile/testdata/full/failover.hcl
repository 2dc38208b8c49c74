service  = "dripstat"
home     = "IAD"
regions  = ["ORD", "LON"]
operator = "203.0.113.0/24"

store {
  file {
    dir = "state"
  }
}

variable "per_ip" {
  default     = 50
  description = "connections at once for one client"
}

variable "upstream" {
  default = "127.0.0.1:8080"
}

cloud "main" {
  openstack {
    cloud = "mycloud"
  }
}

cloud "other" {
  openstack {
    auth_url  = ["https://a.example.com/v3", "https://b.example.com/v3"]
    ca_cert   = "ca.pem"
    username  = "me"
    password  = env("OS_PASSWORD")
    project   = "p"
    domain    = "d"
    interface = "internal"
  }
}

secrets "sealed" {
  age {
    file     = "secrets.age"
    identity = "id.txt"
  }
}

certificate "edge" {
  from    = secrets.sealed
  path    = "tls/dripstat.com"
  names   = ["collector.dripstat.com", "*.api.dripstat.com"]
  warn    = 30
  persist = true
  reload  = "nginx.service"
}

server "collector" {
  cloud           = cloud.main
  count           = 2
  image           = { name = "debian-12-*", newest = true }
  flavor          = ["m1.4xlarge", { vcpus = 16, ram = "60GiB", disk = "40GB", largest = true }]
  zones           = ["az1", "az2"]
  networks        = ["public"]
  floating_ip     = "ext"
  spread          = true
  security_groups = ["default"]
  open            = ["443/tcp from any", "22/tcp from me", "8000-8100/tcp from 10.0.0.0/8", "53/udp from 2001:db8::/32", "icmp from any"]
  keep_ssh        = true
  config_drive    = true
  metadata        = { team = "core" }
  template        = "tls-proxy"
  vars = {
    upstream = var.upstream
    per_ip   = var.per_ip
    setup    = file("setup.sh")
    packages = ["jq", "curl"]
  }
  certificate = certificate.edge
  timeout     = "3m"

  volume {
    size = "40GB"
    type = "ssd"
  }

  ssh {
    user = "admin"
    port = 2222
    via  = "me@jump.example.com:22"
  }

  ready {
    https     = "https://collector.dripstat.com/health"
    status    = 204
    body      = "ok"
    within    = "2m"
    successes = 5
  }

  region "LON" {
    image = "debian-12-uk"
    zones = ["uk1"]
    vars  = { upstream = "10.9.0.9:80" }

    ready {
      status = 200
    }
  }
}

server "plain" {
  cloud    = cloud.other
  image    = "ubuntu-24.04"
  flavor   = { vcpus = 2 }
  template = "own.tmpl"
  vars     = { greeting = "hello" }
}

dns "public" {
  zone         = "dripstat.com."
  name_servers = ["ns1.dripstat.com", "192.0.2.1:53"]
  resolvers    = ["8.8.8.8"]
  within       = "10m"

  designate {
    cloud = cloud.main
  }

  record "collector" {
    type = "A"
    ttl  = "60s"
    to   = server.collector
  }

  record "apex" {
    name     = "@"
    type     = "a"
    ttl      = 300
    to       = [server.collector, server.plain]
    unproven = true
  }

  record "docs" {
    type     = "CNAME"
    values   = ["pages.example.net."]
    unproven = true
  }
}

dns "second" {
  zone = "dripstat.net"

  rfc2136 {
    server    = "ns1.dripstat.net"
    key       = "failover."
    algorithm = "HMAC-SHA512"
    secret    = env("TSIG_SECRET")
  }

  record "six" {
    type = "AAAA"
    to   = server.collector
  }
}

dns "third" {
  zone = "dripstat.org"

  route53 {
    zone_id = "Z1"
    profile = "ops"
  }

  record "www" {
    type     = "A"
    values   = ["192.0.2.7"]
    unproven = true
  }
}

step "warm" {
  run     = ["./warm-cache", server.collector.addresses, format("--service=%s", "dripstat")]
  after   = server.collector
  before  = [dns.public, step.tell]
  timeout = "90s"
}

step "tell" {
  run   = ["./tell"]
  after = [dns.public, certificate.edge]
}
