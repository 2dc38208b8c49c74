service = "x"
cloud "a" {
  openstack {}
}
secrets "s" {
  age {
    file = "s.age"
  }
}
certificate "edge" {
  from   = secrets.s
  path   = "edge"
  names  = ["www.example.com"]
  reload = "systemctl restart app"
}
server "web" {
  cloud       = cloud.a
  image       = "debian-12"
  flavor      = "m1.large"
  template    = "tls-proxy"
  certificate = certificate.edge
  deliver {
    layout = "files"
    owner  = "App Server"
    mode   = "0644"
    reload = []
  }
}
server "java" {
  cloud       = cloud.a
  image       = "debian-12"
  flavor      = "m1.large"
  certificate = certificate.edge
  deliver {
    layout   = "pkcs-12"
    group    = "*"
    path     = "tls/edge.p12"
    password = "canary-short"
  }
  region "ORD" {
    deliver {
      layout   = "pkcs12"
      path     = "/tmp/edge"
      password = "canar"
    }
  }
}
server "both" {
  cloud       = cloud.a
  image       = "debian-12"
  flavor      = "m1.large"
  certificate = certificate.edge
  deliver {
    path    = "/etc/app/../tls"
    persist = true
    ower    = "app"
  }
}
server "root" {
  cloud       = cloud.a
  image       = "debian-12"
  flavor      = "m1.large"
  certificate = certificate.edge
  deliver {
    layout   = "pkcs12"
    path     = "/tls"
    password = "canary-ümlaut"
  }
}
server "none" {
  cloud  = cloud.a
  image  = "debian-12"
  flavor = "m1.large"
  deliver {
    path = "/etc/x/edge.pem"
  }
}
