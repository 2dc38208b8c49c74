service = "x"
variable "token" {
  sensitive = true
  default   = "canary-variable"
}
cloud "a" {
  openstack {
    cloud    = "x"
    password = canary-unquoted
  }
}
cloud "b" {
  openstack {
    cloud    = "x"
    password = ["canary-list"]
  }
}
cloud "c" {
  openstack {
    cloud     = "x"
    password  = "canary-same-line"  interface = "x"
  }
}
