service = "shop"

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
  cloud  = cloud.main
  image  = "debian-12"
  flavor = "m1.large"

  ready {
    http = "http://www.example.com:8080/health"
  }
}

server "alone" {
  cloud  = cloud.main
  image  = "debian-12"
  flavor = "m1.large"

  ready {
    http = "http://www.example.com:8080/health"
  }
}

load_balancer "edge" {
  cloud     = cloud.main
  members   = server.web
  terminate = certificate.edge

  ready {
    https = "https://www.example.com/health"
  }
}

load_balancer "second" {
  cloud     = cloud.main
  members   = server.web
  terminate = certificate.edge
}

dns "public" {
  zone = "example.com"

  designate {
    cloud = cloud.main
  }

  record "www" {
    type = "A"
    to   = server.web
  }

  record "api" {
    type = "A"
    to   = load_balancer.second
  }
}
