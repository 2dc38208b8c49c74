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
  cloud     = cloud.rax
  terminate = certificate.edge
  members   = server.web

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
