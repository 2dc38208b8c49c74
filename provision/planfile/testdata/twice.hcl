service = "x"
cloud "main" {
  openstack {}
}
server "a" {
  cloud  = cloud.main
  image  = "i"
  flavor = "f"
}
dns "one" {
  zone = "example.com"
  designate {
    cloud = cloud.main
  }
  record "www" {
    type = "A"
    to   = server.a
  }
  record "other" {
    name     = "www"
    type     = "A"
    to       = server.a
    unproven = true
  }
  record "alias" {
    name     = "www"
    type     = "CNAME"
    values   = ["x.example.net"]
    unproven = true
  }
}
step "x" {
  run    = ["true"]
  after  = dns.one
  before = server.a
}
