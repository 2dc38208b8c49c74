service = "drip stat"
home    = IAD
regions = ["ORD", "ORD"]
operator = "10.0.0.1/8"
hoem = "IAD"

variable "pw" {
  sensitive = true
  default   = "canary-default"
}

cloud "main" {
  openstack {
    username = "me"
    password = "canary-password"
    auth_url = "identity.example.com"
    interface = "pubic"
  }
}
cloud "main" {
  openstack {}
}
cloud "empty" {}

secrets "sealed" {
  age { identity = "x" }
}
secrets {
  age { file = "x" }
}

certificate "edge" {
  from  = secrets.saeled
  path  = ""
  names = ["*.example.com", "not a name"]
  ca    = "hello"
  warn  = "soon"
}

server "web" {
  cloud       = "main"
  count       = 0
  image       = debian-12
  flavor      = ["m1", { vcpu = 8 }, { ram = "60" }, {}]
  networks    = { a = 1 }
  floating_ip = ["a"]
  spread      = "perhaps"
  open        = ["443/tcp", "x/tcp from any", "22/tcp from you", "9-1/tcp from me", "1/icmp from any"]
  template    = "tls-prox"
  certificate = certificate.edge.name
  timeout     = "5 minutes"
  metadata    = { failover_run = "x" }
  ssh {
    via = "jump"
  }
  ready = {
    https = "http://www.example.com/"
  }
  region "LON" {
    image = "x"
  }
}

server "two" {
  cloud       = main
  image       = { name = "debian-*" }
  flavor      = "m1"
  template    = "tls-proxy"
  certificate = certificate.edge
  vars = {
    per_pi  = 5
    req_rate = "many"
  }
  ready {
    https  = "http://www.example.com/"
    status = 42
    within = 0
  }
  volume {
    size = "big"
  }
}

server "three" {
  cloud     = cloud.empty
  image     = env("IMAGE_OF_THREE")
  flavor    = nofunction("x")
  user_data = file("missing.sh")
  vars {
    a = 1
  }
}

dns "public" {
  zone      = "example.com"
  resolvers = ["a b"]
  record "www" {
    type = "MX"
    to   = server.web
  }
  record "here.example.com" {
    type = "A"
    ttl  = "0s"
    to   = [server.web, server.wbe]
  }
  record "c" {
    type   = "CNAME"
    values = ["a.example.net", "b.example.net"]
  }
  record "d" {
    type = "A"
    ttl  = "60s"
  }
  record "e" {
    type   = "A"
    values = ["::1"]
  }
}
dns "none" {
  zone = "exa mple"
  rfc2136 {
    server    = "ns1:99999"
    key       = "k"
    secret    = "canary-not-base64!"
    algorithm = "md5"
  }
  designate { cloud = cloud.empty }
}

step "warm" {
  run    = "./warm"
  after  = step.cool
  before = step.wram
}
step "cool" {
  run   = ["./cool", server.two, server.two.addresses]
  after = step.warm
}
