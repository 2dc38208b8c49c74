service = "x"
operator = env("CANARY")
home = "${env("CANARY")} x"
variable "token" {
  sensitive = true
  default   = "canary-variable"
}
variable "n" {
  sensitive = true
  default   = "canary-number"
}
cloud "b" {
  openstack {
    auth_url      = var.token
    username      = "u"
    password      = ["canary-list"]
    interface = env("CANARY")
  }
}
server "web" {
  cloud  = cloud.b
  image  = { name = env("CANARY"), newst = true }
  flavor = { ram = env("CANARY") }
  count  = var.n
  open   = [env("CANARY")]
  timeout = var.token
  template = env("CANARY")
  zones = file("${env("CANARY")}.txt")
  ssh {
    user = env("CANARY")
    via = env("CANARY")
  }
  ready {
    https = env("CANARY")
    body = <<EOT
something
EOT
    ca = var.token
  }
}
dns "d" {
  zone = "${env("CANARY")} x"
  rfc2136 {
    server = "${env("CANARY")} x"
    key = "k"
    secret = <<EOT
canary-heredoc
EOT
    algorithm = env("CANARY")
  }
  record "w" {
    type = env("CANARY")
    name = "${env("CANARY")} x"
    values = [env("CANARY")]
  }
}
