service = "shop"
regions = ["ORD", "DFW"]

cloud "rax" {
  rackspace {
    username = "ops"
    password = "canary-password"
    api_key  = env("CANARY")
    auth_url = "identity.example.com"
  }
}

cloud "half" {
  rackspace {
    api_key = env("CANARY")
  }
}

cloud "both" {
  openstack {}
  rackspace {}
}

cloud "main" {
  openstack {}
}

secrets "kept" {
  barbican {
    cloud = cloud.rax
  }
}

secrets "le" {
  acme {
    directory    = "https://acme.example.com/directory"
    terms_agreed = true
    seal         = secrets.sealed
  }
}

secrets "sealed" {
  age {
    file = "secrets.age"
  }
}

certificate "issued" {
  from  = secrets.le
  path  = "issued"
  names = ["api.example.com"]
}

certificate "edge" {
  from  = secrets.kept
  path  = "edge"
  names = ["www.example.com"]
}

server "web" {
  cloud           = cloud.rax
  count           = 2
  image           = "Debian 12 (Bookworm)"
  flavor          = "io1-60"
  zones           = ["az1"]
  floating_ip     = "public"
  spread          = true
  security_groups = ["default"]
  open            = ["443/tcp from any"]
  config_drive    = false
  certificate     = certificate.edge

  deliver {
    by = "vault-wrap"
  }

  ready {
    https = "https://www.example.com/health"
  }

  region "DFW" {
    zones = ["az2"]
  }
}

load_balancer "front" {
  cloud            = cloud.rax
  terminate        = [certificate.edge, certificate.issued]
  members          = server.web
  member_protocol  = "https"
  network          = "private"
  subnet           = "inside"
  floating_ip      = "public"
  provider         = "amphora"
  flavor           = "large"
  listen           = 8443
  connection_limit = 20000
  algorithm        = "source_ip"
  tls_versions     = ["1.3"]
  allowed_cidrs    = ["198.51.100.0/24"]

  health {
    interval = "10m"
    timeout  = "6m"
    rise     = 2
  }

  ready {
    https = "https://www.example.com:8443/health"
  }

  region "DFW" {
    network = "other"
  }
}

load_balancer "issued" {
  cloud     = cloud.rax
  terminate = certificate.issued
  members   = server.web

  ready {
    https = "https://api.example.com/health"
  }
}

server "there" {
  cloud  = cloud.main
  image  = "debian-12"
  flavor = "m1.large"

  ready {
    http = "http://www.example.com:8080/health"
  }
}

load_balancer "octavia" {
  cloud                   = cloud.main
  terminate               = certificate.edge
  members                 = server.there
  connection_limit_per_ip = 100

  ready {
    https = "https://www.example.com/health"
  }
}

dns "one" {
  zone = "example.com"

  designate {
    cloud = cloud.rax
  }

  record "www" {
    type = "A"
    to   = server.web
  }

  record "lb" {
    type = "AAAA"
    to   = load_balancer.front
  }

  record "far" {
    type = "AAAA"
    to   = load_balancer.octavia
  }
}

dns "two" {
  zone = "example.org"

  clouddns {
    cloud = cloud.main
  }

  record "www" {
    type = "A"
    ttl  = 60
    to   = server.web
  }
}

dns "three" {
  zone = "example.net"

  clowddns {
    cloud = cloud.rax
  }

  record "www" {
    type = "A"
    to   = server.web
  }
}
