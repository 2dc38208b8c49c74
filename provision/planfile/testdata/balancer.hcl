service = "shop"
home    = "IAD"
regions = ["ORD", "DFW"]

cloud "main" {
  openstack {}
}

cloud "other" {
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
  cloud  = cloud.other
  image  = "debian-12"
  flavor = "m1.large"

  ready {
    http  = "https://www.example.com/health"
    https = "https://www.example.com/health"
  }
}

server "lonely" {
  cloud  = cloud.main
  image  = "debian-12"
  flavor = "m1.large"

  ready {
    http = "http://www.example.com:8080/health"
  }
}

load_balancer "edge" {
  cloud           = cloud.main
  members         = [server.web, server.wbe]
  terminate       = certificate.egde
  member_protocol = "htps"
  listen          = 80
  algorithm       = "random"
  tls_versions    = ["1.0"]
  allowed_cidrs   = ["10.0.0.1/8", "2001:db8::/32", "198.51.100.7"]
  conection_limit = 10

  health {
    path     = "health"
    interval = "1500ms"
    timeout  = "10s"
  }

  ready {
    https = "https://www.example.com/health"
    http  = "http://www.example.com/health"
  }

  region "LON" {
    flavor = "large"
  }
}

load_balancer "empty" {
}

load_balancer "bare" {
  cloud     = cloud.main
  members   = server.lonely
  terminate = []
}

dns "public" {
  zone = "example.com"

  designate {
    cloud = cloud.main
  }

  record "www" {
    type = "AAAA"
    to   = load_balancer.edge
  }

  record "bare" {
    type = "A"
    to   = load_balancer.bare
  }
}
