service = "shop"
home    = "IAD"
regions = ["ORD", "DFW", "LON"]

cloud "rax" {
  rackspace {}
}

cloud "main" {
  openstack {}
}

secrets "sealed" {
  age {
    file = "secrets.age"
  }
}

certificate "edge" {
  from  = secrets.sealed
  path  = "edge"
  names = ["www.example.com"]
}

server "web" {
  cloud  = cloud.rax
  image  = "Debian 12"
  flavor = "general1-8"

  ready {
    http = "http://www.example.com:8080/health"
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

load_balancer "settings" {
  cloud                   = cloud.rax
  existing                = "shop-edge"
  members                 = server.web
  terminate               = certificate.edge
  redirect_http           = true
  connection_limit_per_ip = 100
  algorithm               = "round_robin"
  tls_versions            = ["1.2", "1.3"]
  allowed_cidrs           = ["203.0.113.0/24"]

  health {
    fall = 2
  }

  region "DFW" {
    existing = { member = "www.example.com" }
  }

  region "LON" {
    existing = { address = "10.181.4.7" }
  }
}

load_balancer "empty" {
  cloud     = cloud.rax
  existing  = { name = "", member = "" }
  members   = server.web
  terminate = certificate.edge

  region "DFW" {
    existing  = true ? ["shop-edge"] : []
    algorithm = "least_connections"
  }
}

load_balancer "octavia" {
  cloud     = cloud.main
  existing  = "shop-edge"
  members   = server.there
  terminate = certificate.edge
}
